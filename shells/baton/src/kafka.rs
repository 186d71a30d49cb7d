//! What the command line says of Kafka, as the log wants to have it. Settings may hold secrets: no error here shows
//! the value of one, nor a text that may have been meant as one.

use crate::cli::{Kafka, Log};
use crate::report::Failure;
use crate::signals::Signals;
use crate::values::Secretive;
use baton_kafka::{KafkaLog, NewTopics, Options};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What every variable begins with that is a setting.
const VARIABLE: &str = "BATON_KAFKA_";
/// The variables of options that are no settings.
const OPTIONS: [&str; 2] = ["CONFIG_FILE", "TOKEN_FILE"];
/// Variables that Kubernetes sets in every pod beside a service that is called `baton-kafka`. No setting begins like that.
const OF_KUBERNETES: [&str; 2] = ["SERVICE_", "PORT"];
/// The session timeout where no member of a group is spoken of.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// The log's options. With `create`, topics that are missing are made.
pub fn options(kafka: &Kafka, log: &Log, create: bool, session_timeout: Duration) -> Result<Options, Failure> {
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let variables = variables.filter_map(|(name, value)| Some((name, value.into_string().ok()?)));
    let new = NewTopics {
        partitions: log.partitions,
        replication: kafka.replication.map(|n| u16::try_from(n).expect("it is at most 32")),
        retention: log.retention,
    };
    Ok(Options {
        brokers: kafka.kafka.clone(),
        topic_prefix: kafka.topic_prefix.clone().unwrap_or_default(),
        config: settings(kafka.kafka_config_file.as_deref(), variables, &kafka.kafka_config)?,
        token_file: kafka.kafka_token_file.clone(),
        session_timeout,
        create: create.then_some(new),
    })
}

/// Opens the log; `None` if the process is told to end before it is open.
pub async fn open(options: &Options, signals: &mut Signals) -> Result<Option<KafkaLog>, Failure> {
    tokio::select! {
        biased;
        _ = signals.next() => {
            tracing::info!("ended while Kafka was being reached");
            Ok(None)
        }
        log = KafkaLog::open(options) => log.map(Some).map_err(Failure::unreachable),
    }
}

/// The settings, from the file, then from variables, then from flags: what comes later wins.
fn settings(
    file: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
    flags: &[Secretive],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut settings = BTreeMap::new();
    if let Some(file) = file {
        let shown = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("could not read --kafka-config-file {shown}: {error}")))?;
        let lines = text.lines().enumerate().map(|(index, line)| (format!("{shown}, line {}", index + 1), line.trim()));
        settings.extend(read(lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')))?);
    }
    settings.extend(
        variables.filter_map(|(name, value)| Some((of_variable(&name)?, value))).filter(|(_, v)| !v.is_empty()),
    );
    let flags = flags.iter().enumerate();
    settings
        .extend(read(flags.map(|(index, flag)| (format!("--kafka-config, number {}", index + 1), flag.0.as_str())))?);
    Ok(settings)
}

/// Settings of one place, each said with where it stands in it.
fn read<'a>(lines: impl Iterator<Item = (String, &'a str)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut settings = BTreeMap::new();
    for (place, line) in lines {
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b));
        let setting = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        let Some((name, value)) = setting.filter(|(name, _)| is_name(name)) else {
            return Err(Failure::usage(format!(
                "{place}: must be a setting of librdkafka, written as security.protocol=sasl_ssl"
            )));
        };
        if settings.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(format!("{place}: {name} stands there twice")));
        }
    }
    Ok(settings)
}

/// The setting that a variable gives: `BATON_KAFKA_SASL_PASSWORD` is `sasl.password`, and `__` stands for `_`.
fn of_variable(name: &str) -> Option<String> {
    let rest = name.strip_prefix(VARIABLE).filter(|rest| !rest.is_empty() && !OPTIONS.contains(rest))?;
    if OF_KUBERNETES.iter().any(|prefix| rest.starts_with(prefix)) {
        return None;
    }
    Some(rest.to_ascii_lowercase().split("__").map(|part| part.replace('_', ".")).collect::<Vec<_>>().join("_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secretive(texts: &[&str]) -> Vec<Secretive> {
        texts.iter().map(|text| Secretive((*text).to_owned())).collect()
    }

    fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn flags_win_over_variables_and_those_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("kafka.properties");
        std::fs::write(&file, "# ours\n\nsasl.username = file\nsasl.password=a=b # c\nclient.rack=file\n").unwrap();
        let variables =
            variables(&[("BATON_KAFKA_SASL_USERNAME", "variable"), ("BATON_KAFKA_CLIENT_RACK", "variable")]);
        let settings = settings(Some(&file), variables, &secretive(&["client.rack=flag"])).unwrap();
        let settings: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(settings, ["client.rack=flag", "sasl.password=a=b # c", "sasl.username=variable"]);
    }

    #[test]
    fn variables_are_settings_unless_they_are_something_else() {
        for (name, setting) in [
            ("BATON_KAFKA_SASL_PASSWORD", Some("sasl.password")),
            ("BATON_KAFKA_SSL_A__B_C", Some("ssl.a_b.c")),
            ("BATON_KAFKA", None),
            ("BATON_KAFKA_", None),
            ("BATON_KAFKA_CONFIG_FILE", None),
            ("BATON_KAFKA_TOKEN_FILE", None),
            ("BATON_KAFKA_SERVICE_HOST", None),
            ("BATON_KAFKA_PORT_9092_TCP_ADDR", None),
            ("KAFKA_HOME", None),
        ] {
            assert_eq!(of_variable(name).as_deref(), setting, "{name}");
        }
        assert_eq!(settings(None, variables(&[("BATON_KAFKA_SASL_PASSWORD", "")]), &[]).unwrap().len(), 0);
    }

    #[test]
    fn no_error_shows_what_may_be_a_secret() {
        for flags in [&["s3cret"][..], &["a=1", "sasl.password:s3cret"], &["S3CRET=s3cret"], &["a=s3cret", "a=s3cret"]]
        {
            let said = settings(None, variables(&[]), &secretive(flags)).unwrap_err().to_string();
            assert!(said.starts_with("--kafka-config, number ") && !said.to_lowercase().contains("s3cret"), "{said}");
        }
        assert!(!format!("{:?}", secretive(&["sasl.password=s3cret"])).contains("s3cret"));
    }
}
