//! What a run has shown, for people: what was checked, what was broken, and what was seen of the tasks that it is about.

use crate::checker::{Finding, Verdict};
use crate::play::summary;
use crate::story::Story;
use std::fmt::Write as _;

/// What each guarantee is called.
const NAMES: [&str; 11] = [
    "no surprise",
    "accepted means kept",
    "commit after execute",
    "one end",
    "no gap, no duplicate",
    "attempts are visible",
    "stop means stopped",
    "one live process a task",
    "poison ends",
    "bounded",
    "nothing is left",
];
/// Findings of one guarantee that are told in full.
const TOLD: usize = 5;
/// The last lines of a task's story that are told.
const LAST: usize = 24;

/// The whole report.
pub fn report(story: &Story, verdict: &Verdict) -> String {
    let mut text = format!("{}\n\n", summary(story));
    for peak in &story.peaks {
        let _ = writeln!(text, "{:>8} took {} MiB at most", peak.name, peak.kib / 1024);
    }
    text.push('\n');
    for (number, name) in NAMES.iter().enumerate() {
        let broken = verdict.findings.iter().filter(|finding| usize::from(finding.guarantee) == number).count();
        let outcome = if broken == 0 { "holds".to_owned() } else { format!("BROKEN {broken} times") };
        let _ = writeln!(text, "{number:>3}  {name:<24} {:>7} checks  {outcome}", verdict.checked[number]);
    }
    for number in 0..NAMES.len() {
        let of_it = verdict.findings.iter().filter(|finding| usize::from(finding.guarantee) == number);
        for (index, finding) in of_it.enumerate() {
            if index < TOLD {
                text.push_str(&tell(story, finding));
            } else if index == TOLD {
                let _ = writeln!(text, "\n... and more of guarantee {number}");
            }
        }
    }
    text
}

fn tell(story: &Story, finding: &Finding) -> String {
    let number = usize::from(finding.guarantee);
    let mut text = format!("\nGUARANTEE {number} ({}): {}\n", NAMES[number], finding.what);
    let Some(task) = &finding.task else { return text };
    let events = events(story, task);
    let _ = writeln!(text, "  task {task}, the last of {} events:", events.len());
    for (at, what) in events.iter().skip(events.len().saturating_sub(LAST)) {
        let _ = writeln!(text, "    {at}  {what}");
    }
    text
}

/// All that is known of a task, and the faults in its time, by the clock.
fn events(story: &Story, task: &str) -> Vec<(u64, String)> {
    let updates = story.log.updates.iter().filter(|update| update.task == task);
    let mut events: Vec<(u64, String)> = updates
        .map(|update| {
            let id =
                format!("{}-{}", update.attempt.unwrap_or(0), update.seq.map_or("?".into(), |seq| seq.to_string()));
            (update.at, format!("log      {} {id} {} {:?}", update.place, update.kind.name(), update.text))
        })
        .collect();
    let signs = story.signs.get(task).into_iter().flatten();
    events.extend(signs.map(|sign| (sign.at, format!("agent    {sign}"))));
    let stops = story.stops.iter().filter(|stop| stop.task == task);
    events.extend(stops.map(|stop| (stop.at, format!("client   STOP at api-{}: {:?}", stop.api, stop.status))));
    let watches = story.watches.iter().filter(|watch| watch.task == task);
    events.extend(watches.map(|watch| {
        let what = format!(
            "watcher  {} {:?} api-{} after {}: {} frames, {:?}",
            watch.watcher,
            watch.format,
            watch.api,
            watch.after,
            watch.frames.len(),
            watch.closed
        );
        (watch.opened, what)
    }));
    let (first, last) = events.iter().fold((u64::MAX, 0), |(first, last), (at, _)| (first.min(*at), last.max(*at)));
    let faults = story.faults.iter().filter(|fault| fault.from <= last && first <= fault.to);
    events.extend(faults.map(|fault| (fault.from, format!("fault    {} (until {})", fault.what, fault.to))));
    events.sort();
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::{Sign, What};
    use crate::story::Fault;

    #[test]
    fn a_finding_is_told_with_what_was_seen() {
        let mut story = Story::default();
        let sign = Sign { at: 50, attempt: 1, process: "p1".into(), what: What::Begin };
        story.signs.insert("a".into(), vec![sign]);
        story.faults = vec![
            Fault { from: 40, to: 60, what: "anna: SIGKILL".into() },
            Fault { from: 70, to: 80, what: "no".into() },
        ];
        let finding = Finding { guarantee: 7, task: Some("a".into()), what: "two".into() };
        let told = tell(&story, &finding);
        assert_eq!(
            told,
            "\nGUARANTEE 7 (one live process a task): two\n  task a, the last of 2 events:\n    40  fault    anna: SIGKILL (until 60)\n    \
             50  agent    50 1 p1 begin\n"
        );
        let verdict = Verdict { findings: vec![finding], checked: [1; 11] };
        let all = report(&story, &verdict);
        assert!(all.contains("  7  one live process a task        1 checks  BROKEN 1 times"), "{all}");
        assert!(all.contains("  8  poison ends                    1 checks  holds"), "{all}");
    }
}
