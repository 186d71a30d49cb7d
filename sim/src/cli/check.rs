//! Determinism is checked, not hoped for: seeds are played in two processes, in another order and beside other
//! neighbours, and their stories must be the same.

use baton_sim::plan::Plan;
use baton_sim::seed;
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

/// Prints a line a seed: itself and its story's hash.
pub fn print_hashes(seeds: &[u64]) -> ExitCode {
    for seed in seeds {
        println!("{seed} {:08x}", seed::play(&Plan::draw(*seed), None).hash);
    }
    ExitCode::SUCCESS
}

/// Plays the seeds here, backwards and `jobs` at a time, and in another process, forwards and one at a time.
pub fn compare(seeds: &[u64], jobs: usize) -> ExitCode {
    let other = match elsewhere(seeds) {
        Ok(other) => other,
        Err(error) => {
            println!("FAILED: the other process: {error}");
            return ExitCode::FAILURE;
        }
    };
    let backwards: Vec<u64> = seeds.iter().rev().copied().collect();
    let here: BTreeMap<u64, String> = std::thread::scope(|scope| {
        let play = |part: &[u64]| {
            let one = |seed: &u64| (*seed, format!("{:08x}", seed::play(&Plan::draw(*seed), None).hash));
            part.iter().map(one).collect::<Vec<_>>()
        };
        let parts = backwards.chunks(backwards.len().div_ceil(jobs).max(1));
        let players: Vec<_> = parts.map(|part| scope.spawn(move || play(part))).collect();
        players.into_iter().flat_map(|player| player.join().expect("it catches its panics")).collect()
    });
    let different: Vec<_> = seeds.iter().filter(|seed| here.get(seed) != other.get(seed)).collect();
    if different.is_empty() {
        println!("{} seeds told the same story in two processes", seeds.len());
        return ExitCode::SUCCESS;
    }
    println!("FAILED: these seeds tell another story each time: {different:?}");
    ExitCode::FAILURE
}

fn elsewhere(seeds: &[u64]) -> std::io::Result<BTreeMap<u64, String>> {
    let (from, count) = (seeds.first().copied().unwrap_or_default(), seeds.len());
    let output = Command::new(std::env::current_exe()?)
        .args(["--hashes", "--from", &from.to_string(), "--seeds", &count.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Ok(lines.filter_map(|(seed, hash)| Some((seed.parse().ok()?, hash.to_owned()))).collect())
}
