//! Developer commands of the workspace: `cargo xtask help` lists them.

mod commands;
mod run;
mod servers;

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    run::exit_code(commands::dispatch(&args))
}
