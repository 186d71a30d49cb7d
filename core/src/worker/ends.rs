//! How tasks end, or come to wait for another attempt: what a run came to, and what ends without one. Each ending goes
//! with the ledger, in one step; nothing is decided here about what begins.

use super::claim::{Claim, Then, Waiting, What};
use super::records::{Terminal, retrying, unreadable_letter};
use super::{RunId, Running, Worker};
use crate::account::{Account, AttemptEnd, Tally};
use crate::agent_report::{AgentReport, Spent};
use crate::log::Offset;
use crate::policy::Cause;
use crate::quantity::Time;
use crate::record::Kind;
use crate::run::{Ending, Outcome};
use crate::time::Now;
use baton_probe::{Mark, Mutant, hit, hit_if, is};

/// How many earlier attempts a dead letter tells of: the last ones.
const MAX_EARLIER: usize = 10;

impl Worker {
    pub(super) fn on_ended(&mut self, run: RunId, ending: Ending, now: Now) {
        let Some(running) = self.runs.get_mut(&run).filter(|running| !running.over) else { return };
        running.over = true;
        let (partition, offset) = (running.partition, running.offset);
        let is_owner = |claim: &Claim| claim.running.get(&offset) == Some(&run) || is(Mutant::StaleTerminal);
        if !self.claims.get(&partition).is_some_and(is_owner) {
            // Nothing may be written for a claim that is gone.
            hit(Mark::EndedWithoutClaim);
            if !is(Mutant::SlotLeaks) {
                self.runs.remove(&run);
            }
            return;
        }
        match ending {
            Ending::Outcome(outcome) if outcome.worth_retry => self.retry_or_end(run, *outcome, now),
            Ending::Outcome(outcome) => self.end_run(run, *outcome, now),
            Ending::HandedBack(spent) => {
                let Some(claim) = self.claims.get_mut(&partition) else { return };
                claim.ledger.spend(offset, spent.cost.unwrap_or_default());
                claim.ledger.hand_back(offset);
                claim.add([], [Then::Freed(run)]);
            }
            Ending::Lost(_) if is(Mutant::LostForgotten) => _ = self.runs.remove(&run),
            Ending::Lost(spent) => {
                let reason = "lost: its process was ended with what kept it".to_owned();
                self.begin_anew(run, reason, Vec::new(), spent, now);
            }
            Ending::Abandoned => {
                self.runs.remove(&run);
            }
        }
    }

    /// The task has ended with its run.
    fn end_run(&mut self, run: RunId, outcome: Outcome, now: Now) {
        let Some(running) = self.runs.get_mut(&run) else { return };
        let Some(claim) = self.claims.get_mut(&running.partition) else { return };
        let mut tally = Tally::of(claim.ledger.tries(running.offset), true);
        tally.failed += u32::from(outcome.kind == Kind::Failed);
        claim.ledger.end(running.offset);
        let (record, earlier) = (running.record.clone(), std::mem::take(&mut running.earlier));
        let terminal = Terminal { record: &record, attempt: running.attempt, tally, earlier, outcome };
        let report = Then::Report(terminal.report(claim.partition));
        claim.add(terminal.batches(now.wall), [report, Then::Freed(run)]);
    }

    /// The attempt failed, and is worth another: if it may have one, and nobody has stopped it, it waits for it.
    fn retry_or_end(&mut self, run: RunId, mut outcome: Outcome, now: Now) {
        let Some(Running { partition, offset, attempt, at, record, policy, .. }) = self.runs.get(&run) else { return };
        let Some(claim) = self.claims.get_mut(partition) else { return };
        if let Some(wish) = self.stops.of(&record.task_id, *at).filter(|_| !is(Mutant::RetryAfterStop)) {
            hit(Mark::StopInsteadOfRetry);
            let cause = if wish.force { Cause::ForceStop } else { Cause::Stop };
            let account = Account { cause, by: wish.by, ..outcome.account };
            return self.end_run(run, Outcome { kind: Kind::Stopped, reason: None, account, ..outcome }, now);
        }
        let tries = claim.ledger.tries(*offset);
        let reason = outcome.reason.take().unwrap_or_default();
        if tries.counted() >= policy.max_attempts {
            hit(Mark::RetriesUsedUp);
            let tally = Tally::of(tries, true);
            outcome.reason = Some(if tries.begun > 1 { gave_up(tally, Some(&reason)) } else { reason });
            return self.end_run(run, outcome, now);
        }
        let next_at = now.wall.plus(policy.wait(tries.failed + 1, self.config.seed ^ run));
        if let Some((total, since)) = policy.total.zip(tries.since)
            && next_at >= since.plus(total)
        {
            hit(Mark::NoTimeForRetry);
            let total = Time(total);
            outcome.reason = Some(format!("{reason}; no other attempt, as all together may take {total}"));
            return self.end_run(run, outcome, now);
        }
        hit(Mark::RetryPlanned);
        let spent = outcome.report.as_deref().map(AgentReport::spent).unwrap_or_default();
        claim.ledger.retry(*offset, next_at);
        let tally = Tally::of(claim.ledger.tries(*offset), false);
        outcome.reason = Some(reason.clone());
        claim.add([retrying(&record.task_id, *attempt, &outcome, tally, next_at, now.wall)], []);
        self.begin_anew(run, reason, outcome.last_lines, spent, now);
    }

    /// The task waits again, for as long as its ledger says. Its slot is free.
    fn begin_anew(&mut self, run: RunId, reason: String, last_lines: Vec<String>, spent: Spent, now: Now) {
        let Some(Running { partition, offset, attempt, at, bytes, record, mut earlier, .. }) = self.runs.remove(&run)
        else {
            return;
        };
        earlier.push(AttemptEnd { attempt, reason, last_lines });
        if earlier.len() > MAX_EARLIER {
            earlier.remove(0);
        }
        if let Some(claim) = self.claims.get_mut(&partition) {
            claim.running.remove(&offset);
            claim.ledger.spend(offset, spent.cost.unwrap_or_default());
        }
        let waiting = Waiting { earlier, tokens: spent.tokens, ..Waiting::new(at, bytes, self.what_of(record, at)) };
        self.wait(partition, offset, waiting, now);
    }

    /// Ends what waits and needs no slot for it, as far as the ledger has room.
    pub(super) fn end_slotless(&mut self, now: Now) {
        let dying = self.dying();
        let idle = |claim: &&mut Claim| claim.may_end() && !dying.contains(&claim.partition);
        for claim in self.claims.values_mut().filter(idle) {
            while let Some(offset) = claim.slotless.first().copied().filter(|offset| claim.may_end_at(*offset)) {
                let Some(waiting) = claim.take(offset) else { break };
                let (kind, record, reason, account) = match &waiting.what {
                    What::Again => {
                        hit(Mark::SecondRecord);
                        claim.ledger.end(offset);
                        claim.add([], []);
                        continue;
                    }
                    What::Unreadable { text, why } => {
                        hit_if(!is(Mutant::UnreadableVanishes), Mark::UnreadableTask);
                        claim.ledger.end(offset);
                        let letter = unreadable_letter(claim.partition, offset, text, why, now.wall);
                        claim.add((!is(Mutant::UnreadableVanishes)).then_some(letter), []);
                        continue;
                    }
                    What::Stopped(record, wish) => {
                        let cause = if wish.force { Cause::ForceStop } else { Cause::Stop };
                        (Kind::Stopped, record, None, Account { by: wish.by.clone(), ..Account::of(cause) })
                    }
                    What::Expired(record, cause) => {
                        let reason = self.config.policy(record).timed_out(*cause);
                        (Kind::Failed, record, Some(reason), Account::of(*cause))
                    }
                    // What wants a slot is in no list of those that don't.
                    What::Task(record) => (Kind::Failed, record, None, Account::of(Cause::Fault)),
                };
                let attempt = claim.ledger.tries(offset).begun;
                hit_if(kind == Kind::Stopped && attempt > 0, Mark::StopOutlivedAttempt);
                let report = claim.spent(offset, waiting.tokens).report();
                let outcome = Outcome { report, ..Outcome::without_run(kind, reason, attempt, account) };
                end_without_run(
                    claim,
                    offset,
                    &Terminal::of(record, claim, offset, waiting.earlier.clone(), outcome),
                    now,
                );
                self.places.remove(&record.task_id);
            }
        }
    }
}

/// Why a task is given up: how many attempts it had, what became of them, and of the last one, if that is known.
pub(super) fn gave_up(tally: Tally, last_reason: Option<&str>) -> String {
    let counted = tally.begun - tally.handed_back;
    let Tally { failed, lost, .. } = tally;
    match last_reason {
        Some(last) if lost == 0 => format!("gave up after {counted} attempts: {last}"),
        Some(last) => format!("gave up after {counted} attempts, {lost} of them lost with their workers: {last}"),
        None if failed == 0 => format!("gave up after {counted} attempts: each time its worker died"),
        None => format!("gave up after {counted} attempts: {failed} failed, {lost} were lost with their workers"),
    }
}

/// A task ends that has no run.
pub(super) fn end_without_run(claim: &mut Claim, offset: Offset, terminal: &Terminal<'_>, now: Now) {
    claim.ledger.end(offset);
    claim.add(terminal.batches(now.wall), [Then::Report(terminal.report(claim.partition))]);
}
