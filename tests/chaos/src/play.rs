//! One run from its beginning to its verdict: everybody starts, faults and clients play, all heals, everything ends, and is judged.

use crate::cast::{self, Cast, GRACE, MAX_ATTEMPTS, PREFIX, Peaks, lanes, leftovers};
use crate::checker::{Verdict, check};
use crate::clients::Clients;
use crate::plan::{APIS, Agent, Plan};
use crate::stage::Stage;
use crate::story::{Answer, Limits, Story};
use crate::{Result, record, sign};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

/// How long everything may take to be ready, and to heal.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// How long all tasks may take to end once everything has healed: three attempts, one after the other, with a session between them.
const ENDED_WITHIN: Duration = Duration::from_secs(150);
/// How long clients may take to see the end of what has ended.
const SEEN_WITHIN: Duration = Duration::from_mins(1);
/// How long the last processes may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// From look to look.
const LOOK: Duration = Duration::from_millis(200);

/// What came of a run.
pub struct Outcome {
    /// What it left.
    pub story: Story,
    /// What that means.
    pub verdict: Verdict,
}

/// Plays a plan, with everybody on stage.
pub async fn play(cast: Arc<Cast>, plan: Plan, length: Duration) -> Result<Outcome> {
    cast.start()?;
    let stage = Arc::new(Stage::new(cast.clone(), length));
    let clients = Clients::new(stage.clone())?;
    until_ready(&clients).await?;
    // The time until here is not the plan's.
    let stage = Arc::new(Stage::new(cast.clone(), length));
    let clients = Clients::new(stage.clone())?;
    stage.say("everybody is ready");
    let _ends = Ends(stage.clone());
    let peaks = Arc::new(Peaks::default());
    let looking = look_after(&stage, &peaks);
    let all_lanes = lanes(&plan);
    let count = all_lanes.len();
    let playing: Vec<_> = all_lanes
        .into_iter()
        .map(|lane| {
            let stage = stage.clone();
            std::thread::spawn(move || lane.play(&stage))
        })
        .collect();
    let first = plan.tasks.len();
    let mut audience = tokio::spawn({
        let (clients, tasks) = (clients.clone(), plan.tasks);
        async move { clients.play(tasks, 0).await }
    });
    healed(&stage, &clients, count).await?;
    stage.say("all has healed");
    // Where tasks don't end there is enough to be told.
    if all_end(&stage, &clients).await {
        if timeout(SEEN_WITHIN, &mut audience).await.is_err() {
            stage.surprise(format!("clients still wait {SEEN_WITHIN:?} after all tasks have ended"));
        }
        stage.say("the coda: tasks and stops where nothing is wrong");
        let coda = clients.play(plan.coda, first);
        if timeout(SEEN_WITHIN, coda).await.is_err() {
            stage.surprise(format!("clients of the coda still wait after {SEEN_WITHIN:?}"));
        }
        read_again(&clients).await;
    }
    audience.abort();
    stage.say("everybody ends");
    let told = stage.told();
    stage.end();
    for thread in playing {
        let _ = spawn_blocking(move || thread.join()).await?;
    }
    looking.await?;
    let ending = stage.clone();
    let left_behind = spawn_blocking(move || end_all(&ending)).await?;
    let bootstrap = cast.cluster.bootstrap();
    let log = spawn_blocking(move || record::read(&bootstrap, PREFIX)).await??;
    let mut story = clients.witness.take();
    story.limits = Limits { max_attempts: MAX_ATTEMPTS, grace: GRACE, ..Limits::default() };
    story.log = log;
    story.signs = sign::read_all(&cast.signs())?.into_iter().collect::<BTreeMap<_, _>>();
    story.faults = told.faults;
    story.farewells = told.farewells;
    story.surprises = [told.surprises, left_behind.surprises].concat();
    story.left = left_behind.left;
    story.peaks = peaks.take();
    let verdict = check(&story);
    Ok(Outcome { story, verdict })
}

/// Ends the play however it is left.
struct Ends(Arc<Stage>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn look_after(stage: &Arc<Stage>, peaks: &Arc<Peaks>) -> tokio::task::JoinHandle<()> {
    let (stage, peaks) = (stage.clone(), peaks.clone());
    spawn_blocking(move || {
        while stage.sleep(LOOK) {
            peaks.look(&stage.cast);
        }
    })
}

async fn until_ready(clients: &Arc<Clients>) -> Result<()> {
    let begun = Instant::now();
    for api in 0..APIS {
        while !clients.is_ready(api).await {
            if begun.elapsed() > READY_WITHIN {
                return Err(format!("api-{api} is not ready after {READY_WITHIN:?}").into());
            }
            sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Waits until the time of faults is over and each lane has healed.
async fn healed(stage: &Stage, clients: &Arc<Clients>, lanes: usize) -> Result<()> {
    while stage.healed() < lanes {
        if stage.elapsed() > stage.length + READY_WITHIN {
            return Err(format!("{} of {lanes} lanes have not healed", lanes - stage.healed()).into());
        }
        sleep(LOOK).await;
    }
    until_ready(clients).await
}

/// Stops what would go on for ever, and waits until every task that an API knows of has ended.
async fn all_end(stage: &Stage, clients: &Arc<Clients>) -> bool {
    let begun = Instant::now();
    let endless: BTreeSet<&str> = [Agent::Endless, Agent::Stubborn].map(|agent| agent.asked().0).into();
    while begun.elapsed() < ENDED_WITHIN {
        match clients.open_tasks(0).await {
            Ok(open) if open.is_empty() => {
                stage.say("all tasks have ended");
                return true;
            }
            Ok(open) => {
                for (id, kind) in open {
                    if endless.contains(kind.as_str()) && !clients.witness.is_stopped(&id) {
                        clients.stop_for_sure(&id, 0).await;
                    }
                }
            }
            Err(error) => stage.say(&format!("which tasks are open can't be asked: {error}")),
        }
        sleep(LOOK).await;
    }
    stage.say(&format!("there are open tasks {ENDED_WITHIN:?} after all has healed"));
    false
}

/// Every task once more at every replica, each time in another format.
async fn read_again(clients: &Arc<Clients>) {
    let ids = clients.witness.accepted();
    for (number, id) in ids.iter().enumerate() {
        let mut all = JoinSet::new();
        for api in 0..APIS {
            let (clients, id) = (clients.clone(), id.clone());
            let format = u8::try_from((number + api) % 3).unwrap_or(0);
            all.spawn(async move { clients.read_again(&id, api, format).await });
        }
        while all.join_next().await.is_some() {}
    }
}

struct LeftBehind {
    left: Vec<String>,
    surprises: Vec<String>,
}

/// Ends workers and APIs as an operator does; what is there then is left behind.
fn end_all(stage: &Stage) -> LeftBehind {
    let cast = &stage.cast;
    let ends = std::thread::scope(|scope| {
        let actors = cast.workers.iter().chain(&cast.apis);
        let ending: Vec<_> = actors.map(|actor| scope.spawn(move || cast::end(actor))).collect();
        ending.into_iter().filter_map(|end| end.join().ok()?).collect()
    });
    let begun = Instant::now();
    let mut left = leftovers(&cast.dir);
    while !left.is_empty() && begun.elapsed() < GONE_WITHIN {
        std::thread::sleep(LOOK);
        left = leftovers(&cast.dir);
    }
    LeftBehind { left, surprises: ends }
}

/// How many of something there were, for people.
pub fn summary(story: &Story) -> String {
    let accepted = story.posts.iter().filter(|post| matches!(post.answer, Answer::Accepted(_))).count();
    let frames: usize = story.watches.iter().map(|watch| watch.frames.len()).sum();
    let acknowledged = story.stops.iter().filter(|stop| stop.status == Some(202)).count();
    let begun = story.log.updates.iter().filter(|update| update.kind == baton_core::record::Kind::Started).count();
    format!(
        "{} tasks on the log ({} POSTs, {accepted} of them accepted), {begun} attempts, {} updates, {} dead letters;\n\
         {} connections of watchers read {frames} frames; {} STOPs, {acknowledged} of them acknowledged; {} faults",
        story.log.tasks.len(),
        story.posts.len(),
        story.log.updates.len(),
        story.log.letters.len(),
        story.watches.len(),
        story.stops.len(),
        story.faults.len(),
    )
}
