//! `thanos_objstore_*` metrics around a bucket.
//!
//! Invariants: an operation counts when it starts; the duration and the bytes of a read are observed
//! once, when its body ends or is dropped; absence is no failure of `exists` and of `get`, which is how
//! `meta.json` and marks are read that may have gone (upstream's callers say so call by call). All series exist from the
//! start. Behaviour reference: upstream `objstore.go` (`metricBucket`, `timingReader`).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt as _};
use prometheus::{CounterVec, Gauge, HistogramOpts, HistogramVec, Opts, Registry, exponential_buckets};

use crate::{
    Attributes, Bucket, Entry, EntryStream, Error, ListOptions, ObjectStream, Result, SharedBucket,
    UploadBody,
};

const OPERATIONS: [&str; 7] = ["iter", "get", "get_range", "exists", "upload", "delete", "attributes"];
const TRANSFERS: [&str; 3] = ["get", "get_range", "upload"];

const OPERATIONS_HELP: &str = "Total number of all attempted operations against a bucket.";
const FAILURES_HELP: &str = "Total number of operations against a bucket that failed, but were not expected to fail in certain way from caller perspective. Those errors have to be investigated.";
const FETCHED_HELP: &str = "Total number of bytes fetched from bucket, per operation.";
const TRANSFERRED_HELP: &str = "Number of bytes transferred from/to bucket per operation.";
const DURATION_HELP: &str = "Duration of successful operations against the bucket per operation - iter operations include time spent on each callback.";
const LAST_UPLOAD_HELP: &str = "Second timestamp of the last successful upload to the bucket.";

/// The metrics of one bucket.
#[derive(Clone, Debug)]
pub struct Metrics {
    operations: CounterVec,
    failures: CounterVec,
    fetched: CounterVec,
    transferred: HistogramVec,
    duration: HistogramVec,
    last_upload: Gauge,
}

impl Metrics {
    /// Registers the metrics with the constant label `bucket`.
    ///
    /// # Errors
    /// When the registry has them already.
    pub fn new(registry: &Registry, bucket: &str) -> prometheus::Result<Metrics> {
        let opts = |name: &str, help: &str| {
            Opts::new(format!("thanos_objstore_bucket_{name}"), help).const_label("bucket", bucket)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            HistogramVec::new(HistogramOpts::from(opts(name, help)).buckets(buckets), &["operation"])
        };
        let counter = |name: &str, help: &str| CounterVec::new(opts(name, help), &["operation"]);
        let metrics = Metrics {
            operations: counter("operations_total", OPERATIONS_HELP)?,
            failures: counter("operation_failures_total", FAILURES_HELP)?,
            fetched: counter("operation_fetched_bytes_total", FETCHED_HELP)?,
            transferred: histogram(
                "operation_transferred_bytes",
                TRANSFERRED_HELP,
                exponential_buckets(32768.0, 2.0, 16)?,
            )?,
            duration: histogram(
                "operation_duration_seconds",
                DURATION_HELP,
                vec![0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 9.0, 20.0, 30.0, 60.0, 90.0, 120.0],
            )?,
            last_upload: Gauge::with_opts(opts("last_successful_upload_time", LAST_UPLOAD_HELP))?,
        };
        for operation in OPERATIONS {
            metrics.operations.with_label_values(&[operation]);
            metrics.failures.with_label_values(&[operation]);
            metrics.duration.with_label_values(&[operation]);
        }
        for operation in TRANSFERS {
            metrics.fetched.with_label_values(&[operation]);
            metrics.transferred.with_label_values(&[operation]);
        }
        registry.register(Box::new(metrics.operations.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        registry.register(Box::new(metrics.fetched.clone()))?;
        registry.register(Box::new(metrics.transferred.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.last_upload.clone()))?;
        Ok(metrics)
    }

    fn start(&self, operation: &'static str) -> Timer {
        self.operations.with_label_values(&[operation]).inc();
        Timer { metrics: self.clone(), operation, start: Instant::now() }
    }
}

#[derive(Debug)]
struct Timer {
    metrics: Metrics,
    operation: &'static str,
    start: Instant,
}

impl Timer {
    fn failed(&self, error: &Error) {
        let expected = error.is_not_found() && matches!(self.operation, "get" | "exists");
        if !expected {
            self.metrics.failures.with_label_values(&[self.operation]).inc();
        }
    }

    fn observe(&self) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.metrics.duration.with_label_values(&[self.operation]).observe(seconds);
    }

    fn transferred(&self, bytes: u64) {
        self.metrics.transferred.with_label_values(&[self.operation]).observe(bytes as f64);
    }

    /// Duration on success only.
    fn finish<T>(&self, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) => self.observe(),
            Err(e) => self.failed(e),
        }
        result
    }

    /// A read: measured to the end of its body, or at once when there is none.
    fn body(self, result: Result<ObjectStream>) -> Result<ObjectStream> {
        match result {
            Ok(ObjectStream { len, version, body }) => {
                let body = Measured { body, timer: self, bytes: 0, failed: false }.boxed();
                Ok(ObjectStream { len, version, body })
            }
            Err(e) => {
                self.failed(&e);
                self.observe();
                Err(e)
            }
        }
    }
}

struct Measured {
    body: BoxStream<'static, Result<Bytes>>,
    timer: Timer,
    bytes: u64,
    failed: bool,
}

impl Stream for Measured {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.body.poll_next_unpin(cx));
        match &item {
            Some(Ok(bytes)) => {
                self.bytes += bytes.len() as u64;
                let operation = self.timer.operation;
                self.timer.metrics.fetched.with_label_values(&[operation]).inc_by(bytes.len() as f64);
            }
            Some(Err(e)) if !self.failed => {
                self.failed = true;
                self.timer.failed(e);
            }
            _ => {}
        }
        Poll::Ready(item)
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if !self.failed {
            self.timer.observe();
            self.timer.transferred(self.bytes);
        }
    }
}

struct Listing {
    entries: EntryStream,
    timer: Timer,
}

impl Stream for Listing {
    type Item = Result<Entry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.entries.poll_next_unpin(cx));
        if let Some(Err(e)) = &item {
            self.timer.failed(e);
        }
        Poll::Ready(item)
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.timer.observe();
    }
}

/// A bucket that counts.
#[derive(Debug)]
pub struct Instrumented {
    inner: SharedBucket,
    metrics: Metrics,
}

impl Instrumented {
    /// `inner`, counted by `metrics`.
    pub fn new(inner: SharedBucket, metrics: Metrics) -> Instrumented {
        Instrumented { inner, metrics }
    }
}

#[async_trait]
impl Bucket for Instrumented {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    async fn get(&self, key: &str) -> Result<ObjectStream> {
        let timer = self.metrics.start("get");
        timer.body(self.inner.get(key).await)
    }

    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        let timer = self.metrics.start("get_range");
        timer.body(self.inner.get_range(key, offset, len).await)
    }

    async fn attributes(&self, key: &str) -> Result<Attributes> {
        let timer = self.metrics.start("attributes");
        timer.finish(self.inner.attributes(key).await)
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        let timer = self.metrics.start("exists");
        timer.finish(self.inner.exists(key).await)
    }

    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        let timer = self.metrics.start("iter");
        match self.inner.list(dir, options).await {
            Ok(entries) => Ok(Listing { entries, timer }.boxed()),
            Err(e) => {
                timer.failed(&e);
                timer.observe();
                Err(e)
            }
        }
    }

    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        let timer = self.metrics.start("upload");
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let body = match body {
            UploadBody::Stream(frames) => {
                let sent = sent.clone();
                let count = move |frame: &Result<Bytes>| {
                    let n = frame.as_ref().map_or(0, Bytes::len) as u64;
                    sent.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
                };
                UploadBody::Stream(frames.inspect(count).boxed())
            }
            UploadBody::Bytes(bytes) => {
                sent.store(bytes.len() as u64, std::sync::atomic::Ordering::Relaxed);
                UploadBody::Bytes(bytes)
            }
            UploadBody::File(path) => {
                let size = tokio::fs::metadata(&path).await.map_or(0, |m| m.len());
                sent.store(size, std::sync::atomic::Ordering::Relaxed);
                UploadBody::File(path)
            }
        };
        timer.finish(self.inner.upload(key, body).await)?;
        timer.transferred(sent.load(std::sync::atomic::Ordering::Relaxed));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.metrics.last_upload.set(now.as_secs_f64());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let timer = self.metrics.start("delete");
        timer.finish(self.inner.delete(key).await)
    }
}
