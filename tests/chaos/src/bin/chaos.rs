//! `chaos --for TIME [--seed N]`: one run, its report, and an exit code. However it ends, it ends all that it has started.

use baton_chaos::cast::Cast;
use baton_chaos::plan::{Deed, Plan};
use baton_chaos::play::{Outcome, play};
use baton_chaos::report::report;
use clap::Parser;
use clap::builder::PossibleValuesParser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// What comes before and after the faults takes at most this long, also on a machine with much to do.
const AROUND: Duration = Duration::from_mins(12);
/// The longest time of faults: agents that nobody stops end by themselves after twenty minutes.
const LONGEST: Duration = Duration::from_mins(5);

/// Runs Baton on a real Kafka while workers, APIs and brokers are killed, frozen and restarted; then checks the ten guarantees.
#[derive(Debug, Parser)]
#[command(name = "just chaos", version, about, max_term_width = 100)]
struct Cli {
    /// For how long there are faults, at most 5m; all of it takes a minute or two more
    #[arg(long = "for", value_name = "TIME", default_value = "90s", value_parser = length)]
    length: Duration,
    /// What happens is drawn from this [default: another one each time]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Leave faults of this kind out; may be repeated
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Deed::KINDS))]
    without: Vec<String>,
    /// Keep the logs and the agents' signs here, also if nothing was found; the directory must not be there yet
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if length > LONGEST { Err(format!("at most {LONGEST:?}")) } else { Ok(length) }
}

/// Who must be ended, whatever happens.
static CAST: OnceLock<Arc<Cast>> = OnceLock::new();

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
        eprintln!("chaos: could not handle signals");
        return ExitCode::FAILURE;
    };
    let limit = cli.length + AROUND;
    let code = tokio::select! {
        code = tokio::spawn(run(cli)) => code.unwrap_or(2),
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
        () = tokio::time::sleep(limit) => {
            eprintln!("chaos: not over after {limit:?}");
            2
        }
    };
    if let Some(cast) = CAST.get() {
        cast.kill();
    }
    // Threads that wait for brokers are not waited for: the brokers end with this process, and their data with it.
    std::process::exit(code)
}

async fn run(cli: Cli) -> i32 {
    match try_run(&cli).await {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            eprintln!("chaos: {error}");
            2
        }
    }
}

async fn try_run(cli: &Cli) -> baton_chaos::Result<bool> {
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let length = humantime::format_duration(cli.length).to_string();
    let mut again = format!("just chaos --seed {seed} --for {length}");
    for kind in &cli.without {
        again.extend([" --without ", kind]);
    }
    println!("{again}");
    let dir = match &cli.keep {
        Some(dir) => {
            std::fs::create_dir(dir).map_err(|error| format!("could not make --keep {}: {error}", dir.display()))?;
            dir.canonicalize()?
        }
        None => tempfile::Builder::new().prefix("baton-chaos-").tempdir()?.keep(),
    };
    let made = dir.clone();
    let cast = Arc::new(tokio::task::spawn_blocking(move || Cast::new(&made)).await??);
    // It is set once.
    let _ = CAST.set(cast.clone());
    let begun = Instant::now();
    let played = play(cast.clone(), Plan::new(seed, cli.length, &cli.without), cli.length).await;
    cast.kill();
    let holds = played.as_ref().is_ok_and(|outcome| outcome.verdict.findings.is_empty());
    let told = played.map(|Outcome { story, verdict }| report(&story, &verdict));
    if let Ok(told) = &told {
        println!("\n{told}");
        std::fs::write(dir.join("report"), told)?;
    }
    if holds && cli.keep.is_none() {
        std::fs::remove_dir_all(&dir)?;
    } else {
        cast.keep_broker_logs()?;
        println!("\nlogs, signs and this report: {}", dir.display());
    }
    println!(
        "{again}: {} after {:.0?}",
        if holds { "all guarantees hold" } else { "NOT all is well" },
        begun.elapsed()
    );
    told.map(|_| holds)
}
