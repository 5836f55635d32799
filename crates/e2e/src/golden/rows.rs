//! Recorded answers, read from `answers/*.jsonl.gz`.
//!
//! A row is one request with its answer; the file's name tells the setup and the wire: `raw.jsonl.gz`
//! is HTTP over the bucket `raw`, `storeapi-plain.jsonl.gz` gRPC over `compacted-plain`. Knows nothing
//! of services. Invariant: a row's name, `FILE:LINE`, is the same in every run.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A recorded request and answer.
#[derive(Clone, Debug)]
pub struct Row {
    /// The file's name without its endings: `raw`, `storeapi-raw`.
    pub file: String,
    /// The line in the file, from 1.
    pub line: usize,
    /// The bucket's short name: `raw`, `plain`, `penalty`.
    pub setup: String,
    /// What was asked and answered.
    pub call: Call,
}

/// What was asked, with the recorded answer.
#[derive(Clone, Debug)]
pub enum Call {
    /// Of the querier, over HTTP.
    Http(HttpRow),
    /// Of the store, over gRPC.
    Grpc(GrpcRow),
}

impl Call {
    /// Whether the call goes over gRPC.
    pub fn is_grpc(&self) -> bool {
        matches!(self, Call::Grpc(_))
    }
}

/// An HTTP request and its answer.
#[derive(Clone, Debug)]
pub struct HttpRow {
    /// `GET` or `POST`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The parameters in order.
    pub params: Vec<(String, String)>,
    /// The status.
    pub status: u16,
    /// The body: a string where it is not JSON.
    pub body: Value,
}

impl HttpRow {
    /// The first value of a parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
}

/// A gRPC request and its answer.
#[derive(Clone, Debug)]
pub struct GrpcRow {
    /// `Series`, `LabelNames`, `LabelValues` or `Info`.
    pub method: String,
    /// The message's fields.
    pub request: Value,
    /// The whole record: `code`, `error`, `series`, `values`, `warnings`, `info`.
    pub answer: Value,
}

impl Row {
    /// `FILE:LINE`.
    pub fn id(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    /// What a list of known failures may not excuse too often: the expression, or the request.
    pub fn expression(&self) -> String {
        match &self.call {
            Call::Http(h) => h.param("query").or(h.param("match[]")).unwrap_or(&h.path).to_owned(),
            Call::Grpc(g) => format!("{} {}", g.method, g.request["matchers"]),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.id())?;
        match &self.call {
            Call::Http(h) => {
                write!(f, "{} {}", h.method, h.path)?;
                for (i, (name, value)) in h.params.iter().enumerate() {
                    write!(f, "{}{name}={value}", if i == 0 { "?" } else { "&" })?;
                }
                Ok(())
            }
            Call::Grpc(g) => write!(f, "{} {}", g.method, g.request),
        }
    }
}

/// Every row below `dir/answers`, files in order of name; none where the folder is absent.
///
/// # Errors
/// When a file cannot be read or a line is no record.
pub(super) fn read(dir: &Path) -> anyhow::Result<Vec<Row>> {
    let answers = dir.join("answers");
    let mut rows = Vec::new();
    if !answers.is_dir() {
        return Ok(rows);
    }
    let mut files: Vec<_> =
        std::fs::read_dir(&answers)?.map(|e| Ok(e?.path())).collect::<anyhow::Result<_>>()?;
    files.sort();
    for path in files {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(file) = name.strip_suffix(".jsonl.gz") else { continue };
        let lines = BufReader::new(flate2::read::MultiGzDecoder::new(File::open(&path)?)).lines();
        for (i, line) in lines.enumerate() {
            let place = || format!("{name}, line {}", i + 1);
            let record: Value = serde_json::from_str(&line.with_context(place)?).with_context(place)?;
            rows.push(row(file, i + 1, record).with_context(place)?);
        }
    }
    Ok(rows)
}

fn row(file: &str, line: usize, record: Value) -> anyhow::Result<Row> {
    let text = |v: &Value| v.as_str().map(str::to_owned).context("a text is missing");
    let method = text(&record["method"])?;
    let (setup, call) = match file.strip_prefix("storeapi-") {
        Some(setup) => {
            let request = record["request"].clone();
            (setup, Call::Grpc(GrpcRow { method, request, answer: record }))
        }
        None => {
            let pair = |p: &Value| Ok((text(&p[0])?, text(&p[1])?));
            let params = record["params"].as_array().context("params")?;
            let Some(status) = record["status"].as_u64().and_then(|s| u16::try_from(s).ok()) else {
                bail!("a status is missing")
            };
            let call = HttpRow {
                method,
                path: text(&record["path"])?,
                params: params.iter().map(pair).collect::<anyhow::Result<_>>()?,
                status,
                body: record["body"].clone(),
            };
            (file, Call::Http(call))
        }
    };
    Ok(Row { file: file.to_owned(), line, setup: setup.to_owned(), call })
}
