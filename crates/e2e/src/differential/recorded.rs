//! Answers of Prometheus, kept.
//!
//! Holds the lines that the harness writes and a test replays where there is no Prometheus. It knows
//! no engine. Invariant: a line holds a request and the answer's own JSON, unchanged but for its
//! size: large answers are not kept.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Context as _;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::answer::{Answer, Request};

/// The longest answer kept, in bytes of JSON.
pub const LONGEST: usize = 3000;

/// Writes requests with their answers.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, rows: &[(Request, Value)]) -> anyhow::Result<()> {
    let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
    let mut out = GzEncoder::new(file, Compression::best());
    for (request, answer) in rows {
        writeln!(out, "{}", json!({"request": request.to_json(), "answer": answer}))?;
    }
    out.finish()?.sync_all()?;
    Ok(())
}

/// Reads them back.
///
/// # Errors
/// When a line is none.
pub fn read(path: &Path) -> anyhow::Result<Vec<(Request, Answer)>> {
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let row = |line: std::io::Result<String>| -> anyhow::Result<(Request, Answer)> {
        let line: Value = serde_json::from_str(&line?)?;
        Ok((Request::of_json(&line["request"])?, Answer::of_json(&line["answer"])?))
    };
    BufReader::new(GzDecoder::new(file)).lines().map(row).collect()
}
