//! Ours and Thanos' side by side: the same call over the same bytes, in turn.
//!
//! `data` writes the blocks, `measure` runs one call and reads what it cost the server; here are the
//! cases and the table. Invariant: a figure is a median over fresh processes, ours and Thanos' alternating,
//! and no table is given for answers that differ.

mod data;
mod measure;
pub mod promql;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::ensure;

use crate::harness::{self, Fleet};
use measure::Cost;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our store gateway.
    pub store: PathBuf,
    /// Our sidecar.
    pub sidecar: PathBuf,
    /// Thanos.
    pub thanos: PathBuf,
    /// A Prometheus: with it sidecars are measured too.
    pub prometheus: Option<PathBuf>,
    /// Runs a side and case.
    pub rounds: usize,
    /// Series are this many times fewer: 1 but in tests.
    pub shrink: usize,
    /// Blocks, logs and data go here.
    pub work: PathBuf,
}

/// Series times samples.
const CASES: [(usize, usize); 2] = [(1_000_000, 1), (100_000, 100)];

/// Runs every case; `say` gets a table as soon as it stands.
///
/// # Errors
/// When a service fails or two answers differ.
pub async fn run(options: &Options, mut say: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for (series, samples) in CASES {
        let series = series / options.shrink;
        let case = data::Case { series, samples };
        let dir = options.work.join(format!("{series}x{samples}"));
        std::fs::create_dir_all(&dir)?;
        say(&stores(options, &dir, &case).await?)?;
        if let Some(prometheus) = &options.prometheus {
            say(&sidecars(options, prometheus, &dir, &case).await?)?;
        }
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

/// Both stores over one bucket.
async fn stores(options: &Options, dir: &Path, case: &data::Case) -> anyhow::Result<String> {
    let bucket = dir.join("bucket");
    std::fs::create_dir_all(&bucket)?;
    case.write(&bucket, Some(&[("cluster", "bench"), ("replica", "a")])).await?;
    let sides = [("ours", &options.store), ("thanos", &options.thanos)];
    let (mut costs, mut answers) = ([Vec::new(), Vec::new()], Vec::new());
    for round in 0..options.rounds {
        for (side, (name, program)) in sides.iter().enumerate() {
            let work = dir.join(format!("store-{name}-{round}"));
            std::fs::create_dir_all(&work)?;
            let fleet = Fleet::new(&work)?;
            let service = fleet.store("store", program, &harness::filesystem(&bucket), &[]).await?;
            costs[side].push(measure::series(&service, case).await?);
            if round == 0 {
                answers.push(measure::digest(&service, case).await?);
            }
        }
    }
    table("store", case, options.rounds, &answers, costs)
}

/// Both sidecars over one Prometheus.
async fn sidecars(
    options: &Options,
    prometheus: &Path,
    dir: &Path,
    case: &data::Case,
) -> anyhow::Result<String> {
    let fleet = Fleet::new(dir)?;
    std::fs::create_dir_all(fleet.tsdb("both"))?;
    case.write(&fleet.tsdb("both"), None).await?;
    let configuration = "global: {external_labels: {cluster: bench, replica: a}}\n";
    let server = fleet.prometheus("both", prometheus, configuration, &[]).await?;
    let sides = [("ours", &options.sidecar), ("thanos", &options.thanos)];
    let (mut costs, mut answers) = ([Vec::new(), Vec::new()], Vec::new());
    for round in 0..options.rounds {
        for (side, (name, program)) in sides.iter().enumerate() {
            let name = format!("sidecar-{name}-{round}");
            let service = fleet.sidecar(&name, program, &server, &[]).await?;
            costs[side].push(measure::series(&service, case).await?);
            if round == 0 {
                answers.push(measure::digest(&service, case).await?);
            }
        }
    }
    table("sidecar", case, options.rounds, &answers, costs)
}

fn table(
    what: &str,
    case: &data::Case,
    rounds: usize,
    answers: &[measure::Digest],
    costs: [Vec<Cost>; 2],
) -> anyhow::Result<String> {
    ensure!(answers[0] == answers[1], "{what}: answers differ: {answers:?}");
    ensure!(answers[0].series == case.series, "{what}: {} series of {}", answers[0].series, case.series);
    let [ours, thanos] = costs.map(|c| Cost::median(&c));
    let mut out = String::new();
    writeln!(
        out,
        "{what} Series, {} series x {} samples, equal answers, median of {rounds}",
        case.series, case.samples
    )?;
    writeln!(out, "  {:<8}{:>10}{:>10}{:>12}{:>14}", "", "wall s", "CPU s", "peak MiB", "MiB on wire")?;
    for (name, c) in [("ours", &ours), ("thanos", &thanos)] {
        writeln!(out, "  {name:<8}{:>10.3}{:>10.3}{:>12.1}{:>14.1}", c.wall, c.cpu, c.peak, c.wire)?;
    }
    let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { f64::NAN };
    writeln!(
        out,
        "  {:<8}{:>10.2}{:>10.2}{:>12.2}{:>14.2}",
        "ratio",
        ratio(ours.wall, thanos.wall),
        ratio(ours.cpu, thanos.cpu),
        ratio(ours.peak, thanos.peak),
        ratio(ours.wire, thanos.wire)
    )?;
    Ok(out)
}
