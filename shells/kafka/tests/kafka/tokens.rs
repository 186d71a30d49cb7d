//! Kafka behind OAUTHBEARER: each sort of client logs in with the token of a file, and with the next one when its time has come.

use crate::world::{
    GROUP, PARTITIONS, claims, key_in, next_event, off_the_loop, show_logs, soon, step_of, texts, until_caught_up,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use baton_broker::{Cluster, Options as ClusterOptions, User};
use baton_core::log::{Batch, Topic};
use baton_kafka::{KafkaLog, NewTopics, OpenError, Options};
use baton_runtime::ports::{Durability, GroupEvent, Log as _, Member as _, Steps as _, TailFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the first token is good: for longer than opening takes on a machine that has much else to do.
const FIRST: Duration = Duration::from_secs(12);
const LONG: Duration = Duration::from_hours(1);

/// Writes a JWT for a user, good for so long, as whoever issues them does: in one go. Gives until when.
fn issue(file: &Path, algorithm: &str, user: &str, good_for: Duration) -> SystemTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let until = now + good_for;
    let head = format!(r#"{{"alg":"{algorithm}"}}"#);
    let claims = format!(r#"{{"sub":"{user}","iat":{},"exp":{}}}"#, now.as_secs(), until.as_secs());
    let signature = if algorithm == "none" { "" } else { "c2lnbmVk" };
    let fresh = file.with_extension("fresh");
    std::fs::write(
        &fresh,
        format!("{}.{}.{signature}\n", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims)),
    )
    .unwrap();
    std::fs::rename(fresh, file).unwrap();
    UNIX_EPOCH + Duration::from_secs(until.as_secs())
}

async fn refused(options: &Options) -> OpenError {
    KafkaLog::open(options).await.err().expect("it is not let in")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_log_in_with_the_token_of_a_file_and_with_a_fresh_one_later() {
    show_logs();
    let users = [User::new("owner", "of-no-use").superuser(), User::new("nobody", "of-no-use")];
    let cluster = off_the_loop(move || Cluster::start(&ClusterOptions::one().users(users)).unwrap()).await;
    let cluster = Arc::new(cluster);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let options = Options {
        brokers: cluster.bootstrap(),
        topic_prefix: "by-token.".into(),
        config: [("ssl.ca.location".to_owned(), cluster.ca().display().to_string())].into(),
        token_file: Some(file.clone()),
        create: Some(NewTopics { partitions: PARTITIONS, ..NewTopics::default() }),
        ..Options::default()
    };

    // No token, one of nobody's, one that the brokers do not believe, and one of a user who may do nothing.
    let error = refused(&options).await;
    assert!(matches!(&error, OpenError::Token(why) if why.contains("No such file")), "{error}");
    issue(&file, "none", "owner", Duration::ZERO);
    let error = refused(&options).await;
    assert!(matches!(&error, OpenError::Token(why) if why.contains("expired")), "{error}");
    issue(&file, "RS256", "owner", LONG);
    let error = refused(&options).await;
    assert!(matches!(error, OpenError::Authentication { .. }), "{error}");
    issue(&file, "none", "nobody", LONG);
    let error = refused(&options).await;
    assert!(matches!(error, OpenError::NotAllowed { .. }), "{error}");

    // Every sort of client works with a token.
    let expires = issue(&file, "none", "owner", FIRST);
    let log = KafkaLog::open(&options).await.unwrap();
    log.append(vec![Batch::one(Topic::Tasks, key_in(1), "first")], Durability::Synced).await.unwrap();
    let mut tail = log.tail(Topic::Tasks, TailFrom::Earliest).await.unwrap();
    assert_eq!(texts(&until_caught_up(&mut tail).await), ["first"]);
    let mut member = soon("join", log.join(GROUP, "", Duration::ZERO)).await.unwrap();
    let held = claims(&mut member, PARTITIONS as usize).await;
    soon("a step", member.steps().step(step_of(1, held[&1].0, 1, "a step"))).await.unwrap();

    // Connections that are made once the first token is of no use need another.
    issue(&file, "none", "owner", LONG);
    let restarted = cluster.clone();
    off_the_loop(move || {
        std::thread::sleep(expires.duration_since(SystemTime::now()).unwrap_or_default());
        restarted.broker(1).restart().unwrap();
    })
    .await;
    let appended = soon("append", async {
        loop {
            let batch = Batch::one(Topic::Tasks, key_in(1), "second");
            if let Ok(places) = log.append(vec![batch], Durability::Synced).await {
                return places;
            }
        }
    });
    let (partition, offset) = appended.await[0];
    tail_gives(&mut tail, "second").await;
    let range = soon("a range", log.read(Topic::Tasks, partition, offset, offset + 1, usize::MAX)).await.unwrap();
    assert_eq!(texts(&range), ["second"]);
    // The group is gone on or joined anew: a record comes either way, and a step can be taken then.
    let mut epoch = held[&1].0;
    loop {
        match next_event(&mut member).await {
            GroupEvent::Claimed { partition: 1, epoch: anew, .. } => epoch = anew,
            GroupEvent::Records(records) if texts(std::slice::from_ref(&records)).contains(&"second".to_owned()) => {
                break;
            }
            _ => {}
        }
    }
    soon("a step", member.steps().step(step_of(1, epoch, 2, "a second step"))).await.unwrap();
}

async fn tail_gives(tail: &mut baton_kafka::KafkaTail, text: &str) {
    use baton_runtime::ports::{Tail as _, TailEvent};
    loop {
        if let TailEvent::Records(records) = soon("the tail", tail.next()).await.unwrap()
            && texts(&records).contains(&text.to_owned())
        {
            return;
        }
    }
}
