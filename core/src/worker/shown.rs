//! What a worker shows of itself to those who look at the cluster. It changes nothing.

use super::claim::Phase;
use super::{Going, Worker};
use crate::presence::{ClaimShown, Doing, RunShown};

impl Worker {
    /// What it does now.
    pub fn doing(&self) -> Doing {
        // Runs are numbered as they begin.
        let runs = self.runs.values().filter(|running| !running.over);
        let runs = runs.map(|running| RunShown { task_id: running.record.task_id.clone(), attempt: running.attempt });
        let claims = self.claims.values().map(|claim| ClaimShown {
            partition: claim.partition,
            watermark: claim.ledger.watermark(),
            running: claim.running.len(),
            waiting: claim.waiting.len(),
            retrying: claim.waiting.values().filter(|waiting| waiting.due.is_some()).count(),
            leaving: claim.phase == Phase::Revoked,
        });
        Doing::of_worker(self.going != Going::No, self.config.slots, runs.collect(), claims.collect())
    }
}
