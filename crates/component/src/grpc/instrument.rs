//! Metrics of gRPC calls, on either side, as Thanos names them.
//!
//! Holds the `grpc_server_*` and `grpc_client_*` families and one call's observation. It reads
//! bodies only to count messages. Invariant: each call is counted as started once and as handled
//! once, whoever ended it; a call dropped before its end counts as `Canceled`.

use std::sync::Arc;
use std::time::Instant;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, Registry};
use tonic::{Code, Status};

use super::{Method, MethodKind};
use crate::log::requests::GrpcEntryEnd;
use crate::metrics::{self, buckets};

/// All codes by Go's names, by their number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Go's name of a code.
pub fn code_name(code: Code) -> &'static str {
    CODES[code as usize]
}

/// The families of one side.
#[derive(Debug)]
struct Families {
    started: IntCounterVec,
    handled: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    seconds: HistogramVec,
}

const LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];

impl Families {
    fn new(registry: &Registry, side: &str, bounds: &[f64]) -> prometheus::Result<Self> {
        let counters = |what: &str, help: &str, labels: &[&str]| {
            metrics::counters(registry, &format!("grpc_{side}_{what}_total"), help, labels)
        };
        let by_code: Vec<&str> = LABELS.into_iter().chain(["grpc_code"]).collect();
        Ok(Families {
            started: counters("started", &format!("Calls begun on the {side}."), &LABELS)?,
            handled: counters("handled", &format!("Calls ended on the {side}, well or not."), &by_code)?,
            received: counters("msg_received", &format!("Messages received by the {side}."), &LABELS)?,
            sent: counters("msg_sent", &format!("Messages sent by the {side}."), &LABELS)?,
            seconds: metrics::histograms(
                registry,
                &format!("grpc_{side}_handling_seconds"),
                &format!("Seconds from beginning to end of calls on the {side}."),
                &LABELS,
                bounds,
            )?,
        })
    }

    fn begin(self: &Arc<Self>, kind: MethodKind, service: &str, method: &str) -> Observation {
        let labels = [kind.name(), service, method];
        self.started.with_label_values(&labels).inc();
        Observation {
            families: self.clone(),
            labels: labels.map(str::to_owned),
            received: self.received.with_label_values(&labels),
            sent: self.sent.with_label_values(&labels),
            began: Instant::now(),
            ended: false,
            log: None,
        }
    }
}

/// `grpc_server_*` and `grpc_req_panics_recovered_total`. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct ServerMetrics {
    families: Arc<Families>,
    pub(super) panics: IntCounter,
}

impl ServerMetrics {
    /// Registers the metrics, with every one of `methods` at zero.
    pub(super) fn new(registry: &Registry, methods: &[Method]) -> prometheus::Result<Self> {
        let families = Families::new(registry, "server", &buckets::GRPC_SERVER)?;
        for method in methods {
            let labels = [method.kind.name(), method.service, method.name];
            for family in [&families.started, &families.received, &families.sent] {
                family.with_label_values(&labels);
            }
            families.seconds.with_label_values(&labels);
            for code in CODES {
                families.handled.with_label_values(&[labels[0], labels[1], labels[2], code]);
            }
        }
        let panics = metrics::counter(
            registry,
            "grpc_req_panics_recovered_total",
            "Calls whose handler panicked and which were answered nevertheless.",
        )?;
        Ok(ServerMetrics { families: Arc::new(families), panics })
    }

    pub(super) fn begin(&self, kind: MethodKind, service: &str, method: &str) -> Observation {
        self.families.begin(kind, service, method)
    }
}

/// `grpc_client_*`, for all channels of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct ClientMetrics(Arc<Families>);

impl ClientMetrics {
    /// Registers the metrics; series appear with the first call of a method.
    ///
    /// # Errors
    /// When the registry has one of them.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(ClientMetrics(Arc::new(Families::new(registry, "client", &buckets::REQUEST)?)))
    }

    pub(super) fn begin(&self, kind: MethodKind, service: &str, method: &str) -> Observation {
        self.0.begin(kind, service, method)
    }
}

/// One call under observation; counts as canceled when dropped before it ended.
#[derive(Debug)]
pub(super) struct Observation {
    families: Arc<Families>,
    labels: [String; 3],
    pub(super) received: IntCounter,
    pub(super) sent: IntCounter,
    began: Instant,
    ended: bool,
    /// A line about the end that is still to be written.
    pub(super) log: Option<GrpcEntryEnd>,
}

impl Observation {
    /// The call ended with `status`; only the first end counts.
    pub(super) fn end(&mut self, status: &Status) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let code = status.code();
        let [kind, service, method] = self.labels.each_ref().map(String::as_str);
        self.families.handled.with_label_values(&[kind, service, method, code_name(code)]).inc();
        let seconds = self.families.seconds.with_label_values(&[kind, service, method]);
        seconds.observe(self.began.elapsed().as_secs_f64());
        if let Some(log) = self.log.take() {
            log.end(status);
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.end(&Status::cancelled("context canceled"));
    }
}
