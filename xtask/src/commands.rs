//! The table of commands, and what each one starts.
//!
//! Nothing heavy happens in this process: a command is cargo with some arguments, or a tool among
//! the binaries of `e2e` that cargo builds first together with the services which it starts.
//! Invariant: whatever xtask does not know is passed on, so a tool's flags are told by the tool.

use std::io::Write as _;
use std::process::Command;

use anyhow::bail;

use crate::run::{cargo, run, target};
use crate::servers;

/// A command: its name, its arguments, what it does.
type Entry = (&'static str, &'static str, &'static str, fn(&[String]) -> anyhow::Result<()>);

const COMMANDS: &[Entry] = &[
    (
        "demo",
        "[--check] [--prometheus BIN]",
        "two replicas, a bucket, store gateway and querier, one answer",
        demo,
    ),
    ("test", "[CARGO TEST ARGS]", "every test, or those named, with the servers that tests need", test),
    ("tidy", "", "the rules of the house: head docs, directions, lengths, generated code", tidy),
    ("servers", "[exec CMD…]", "an S3 server and a Prometheus for tests; runs CMD or waits", servers::run),
    ("golden", "DIR [--store-bin BIN] [--query-bin BIN] [--known FILE]", "replays recorded answers", golden),
    ("compliance", "--scripts DIR", "runs PromQL scripts through the engine", compliance),
    (
        "differential",
        "--prometheus BIN [--count N] [--seed N]",
        "generated expressions, the engine against a real Prometheus",
        differential,
    ),
    (
        "bench",
        "[--promql] --thanos BIN [--prometheus BIN] | --engine [--instructions] | --linear [--instructions]",
        "both sides in turn over the same blocks: stores and sidecars, or queriers; or the engine alone: \
         what each query costs, and how that grows",
        bench,
    ),
    ("codegen", "[--check]", "writes (or checks) the messages generated from proto/", codegen),
    ("help", "", "this text", help),
];

/// Runs one command.
///
/// # Errors
/// When the command is unknown or fails.
pub(crate) fn dispatch(args: &[String]) -> anyhow::Result<()> {
    let Some((name, rest)) = args.split_first() else { return help(&[]) };
    let name = if matches!(name.as_str(), "-h" | "--help") { "help" } else { name };
    match COMMANDS.iter().find(|c| c.0 == name) {
        Some((.., command)) => command(rest),
        None => bail!("unknown command {name:?}; see cargo xtask help"),
    }
}

fn help(_: &[String]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "usage: cargo xtask COMMAND [ARGS]\n")?;
    for (name, args, about, _) in COMMANDS {
        writeln!(out, "  {name} {args}\n        {about}")?;
    }
    writeln!(out, "\ndemo, golden, compliance and bench take first")?;
    writeln!(out, "  --profile NAME\n        cargo's profile to build with")?;
    writeln!(out, "  --built\n        what lies in the profile's folder is used as it is")?;
    Ok(())
}

fn test(args: &[String]) -> anyhow::Result<()> {
    if !args.is_empty() {
        let command = ["exec", "cargo", "test"].map(str::to_owned);
        return servers::run(&[&command[..], args].concat());
    }
    // Binaries and tests in one selection get one set of features, so that nothing is built twice,
    // and tests that start services find them.
    run(cargo().args(["build", "--workspace", "--bins", "--tests"]))?;
    let built = format!("ATHANOR_BIN_DIR={}", target().join("debug").display());
    servers::run(&["exec", "env", &built, "cargo", "test", "--workspace"].map(str::to_owned))
}

fn tidy(_: &[String]) -> anyhow::Result<()> {
    run(cargo().args(["test", "--quiet", "--package", "xtask"]))?;
    codegen(&["--check".to_owned()])
}

fn codegen(args: &[String]) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "storeapi-proto", "--test", "codegen"]);
    match args {
        [] => run(command.env("UPDATE_EXPECT", "1")),
        [check] if check == "--check" => run(command.env_remove("UPDATE_EXPECT")),
        _ => bail!("usage: cargo xtask codegen [--check]"),
    }
}

fn demo(args: &[String]) -> anyhow::Result<()> {
    tool("demo", "dev", &["sidecar", "store-gateway", "querier"], args)
}

fn golden(args: &[String]) -> anyhow::Result<()> {
    let given = |flag: &str| args.iter().any(|a| a.split('=').next() == Some(flag));
    let sides = [("--store-bin", "store-gateway"), ("--query-bin", "querier")];
    // A side that is given need not be built.
    let ours: Vec<&str> =
        sides.iter().filter(|(flag, _)| !given(flag)).map(|(_, service)| *service).collect();
    tool("golden", "dev", &ours, args)
}

fn compliance(args: &[String]) -> anyhow::Result<()> {
    tool("compliance", "dev", &[], args)
}

fn differential(args: &[String]) -> anyhow::Result<()> {
    tool("differential", "dev", &[], args)
}

fn bench(args: &[String]) -> anyhow::Result<()> {
    match args {
        [what, rest @ ..] if what == "--engine" => return engine("range_queries", rest),
        [what, rest @ ..] if what == "--linear" => return engine("linear", rest),
        _ => {}
    }
    let promql = args.iter().any(|a| a == "--promql");
    let services = if promql { ["querier", "querier-counting"] } else { ["store-gateway", "sidecar"] };
    tool("bench", "release", &services, args)
}

/// Prints the table of a bench of `promql`, with counts of instructions if they are wanted.
fn engine(bench: &str, args: &[String]) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["bench", "--quiet", "--package", "promql", "--bench", bench]).env("BENCH_TABLE", "1");
    match args {
        [] => run(&mut command),
        [counted] if counted == "--instructions" => run(command.env("BENCH_INSTRUCTIONS", "1")),
        _ => bail!("usage: cargo xtask bench --engine|--linear [--instructions]"),
    }
}

/// Builds a tool of `e2e` with the services it starts, which it finds beside itself, and runs it. A
/// service's second binary, `-counting`, needs a feature.
fn tool(name: &str, profile: &str, services: &[&str], args: &[String]) -> anyhow::Result<()> {
    let (profile, args) = match args {
        [flag, profile, rest @ ..] if flag == "--profile" => (profile.as_str(), rest),
        _ => (profile, args),
    };
    let (built, args) = match args {
        [flag, rest @ ..] if flag == "--built" => (true, rest),
        _ => (false, args),
    };
    if !built {
        let mut build = cargo();
        build.args(["build", "--quiet", "--profile", profile, "--package", "e2e", "--bin", name]);
        for service in services {
            let package = service.strip_suffix("-counting").unwrap_or(service);
            build.args(["--package", package, "--bin", service]);
            if package != *service {
                build.args(["--features", &format!("{package}/count-allocations")]);
            }
        }
        run(&mut build)?;
    }
    // Cargo's oldest profile keeps its folder's older name.
    let folder = if profile == "dev" { "debug" } else { profile };
    run(Command::new(target().join(folder).join(name)).args(args))
}
