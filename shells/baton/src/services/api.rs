//! `baton api`: one of any number of replicas of the API on Kafka. It ends when watchers had time to go elsewhere.

use crate::cli::ApiService;
use crate::identity::identity;
use crate::kafka;
use crate::report::Failure;
use crate::serving::{ServedApi, listen_for_api};
use crate::signals::Signals;
use crate::working::read_types;
use baton_core::presence::Role;
use baton_runtime::worker::Shutdown;
use std::process::ExitCode;
use tokio::time::{Instant, sleep_until};

/// Runs until it is told to end.
pub async fn run(options: ApiService) -> Result<ExitCode, Failure> {
    let mut signals = Signals::new()?;
    let types = read_types(options.types.types.as_deref())?;
    let create = !options.no_create_topics;
    let kafka = kafka::options(&options.kafka, &options.log, create, kafka::SESSION_TIMEOUT)?;
    let listening = listen_for_api(&options.access).await?;
    let Some(log) = kafka::open(&kafka, &mut signals).await? else { return Ok(ExitCode::SUCCESS) };
    let address = listening.address;
    let mut api = ServedApi::start(log, listening, types, options.log.retention, &options.api, identity(Role::Api, ""));
    tracing::info!(%address, kafka = kafka.brokers, prefix = kafka.topic_prefix, "listening");
    let ended = serve(&mut api, &mut signals, &options).await;
    api.close().await;
    if ended.is_ok() {
        tracing::info!("ended");
    }
    ended.map(|()| ExitCode::SUCCESS)
}

async fn serve(api: &mut ServedApi, signals: &mut Signals, options: &ApiService) -> Result<(), Failure> {
    let mut over = None;
    loop {
        let drained = async {
            match over {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            how = signals.next() => {
                if how == Shutdown::Now {
                    return Ok(());
                }
                api.drain();
                over = Instant::now().checked_add(options.drain_timeout);
                tracing::info!("ending: no new task is taken, watchers are served for --drain-timeout; the same signal again ends it at once");
            }
            () = drained => return Ok(()),
            failure = api.failed() => return Err(failure),
        }
    }
}
