//! The store gateway's binary.

fn main() -> std::process::ExitCode {
    component::main(vec![store_gateway::command()])
}
