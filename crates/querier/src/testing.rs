//! Stores that do as they are told, for the tests of this crate.
//!
//! Holds a scripted peer, sets of them, and series made of plain numbers. It knows no test. Invariant: a
//! peer answers only what matches the request's matchers and time, as a real one does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use component::discovery::Target;
use component::metrics::Registry;
use futures::StreamExt;
use model::{Budget, Labels, Millis};
use parking_lot::Mutex;
use storeapi::endpoints::{Connector, EndpointSet, MetricLabel, NodeMetrics, Peer, Timeouts};
use storeapi::{AggrChunk, Call, Chunk, Item, Series, SeriesStream, Store};
use storeapi_proto::info::{InfoResponse, StoreInfo};
use storeapi_proto::{convert, thanos};
use tonic::Status;
use tsdb_block::chunkenc::xor;

use crate::proxy::{Limits, Proxy, TsdbSelector};

/// What a peer does next in a Series call.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends series.
    Send(Vec<Series>),
    /// Sends a warning.
    Warn(&'static str),
    /// Fails.
    Fail(Status),
    /// Never goes on.
    Hang,
    /// Waits.
    Wait(Duration),
    /// Dies.
    Panic,
}

/// A scripted peer.
#[derive(Debug)]
pub(crate) struct Fake {
    /// External labels.
    pub(crate) sets: Vec<Labels>,
    /// Time range.
    pub(crate) range: (Millis, Millis),
    /// What it says it is.
    pub(crate) component: &'static str,
    /// Whether it removes replica labels.
    pub(crate) removes: bool,
    /// Fails before the stream.
    pub(crate) refuse: Option<Status>,
    /// The stream.
    pub(crate) steps: Vec<Step>,
    /// Words for label names and values.
    pub(crate) words: Result<Vec<String>, Status>,
    /// Never answers calls for words.
    pub(crate) mute: bool,
    /// Requests seen.
    pub(crate) seen: Mutex<Vec<thanos::SeriesRequest>>,
    /// Streams that are open.
    pub(crate) open: Arc<AtomicUsize>,
}

impl Default for Fake {
    fn default() -> Self {
        Fake {
            sets: Vec::new(),
            range: (Millis::MIN, Millis::MAX),
            component: "store",
            removes: true,
            refuse: None,
            steps: Vec::new(),
            words: Ok(Vec::new()),
            mute: false,
            seen: Mutex::default(),
            open: Arc::default(),
        }
    }
}

impl Fake {
    /// A peer that plays `steps`.
    pub(crate) fn of(steps: Vec<Step>) -> Self {
        Fake { steps, ..Fake::default() }
    }

    /// A peer that sends `series`.
    pub(crate) fn holding(series: Vec<Series>) -> Self {
        Fake::of(vec![Step::Send(series)])
    }
}

/// Counts a stream as open.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Store for Fake {
    async fn series(&self, request: thanos::SeriesRequest, _: Call) -> Result<SeriesStream, Status> {
        self.seen.lock().push(request.clone());
        if let Some(status) = &self.refuse {
            return Err(status.clone());
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(self.open.clone());
        let removed: Vec<String> = if self.removes { request.without_replica_labels.clone() } else { vec![] };
        let matchers = convert::matchers(&request.matchers).map_err(|e| Status::internal(e.to_string()))?;
        let steps = self.steps.clone().into_iter();
        let stream = futures::stream::unfold((steps, open), move |(mut steps, open)| {
            let (removed, matchers) = (removed.clone(), matchers.clone());
            async move {
                loop {
                    let item = match steps.next()? {
                        Step::Send(mut series) => {
                            series.retain(|s| matchers.iter().all(|m| m.matches(s.labels.value(&m.name))));
                            if series.is_empty() {
                                continue;
                            }
                            for s in &mut series {
                                s.labels = s.labels.without(&removed);
                            }
                            Ok(Item::Series(series))
                        }
                        Step::Warn(text) => Ok(Item::Warning(text.to_owned())),
                        Step::Fail(status) => Err(status),
                        Step::Hang => std::future::pending().await,
                        Step::Wait(time) => {
                            tokio::time::sleep(time).await;
                            continue;
                        }
                        Step::Panic => panic!("scripted"),
                    };
                    return Some((item, (steps, open)));
                }
            }
        });
        Ok(stream.boxed())
    }

    async fn label_names(
        &self,
        _: thanos::LabelNamesRequest,
        _: Call,
    ) -> Result<thanos::LabelNamesResponse, Status> {
        if self.mute {
            std::future::pending::<()>().await;
        }
        Ok(thanos::LabelNamesResponse { names: self.words.clone()?, ..Default::default() })
    }

    async fn label_values(
        &self,
        _: thanos::LabelValuesRequest,
        _: Call,
    ) -> Result<thanos::LabelValuesResponse, Status> {
        if self.mute {
            std::future::pending::<()>().await;
        }
        Ok(thanos::LabelValuesResponse { values: self.words.clone()?, ..Default::default() })
    }
}

#[async_trait]
impl Peer for Fake {
    async fn info(&self) -> Result<InfoResponse, Status> {
        Ok(InfoResponse {
            label_sets: self.sets.iter().map(convert::to_label_set).collect(),
            component_type: self.component.to_owned(),
            store: Some(StoreInfo {
                min_time: self.range.0,
                max_time: self.range.1,
                supports_sharding: true,
                supports_without_replica_labels: self.removes,
                ..Default::default()
            }),
            ..Default::default()
        })
    }
}

struct Fakes(BTreeMap<String, Arc<Fake>>);

impl Connector for Fakes {
    fn connect(&self, target: &Target) -> Result<Arc<dyn Peer>, String> {
        match self.0.get(&target.address) {
            Some(fake) => Ok(fake.clone()),
            None => Err("no such host".to_owned()),
        }
    }
}

/// A set of peers `s1:1`, `s2:1`, … that have said what they are.
pub(crate) async fn endpoints(fakes: Vec<Arc<Fake>>) -> Arc<EndpointSet> {
    let named: BTreeMap<String, Arc<Fake>> =
        fakes.into_iter().enumerate().map(|(i, fake)| (format!("s{}:1", i + 1), fake)).collect();
    let targets: Vec<Target> = named.keys().map(|address| Target::plain(address)).collect();
    let timeouts = Timeouts { info: Duration::from_secs(5), unhealthy: Duration::from_secs(300) };
    let metrics = NodeMetrics::new(&Registry::new(), &[MetricLabel::StoreType]).unwrap();
    let set = EndpointSet::new(Box::new(Fakes(named)), timeouts, metrics);
    set.update(&targets, 1_000).await;
    Arc::new(set)
}

/// A fan-out over `fakes`.
pub(crate) async fn proxy(fakes: Vec<Arc<Fake>>, response_timeout: Option<Duration>) -> Proxy {
    let limits = Limits { response_timeout, labels_timeout: Duration::from_secs(120) };
    let (selector, tsdbs) = (Labels::empty(), TsdbSelector::default());
    let endpoints = endpoints(fakes).await;
    Proxy::new(endpoints, selector, tsdbs, limits, Budget::unlimited(), &Registry::new()).unwrap()
}

/// Labels from `name=value` words.
pub(crate) fn labels(text: &str) -> Labels {
    Labels::from_pairs(text.split_whitespace().filter_map(|pair| pair.split_once('=')))
}

/// An XOR chunk of these samples, with its hash.
pub(crate) fn chunk(points: &[(Millis, f64)]) -> AggrChunk {
    let mut encoder = xor::Encoder::new();
    for (t, v) in points {
        encoder.push(*t, *v).unwrap();
    }
    let data = bytes::Bytes::from(encoder.finish());
    let mut chunk = Chunk { encoding: 0, data, hash: 0 };
    chunk.hash = chunk.hash_or_compute();
    AggrChunk::raw(points[0].0, points[points.len() - 1].0, chunk)
}

/// A series with one chunk of samples a millisecond list.
pub(crate) fn series(text: &str, chunks: &[&[(Millis, f64)]]) -> Series {
    Series { labels: labels(text), chunks: chunks.iter().map(|points| chunk(points)).collect() }
}

/// Configuration by command line words.
pub(crate) fn config(words: &[&str]) -> crate::config::Config {
    use component::flags::{self, Args as _, Verb};
    let verbs = [Verb { name: "query", about: "", flags: flags::specs::<crate::Args>() }];
    let words: Vec<String> =
        std::iter::once("query").chain(words.iter().copied()).map(str::to_owned).collect();
    let parsed = flags::parse(&[], &verbs, &words).unwrap();
    let read = flags::read(&parsed, crate::Args::declare).unwrap();
    crate::config::Config::new(&read.values).unwrap()
}

/// An API over `fakes`, with these flags and memory.
pub(crate) async fn api(fakes: Vec<Arc<Fake>>, words: &[&str], budget: Arc<Budget>) -> Arc<crate::api::Api> {
    let config = config(words);
    let registry = Registry::new();
    let endpoints = endpoints(fakes).await;
    let limits = Limits { response_timeout: config.response_timeout, labels_timeout: config.timeout };
    let selector = config.selector_labels.clone();
    let tsdbs = TsdbSelector::default();
    let proxy = Proxy::new(endpoints.clone(), selector, tsdbs, limits, budget.clone(), &registry).unwrap();
    let telemetry = crate::args::Telemetry { seconds: vec![1.0], samples: vec![10.0], series: vec![10.0] };
    let suspects = proxy.clone();
    let stores = Arc::new(crate::queryable::Stores {
        store: Arc::new(proxy.clone()),
        suspects: Box::new(move |series, mint, maxt| suspects.suspects(series, mint, maxt)),
        runtime: tokio::runtime::Handle::current(),
        max_selects: config.max_concurrent_select,
        selects: None,
        algorithm: config.dedup,
    });
    let step = config.evaluation_interval;
    let engine = promql::Engine::new(promql::EngineOptions {
        parser: config.syntax,
        max_samples: config.max_samples,
        slicelabels_hash: true,
        default_step: Arc::new(move |_| step),
        ..Default::default()
    });
    let gate = component::gate::Gate::new(config.max_concurrent, None);
    let metrics = crate::metrics::Metrics::new(&registry, &telemetry, None).unwrap();
    let evaluator =
        crate::api::evaluate::Evaluator::new(engine, stores, gate, budget, metrics, None, config.timeout);
    Arc::new(crate::api::Api {
        evaluator,
        proxy,
        endpoints,
        clock: Arc::new(component::clock::ManualClock::at(1_000_000)),
        runtime: tokio::runtime::Handle::current(),
        flags: vec![("query.timeout".to_owned(), "2m".to_owned())],
        started: 0,
        config,
    })
}
