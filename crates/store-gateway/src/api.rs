//! The HTTP API beside probes and metrics.
//!
//! Holds `/api/v1/status/*` and `/api/v1/blocks` (Thanos `pkg/api`, `pkg/api/blocks`). It reads no
//! bucket. Invariant: every answer is Prometheus' envelope.

use std::collections::BTreeMap;
use std::sync::Arc;

use component::http::{Request, Response, Router};
use component::{Env, api, build};
use parking_lot::Mutex;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tsdb_block::meta::{BlockMeta, NO_TIME};

/// Blocks as the latest sync saw them.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    blocks: Vec<Arc<BlockMeta>>,
    refreshed: Option<i64>,
    error: Option<String>,
}

/// What the API shows.
#[derive(Debug)]
pub(crate) struct Api {
    flags: BTreeMap<String, String>,
    started: i64,
    budget: u64,
    label: String,
    loaded: Mutex<Loaded>,
    runtime: tokio::runtime::Handle,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Build {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
}

#[derive(Serialize)]
struct Runtime {
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blocks<'a> {
    label: &'a str,
    blocks: Vec<&'a BlockMeta>,
    refreshed_at: String,
    err: Option<&'a str>,
}

fn shown_time(at: Option<i64>) -> String {
    let time = at.and_then(|t| OffsetDateTime::from_unix_timestamp_nanos(i128::from(t) * 1_000_000).ok());
    time.and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_else(|| NO_TIME.to_owned())
}

impl Api {
    pub(crate) fn new(env: &Env, label: &str) -> Arc<Self> {
        Arc::new(Api {
            flags: env.flags.iter().cloned().collect(),
            started: env.clock.now_millis(),
            budget: env.budget.limit(),
            label: label.to_owned(),
            loaded: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    /// Notes what a sync found.
    pub(crate) fn set_loaded(&self, found: Result<Vec<Arc<BlockMeta>>, String>, now: i64) {
        let mut loaded = self.loaded.lock();
        match found {
            Ok(blocks) => *loaded = Loaded { blocks, refreshed: Some(now), error: None },
            Err(error) => loaded.error = Some(error),
        }
    }

    /// Adds the endpoints.
    pub(crate) fn routes(self: &Arc<Self>, router: Router) -> Router {
        let get = &[::http::Method::GET];
        let handler = |answer: fn(&Api, &Request) -> Response| {
            let api = self.clone();
            move |request: Request| {
                let answer = answer(&api, &request);
                async move { answer }
            }
        };
        router
            .on(get, "/api/v1/status/flags", "status_flags", handler(Api::flags))
            .on(get, "/api/v1/status/runtimeinfo", "status_runtime", handler(Api::runtime_info))
            .on(get, "/api/v1/status/buildinfo", "status_build", handler(|_, _| Api::build_info()))
            .on(get, "/api/v1/blocks", "blocks", handler(Api::blocks))
    }

    fn flags(&self, _: &Request) -> Response {
        api::success(&self.flags, &[], &[])
    }

    fn build_info() -> Response {
        let info = build::INFO;
        let shown = Build {
            version: info.version,
            revision: info.revision,
            branch: info.branch,
            build_user: info.user,
            build_date: info.date,
            go_version: info.toolchain,
        };
        api::success(&shown, &[], &[])
    }

    /// The fields are Go's: tasks stand for goroutines, the memory budget for Go's limit.
    fn runtime_info(&self, _: &Request) -> Response {
        let folder = std::env::current_dir().map(|f| f.display().to_string()).unwrap_or_default();
        let shown = Runtime {
            start_time: shown_time(Some(self.started)),
            folder,
            tasks: self.runtime.metrics().num_alive_tasks(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            collector: "",
            debug: "",
            memory: self.budget.min(i64::MAX as u64),
        };
        api::success(&shown, &[], &[])
    }

    /// The global view, which only `tools bucket web` fills, stays empty.
    fn blocks(&self, request: &Request) -> Response {
        let wants_loaded = request.uri().query().is_some_and(|q| q.split('&').any(|p| p == "view=loaded"));
        let loaded = self.loaded.lock();
        let none = Loaded::default();
        let shown = if wants_loaded { &*loaded } else { &none };
        let answer = Blocks {
            label: &self.label,
            blocks: shown.blocks.iter().map(Arc::as_ref).collect(),
            refreshed_at: shown_time(shown.refreshed),
            err: shown.error.as_deref(),
        };
        api::success(&answer, &[], &[])
    }
}
