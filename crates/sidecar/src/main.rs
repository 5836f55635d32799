//! The sidecar's binary.

fn main() -> std::process::ExitCode {
    component::main(vec![sidecar::command()])
}
