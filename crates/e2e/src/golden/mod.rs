//! The golden replay: recorded blocks and answers against what our binaries read and say.
//!
//! Takes any folder with the shape that the golden data's own README tells. `rows` reads records,
//! `blocks` compares block folders, `fleet` starts a store and a querier on a copy of each bucket,
//! `http` and `grpc` ask, `compare` judges, `known` keeps the list of excused rows. Invariant: every
//! recorded row is asked, and counted once as passed, failed or known.

mod blocks;
mod compare;
mod fleet;
mod grpc;
mod http;
mod known;
mod rows;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::ensure;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use fleet::Programs;
pub use http::judge;
pub use known::Known;
pub use rows::{Call, Row};

/// What to replay, and against what.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder with `blocks/`, `buckets/` and `answers/`; each may be absent, not all.
    pub dir: PathBuf,
    /// The two programs.
    pub programs: Programs,
    /// Rows that may fail.
    pub known: Known,
    /// Only rows whose text contains this; empty for all. Blocks are left out when it is set.
    pub only: String,
    /// Copies, logs and data of the services go here.
    pub work: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Texts of the differences, in the order of the records.
    pub differences: Vec<String>,
    /// Rows excused by the list, with their causes.
    pub known: Vec<String>,
    /// Rows and blocks that are as recorded.
    pub passed: usize,
    /// Those that are not.
    pub failed: usize,
    /// Kinds of records that the folder does not hold.
    pub absent: Vec<&'static str>,
}

/// Requests in flight at a time: enough to keep both sides busy on few cores.
const IN_FLIGHT: usize = 8;

/// Replays a folder.
///
/// # Errors
/// When a record cannot be read or a service does not start; what differs is in the outcome.
pub async fn replay(options: &Options) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut seen = 0;
    let folder = options.dir.join("blocks");
    if !folder.is_dir() {
        outcome.absent.push("blocks");
    } else if options.only.is_empty() {
        for (case, result) in tokio::task::spawn_blocking(move || blocks::compare(&folder)).await?? {
            seen += 1;
            outcome.count(case, None, result);
        }
    }
    let rows = rows::read(&options.dir)?;
    for (kind, of_kind) in [("answers over HTTP", false), ("answers over gRPC", true)] {
        if !rows.iter().any(|r| r.call.is_grpc() == of_kind) {
            outcome.absent.push(kind);
        }
    }
    let rows: Vec<Row> = rows.into_iter().filter(|r| r.to_string().contains(&options.only)).collect();
    seen += rows.len();
    ensure!(seen > 0, "nothing to replay in {}", options.dir.display());
    options.known.check(&rows)?;
    for (row, result) in ask_all(options, rows).await? {
        outcome.count(row.to_string(), options.known.cause(&row.id()), result);
    }
    Ok(outcome)
}

impl Outcome {
    /// Counts one result: an empty list of differences is a pass.
    fn count(&mut self, what: String, known: Option<&str>, differences: Vec<String>) {
        match (differences.is_empty(), known) {
            (true, None) => self.passed += 1,
            (false, Some(cause)) => self.known.push(format!("{what}\n  known: {cause}")),
            (true, Some(_)) => {
                self.failed += 1;
                self.differences.push(format!("{what}\n  listed as known, yet it passes: strike it"));
            }
            (false, None) => {
                self.failed += 1;
                let mut text = what;
                for line in differences {
                    let _ = write!(text, "\n  {line}");
                }
                self.differences.push(text);
            }
        }
    }

    /// The last line: what `cargo xtask golden` ends with.
    pub fn summary(&self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }
}

/// Starts a fleet for each setup that rows belong to, and asks every row; results in rows' order.
async fn ask_all(options: &Options, rows: Vec<Row>) -> anyhow::Result<Vec<(Row, Vec<String>)>> {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut asked = JoinSet::new();
    let mut fleets = fleet::start_all(options, &rows).await?;
    for (order, row) in rows.into_iter().enumerate() {
        let fleet = fleets.get(&row.setup)?;
        let permits = permits.clone();
        asked.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let result = match &row.call {
                Call::Http(want) => http::ask(&fleet, want).await,
                Call::Grpc(want) => grpc::ask(&fleet, want).await,
            };
            (order, row, result)
        });
    }
    let mut done = asked.join_all().await;
    done.sort_by_key(|(order, ..)| *order);
    fleets.alive()?;
    Ok(done
        .into_iter()
        .map(|(_, row, result)| (row, result.unwrap_or_else(|e| vec![format!("no answer: {e:#}")])))
        .collect())
}

/// The golden data of this machine: `$ATHANOR_GOLDEN`, or `../shared/golden` beside the workspace; else
/// the slice in this crate, and `false`.
pub fn data() -> (PathBuf, bool) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let whole =
        std::env::var_os("ATHANOR_GOLDEN").map_or_else(|| root.join("../shared/golden"), PathBuf::from);
    if whole.is_dir() { (whole, true) } else { (root.join("crates/e2e/testdata/golden"), false) }
}
