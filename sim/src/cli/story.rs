//! One seed: its outcome, its story, its picture.

use baton_probe::Mutant;
use baton_sim::plan::Plan;
use baton_sim::shrink::Less;
use baton_sim::{picture, seed, trace};
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

/// Plays one plan and says what became of it.
pub fn tell(plan: &Plan, less: &Less, mutant: Option<Mutant>, story: bool, html: Option<&Path>) -> ExitCode {
    let plan = less.of(plan);
    let outcome = seed::play(&plan, mutant);
    if story {
        print!("{}", trace::story(&outcome.entries, std::io::stdout().is_terminal()));
    }
    println!(
        "seed {}: {} tasks, {} watchers, {} faults, {} events in {:.1} s of simulated time, hash {:08x}",
        plan.seed,
        plan.tasks.len(),
        plan.watchers.len(),
        plan.faults.len(),
        outcome.entries.len(),
        outcome.lasted.as_secs_f64(),
        outcome.hash
    );
    if let Some(file) = html {
        let title = format!("Baton, seed {}", plan.seed);
        if let Err(error) = std::fs::write(file, picture::html(&title, &outcome.entries, outcome.violation.as_ref())) {
            println!("FAILED: {} can't be written: {error}", file.display());
            return ExitCode::FAILURE;
        }
        println!("drawn in {}", file.display());
    }
    match outcome.violation {
        Some(violation) => {
            println!("\nFAILED: {violation}");
            ExitCode::FAILURE
        }
        None => {
            println!("all ten guarantees were kept");
            ExitCode::SUCCESS
        }
    }
}
