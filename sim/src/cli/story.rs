//! One seed: its outcome, its story, its picture.

use baton_probe::Mutant;
use baton_sim::picture::picture;
use baton_sim::plan::Plan;
use baton_sim::seed;
use baton_sim::shrink::Less;
use baton_sim::trace::Trace;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

/// Plays one plan and says what became of it.
pub fn tell(plan: &Plan, less: &Less, mutant: Option<Mutant>, story: bool, html: Option<&Path>) -> ExitCode {
    let plan = less.of(plan);
    let outcome = seed::play(&plan, mutant);
    if story {
        let colours = std::io::stdout().is_terminal();
        print!("{}", Trace::new(plan.seed, &outcome.story).with_colours(colours));
    }
    println!(
        "seed {}: {} tasks, {} watchers, {} faults, {} events in {:.1} s of simulated time, hash {:08x}",
        plan.seed,
        plan.tasks.len(),
        plan.watchers.len(),
        plan.faults.len(),
        outcome.story.entries().len(),
        outcome.lasted.as_secs_f64(),
        outcome.hash
    );
    if let Some(file) = html {
        if let Err(error) = std::fs::write(file, picture(plan.seed, &outcome.story)) {
            println!("FAILED: {} can't be written: {error}", file.display());
            return ExitCode::FAILURE;
        }
        println!("drawn in {}", file.display());
    }
    let Some(violation) = outcome.violation else {
        println!("all ten guarantees were kept");
        return ExitCode::SUCCESS;
    };
    println!("\nFAILED: {violation}");
    if !story {
        println!("{}", Trace::new(plan.seed, &outcome.story).ending());
    }
    ExitCode::FAILURE
}
