//! Evaluating queries: the gate, a thread, the engine, the answer.
//!
//! Holds what HTTP and gRPC share of running a query. It reads no request. Invariant: a query ends within
//! its timeout, waiting at the gate included, and soon after its client has gone; what it has charged is
//! given back then.

use std::sync::Arc;
use std::time::Duration;

use component::api::ErrorType;
use component::gate::{Gate, Pass};
use model::{Account, Budget, Matcher, Millis};
use promql::{Engine, ErrorKind, Interrupt, Outcome, Query, QueryError, QueryOptions, Sink, StatsLevel};
use storeapi::Store;
use storeapi_proto::thanos::ShardInfo;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Failure;
use crate::active::ActiveQueries;
use crate::args::EngineName;
use crate::metrics::Metrics;
use crate::pool::{Cpus, Lease};
use crate::queryable::{Counts, QueryStore, Scope, Stores};

/// Runs queries. Clones share everything.
#[derive(Clone, Debug)]
pub struct Evaluator {
    engine: Engine,
    stores: Arc<Stores>,
    gate: Gate,
    cpus: Cpus,
    budget: Arc<Budget>,
    metrics: Metrics,
    active: Option<ActiveQueries>,
    timeout: Duration,
}

/// What to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The expression.
    pub text: String,
    /// When.
    pub times: Times,
    /// Whose engine the client thinks it asks.
    pub engine: EngineName,
    /// Lookback in milliseconds; zero for the engine's.
    pub lookback: Millis,
    /// Which statistics are wanted.
    pub stats: StatsLevel,
    /// Whether operators are to be measured.
    pub analyze: bool,
    /// Its own timeout, if it has one; never longer than the querier's.
    pub timeout: Option<Duration>,
    /// Labels by which replicas differ; empty where they are not merged.
    pub replica_labels: Vec<String>,
    /// Which stores to ask.
    pub store_matchers: Vec<Vec<Matcher>>,
    /// Coarsest data, in milliseconds.
    pub max_resolution: Millis,
    /// Whether stores may be missing.
    pub partial: bool,
    /// Which part of the series to give.
    pub shard: Option<ShardInfo>,
    /// Who asks.
    pub tenant: String,
    /// The matcher that every selector gets.
    pub enforced: Option<Matcher>,
}

/// Evaluation times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// One.
    At(Millis),
    /// Many.
    Range {
        /// The first.
        start: Millis,
        /// None is later.
        end: Millis,
        /// The distance.
        step: Millis,
    },
}

/// A query that was accepted. Dropping it, or its guard, ends it.
#[derive(Debug)]
pub struct Accepted {
    /// The query.
    pub query: Query,
    analyze: bool,
    scope: Scope,
    engine: EngineName,
    account: Arc<Account>,
    cancel: Cancel,
}

#[derive(Debug)]
struct Cancel {
    interrupt: Interrupt,
    token: CancellationToken,
}

/// Ends the query when dropped.
#[derive(Debug)]
pub struct Guard {
    interrupt: Interrupt,
    _token: DropGuard,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.interrupt.cancel();
    }
}

impl Accepted {
    /// Ends the query when dropped: for whoever waits for the answer.
    pub fn guard(&self) -> Guard {
        let (interrupt, token) = (self.cancel.interrupt.clone(), self.cancel.token.clone());
        Guard { interrupt, _token: token.drop_guard() }
    }
}

/// A query that runs, on its own thread.
#[derive(Debug)]
pub struct Running {
    accepted: Accepted,
    evaluator: Evaluator,
    _pass: Pass,
    /// The thread's processor.
    pub lease: Arc<Lease>,
    /// What the query's bytes are charged to.
    pub account: Arc<Account>,
    /// The query's series.
    pub store: QueryStore,
}

impl Evaluator {
    /// An evaluator; `timeout` bounds every query, and `active` lists those that run.
    pub fn new(
        engine: Engine,
        stores: Arc<Stores>,
        gate: Gate,
        budget: Arc<Budget>,
        metrics: Metrics,
        active: Option<ActiveQueries>,
        timeout: Duration,
    ) -> Self {
        let cpus = Cpus::new(std::thread::available_parallelism().map_or(1, usize::from));
        Evaluator { engine, stores, gate, cpus, budget, metrics, active, timeout }
    }

    /// The memory of all requests.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The store behind the queries, limits and counters included.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.stores.store
    }

    /// Parses and checks.
    ///
    /// # Errors
    /// An expression that is none, or not one for these times.
    pub fn accept(&self, job: Job) -> Result<Accepted, Failure> {
        let timeout = job.timeout.map_or(self.timeout, |t| t.min(self.timeout));
        let now = Instant::now();
        let deadline = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(1 << 30));
        let interrupt = Interrupt::at(deadline.into_std());
        let token = CancellationToken::new();
        let account = Arc::new(self.budget.account());
        let options = QueryOptions {
            lookback: job.lookback,
            stats: job.stats,
            interrupt: interrupt.clone(),
            account: Some(account.clone()),
            analyze: job.analyze,
        };
        let query = match job.times {
            Times::At(at) => self.engine.instant(&job.text, at, options),
            Times::Range { start, end, step } => self.engine.range(&job.text, start, end, step, options),
        };
        let scope = Scope {
            replica_labels: job.replica_labels,
            store_matchers: job.store_matchers.into(),
            max_resolution: job.max_resolution,
            partial: job.partial,
            shard: job.shard,
            tenant: job.tenant,
            enforced: job.enforced,
            deadline,
            cancel: token.clone(),
        };
        let query = query.map_err(|e| Failure::bad_data(e.to_string()))?;
        Ok(Accepted {
            query,
            analyze: job.analyze,
            scope,
            engine: job.engine,
            account,
            cancel: Cancel { interrupt, token },
        })
    }

    /// Waits for its turn, then runs `then` with the query on a thread of its own. Returns at once after
    /// that: `then` has its own way of answering.
    ///
    /// # Errors
    /// The query's time was up before its turn came.
    pub async fn start(
        &self,
        accepted: Accepted,
        then: impl FnOnce(Running) + Send + 'static,
    ) -> Result<(), Failure> {
        let queued = tokio::time::timeout_at(accepted.scope.deadline, self.gate.pass()).await;
        let pass = queued.map_err(|_| Failure {
            kind: ErrorType::Timeout,
            text: "query timed out in query queue".to_owned(),
        })?;
        let evaluator = self.clone();
        self.stores.runtime.spawn_blocking(move || {
            let lease = Arc::new(evaluator.cpus.lease());
            let account = accepted.account.clone();
            let scope = accepted.scope.clone();
            let store = QueryStore::new(evaluator.stores.clone(), scope, account.clone(), lease.clone());
            let store = if accepted.analyze { store.tracked() } else { store };
            then(Running { accepted, evaluator, _pass: pass, lease, account, store });
        });
        Ok(())
    }
}

impl Running {
    /// The type of the result, by the name the API has for it.
    pub fn result_type(&self) -> &'static str {
        self.accepted.query.result_type().as_str()
    }

    /// Evaluates into `sink`.
    ///
    /// # Errors
    /// Prometheus' kinds and texts.
    pub fn run(&self, sink: &mut dyn Sink) -> Result<Outcome, Failure> {
        let metrics = &self.evaluator.metrics;
        let began = std::time::Instant::now();
        let _counted = metrics.running(self.accepted.engine);
        let _entry = self.evaluator.active.as_ref().map(|a| a.enter(&self.accepted.query.text()));
        let outcome = self.accepted.query.run(&self.store, sink);
        let counts: Arc<Counts> = self.store.counts();
        metrics.selected(&counts, &self.accepted.scope.tenant, began.elapsed());
        let outcome = outcome.map_err(|e| failure(&e))?;
        metrics.evaluated(self.accepted.engine, &outcome.stats, &counts);
        Ok(outcome)
    }
}

/// An engine's error as Thanos answers it.
fn failure(e: &QueryError) -> Failure {
    let (kind, text) = match e.kind() {
        ErrorKind::BadData => (ErrorType::BadData, e.to_string()),
        ErrorKind::Execution => (ErrorType::Execution, e.to_string()),
        // Whoever noticed first, the text is the engine's.
        ErrorKind::Timeout => (ErrorType::Timeout, QueryError::Timeout.to_string()),
        ErrorKind::Canceled => (ErrorType::Canceled, QueryError::Canceled.to_string()),
    };
    Failure { kind, text }
}

/// What newer engines say and the one in Thanos does not: dashboards that sort range queries have worked
/// without a notice so far.
const UNSAID: &str = "PromQL warning: sort is ineffective";

/// Warnings and infos of an outcome as Thanos lists them: without positions, all of them.
pub fn warnings(outcome: &Outcome) -> Vec<String> {
    let texts = outcome.annotations.iter().map(|a| a.text().to_owned());
    texts.filter(|text| !text.starts_with(UNSAID)).collect()
}

/// Milliseconds as seconds, whole ones without a point.
fn go_seconds(t: Millis) -> serde_json::Value {
    if t % 1000 == 0 { (t / 1000).into() } else { (t as f64 / 1000.0).into() }
}

/// Statistics as Prometheus prints them.
pub fn stats_json(stats: &promql::Statistics) -> String {
    let t = &stats.timings;
    let seconds = |d: Duration| d.as_secs_f64();
    let mut value = serde_json::json!({
        "timings": {
            "evalTotalTime": seconds(t.eval_total),
            "resultSortTime": seconds(t.result_sort),
            "queryPreparationTime": seconds(t.preparation),
            "innerEvalTime": seconds(t.inner_eval),
            "execQueueTime": seconds(t.queue),
            "execTotalTime": seconds(t.exec_total),
        }
    });
    if let Some(samples) = &stats.samples {
        let mut shown = serde_json::json!({
            "totalQueryableSamples": samples.total,
            "samplesRead": samples.read,
            "peakSamples": samples.peak,
        });
        for (name, steps) in [
            ("totalQueryableSamplesPerStep", &samples.total_per_step),
            ("samplesReadPerStep", &samples.read_per_step),
        ] {
            if let Some(steps) = steps.as_ref().filter(|steps| !steps.is_empty()) {
                shown[name] = steps.iter().map(|(t, n)| serde_json::json!([go_seconds(*t), n])).collect();
            }
        }
        value["samples"] = shown;
    }
    value.to_string()
}
