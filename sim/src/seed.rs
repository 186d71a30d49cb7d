//! Plays a plan in a runtime and a thread of its own, so that nothing of one seed is there for the next.

use crate::journal::Journal;
use crate::oracle::{Oracle, OracleConfig, Violation};
use crate::plan::Plan;
use crate::story::Story;
use crate::world;
use baton_probe::{Mark, Mutant};
use madsim::Config;
use madsim::runtime::Runtime;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What a plan came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was broken first.
    pub violation: Option<Violation>,
    /// The same for the same story.
    pub hash: u32,
    /// The marks that were hit.
    pub marks: BTreeSet<Mark>,
    /// The story.
    pub story: Story,
    /// How long it was in the simulation's time.
    pub lasted: Duration,
    /// How many messages went over the network.
    pub messages: u64,
}

/// Plays the plan, with a Baton that is wrong in this way.
pub fn play(plan: &Plan, mutant: Option<Mutant>) -> Outcome {
    let plan = plan.clone();
    let player = std::thread::Builder::new().name(format!("seed {}", plan.seed));
    player.spawn(move || play_here(&plan, mutant)).expect("a thread can be made").join().expect("it catches its panics")
}

fn play_here(plan: &Plan, mutant: Option<Mutant>) -> Outcome {
    baton_probe::mutate(mutant);
    baton_probe::make_limits_small(plan.small_limits);
    let oracle = Oracle::new(OracleConfig {
        grace: world::GRACE,
        reaction: plan.spawning + Duration::from_millis(100),
        burial: plan.dying + Duration::from_millis(200),
        skew: plan.skew() + Duration::from_secs(1),
        loses: plan.loss > 0.0,
        heals_all: true,
        ..OracleConfig::default()
    });
    let runtime = Runtime::with_seed_and_config(plan.seed, Config::default());
    // The journal outlives the world, whatever becomes of that.
    let journal = runtime.block_on(async { Journal::new(oracle) });
    let played = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let start = tokio::time::Instant::now();
            world::play(plan, &journal).await;
            let messages = madsim::net::NetSim::current().stat().msg_count;
            (start.elapsed(), messages)
        })
    }));
    let violation = played.as_ref().err().map(|panic| Violation::panicked(&**panic));
    let (lasted, messages) = played.unwrap_or_default();
    Outcome {
        violation: journal.violation().or(violation),
        hash: journal.hash(),
        marks: baton_probe::take_marks(),
        story: journal.into_story(),
        lasted,
        messages,
    }
}
