//! Queries of other queriers and of rulers, over gRPC: `thanos.Query`.
//!
//! Holds the service (Thanos `pkg/api/query/grpc.go`): requests become jobs, results become frames as
//! they leave the engine. It evaluates nothing itself. Invariant: a reader that goes ends its query, and
//! one that is slow holds it up.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use component::clock::SharedClock;
use futures::Stream;
use futures::stream::BoxStream;
use model::{CounterResetHint, FloatHistogram, Labels, Matcher, Millis};
use promql::{Points, QueryError, Sink, StatsLevel, Value};
use storeapi_proto::prometheus_copy::{self as proto, TimeSeries};
use storeapi_proto::thanos::query_server::Query;
use storeapi_proto::{convert, thanos};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use crate::api::Failure;
use crate::api::evaluate::{Evaluator, Guard, Job, Running, Times, warnings};
use crate::args::EngineName;
use crate::config::Config;
use crate::pool::Lease;

/// Frames on their way to the reader.
const ON_THE_WAY: usize = 16;

/// What an answer is made of.
#[derive(Debug)]
enum Frame {
    Warning(String),
    Series(TimeSeries),
    Batch(Vec<TimeSeries>),
    Stats(thanos::QueryStats),
}

/// What goes through the channel; `None` says that all was sent.
type Sent = Option<Result<Frame, Status>>;

type Frames = BoxStream<'static, Result<Frame, Status>>;

/// The service.
#[derive(Debug)]
pub struct QueryService {
    config: Config,
    evaluator: Evaluator,
    clock: SharedClock,
}

/// The fields that both requests have.
struct Common {
    query: String,
    timeout: i64,
    max_resolution: i64,
    replica_labels: Vec<String>,
    store_matchers: Vec<thanos::StoreMatchers>,
    dedup: bool,
    partial: bool,
    shard: Option<thanos::ShardInfo>,
    lookback: i64,
    engine: i32,
    tenant: String,
}

impl QueryService {
    /// A service over `evaluator`.
    pub fn new(config: Config, evaluator: Evaluator, clock: SharedClock) -> Self {
        QueryService { config, evaluator, clock }
    }

    fn job(&self, common: Common, times: Times) -> Result<Job, Status> {
        let config = &self.config;
        let engine = match thanos::EngineType::try_from(common.engine) {
            Ok(thanos::EngineType::Default) => config.engine,
            Ok(thanos::EngineType::Prometheus) => EngineName::Prometheus,
            Ok(thanos::EngineType::Thanos) => EngineName::Thanos,
            Err(_) => return Err(Status::invalid_argument("invalid engine parameter")),
        };
        let seconds = match common.max_resolution {
            0 => config.instant_resolution / 1000,
            given => given,
        };
        let max_resolution = seconds.saturating_mul(1000);
        let store_matchers: Result<Vec<Vec<Matcher>>, _> =
            common.store_matchers.iter().map(|s| convert::matchers(&s.label_matchers)).collect();
        let replica_labels = match (common.dedup, common.replica_labels.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => config.replica_labels.clone(),
            (true, false) => common.replica_labels,
        };
        let enforced = config.tenancy.enforced_label.as_ref();
        Ok(Job {
            text: common.query,
            times,
            engine,
            lookback: match common.lookback {
                given @ 1.. => given.saturating_mul(1000),
                _ => config.lookbacks.of(max_resolution),
            },
            stats: StatsLevel::Totals,
            analyze: false,
            timeout: u64::try_from(common.timeout).ok().filter(|t| *t > 0).map(Duration::from_secs),
            replica_labels,
            store_matchers: store_matchers.map_err(|e| Status::unknown(e.to_string()))?,
            max_resolution,
            partial: common.partial,
            shard: common.shard,
            enforced: enforced.map(|label| Matcher::equal(label.as_ref(), common.tenant.clone())),
            tenant: common.tenant,
        })
    }

    /// Starts the job. `forgiving` makes its failure a warning.
    async fn answer(&self, job: Job, batch: i64, forgiving: bool) -> Result<Frames, Status> {
        let failed = move |failure: Failure| match forgiving {
            true => Ok(Frame::Warning(failure.text)),
            false => Err(Status::aborted(failure.text)),
        };
        let accepted = self.evaluator.accept(job).map_err(|e| Status::unknown(e.text))?;
        let guard = accepted.guard();
        let (sender, receiver) = mpsc::channel(ON_THE_WAY);
        let run = move |running: Running| {
            let size = usize::try_from(batch).unwrap_or(0).clamp(1, 4096);
            let mut out = Out { sender, lease: running.lease.clone(), size, held: Vec::new() };
            let result = running.run(&mut out);
            let last: Vec<Result<Frame, Status>> = match result {
                Err(failure) => vec![failed(failure)],
                Ok(outcome) => {
                    let samples = outcome.stats.samples.clone().unwrap_or_default();
                    let stats = thanos::QueryStats {
                        samples_total: samples.total,
                        peak_samples: i64::try_from(samples.peak).unwrap_or(i64::MAX),
                    };
                    let rest = out.take_held().into_iter();
                    let warned = warnings(&outcome).into_iter().map(Frame::Warning);
                    rest.chain(warned).chain([Frame::Stats(stats)]).map(Ok).collect()
                }
            };
            for frame in last.into_iter().map(Some).chain([None]) {
                // A reader that has gone does not read the end either.
                let _ = out.lease.while_outside(|| out.sender.blocking_send(frame));
            }
        };
        self.evaluator.start(accepted, run).await.map_err(|e| Status::aborted(e.text))?;
        Ok(Box::pin(Answer { receiver, ended: false, _guard: guard }))
    }
}

/// The frames, with what ends the query.
struct Answer {
    receiver: mpsc::Receiver<Sent>,
    ended: bool,
    _guard: Guard,
}

impl Stream for Answer {
    type Item = Result<Frame, Status>;
    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.receiver.poll_recv(cx));
        self.ended = !matches!(next, Some(Some(Ok(_))));
        let broken = || Some(Err(Status::internal("evaluating the query broke off")));
        Poll::Ready(next.unwrap_or_else(broken))
    }
}

/// Turns results into frames.
struct Out {
    sender: mpsc::Sender<Sent>,
    lease: Arc<Lease>,
    size: usize,
    held: Vec<TimeSeries>,
}

impl Out {
    fn send(&self, frame: Frame) -> Result<(), QueryError> {
        let sent = self.lease.while_outside(|| self.sender.blocking_send(Some(Ok(frame))));
        sent.map_err(|_| QueryError::Canceled)
    }

    fn take_held(&mut self) -> Option<Frame> {
        (!self.held.is_empty()).then(|| Frame::Batch(std::mem::take(&mut self.held)))
    }

    fn push(&mut self, series: TimeSeries) -> Result<(), QueryError> {
        if self.size == 1 {
            return self.send(Frame::Series(series));
        }
        self.held.push(series);
        match self.held.len() == self.size {
            true => self.take_held().map_or(Ok(()), |frame| self.send(frame)),
            false => Ok(()),
        }
    }
}

fn point(series: &mut TimeSeries, at: Millis, value: Value<'_>) {
    match value {
        Value::Float(value) => series.samples.push(proto::Sample { value, timestamp: at }),
        Value::Histogram(h) => series.histograms.push(histogram(at, h)),
    }
}

fn histogram(timestamp: Millis, h: &FloatHistogram) -> proto::Histogram {
    use proto::histogram::{Count, ResetHint, ZeroCount};
    let spans = |spans: &[model::Span]| {
        spans.iter().map(|s| proto::BucketSpan { offset: s.offset, length: s.length }).collect()
    };
    let hint = match h.counter_reset_hint {
        CounterResetHint::Unknown => ResetHint::Unknown,
        CounterResetHint::Reset => ResetHint::Yes,
        CounterResetHint::NotReset => ResetHint::No,
        CounterResetHint::Gauge => ResetHint::Gauge,
    };
    proto::Histogram {
        sum: h.sum,
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        negative_spans: spans(&h.negative_spans),
        negative_counts: h.negative_buckets.clone(),
        positive_spans: spans(&h.positive_spans),
        positive_counts: h.positive_buckets.clone(),
        reset_hint: hint as i32,
        timestamp,
        custom_values: h.custom_bounds().to_vec(),
        count: Some(Count::CountFloat(h.count)),
        zero_count: Some(ZeroCount::ZeroCountFloat(h.zero_count)),
        ..Default::default()
    }
}

impl Sink for Out {
    fn scalar(&mut self, at: Millis, value: f64) -> Result<(), QueryError> {
        self.sample(&Labels::empty(), at, Value::Float(value))
    }

    /// Upstream has no frame for strings either.
    fn string(&mut self, _: Millis, _: &[u8]) -> Result<(), QueryError> {
        Ok(())
    }

    fn sample(&mut self, labels: &Labels, at: Millis, value: Value<'_>) -> Result<(), QueryError> {
        let mut series = TimeSeries { labels: convert::to_labels(labels), ..Default::default() };
        point(&mut series, at, value);
        self.push(series)
    }

    fn series(&mut self, labels: &Labels, points: Points<'_>) -> Result<(), QueryError> {
        let mut series = TimeSeries { labels: convert::to_labels(labels), ..Default::default() };
        points.iter().for_each(|(t, v)| point(&mut series, t, v));
        self.push(series)
    }
}

fn tenant<T>(request: &Request<T>) -> String {
    storeapi::Call::from_metadata(request.metadata()).tenant
}

#[tonic::async_trait]
impl Query for QueryService {
    type QueryStream = BoxStream<'static, Result<thanos::QueryResponse, Status>>;

    async fn query(
        &self,
        request: Request<thanos::QueryRequest>,
    ) -> Result<Response<Self::QueryStream>, Status> {
        use futures::StreamExt as _;
        use thanos::query_response::Result as Kind;
        let tenant = tenant(&request);
        let r = request.into_inner();
        let at = match r.time_seconds {
            0 => self.clock.now_millis(),
            seconds => seconds.saturating_mul(1000),
        };
        let common = Common {
            query: r.query,
            timeout: r.timeout_seconds,
            max_resolution: r.max_resolution_seconds,
            replica_labels: r.replica_labels,
            store_matchers: r.store_matchers,
            dedup: r.enable_dedup,
            partial: r.enable_partial_response,
            shard: r.shard_info,
            lookback: r.lookback_delta_seconds,
            engine: r.engine,
            tenant,
        };
        let job = self.job(common, Times::At(at))?;
        let partial = job.partial;
        let frames = self.answer(job, r.response_batch_size, partial).await?;
        let frames = frames.map(|frame| {
            frame.map(|frame| {
                let result = Some(match frame {
                    Frame::Warning(text) => Kind::Warnings(text),
                    Frame::Series(series) => Kind::Timeseries(series),
                    Frame::Batch(series) => Kind::TimeseriesBatch(thanos::TimeSeriesBatch { series }),
                    Frame::Stats(stats) => Kind::Stats(stats),
                });
                thanos::QueryResponse { result }
            })
        });
        Ok(Response::new(frames.boxed()))
    }

    type QueryRangeStream = BoxStream<'static, Result<thanos::QueryRangeResponse, Status>>;

    async fn query_range(
        &self,
        request: Request<thanos::QueryRangeRequest>,
    ) -> Result<Response<Self::QueryRangeStream>, Status> {
        use futures::StreamExt as _;
        use thanos::query_range_response::Result as Kind;
        let tenant = tenant(&request);
        let r = request.into_inner();
        let times = Times::Range {
            start: r.start_time_seconds.saturating_mul(1000),
            end: r.end_time_seconds.saturating_mul(1000),
            step: r.interval_seconds.saturating_mul(1000).max(1),
        };
        let common = Common {
            query: r.query,
            timeout: r.timeout_seconds,
            max_resolution: r.max_resolution_seconds,
            replica_labels: r.replica_labels,
            store_matchers: r.store_matchers,
            dedup: r.enable_dedup,
            partial: r.enable_partial_response,
            shard: r.shard_info,
            lookback: r.lookback_delta_seconds,
            engine: r.engine,
            tenant,
        };
        let job = self.job(common, times)?;
        let frames = self.answer(job, r.response_batch_size, false).await?;
        let frames = frames.map(|frame| {
            frame.map(|frame| {
                let result = Some(match frame {
                    Frame::Warning(text) => Kind::Warnings(text),
                    Frame::Series(series) => Kind::Timeseries(series),
                    Frame::Batch(series) => Kind::TimeseriesBatch(thanos::TimeSeriesBatch { series }),
                    Frame::Stats(stats) => Kind::Stats(stats),
                });
                thanos::QueryRangeResponse { result }
            })
        });
        Ok(Response::new(frames.boxed()))
    }
}
