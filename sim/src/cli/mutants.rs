//! The proof that the simulator finds bugs: each mutant is played until it is caught, and the table says how soon. A seed that
//! fails without the mutant proves nothing.

use super::{again, bar};
use baton_probe::Mutant;
use baton_sim::campaign::{self, Until};
use baton_sim::shrink::Less;
use std::process::ExitCode;
use std::time::Instant;

/// Plays each mutant on these seeds until one fails, and prints the table.
pub fn hunt(seeds: &[u64], jobs: usize) -> ExitCode {
    let begun = Instant::now();
    let bar = bar(Mutant::ALL.len());
    let (mut rows, mut broken) = (Vec::new(), Vec::new());
    for mutant in Mutant::ALL.iter().copied() {
        bar.set_message(mutant.name());
        let summary = campaign::run(seeds, jobs, Some(mutant), Until::Failure, |_| {});
        let failure = summary.failures.into_iter().next();
        if let Some(seed) = failure.as_ref().map(|failure| failure.seed)
            && !campaign::run(&[seed], 1, None, Until::Failure, |_| {}).failures.is_empty()
        {
            broken.push((mutant, seed));
        }
        rows.push((mutant, failure, summary.seeds));
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("| mutant | breaks | caught by | seeds until then |\n| --- | --- | --- | --- |");
    let mut missed = Vec::new();
    for (mutant, failure, played) in &rows {
        let (name, breaks) = (mutant.name(), mutant.guarantee());
        if let Some(failure) = failure {
            let until = seeds.iter().position(|seed| *seed == failure.seed).map_or(*played, |at| at + 1);
            let by = match failure.violation.guarantee {
                0 => "a panic".to_owned(),
                guarantee => format!("guarantee {guarantee}"),
            };
            println!("| {name} | {breaks} | {by} | {until} |");
        } else {
            println!("| {name} | {breaks} | NOT CAUGHT | {played} |");
            missed.push(*mutant);
        }
    }
    let caught = rows.len() - missed.len() - broken.len();
    println!("\n{caught} of {} mutants caught in {:.0} s", rows.len(), begun.elapsed().as_secs_f64());
    for mutant in &missed {
        println!(
            "  NOT CAUGHT: {}",
            again(seeds.first().copied().unwrap_or_default(), &Less::default(), Some(*mutant))
        );
    }
    for (mutant, seed) in &broken {
        println!("  PROVES NOTHING of {}: {} fails as well", mutant.name(), again(*seed, &Less::default(), None));
    }
    if missed.is_empty() && broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
