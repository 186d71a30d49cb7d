//! What a loop does when the log is away: it asks again after a while, and goes on with everything else meanwhile.

use crate::ports::LogError;
use baton_probe::{Mark, hit};
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How long to wait before the log is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The patience with one reader of the log.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    again_at: Option<Instant>,
}

impl Patience {
    /// What `next` gives, not before it may be asked again. May be dropped like any future of a port.
    pub async fn then<T>(&mut self, next: impl Future<Output = T>) -> T {
        if let Some(at) = self.again_at {
            sleep_until(at).await;
            self.again_at = None;
        }
        next.await
    }

    /// Notes that the log is away; gives the error back if it is so for good.
    pub fn note(&mut self, error: LogError, what: &str) -> Result<(), LogError> {
        match error {
            LogError::Unavailable(why) => {
                hit(Mark::TailAskedAgain);
                tracing::warn!(why, "{what} can't be read; trying again");
                self.again_at = Some(Instant::now() + ASK_AGAIN_AFTER);
                Ok(())
            }
            fatal @ LogError::Fatal(_) => Err(fatal),
        }
    }
}

/// Asks until the log is there.
pub(crate) async fn until_there<T, F>(mut ask: impl FnMut() -> F) -> Result<T, LogError>
where
    F: Future<Output = Result<T, LogError>>,
{
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(LogError::Unavailable(why)) => {
                hit(Mark::LogNotThere);
                tracing::warn!(why, "the log is not there yet; trying again");
                sleep(ASK_AGAIN_AFTER).await;
            }
            Err(fatal @ LogError::Fatal(_)) => return Err(fatal),
        }
    }
}
