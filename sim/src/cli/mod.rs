//! What the simulator says and is asked. It decides nothing.

mod check;
mod mutants;
mod story;
mod table;

use baton_probe::Mutant;
use baton_sim::campaign::{self, Summary, Until};
use baton_sim::plan::Plan;
use baton_sim::seed;
use baton_sim::shrink::{self, Less};
use baton_sim::trace::Trace;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How many seeds are played where nobody says.
const SEEDS: usize = 300;
/// From so many seeds on, each mark and each kind of fault must have been met.
const MARKS_AFTER: usize = 1000;
/// How many plans are tried to make a failing one smaller.
const SHRINKING: usize = 400;
/// How many failing seeds are told of.
const TOLD: usize = 10;

/// Baton's simulator: plays worlds in which Baton's shipped loops run under faults, and checks the ten guarantees in each.
#[derive(Debug, Parser)]
#[command(name = "just sim", version, about, max_term_width = 100)]
#[allow(clippy::struct_excessive_bools)] // they are flags
struct Cli {
    /// How many seeds to play [default: 300]
    #[arg(long, value_name = "N")]
    seeds: Option<usize>,
    /// The first seed; those that follow count up [default: from the time of day]
    #[arg(long, value_name = "SEED")]
    from: Option<u64>,
    /// How many to play at a time [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Play this seed alone
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from", "check", "mutants"])]
    seed: Option<u64>,
    /// Tell the story of the seed, line by line
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Draw the seed: one HTML file with nothing outside of it
    #[arg(long, requires = "seed", value_name = "FILE", num_args = 0..=1, default_missing_value = "seed.html")]
    html: Option<PathBuf>,
    /// Take these out of the seed's plan, as a shrunk failure names them: f0,t3,w12
    #[arg(long, requires = "seed", value_name = "LIST", default_value = "", hide_default_value = true)]
    less: Less,
    /// Play a Baton that is wrong in this way
    #[arg(long, value_name = "NAME", value_parser = mutant)]
    mutant: Option<Mutant>,
    /// Play each seed in two processes, and compare their stories
    #[arg(long, conflicts_with_all = ["mutants", "mutant"])]
    check: bool,
    /// Play every mutant until it is caught, on at most N seeds each [default: 2000]
    #[arg(long, conflicts_with = "mutant")]
    mutants: bool,
    /// Print the hash of each seed's story
    #[arg(long, hide = true)]
    hashes: bool,
}

fn mutant(name: &str) -> Result<Mutant, String> {
    Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name).ok_or_else(|| {
        let names: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        format!("there is no such mutant; there are:\n  {}", names.join("\n  "))
    })
}

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // A world that panics says so in its outcome, with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let jobs = cli.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    if let Some(seed) = cli.seed {
        return story::tell(&Plan::draw(seed), &cli.less, cli.mutant, cli.trace, cli.html.as_deref());
    }
    let first = cli.from.unwrap_or_else(of_the_day);
    let seeds = |default| -> Vec<u64> { (first..).take(cli.seeds.unwrap_or(default)).collect() };
    if cli.hashes {
        return check::print_hashes(&seeds(SEEDS));
    }
    if cli.check {
        return check::compare(&seeds(20), jobs);
    }
    if cli.mutants {
        return mutants::hunt(&seeds(2000), jobs);
    }
    campaign(&seeds(SEEDS), jobs, cli.mutant)
}

/// Seeds that nobody has played before.
fn of_the_day() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() * 1000)
}

fn campaign(seeds: &[u64], jobs: usize, mutant: Option<Mutant>) -> ExitCode {
    println!("{} seeds from {} on, {jobs} at a time", seeds.len(), seeds.first().copied().unwrap_or_default());
    let bar = bar(seeds.len());
    let begun = Instant::now();
    let summary = campaign::run(seeds, jobs, mutant, Until::TheEnd, |outcome| {
        bar.inc(1);
        if let Some(violation) = &outcome.violation {
            bar.set_message(format!("guarantee {} broken", violation.guarantee));
        }
    });
    bar.finish_and_clear();
    let took = begun.elapsed().as_secs_f64();
    table::print(&summary, took, jobs);
    let missed = summary.seeds >= MARKS_AFTER && !(summary.missed().is_empty() && summary.unmet().is_empty());
    if missed {
        println!("FAILED: after {} seeds each mark and each fault should have been met", summary.seeds);
    }
    tell_failures(&summary, mutant);
    if summary.failures.is_empty() && !missed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell_failures(summary: &Summary, mutant: Option<Mutant>) {
    for failure in summary.failures.iter().take(TOLD) {
        println!("\nFAILED: seed {}: {}", failure.seed, failure.violation);
    }
    if let Some(left) = summary.failures.len().checked_sub(TOLD).filter(|left| *left > 0) {
        println!("\n… and {left} more");
    }
    if let Some(failure) = summary.failures.first() {
        let plan = Plan::draw(failure.seed);
        let less = shrink::shrink(&plan, mutant, &failure.violation, SHRINKING);
        let left = less.of(&plan);
        let (tasks, faults, watchers) = (left.tasks.len(), left.faults.len(), left.watchers.len());
        println!(
            "\nThe first of them fails with {tasks} tasks, {faults} faults and {watchers} watchers too. To repeat it:"
        );
        println!("  {}", again(failure.seed, &less, mutant));
        let smaller = seed::play(&left, mutant);
        println!("\n{}", Trace::new(failure.seed, &smaller.story).ending());
    }
}

fn again(seed: u64, less: &Less, mutant: Option<Mutant>) -> String {
    let less = if less.is_empty() { String::new() } else { format!(" --less {less}") };
    let mutant = mutant.map(|mutant| format!(" --mutant '{}'", mutant.name())).unwrap_or_default();
    format!("just sim --seed {seed} --trace{less}{mutant}")
}

fn bar(len: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {per_sec}  {eta} left  {msg}");
    ProgressBar::new(len as u64).with_style(style.expect("the template is right"))
}
