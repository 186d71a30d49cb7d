//! The summary of a campaign.

use baton_probe::Mark;
use baton_sim::campaign::Summary;
use baton_sim::plan::FaultKind;

/// Prints what the seeds met, by fault and by mark.
#[allow(clippy::cast_precision_loss)] // for people
pub fn print(summary: &Summary, took: f64, jobs: usize) {
    let rate = summary.seeds as f64 / took;
    println!("{} seeds in {took:.1} s: {rate:.0} a second, {:.0} a second and core", summary.seeds, rate / jobs as f64);
    println!(
        "{} tasks, {} events, {} messages, {:.1} hours of simulated time",
        summary.tasks,
        summary.events,
        summary.messages,
        summary.simulated / 3600.0
    );
    println!("\nseeds  fault");
    for name in FaultKind::NAMES {
        println!("{:>5}  {name}", summary.faults.get(name).copied().unwrap_or_default());
    }
    println!("\nseeds  mark");
    for mark in Mark::ALL {
        println!("{:>5}  {}", summary.marks.get(mark).copied().unwrap_or_default(), mark.name());
    }
    println!("\n{} of {} seeds failed", summary.failures.len(), summary.seeds);
}
