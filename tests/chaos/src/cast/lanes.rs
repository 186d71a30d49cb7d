//! Carries the plan's faults out: a thread for each process, and one for all brokers, so that never two brokers are down but all.
//!
//! When the time of faults is over each lane heals what is its own, and tends it until the play ends. Nothing is left harmed.

use super::{Actor, Cast};
use crate::Result;
use crate::plan::{APIS, Act, Deed, Plan, WORKERS};
use crate::sign::is_poisoned;
use crate::stage::Stage;
use rustix::process::Signal;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long a process has from SIGTERM to its end: more than drain, grace, and a log that does not answer take together.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// From SIGTERM to SIGTERM.
const AGAIN_AFTER: Duration = Duration::from_millis(150);
/// What a supervisor waits before it starts what has ended.
const RESTART_AFTER: Duration = Duration::from_millis(400);
/// From look to look.
const TEND_EVERY: Duration = Duration::from_millis(50);
/// What Baton exits with where its log can't be reached.
const UNREACHABLE: i32 = 3;

/// Whose a lane is.
#[derive(Clone, Copy, Debug)]
enum Whom {
    Worker(usize),
    Api(usize),
    Brokers,
}

/// What is done to one process, or to the brokers.
#[derive(Debug)]
pub struct Lane {
    whom: Whom,
    acts: Vec<Act>,
}

/// The plan's lanes.
pub fn lanes(plan: &Plan) -> Vec<Lane> {
    let workers = (0..WORKERS.len()).map(Whom::Worker).zip(plan.workers.iter().cloned());
    let apis = (0..APIS).map(Whom::Api).zip(plan.apis.iter().cloned());
    let all = workers.chain(apis).chain([(Whom::Brokers, plan.brokers.clone())]);
    all.map(|(whom, acts)| Lane { whom, acts }).collect()
}

impl Lane {
    /// Plays to the end of the play. What it could not do is a surprise.
    pub fn play(self, stage: &Stage) {
        for act in &self.acts {
            if !self.tend_until(stage, act.at.min(stage.length)) || act.at > stage.length {
                break;
            }
            if let Err(error) = self.act(stage, *act) {
                stage.surprise(format!("{error}"));
            }
        }
        self.tend_until(stage, stage.length);
        if let Err(error) = self.heal(stage) {
            stage.surprise(format!("could not heal: {error}"));
        }
        stage.lane_is_healed();
        self.tend_until(stage, Duration::MAX);
    }

    fn act(&self, stage: &Stage, act: Act) -> Result<()> {
        match self.actor(&stage.cast) {
            Some(actor) => {
                let _fault = stage.fault(format!("{}: {}", actor.name, act.deed));
                harm(stage, actor, act.deed)
            }
            None => harm_brokers(stage, act),
        }
    }

    fn actor<'a>(&self, cast: &'a Cast) -> Option<&'a Actor> {
        match self.whom {
            Whom::Worker(n) => Some(&cast.workers[n]),
            Whom::Api(n) => Some(&cast.apis[n]),
            Whom::Brokers => None,
        }
    }

    /// Looks after its process until a time since the beginning; false if the play ends before.
    fn tend_until(&self, stage: &Stage, until: Duration) -> bool {
        while stage.elapsed() < until {
            let tended = match self.actor(&stage.cast) {
                Some(actor) => tend(stage, actor),
                None => tend_brokers(stage),
            };
            if let Err(error) = tended {
                stage.surprise(format!("{error}"));
            }
            if !stage.sleep(TEND_EVERY) {
                return false;
            }
        }
        !stage.is_over()
    }

    fn heal(&self, stage: &Stage) -> Result<()> {
        if let Some(actor) = self.actor(&stage.cast) {
            actor.signal(Signal::CONT);
            return if stage.is_over() { Ok(()) } else { actor.start() };
        }
        for broker in stage.cast.cluster.brokers().iter().filter(|broker| broker.pid().is_none()) {
            broker.restart()?;
        }
        Ok(())
    }
}

/// Does what a supervisor does, and what poison asks for.
fn tend(stage: &Stage, actor: &Actor) -> Result<()> {
    if let Some(status) = actor.ended() {
        ended_badly(stage, format!("{} ended by itself: {status}", actor.name), status);
        stage.sleep(RESTART_AFTER);
        actor.start()?;
    }
    if is_poisoned(&stage.cast.signs(), &actor.name) {
        let _fault = stage.fault(format!("{}: killed by poison", actor.name));
        actor.kill();
        stage.sleep(RESTART_AFTER);
        actor.start()?;
    }
    Ok(())
}

fn tend_brokers(stage: &Stage) -> Result<()> {
    for broker in stage.cast.cluster.brokers().iter().filter(|broker| broker.pid().is_none()) {
        stage.surprise(format!("broker {} ended by itself; its log is kept", broker.node()));
        broker.restart()?;
    }
    Ok(())
}

/// It is no surprise that a process ends that finds no broker as it starts.
fn ended_badly(stage: &Stage, what: String, status: ExitStatus) {
    if status.code() == Some(UNREACHABLE) && stage.brokers_were_harmed() {
        stage.say(&format!("{what}; no broker was to be had"));
    } else {
        stage.surprise(what);
    }
}

fn harm(stage: &Stage, actor: &Actor, deed: Deed) -> Result<()> {
    match deed {
        Deed::Kill(time) => {
            actor.kill();
            if stage.sleep(time) { actor.start() } else { Ok(()) }
        }
        Deed::Freeze(time) => {
            actor.signal(Signal::STOP);
            stage.sleep(time);
            actor.signal(Signal::CONT);
            Ok(())
        }
        Deed::Roll { twice } => roll(stage, actor, twice),
        Deed::KillAll(_) => Err("only all brokers can be killed at once".into()),
    }
}

fn roll(stage: &Stage, actor: &Actor, twice: bool) -> Result<()> {
    if !actor.is_api {
        stage.farewell();
    }
    let young = actor.is_young();
    actor.signal(Signal::TERM);
    if twice && stage.sleep(AGAIN_AFTER) {
        actor.signal(Signal::TERM);
    }
    match until_ended(stage, actor) {
        Some(status) if status.success() => {}
        Some(status) if young && status.signal() == Some(Signal::TERM.as_raw()) => {}
        Some(status) => ended_badly(stage, format!("{} ended with {status} after SIGTERM", actor.name), status),
        None if stage.is_over() => return Ok(()),
        None => stage.surprise(format!("{} has not ended {ENDS_WITHIN:?} after SIGTERM", actor.name)),
    }
    actor.kill();
    actor.start()
}

/// Waits for the end that was asked for.
fn until_ended(stage: &Stage, actor: &Actor) -> Option<ExitStatus> {
    let until = stage.elapsed() + ENDS_WITHIN;
    while stage.elapsed() < until {
        if let Some(status) = actor.ended() {
            return Some(status);
        }
        if !stage.sleep(TEND_EVERY) {
            break;
        }
    }
    actor.ended()
}

fn harm_brokers(stage: &Stage, act: Act) -> Result<()> {
    let cluster = &stage.cast.cluster;
    if let Deed::KillAll(time) = act.deed {
        let _fault = stage.fault_of_brokers(format!("{}", act.deed));
        cluster.kill();
        return if stage.sleep(time) { Ok(cluster.restart()?) } else { Ok(()) };
    }
    let broker = &cluster.brokers()[act.whom - 1];
    let _fault = stage.fault_of_brokers(format!("broker {}: {}", act.whom, act.deed));
    match act.deed {
        Deed::Kill(time) => {
            broker.kill();
            if stage.sleep(time) { Ok(broker.restart()?) } else { Ok(()) }
        }
        Deed::Freeze(time) => {
            broker.pause()?;
            stage.sleep(time);
            Ok(broker.resume()?)
        }
        Deed::Roll { .. } => Ok(broker.restart()?),
        Deed::KillAll(_) => Ok(()),
    }
}

/// Ends a process as an operator does, at the end of the play; gives what was wrong with that.
pub fn end(actor: &Actor) -> Option<String> {
    actor.signal(Signal::TERM);
    let begun = Instant::now();
    while begun.elapsed() < ENDS_WITHIN {
        match actor.ended() {
            Some(status) if status.success() => return None,
            Some(status) => return Some(format!("{} ended with {status} after SIGTERM", actor.name)),
            None => std::thread::sleep(TEND_EVERY),
        }
    }
    actor.kill();
    Some(format!("{} has not ended {ENDS_WITHIN:?} after the last SIGTERM", actor.name))
}
