//! What readers see of transactions: all of one or nothing, and when.

use crate::foreign::Transaction;
use crate::world::{World, next_texts, soon, texts, until_caught_up};
use baton_core::log::Topic;
use baton_runtime::ports::{Log as _, Tail as _};

#[tokio::test]
async fn what_was_aborted_is_never_seen() {
    let world = World::shared().await;
    let (mut tail, _) = world.tail(Topic::Progress).await;
    let mut last = 0;
    for number in 0..3 {
        world.append(Topic::Progress, 1, &format!("good {number}")).await;
        let aborted = Transaction::begin(&world, &format!("{}raw", world.options.topic_prefix));
        aborted.write(Topic::Progress, 1, "never");
        // Beside it, while it is open.
        last = world.append(Topic::Progress, 1, &format!("beside {number}")).await;
        aborted.abort();
    }
    let aborted = Transaction::begin(&world, &format!("{}raw", world.options.topic_prefix));
    aborted.write(Topic::Progress, 1, "never");
    aborted.abort();
    let good = ["good 0", "beside 0", "good 1", "beside 1", "good 2", "beside 2"];
    assert_eq!(next_texts(&mut tail, 6).await, good);
    // All that stands at the end was aborted: there is nothing to be given, and yet all was.
    tail.catch_up();
    assert_eq!(until_caught_up(&mut tail).await, []);
    assert_eq!(world.all(Topic::Progress).await, good);
    let range = soon("a range", world.log.read(Topic::Progress, 1, 0, last + 4, usize::MAX)).await.unwrap();
    assert_eq!(texts(&range), good);
}

#[tokio::test]
async fn an_open_transaction_holds_back_its_partition_and_the_mark_until_it_ends() {
    for commits in [true, false] {
        let world = World::shared().await;
        let (mut tail, _) = world.tail(Topic::Progress).await;
        world.append(Topic::Progress, 1, "before").await;
        let open = Transaction::begin(&world, &format!("{}raw", world.options.topic_prefix));
        open.write(Topic::Progress, 1, "open");
        world.append(Topic::Progress, 1, "behind").await;
        assert_eq!(next_texts(&mut tail, 1).await, ["before"]);
        // Acknowledged, and so it must be given before the mark, which waits for the transaction like it.
        tail.catch_up();
        for number in 0..20 {
            let text = format!("elsewhere {number}");
            world.append(Topic::Progress, 2, &text).await;
            assert_eq!(next_texts(&mut tail, 1).await, [text]);
        }
        if commits {
            open.commit().unwrap();
        } else {
            open.abort();
        }
        let given = texts(&until_caught_up(&mut tail).await);
        assert_eq!(given, if commits { &["open", "behind"][..] } else { &["behind"] });
    }
}
