//! Metrics of HTTP handlers, as Thanos names them.
//!
//! Counts a request when its answer's head is known and its body has been sent or dropped. It routes
//! nothing. Invariant: one `http_requests_total` a request, whatever became of its body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use prometheus::{GaugeVec, HistogramVec, IntCounterVec, Registry};

use super::{Body, BoxError, Request, Response};
use crate::log::requests::HttpEntryEnd;
use crate::metrics::{self, buckets};

/// Where the `tenant` label comes from.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The header that names the tenant.
    pub header: HeaderName,
    /// The tenant of requests without the header.
    pub default: String,
}

/// `http_*` metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tenant: Option<Tenant>,
    requests: IntCounterVec,
    in_flight: GaugeVec,
    seconds: HistogramVec,
    request_bytes: HistogramVec,
    response_bytes: HistogramVec,
}

impl Metrics {
    /// Registers the metrics; with `tenant` they carry that label.
    ///
    /// # Errors
    /// When the registry has one of them.
    pub fn new(registry: &Registry, tenant: Option<Tenant>) -> prometheus::Result<Self> {
        let with = |names: &[&'static str]| -> Vec<&'static str> {
            names.iter().copied().chain(tenant.is_some().then_some("tenant")).collect()
        };
        let labels = with(&["code", "handler", "method"]);
        let sizes = &buckets::HTTP_SIZE;
        Ok(Metrics(Arc::new(Inner {
            requests: metrics::counters(registry, "http_requests_total", "HTTP requests answered.", &labels)?,
            in_flight: metrics::gauges(
                registry,
                "http_inflight_requests",
                "HTTP requests being answered now.",
                &with(&["handler", "method"]),
            )?,
            seconds: metrics::histograms(
                registry,
                "http_request_duration_seconds",
                "Seconds it took to answer HTTP requests.",
                &labels,
                &buckets::REQUEST,
            )?,
            request_bytes: metrics::histograms(
                registry,
                "http_request_size_bytes",
                "Bytes of HTTP requests, head and body.",
                &labels,
                sizes,
            )?,
            response_bytes: metrics::histograms(
                registry,
                "http_response_size_bytes",
                "Bytes of HTTP answers' bodies.",
                &labels,
                sizes,
            )?,
            tenant,
        })))
    }

    pub(super) async fn observe<A>(
        &self,
        name: &str,
        request: Request,
        handler: &(dyn Fn(Request) -> A + Send + Sync),
        log: Option<HttpEntryEnd>,
    ) -> Response
    where
        A: Future<Output = Response>,
    {
        let method = request.method().as_str().to_owned();
        let tenant = self.0.tenant.as_ref().map(|tenant| {
            let given = request.headers().get(&tenant.header).and_then(|v| v.to_str().ok());
            given.filter(|v| !v.is_empty()).unwrap_or(&tenant.default).to_owned()
        });
        let mut labels = vec![name, method.as_str()];
        labels.extend(tenant.as_deref());
        let in_flight = self.0.in_flight.with_label_values(&labels);
        let observation = Observation {
            metrics: self.0.clone(),
            in_flight: Some(in_flight),
            began: Instant::now(),
            handler: name.to_owned(),
            method: known_method(&method),
            tenant,
            request_bytes: approximate_size(&request),
            response_bytes: 0,
            code: 200,
            log,
        };
        if let Some(gauge) = &observation.in_flight {
            gauge.inc();
        }
        let mut observation = observation;
        let response = handler(request).await;
        observation.code = response.status().as_u16();
        response.map(|body| Counted { body, observation }.boxed_unsync())
    }
}

/// Method names in lower case; those Go's client does not know are `unknown`.
fn known_method(method: &str) -> String {
    match method {
        "GET" | "PUT" | "HEAD" | "POST" | "DELETE" | "CONNECT" | "OPTIONS" | "NOTIFY" | "TRACE" | "PATCH" => {
            method.to_ascii_lowercase()
        }
        _ => "unknown".to_owned(),
    }
}

/// As client_golang estimates it: path, method, protocol, headers, host and declared body.
fn approximate_size(request: &Request) -> u64 {
    let headers: usize = request.headers().iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
    let head =
        request.uri().path_and_query().map_or(1, |p| p.as_str().len()) + request.method().as_str().len() + 8;
    let body = request.body().size_hint().exact().unwrap_or(0);
    (head + headers) as u64 + body
}

/// Counts when dropped: after the body's end, or when the connection gave up.
struct Observation {
    metrics: Arc<Inner>,
    in_flight: Option<prometheus::Gauge>,
    began: Instant,
    handler: String,
    method: String,
    tenant: Option<String>,
    request_bytes: u64,
    response_bytes: u64,
    code: u16,
    log: Option<HttpEntryEnd>,
}

impl Drop for Observation {
    fn drop(&mut self) {
        if let Some(gauge) = self.in_flight.take() {
            gauge.dec();
        }
        if let Some(log) = self.log.take() {
            log.end(self.code);
        }
        let code = self.code.to_string();
        let mut labels = vec![code.as_str(), self.handler.as_str(), self.method.as_str()];
        labels.extend(self.tenant.as_deref());
        let metrics = &self.metrics;
        metrics.requests.with_label_values(&labels).inc();
        metrics.seconds.with_label_values(&labels).observe(self.began.elapsed().as_secs_f64());
        metrics.request_bytes.with_label_values(&labels).observe(self.request_bytes as f64);
        metrics.response_bytes.with_label_values(&labels).observe(self.response_bytes as f64);
    }
}

struct Counted {
    body: Body,
    observation: Observation,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.observation.response_bytes += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
