//! One binary that links every service and picks by Thanos' verb: `athanor store …`, `athanor query …`.

fn main() -> std::process::ExitCode {
    component::main(vec![sidecar::command(), store_gateway::command(), querier::command()])
}
