//! What the querier shows of itself and of its peers.
//!
//! Holds `/stores` and `/status/*` (Thanos `pkg/api/api.go`). It asks nobody. Invariant: peers that have
//! never said what they are do not appear.

use std::collections::BTreeMap;
use std::sync::Arc;

use component::http::Response;
use model::{Labels, Millis};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Api, Asked, Failure, success};

/// Go's zero time: never.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn shown_time(at: Millis) -> String {
    let nanos = i128::from(at) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_else(|| NEVER.to_owned())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoreStatus {
    name: String,
    last_check: String,
    last_error: Option<String>,
    label_sets: Vec<BTreeMap<String, String>>,
    min_time: Millis,
    max_time: Millis,
}

fn shown_labels(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

pub(super) async fn stores(api: Arc<Api>, _: Asked) -> Result<Response, Failure> {
    let mut by_component: BTreeMap<String, Vec<StoreStatus>> = BTreeMap::new();
    for status in api.endpoints.statuses() {
        let sets = api.proxy.select(&status.label_sets).unwrap_or(status.label_sets.clone());
        let deselected = sets.is_empty() && !status.label_sets.is_empty();
        if status.component.is_empty() || deselected {
            continue;
        }
        by_component.entry(status.component).or_default().push(StoreStatus {
            name: status.name,
            last_check: if status.last_check == 0 { NEVER.to_owned() } else { shown_time(status.last_check) },
            last_error: status.last_error,
            label_sets: sets.iter().map(shown_labels).collect(),
            min_time: status.min_time,
            max_time: status.max_time,
        });
    }
    Ok(success(&by_component, &[]))
}

pub(super) async fn flags(api: Arc<Api>, _: Asked) -> Result<Response, Failure> {
    let flags: BTreeMap<&str, &str> = api.flags.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    Ok(success(&flags, &[]))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
}

pub(super) async fn build_info(_: Arc<Api>, _: Asked) -> Result<Response, Failure> {
    let info = component::build::INFO;
    Ok(success(
        &BuildInfo {
            version: info.version,
            revision: info.revision,
            branch: info.branch,
            build_user: info.user,
            build_date: info.date,
            go_version: info.toolchain,
        },
        &[],
    ))
}

#[derive(Serialize)]
struct RuntimeInfo {
    #[serde(rename = "startTime")]
    start_time: String,
    #[serde(rename = "CWD")]
    folder: String,
    #[serde(rename = "goroutineCount")]
    tasks: usize,
    #[serde(rename = "GOMAXPROCS")]
    processors: usize,
    #[serde(rename = "GOGC")]
    collector: &'static str,
    #[serde(rename = "GODEBUG")]
    debug: &'static str,
    #[serde(rename = "GOMEMLIMIT")]
    memory: u64,
}

/// The fields are Go's; tasks stand for goroutines, the memory budget for Go's limit.
pub(super) async fn runtime_info(api: Arc<Api>, _: Asked) -> Result<Response, Failure> {
    let folder = std::env::current_dir();
    Ok(success(
        &RuntimeInfo {
            start_time: shown_time(api.started),
            folder: folder.map_or_else(
                |_| "<error retrieving current working directory>".to_owned(),
                |f| f.display().to_string(),
            ),
            tasks: api.runtime.metrics().num_alive_tasks(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            collector: "",
            debug: "",
            memory: api.evaluator.budget().limit().min(i64::MAX as u64),
        },
        &[],
    ))
}
