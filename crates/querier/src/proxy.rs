//! The StoreAPI over many StoreAPIs.
//!
//! Holds the choice of stores by time, external labels and address, the fan-out and the merge (Thanos
//! `pkg/store/proxy.go`). It decodes no chunk and evaluates nothing. Invariant: what a store does not
//! deliver is missing with a warning that names the store, or the whole call fails. Read `source` for
//! one store's stream.

mod selector;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use component::metrics::{self, IntCounter, Registry};
use futures::StreamExt;
use futures::future::try_join_all;
use model::{Budget, Labels, Matcher, Millis};
use parking_lot::Mutex;
use storeapi::endpoints::{Endpoint, EndpointSet};
use storeapi::external_labels::remaining;
use storeapi::store::{forbids_partial, status_text};
use storeapi::{Call, Item, Merge, SeriesStream, Store};
use storeapi_proto::{convert, thanos};
use tonic::Status;

pub use selector::TsdbSelector;

/// How stores are asked.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest silence of a store; `None` for any.
    pub response_timeout: Option<Duration>,
    /// Longest call for label names or values.
    pub labels_timeout: Duration,
}

/// The fan-out. Clones share it.
#[derive(Clone, Debug)]
pub struct Proxy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoints: Arc<EndpointSet>,
    selector: Labels,
    tsdbs: TsdbSelector,
    limits: Limits,
    budget: Arc<Budget>,
    empty_streams: IntCounter,
    /// Stores that were seen to send series out of order: their answers are sorted here.
    unsorted: Mutex<HashSet<String>>,
}

impl Proxy {
    /// A fan-out over `endpoints`, of which `tsdbs` selects; all series count as having the labels of
    /// `selector`.
    ///
    /// # Errors
    /// When `registry` has its metric already.
    pub fn new(
        endpoints: Arc<EndpointSet>,
        selector: Labels,
        tsdbs: TsdbSelector,
        limits: Limits,
        budget: Arc<Budget>,
        registry: &Registry,
    ) -> metrics::Result<Self> {
        let empty_streams = metrics::counter(
            registry,
            "thanos_proxy_store_empty_stream_responses_total",
            "Total number of empty responses received.",
        )?;
        let unsorted = Mutex::default();
        Ok(Proxy(Arc::new(Inner { endpoints, selector, tsdbs, limits, budget, empty_streams, unsorted })))
    }

    /// Label sets for Info: those of all stores, each with the selector labels.
    pub fn label_sets(&self) -> Vec<Labels> {
        let selector = &self.0.selector;
        let selected = self.selected();
        let sets = selected.iter().flat_map(|(e, sets)| match sets {
            Some(sets) => sets.iter(),
            None => e.label_sets.iter(),
        });
        let mut sets: Vec<Labels> = sets.map(|set| set.extended_with(selector)).collect();
        sets.sort();
        sets.dedup();
        if sets.is_empty() && !selector.is_empty() {
            sets.push(selector.clone());
        }
        sets
    }

    /// First and last millisecond of all stores; everything where there is none.
    pub fn time_range(&self) -> (Millis, Millis) {
        let stores = self.selected();
        let ranges = stores.iter().map(|(e, _)| e.time_range());
        ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((Millis::MIN, Millis::MAX))
    }

    /// What the stores say of the TSDBs behind them.
    pub fn tsdb_infos(&self) -> Vec<storeapi_proto::info::TsdbInfo> {
        let stores = self.selected();
        let infos = stores.iter().filter_map(|(e, _)| e.info.as_ref()?.store.as_ref());
        infos.flat_map(|store| store.tsdb_infos.clone()).collect()
    }

    /// Addresses of the stores that may have sent a chunk of this series: for messages about it.
    pub fn suspects(&self, series: &Labels, mint: Millis, maxt: Millis) -> Vec<String> {
        let within = |set: &Labels| set.iter().all(|(n, v)| series.get(n).is_none_or(|own| own == v));
        let stores = self.0.endpoints.stores();
        let may = stores.iter().filter(|e| {
            let range = e.time_range();
            mint <= range.1 && maxt >= range.0 && (e.label_sets.is_empty() || e.label_sets.iter().any(within))
        });
        may.map(|e| e.addr.clone()).collect()
    }

    /// What the selector selects of a store's label sets, if there is one.
    pub fn select(&self, sets: &[Labels]) -> Option<Vec<Labels>> {
        self.0.tsdbs.select(sets)
    }

    /// The stores of which something is selected, and what, where it is not everything.
    fn selected(&self) -> Vec<(Arc<Endpoint>, Option<Vec<Labels>>)> {
        let stores = self.0.endpoints.stores().into_iter();
        let selected = stores.map(|e| {
            let sets = self.select(&e.label_sets);
            (e, sets)
        });
        selected.filter(|(_, sets)| sets.as_ref().is_none_or(|sets| !sets.is_empty())).collect()
    }

    /// The stores to ask, and the matchers to ask them with.
    fn matching(
        &self,
        mint: i64,
        maxt: i64,
        mut matchers: Vec<Matcher>,
        call: &Call,
    ) -> (Vec<Arc<Endpoint>>, Vec<thanos::LabelMatcher>) {
        let mut stores = self.selected();
        stores.retain(|(e, _)| {
            e.may_match(mint, maxt, &matchers) && address_matches(&e.addr, &call.store_matchers)
        });
        let (stores, sets): (Vec<_>, Vec<_>) = stores.into_iter().unzip();
        let sets: Vec<Labels> = sets.into_iter().flatten().flatten().collect();
        matchers.extend(selector::matchers(&sets));
        (stores, convert::to_matchers(&matchers))
    }

    /// The matchers that are left for the stores; `None` if no series can match.
    fn decide(&self, wire: &[thanos::LabelMatcher]) -> Result<Option<Vec<Matcher>>, Status> {
        let matchers = convert::matchers(wire).map_err(|e| Status::invalid_argument(e.to_string()))?;
        Ok(remaining(&matchers, &self.0.selector))
    }

    /// Asks `stores` side by side for lists of words; what fails is a warning, or the result.
    async fn words<F, R>(
        &self,
        stores: Vec<Arc<Endpoint>>,
        strict: bool,
        what: &str,
        ask: impl Fn(Arc<Endpoint>) -> F,
        split: impl Fn(R) -> (Vec<String>, Vec<String>),
    ) -> Result<(Vec<Vec<String>>, Vec<String>), Status>
    where
        F: Future<Output = Result<R, Status>>,
    {
        let limit = self.0.limits.response_timeout.unwrap_or(self.0.limits.labels_timeout);
        let asked = stores.into_iter().map(|store| {
            let answer = ask(store.clone());
            async move {
                let answer = tokio::time::timeout(limit, answer).await;
                let late = || Status::deadline_exceeded("context deadline exceeded");
                answer.unwrap_or_else(|_| Err(late())).map_err(|e| {
                    Status::unknown(format!("fetch {what} from store {store}: {}", status_text(&e)))
                })
            }
        });
        let answers: Vec<Result<R, Status>> = if strict {
            try_join_all(asked).await?.into_iter().map(Ok).collect()
        } else {
            futures::future::join_all(asked).await
        };
        let (mut words, mut warnings) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer {
                Ok(answer) => {
                    let (some, warned) = split(answer);
                    words.push(some);
                    warnings.extend(warned);
                }
                Err(e) => warnings.push(e.message().to_owned()),
            }
        }
        Ok((words, warnings))
    }
}

/// Whether a store with this address is asked (`storeMatchDebugMetadata`): any set suffices.
fn address_matches(address: &str, sets: &[Vec<Matcher>]) -> bool {
    let agrees = |set: &Vec<Matcher>| set.iter().all(|m| m.name != "__address__" || m.matches(address));
    sets.is_empty() || sets.iter().any(agrees)
}

/// Whether labels may be left out of series. A series of two stores is put together by its labels, and
/// each store may leave out others; so there has to be one, that asks no further stores.
fn may_project(stores: &[Arc<Endpoint>]) -> bool {
    matches!(stores, [one] if matches!(one.component(), "sidecar" | "store" | "receive" | "rule"))
}

fn forget_projection(request: &mut thanos::SeriesRequest) {
    if let Some(hints) = &mut request.query_hints {
        hints.projection_labels.clear();
        hints.projection_include = false;
    }
}

/// All words, sorted, each once; at most `limit`, where that is positive.
fn merge_words(lists: Vec<Vec<String>>, limit: i64) -> Vec<String> {
    let mut all: Vec<String> = lists.into_iter().flatten().collect();
    all.sort_unstable();
    all.dedup();
    if let Ok(limit @ 1..) = usize::try_from(limit) {
        all.truncate(limit);
    }
    all
}

#[async_trait]
impl Store for Proxy {
    async fn series(&self, mut request: thanos::SeriesRequest, call: Call) -> Result<SeriesStream, Status> {
        let Some(matchers) = self.decide(&request.matchers)? else {
            return Ok(futures::stream::empty().boxed());
        };
        if matchers.is_empty() {
            return Err(Status::invalid_argument("no matchers specified (excluding selector labels)"));
        }
        let strict = forbids_partial(request.partial_response_disabled, request.partial_response_strategy);
        if strict && self.0.endpoints.stores().is_empty() {
            return Err(Status::unknown("No StoreAPIs available"));
        }
        let (stores, matchers) = self.matching(request.min_time, request.max_time, matchers, &call);
        let limit = request.limit;
        request.matchers = matchers;
        (request.hints, request.step, request.range) = (None, 0, 0);
        if !may_project(&stores) {
            forget_projection(&mut request);
        }
        let sources = stores
            .into_iter()
            .map(|store| source::open(self.0.clone(), store, request.clone(), call.clone(), strict))
            .collect();
        Ok(limited(Merge::new(sources).boxed(), limit))
    }

    async fn label_names(
        &self,
        mut request: thanos::LabelNamesRequest,
        call: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        let Some(matchers) = self.decide(&request.matchers)? else { return Ok(Default::default()) };
        let (stores, matchers) = self.matching(request.start, request.end, matchers, &call);
        let strict = forbids_partial(request.partial_response_disabled, request.partial_response_strategy);
        // A store must not cut its list, because others may hold names before the cut.
        let limit = std::mem::take(&mut request.limit);
        request.matchers = matchers;
        let ask = |store: Arc<Endpoint>| {
            let (request, call) = (request.clone(), call.clone());
            async move { store.peer.label_names(request, call).await }
        };
        let split = |r: thanos::LabelNamesResponse| (r.names, r.warnings);
        let (names, warnings) = self.words(stores, strict, "label names", ask, split).await?;
        Ok(thanos::LabelNamesResponse { names: merge_words(names, limit), warnings, hints: None })
    }

    async fn label_values(
        &self,
        mut request: thanos::LabelValuesRequest,
        call: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        if request.label.is_empty() {
            return Err(Status::invalid_argument("label name parameter cannot be empty"));
        }
        let Some(matchers) = self.decide(&request.matchers)? else { return Ok(Default::default()) };
        let (stores, matchers) = self.matching(request.start, request.end, matchers, &call);
        let strict = forbids_partial(request.partial_response_disabled, request.partial_response_strategy);
        let limit = request.limit;
        request.matchers = matchers;
        request.hints = None;
        let ask = |store: Arc<Endpoint>| {
            let (request, call) = (request.clone(), call.clone());
            async move { store.peer.label_values(request, call).await }
        };
        let split = |r: thanos::LabelValuesResponse| (r.values, r.warnings);
        let (values, warnings) = self.words(stores, strict, "label values", ask, split).await?;
        Ok(thanos::LabelValuesResponse { values: merge_words(values, limit), warnings, hints: None })
    }
}

/// The first `limit` series of a stream, where `limit` is positive.
fn limited(stream: SeriesStream, limit: i64) -> SeriesStream {
    let Ok(limit @ 1..) = usize::try_from(limit) else { return stream };
    let counted = stream.scan(limit, |left, item| {
        let item = match item {
            _ if *left == 0 => None,
            Ok(Item::Series(mut all)) => {
                all.truncate(*left);
                *left -= all.len();
                Some(Ok(Item::Series(all)))
            }
            other => Some(other),
        };
        std::future::ready(item)
    });
    counted.boxed()
}
