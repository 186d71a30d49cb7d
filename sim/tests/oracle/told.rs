//! How a story is told: its trace, its context and its picture.

use super::teller::Teller;
use super::{ENDS, RUNS};
use baton_sim::event::{Entry, Event, Node};
use baton_sim::journal::Journal;
use baton_sim::oracle::Oracle;
use baton_sim::picture::picture;
use baton_sim::story::{Found, Story};
use baton_sim::trace::Trace;

fn story(history: &str) -> Story {
    let (mut oracle, mut teller) = (Oracle::default(), Teller::default());
    let lines = history.lines().map(str::trim).filter(|line| !line.is_empty());
    let entries: Vec<Entry> = lines.flat_map(|line| teller.entries(line)).collect();
    let found = entries.iter().enumerate().find_map(|(by, entry)| {
        let violation = oracle.observe(entry).err()?;
        Some(Found { violation, by })
    });
    Story::new(entries, found)
}

fn broken() -> Story {
    let others = "
        5ms client-0 post 1 key <k>
        5ms broker-0 task another-task-with-a-long-id 1
        6ms client-0 accepted 1 another-task-with-a-long-id
        7ms world fault broker-0 is slow
        8ms client-0 watching 3 a
        9ms client-0 frame 3 1-1 started Starting...";
    story(&format!("{RUNS}{others}{ENDS}\n20s client-0 frame 3 1-2 stopped STOPPED"))
}

#[test]
fn the_ending_tells_what_led_to_it_and_nothing_else() {
    let told = Trace::new(7, &broken()).ending().to_string();
    let expected = r#"
seed 7: guarantee 3 is broken: watcher 3 of task a on api-0 read 1-2 (stopped, "STOPPED"), and the task's durable end is "DONE" (task a)
what led to it:
      0.001000  broker-0    durable: tasks[0]@0 task a
      0.002000  worker-0    claims partition 0 (epoch 1)
      0.003000  broker-0    durable: task-progress[0]@0 task a 1-1 started "Starting..."
      0.003000  broker-0    ledger of partition 0: all below 0 has ended; above: none; begun: +0:1
      0.004000  machine-0   process of task a, attempt 1, lives
      0.008000  client-0    watcher 3 of task a connects to api-0, has read to 0-0
      0.009000  client-0    watcher 3 reads 1-1 started "Starting..."
      0.900000  machine-0   process of task a, attempt 1, is gone: exit code 0, by itself
      0.901000  broker-0    durable: task-progress[0]@1 task a 1-2 done "DONE"
      0.901000  broker-0    ledger of partition 0: all below 1 has ended
     20.000000  client-0    watcher 3 reads 1-2 stopped "STOPPED"
"#;
    assert_eq!(told, expected.trim_start(), "{told}");
}

#[test]
fn the_whole_trace_has_a_line_for_each_event() {
    let story = broken();
    let told = Trace::new(7, &story).to_string();
    assert!(told.lines().count() > story.entries().len() + 13, "{told}");
    assert!(told.contains("durable: tasks[0]@1 task another-…\n"), "{told}");
    assert!(!told.contains('\x1b'), "{told}");
    assert!(Trace::new(7, &story).with_colours(true).to_string().contains("\x1b[33mFAULT broker-0 is slow\x1b[0m"));
    let kept = Trace::new(8, &self::story(&format!("{RUNS}{ENDS}"))).ending().to_string();
    assert_eq!(kept, "seed 8: all guarantees were kept\n");
}

#[test]
fn the_picture_is_one_file_that_asks_no_network() {
    let page = picture(7, &broken());
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("guarantee 3 is broken") && page.contains("id=violation"), "{page}");
    assert!(page.contains("the key &quot;&lt;k&gt;&quot;"), "texts are escaped: {page}");
    assert!(page.contains("class=\"bar t\""), "a process has a bar: {page}");
    assert!(page.contains("class=\"edge frame t\""), "an update leads to its frame: {page}");
}

#[madsim::test]
async fn the_journal_finds_what_is_wrong_and_hashes_the_same_story_to_the_same_number() {
    let tell = |limit| {
        let journal = Journal::new(Oracle::default());
        journal.note(Node::Api(0), Event::Memory { of: "history", bytes: 2, limit });
        journal.note(Node::Worker(1), Event::Claimed(0, 7));
        journal.finish();
        journal
    };
    let (kept, again, broken) = (tell(3), tell(3), tell(1));
    assert_eq!(kept.hash(), again.hash());
    assert_ne!(kept.hash(), broken.hash());
    assert_eq!(kept.violation(), None);
    broken.found().await;
    let story = broken.into_story();
    assert_eq!(story.found().map(|found| (found.violation.guarantee, found.by)), Some((9, 0)));
    assert_eq!((story.context(), story.entries().len()), (vec![&story.entries()[0]], 2));
}
