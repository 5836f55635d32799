//! The StoreAPI over one Prometheus.
//!
//! Holds label decisions, clamping to the time range and the three calls (upstream
//! `pkg/store/prometheus.go`). It decodes no chunk, but for a Prometheus too old to stream. Invariant:
//! external labels win over a series' own, and matchers on them never reach Prometheus. Parts: `stream`
//! (chunks as they arrive), `samples` (the old answer).

mod samples;
mod stream;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use component::metrics::{self, Histogram, Registry};
use futures::StreamExt;
use model::{Budget, Labels, Matcher};
use promclient::remote_read::Answer;
use promclient::series::Scope;
use promclient::{Client, Error};
use storeapi::external_labels::remaining;
use storeapi::shard::ShardMatcher;
use storeapi::{Call, Item, Series, SeriesStream, Store};
use storeapi_proto::{convert, thanos};
use tonic::{Code, Status};

use crate::state::State;
use stream::{Finals, Order};

/// Bounds of the number of frames.
const FRAMES: [f64; 5] = [10.0, 100.0, 1e3, 1e4, 1e5];
/// Series a message of a metadata-only answer holds before batching.
const PIECE: usize = 1024;

/// Prometheus as a store.
#[derive(Debug)]
pub struct PrometheusStore {
    client: Client,
    state: State,
    budget: Arc<Budget>,
    frames: Histogram,
}

/// A gRPC status as Thanos' client gives it for an HTTP status.
fn status(error: &Error) -> Status {
    let code = match error {
        Error::OverBudget(_) | Error::TooLarge { .. } => Code::ResourceExhausted,
        _ => match error.http_code() {
            Some(400) => Code::InvalidArgument,
            Some(404) => Code::NotFound,
            Some(503) => Code::Unavailable,
            _ => Code::Internal,
        },
    };
    Status::new(code, error.to_string())
}

impl PrometheusStore {
    /// A store over `client`.
    ///
    /// # Errors
    /// When `registry` has the frame histogram already.
    pub fn new(
        client: Client,
        state: State,
        budget: Arc<Budget>,
        registry: &Registry,
    ) -> metrics::Result<Self> {
        let frames = metrics::histogram(
            registry,
            "prometheus_store_received_frames",
            "Number of frames received per streamed response.",
            &FRAMES,
        )?;
        Ok(PrometheusStore { client, state, budget, frames })
    }

    /// What is left of the matchers; `None` if no series can match.
    fn decide(
        &self,
        wire: &[thanos::LabelMatcher],
        external: &Labels,
    ) -> Result<Option<Vec<Matcher>>, Status> {
        let matchers = convert::matchers(wire).map_err(|e| Status::invalid_argument(e.to_string()))?;
        Ok(remaining(&matchers, external))
    }

    async fn sets(
        &self,
        request: &thanos::SeriesRequest,
        matchers: &[Matcher],
        finals: Finals,
    ) -> Result<SeriesStream, Status> {
        let (start, end) = (request.min_time, request.max_time);
        let scope = Scope { matchers, start, end, limit: request.limit };
        let sets = self.client.series(scope).await.map_err(|e| status(&e))?;
        let account = self.budget.account();
        let mut all = Vec::with_capacity(sets.len());
        for set in sets {
            let series = Series { labels: finals.of(&set), chunks: Vec::new() };
            account
                .charge(series.byte_len() as u64, &"series of Prometheus")
                .map_err(|e| Status::resource_exhausted(e.to_string()))?;
            all.push(series);
        }
        storeapi::sort::sort_all(&mut all);
        let stream = futures::stream::unfold((all.into_iter(), account), |(mut rest, account)| async move {
            let piece: Vec<Series> = rest.by_ref().take(PIECE).collect();
            (!piece.is_empty()).then_some((Ok(Item::Series(piece)), (rest, account)))
        });
        Ok(stream.boxed())
    }

    /// Whether a series of Prometheus can carry a label that is added or removed here. Then no order
    /// can be kept on the way.
    async fn order(&self, start: i64, end: i64, finals: &Finals) -> Order {
        let touched = finals.touched();
        let scope = Scope { matchers: &[], start, end, limit: 0 };
        match self.client.label_names(scope).await {
            Ok(names) if !names.iter().any(|n| touched.contains(n.as_str())) => Order::Kept,
            // Not knowing is no reason to fail: sorting is always right, and costs memory only.
            _ => Order::Lost,
        }
    }
}

#[async_trait]
impl Store for PrometheusStore {
    async fn series(&self, mut request: thanos::SeriesRequest, _: Call) -> Result<SeriesStream, Status> {
        let external = self.state.labels();
        let Some(matchers) = self.decide(&request.matchers, &external)? else {
            return Ok(futures::stream::empty().boxed());
        };
        if matchers.is_empty() {
            return Err(Status::invalid_argument("no matchers specified (excluding external labels)"));
        }
        request.min_time = request.min_time.max(self.state.range().0);
        if request.min_time > request.max_time {
            return Ok(futures::stream::empty().boxed());
        }
        if request.skip_chunks {
            // Upstream drops replica labels from the external ones only here.
            let finals = Finals::new(&external.without(&request.without_replica_labels), &[]);
            return self.sets(&request, &matchers, finals).await;
        }
        let finals = Finals::new(&external, &request.without_replica_labels);
        let (start, end) = (request.min_time, request.max_time);
        let (answer, order) =
            tokio::join!(self.client.remote_read(&matchers, start, end), self.order(start, end, &finals));
        let answer = answer.map_err(|e| match e {
            Error::OverBudget(_) => status(&e),
            Error::Status { code, body } => {
                Status::unknown(format!("query Prometheus: request failed with code {code}; msg {body}"))
            }
            other => Status::unknown(format!("query Prometheus: {other}")),
        })?;
        let shard = ShardMatcher::new(request.shard_info.as_ref());
        match answer {
            Answer::Chunks(frames) => {
                let source = stream::Source::new(frames, finals, shard, self.frames.clone());
                Ok(stream::ordered(source, order, self.budget.account()))
            }
            Answer::Samples(response) => samples::stream(*response, &finals, shard, self.budget.account()),
        }
    }

    async fn label_names(
        &self,
        request: thanos::LabelNamesRequest,
        _: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        let external = self.state.labels();
        let Some(matchers) = self.decide(&request.matchers, &external)? else {
            return Ok(thanos::LabelNamesResponse::default());
        };
        let scope =
            Scope { matchers: &matchers, start: request.start, end: request.end, limit: request.limit };
        let mut names: BTreeSet<String> = if matchers.is_empty() || self.state.labels_take_matchers() {
            self.client.label_names(scope).await.map_err(|e| status(&e))?.into_iter().collect()
        } else {
            let sets = self.client.series(scope).await.map_err(|e| status(&e))?;
            sets.iter().flat_map(|s| s.iter()).map(|(n, _)| n.to_owned()).collect()
        };
        if !names.is_empty() {
            let kept = external.without(&request.without_replica_labels);
            names.extend(kept.iter().map(|(n, _)| n.to_owned()));
        }
        Ok(thanos::LabelNamesResponse { names: names.into_iter().collect(), ..Default::default() })
    }

    async fn label_values(
        &self,
        request: thanos::LabelValuesRequest,
        _: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        let none = thanos::LabelValuesResponse::default;
        if request.label.is_empty() {
            return Err(Status::invalid_argument("label name parameter cannot be empty"));
        }
        if request.without_replica_labels.contains(&request.label) {
            return Ok(none());
        }
        let external = self.state.labels();
        let Some(matchers) = self.decide(&request.matchers, &external)? else { return Ok(none()) };
        let scope =
            Scope { matchers: &matchers, start: request.start, end: request.end, limit: request.limit };
        let own = external.value(&request.label);
        if !own.is_empty() {
            let any = matchers.is_empty() || {
                let one = Scope { limit: 1, ..scope };
                !self.client.series(one).await.map_err(|e| status(&e))?.is_empty()
            };
            let values = if any { vec![own.to_owned()] } else { Vec::new() };
            return Ok(thanos::LabelValuesResponse { values, ..none() });
        }
        let mut values: Vec<String> = if matchers.is_empty() || self.state.labels_take_matchers() {
            self.client.label_values(&request.label, scope).await.map_err(|e| status(&e))?
        } else {
            let sets = self.client.series(scope).await.map_err(|e| status(&e))?;
            let found: BTreeSet<String> =
                sets.iter().filter_map(|s| s.get(&request.label)).map(str::to_owned).collect();
            found.into_iter().collect()
        };
        values.sort_unstable();
        Ok(thanos::LabelValuesResponse { values, ..none() })
    }
}
