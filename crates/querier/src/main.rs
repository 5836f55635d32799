//! The querier's binary.

fn main() -> std::process::ExitCode {
    component::main(vec![querier::command()])
}
