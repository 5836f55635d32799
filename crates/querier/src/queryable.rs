//! The store of a query: what the engine's selections become.
//!
//! Holds the request made of a selection, the task that reads the answer ahead, and the pulling side
//! that decodes (Thanos `pkg/query/querier.go`). It knows no HTTP and no expression. Invariant: a
//! selection ends with the query's deadline or cancellation, whatever stores do; bytes are charged to the
//! query's account before they are decoded. Read `series` for decoding.

mod read;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use component::gate::{self, Gate};
use dedup::Algorithm;
use model::{Account, Labels, MatchType, Matcher, Millis};
use parking_lot::Mutex;
use promql::{Hints, Queryable, Selection, SeriesSet};
use storeapi::batch::DEFAULT_RESPONSE_BATCH_SIZE;
use storeapi::{Call, Store};
use storeapi_proto::{convert, thanos};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fanout::{self, Tracker};
use crate::pool::Lease;
use crate::series::Wanted;
pub(crate) use read::store_error_text;

/// Label under which stores that drop labels tell series apart; Thanos always sends it.
const SERIES_HASH_LABEL: &str = "__cf_series_hash__";

/// Functions that need two samples within their range.
const NEED_TWO: [&str; 9] = [
    "rate",
    "irate",
    "increase",
    "delta",
    "idelta",
    "deriv",
    "predict_linear",
    "holt_winters",
    "double_exponential_smoothing",
];

/// Tells who may have sent a chunk, by series and time range: for messages about it.
pub type Suspects = Box<dyn Fn(&Labels, Millis, Millis) -> Vec<String> + Send + Sync>;

/// What all queries share.
pub struct Stores {
    /// Where series come from.
    pub store: Arc<dyn Store>,
    /// Who may have sent a damaged chunk.
    pub suspects: Suspects,
    /// Where tasks run that wait for stores.
    pub runtime: Handle,
    /// Selects of one query at once.
    pub max_selects: usize,
    /// Metrics of the gate that sees to it.
    pub selects: Option<gate::Metrics>,
    /// How replicas are merged.
    pub algorithm: Algorithm,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stores")
    }
}

/// What one query says about its series.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Labels by which replicas differ; empty where they are not merged.
    pub replica_labels: Vec<String>,
    /// Which stores to ask.
    pub store_matchers: Arc<[Vec<Matcher>]>,
    /// Coarsest data, in milliseconds between samples.
    pub max_resolution: Millis,
    /// Whether stores may be missing from the answer.
    pub partial: bool,
    /// Which part of the series to give.
    pub shard: Option<thanos::ShardInfo>,
    /// Who asks.
    pub tenant: String,
    /// The matcher that every selector gets instead of its own on that label.
    pub enforced: Option<Matcher>,
    /// When the query ends.
    pub deadline: Instant,
    /// Ends the query early.
    pub cancel: CancellationToken,
}

/// Numbers about the series of a query, for metrics.
#[derive(Debug, Default)]
pub struct Counts {
    /// Series.
    pub series: AtomicU64,
    /// Chunks.
    pub chunks: AtomicU64,
    /// Samples in them.
    pub samples: AtomicU64,
}

/// The time range over all selections of a query. Samples outside are left out before replicas are
/// merged, as Thanos does, so that its bounds have to be known before the first series is decoded.
#[derive(Debug)]
struct Range(AtomicI64, AtomicI64);

impl Range {
    fn widen(&self, selection: &Selection) {
        self.0.fetch_min(selection.mint, Ordering::Relaxed);
        self.1.fetch_max(selection.maxt, Ordering::Relaxed);
    }

    fn bounds(&self) -> (Millis, Millis) {
        (self.0.load(Ordering::Relaxed), self.1.load(Ordering::Relaxed))
    }
}

/// The series that one query sees.
#[derive(Debug)]
pub struct QueryStore {
    stores: Arc<Stores>,
    scope: Scope,
    gate: Gate,
    range: Arc<Range>,
    counts: Arc<Counts>,
    /// Selections that have not ended well, or not yet.
    incomplete: Arc<AtomicUsize>,
    account: Arc<Account>,
    lease: Arc<Lease>,
    /// Endpoints by selection, where they are wanted, and how many selections there were.
    fanout: Option<(Tracker, AtomicUsize)>,
}

impl QueryStore {
    /// A store for one query, whose bytes are charged to `account` and whose thread holds `lease`.
    pub fn new(stores: Arc<Stores>, scope: Scope, account: Arc<Account>, lease: Arc<Lease>) -> Self {
        let gate = Gate::new(stores.max_selects, stores.selects.clone());
        let range = Arc::new(Range(AtomicI64::new(Millis::MAX), AtomicI64::new(Millis::MIN)));
        let (counts, incomplete) = Default::default();
        QueryStore { stores, scope, gate, range, counts, incomplete, account, lease, fanout: None }
    }

    /// Notes which endpoints are asked.
    pub fn tracked(self) -> Self {
        QueryStore { fanout: Some(Default::default()), ..self }
    }

    /// The endpoints asked so far, if they are noted.
    pub fn fanout(&self) -> Vec<fanout::Entry> {
        self.fanout.as_ref().map_or_else(Vec::new, |(tracker, _)| tracker.entries())
    }

    /// Tells whether every selection begun so far has ended, and without anything missing.
    pub fn completeness(&self) -> impl Fn() -> bool + Send + 'static {
        let incomplete = self.incomplete.clone();
        move || incomplete.load(Ordering::Acquire) == 0
    }

    /// Numbers about what was read.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }
}

impl Scope {
    /// The request for a selection.
    pub fn request(&self, selection: &Selection) -> thanos::SeriesRequest {
        let hints = &selection.hints;
        let mut max_resolution = self.max_resolution;
        if hints.range > 0 && NEED_TWO.contains(&hints.func.as_str()) {
            max_resolution = max_resolution.min(hints.range / 2);
        }
        thanos::SeriesRequest {
            min_time: selection.mint,
            max_time: selection.maxt,
            matchers: convert::to_matchers(&self.enforce(&selection.matchers)),
            max_resolution_window: max_resolution,
            aggregates: Wanted::of_function(&hints.func).aggregates(),
            shard_info: self.shard.clone(),
            partial_response_strategy: strategy(self.partial),
            response_batch_size: DEFAULT_RESPONSE_BATCH_SIZE,
            without_replica_labels: self.replica_labels.clone(),
            query_hints: Some(self.hints(hints)),
            ..Default::default()
        }
    }

    /// What stores are told of the query. Thanos sends the label of the hash and nothing else; its stores
    /// read none of it. Up to 0.33 sidecars ran functions and steps on their own, and failed without a
    /// function: none is named, but there is one.
    fn hints(&self, hints: &Hints) -> thanos::QueryHints {
        let grouped = hints.by || !hints.grouping.is_empty();
        // Where series are merged or shared out by their labels, all labels are of use.
        let whole = !self.replica_labels.is_empty() || self.shard.is_some();
        let projection = hints.projection.as_ref();
        let projection = projection.filter(|names| !whole && !names.iter().any(|n| n == SERIES_HASH_LABEL));
        thanos::QueryHints {
            func: Some(thanos::Func::default()),
            grouping: grouped.then(|| thanos::Grouping { by: hints.by, labels: hints.grouping.clone() }),
            projection_labels: projection.cloned().unwrap_or_default(),
            projection_include: projection.is_some(),
            series_hash_label_name: SERIES_HASH_LABEL.to_owned(),
            ..Default::default()
        }
    }

    /// The matchers with the tenant's in place of others on that label.
    fn enforce(&self, matchers: &[Matcher]) -> Vec<Matcher> {
        let Some(tenant) = &self.enforced else { return matchers.to_vec() };
        matchers.iter().filter(|m| m.name != tenant.name).chain([tenant]).cloned().collect()
    }

    /// The context of a call for this query.
    pub fn call(&self) -> Call {
        Call {
            store_matchers: self.store_matchers.clone(),
            deadline: Some(self.deadline.into_std()),
            ..Call::internal(self.tenant.clone())
        }
    }
}

/// The wire number of the strategy.
pub fn strategy(partial: bool) -> i32 {
    match partial {
        true => thanos::PartialResponseStrategy::Warn as i32,
        false => thanos::PartialResponseStrategy::Abort as i32,
    }
}

impl Queryable for QueryStore {
    fn select(&self, selection: &Selection) -> Box<dyn SeriesSet> {
        self.range.widen(selection);
        self.incomplete.fetch_add(1, Ordering::AcqRel);
        let shared = Arc::new(read::Shared {
            stores: self.stores.clone(),
            account: self.account.clone(),
            counts: self.counts.clone(),
            incomplete: self.incomplete.clone(),
            warnings: Mutex::default(),
            partial: self.scope.partial,
            what: charged_for(&selection.matchers),
        });
        let task = read::Task {
            shared: shared.clone(),
            gate: self.gate.clone(),
            cancel: self.scope.cancel.clone(),
            deadline: self.scope.deadline,
            slot: self
                .fanout
                .as_ref()
                .map(|(tracker, count)| tracker.slot(count.fetch_add(1, Ordering::Relaxed))),
        };
        let messages = task.spawn(self.scope.request(selection), self.scope.call());
        let dedup = (!self.scope.replica_labels.is_empty()).then_some(self.stores.algorithm);
        let decoder = crate::series::Decoder::new(&selection.hints.func, dedup);
        Box::new(read::Set::new(shared, messages, decoder, self.range.clone(), self.lease.clone()))
    }
}

/// What a refusal for want of memory names: the selector, and which of its matchers lets most through.
fn charged_for(matchers: &[Matcher]) -> String {
    let all: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    let widest = matchers
        .iter()
        .max_by_key(|m| width(m))
        .map_or_else(String::new, |m| format!(" (widest matcher {m})"));
    format!("series of {{{}}}{widest}", all.join(","))
}

/// How much a matcher is likely to let through; only the order counts.
fn width(m: &Matcher) -> (u8, std::cmp::Reverse<usize>) {
    let kind = match m.kind {
        MatchType::Equal => 0,
        MatchType::Regexp if m.set_matches().is_some() => 1,
        MatchType::Regexp if !m.prefix().is_empty() => 2,
        MatchType::Regexp if !m.matches_empty() => 3,
        MatchType::NotEqual | MatchType::NotRegexp => 4,
        MatchType::Regexp => 5,
    };
    (kind, std::cmp::Reverse(m.value.len()))
}
