//! `baton topics`: the topics as they are, and what is wrong with them. It changes none that is there.

use crate::cli::{Topics, TopicsAction};
use crate::client::screen;
use crate::kafka;
use crate::report::{FAILED, Failure};
use baton_kafka::topics::{self, Found, TopicShown};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Shows them, or makes what is missing. The exit code says whether all is well.
pub async fn run(options: Topics) -> Result<ExitCode, Failure> {
    let kafka = kafka::options(&options.kafka, &options.log, true, kafka::SESSION_TIMEOUT)?;
    let topics = match options.action {
        TopicsAction::Show => topics::show(&kafka).await,
        TopicsAction::Create => topics::create(&kafka).await,
    };
    let topics = topics.map_err(Failure::unreachable)?;
    screen::say(&table(&topics))?;
    let well = topics.iter().all(|topic| topic.found.is_some() && topic.wrong.is_empty());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn table(topics: &[TopicShown]) -> String {
    let width = topics.iter().map(|topic| topic.name.len()).max().unwrap_or_default().max("TOPIC".len());
    let mut table = format!("{:width$}  PARTITIONS  REPLICAS  IN SYNC  RETENTION   CLEANUP", "TOPIC");
    for TopicShown { name, found, wrong } in topics {
        let _ = match found {
            None => write!(table, "\n{name:width$}  is missing; baton topics create makes it"),
            Some(Found { partitions, replication, min_insync, retention, cleanup_policy }) => {
                let retention =
                    retention.map_or_else(|| "for ever".into(), |r| humantime::format_duration(r).to_string());
                write!(
                    table,
                    "\n{name:width$}  {partitions:<10}  {replication:<8}  {min_insync:<7}  {retention:<10}  {cleanup_policy}"
                )
            }
        };
        for wrong in wrong {
            let _ = write!(table, "\n  {}", wrong.replace('\n', "\n  "));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn topics_are_shown_with_what_is_wrong_with_them() {
        let found = |hours| Found {
            partitions: 8,
            replication: 3,
            min_insync: 2,
            retention: Some(Duration::from_hours(hours)),
            cleanup_policy: "delete".into(),
        };
        let well = TopicShown { name: "staging.tasks".into(), found: Some(found(168)), wrong: vec![] };
        let missing = TopicShown { name: "staging.tasks-dlq".into(), found: None, wrong: vec![] };
        let wrong = TopicShown {
            name: "staging.task-control".into(),
            found: Some(Found { retention: None, cleanup_policy: "compact".into(), ..found(1) }),
            wrong: vec!["STOPs are kept too short:\nkafka-configs.sh --alter …".into()],
        };
        insta::assert_snapshot!(table(&[well, missing, wrong]));
    }
}
