//! The simulator's command line.

#[cfg(madsim)]
mod cli;

#[cfg(madsim)]
fn main() -> std::process::ExitCode {
    cli::main()
}

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    eprintln!("the simulator is built with RUSTFLAGS='--cfg madsim': run `just sim`");
    std::process::ExitCode::from(2)
}
