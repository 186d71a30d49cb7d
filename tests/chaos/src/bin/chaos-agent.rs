//! The agent that the workers run: a program of its own, so that it starts fast. It holds nothing but the call.

fn main() -> std::process::ExitCode {
    match baton_chaos::agent::main() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos-agent: {error}");
            std::process::ExitCode::from(2)
        }
    }
}
