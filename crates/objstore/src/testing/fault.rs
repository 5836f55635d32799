//! A bucket that logs every operation and fails on command.
//!
//! Faults are matched by operation and key and used up one by one. Invariant: an operation is in the
//! log, with its position, before it is delayed, refused or done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::StreamExt as _;
use parking_lot::Mutex;

use crate::{
    Attributes, Bucket, EntryStream, Error, ErrorKind, ListOptions, ObjectStream, Result, SharedBucket,
    UploadBody,
};

/// Which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum OperationKind {
    Get,
    GetRange,
    Attributes,
    Exists,
    List,
    Upload,
    Delete,
}

impl OperationKind {
    fn text(self) -> &'static str {
        match self {
            OperationKind::Get => "get",
            OperationKind::GetRange => "get_range",
            OperationKind::Attributes => "attributes",
            OperationKind::Exists => "exists",
            OperationKind::List => "iter",
            OperationKind::Upload => "upload",
            OperationKind::Delete => "delete",
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which operation.
    pub kind: OperationKind,
    /// Its key or folder.
    pub key: String,
    /// Where a range begins.
    pub offset: Option<u64>,
    /// How long a range was asked to be; none means to the end.
    pub length: Option<u64>,
    /// Bytes of body read so far.
    pub bytes: u64,
}

/// What to do to the next operation that fits; by default, nothing.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// Fits this operation only; any when none.
    pub operation: Option<OperationKind>,
    /// Fits keys that contain this.
    pub key: String,
    /// Lets so many fitting operations pass first.
    pub skip: u64,
    /// Waits this long before the operation.
    pub delay: Duration,
    /// Fails with this; only the delay when none.
    pub error: Option<ErrorKind>,
    /// The operation takes effect before it fails: stored but not acknowledged.
    pub applied: bool,
    /// The body ends without a word after so many bytes of those announced.
    pub truncate: Option<u64>,
}

#[derive(Debug)]
struct Logged {
    operation: Operation,
    bytes: Arc<AtomicU64>,
}

/// The bucket that logs and fails.
#[derive(Debug)]
pub struct FaultStore {
    inner: SharedBucket,
    log: Mutex<Vec<Logged>>,
    script: Mutex<Vec<Fault>>,
    stop_at: AtomicU64,
}

impl FaultStore {
    /// Logs operations on `inner`; fails none yet.
    pub fn new(inner: SharedBucket) -> FaultStore {
        FaultStore {
            inner,
            log: Mutex::default(),
            script: Mutex::default(),
            stop_at: AtomicU64::new(u64::MAX),
        }
    }

    /// Adds a fault; it is used once.
    pub fn inject(&self, fault: Fault) {
        self.script.lock().push(fault);
    }

    /// From the `n`th operation of the log on (the first is 0), everything fails, as after a crash.
    pub fn stop_at(&self, n: u64) {
        self.stop_at.store(n, Ordering::SeqCst);
    }

    /// The operations so far.
    pub fn log(&self) -> Vec<Operation> {
        let snapshot =
            |l: &Logged| Operation { bytes: l.bytes.load(Ordering::SeqCst), ..l.operation.clone() };
        self.log.lock().iter().map(snapshot).collect()
    }

    /// Forgets the operations so far.
    pub fn clear(&self) {
        self.log.lock().clear();
    }

    async fn before(
        &self,
        kind: OperationKind,
        key: &str,
        offset: Option<u64>,
        length: Option<u64>,
    ) -> Result<Verdict> {
        let bytes = Arc::new(AtomicU64::new(0));
        let operation = Operation { kind, key: key.to_owned(), offset, length, bytes: 0 };
        let position = {
            let mut log = self.log.lock();
            log.push(Logged { operation, bytes: bytes.clone() });
            log.len() as u64 - 1
        };
        if position >= self.stop_at.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Other, kind.text(), key, "the world has stopped"));
        }
        let fault = {
            let mut script = self.script.lock();
            let mut hit = None;
            for (at, fault) in script.iter_mut().enumerate() {
                if fault.operation.is_none_or(|o| o == kind) && key.contains(&fault.key) {
                    if fault.skip == 0 {
                        hit = Some(at);
                        break;
                    }
                    fault.skip -= 1;
                }
            }
            hit.map(|at| script.remove(at))
        };
        let mut verdict = Verdict { bytes, truncate: None, after: None };
        if let Some(fault) = fault {
            tokio::time::sleep(fault.delay).await;
            verdict.truncate = fault.truncate;
            verdict.after = fault.error.map(|e| Error::new(e, kind.text(), key, "injected fault"));
            if let Some(error) = verdict.after.take_if(|_| !fault.applied) {
                return Err(error);
            }
        }
        Ok(verdict)
    }
}

/// What becomes of an operation that takes effect.
struct Verdict {
    bytes: Arc<AtomicU64>,
    truncate: Option<u64>,
    after: Option<Error>,
}

impl Verdict {
    fn done<T>(self, value: T) -> Result<T> {
        self.after.map_or(Ok(value), Err)
    }

    fn body(self, stream: ObjectStream) -> Result<ObjectStream> {
        let ObjectStream { len, version, body } = stream;
        let left = self.truncate.unwrap_or(u64::MAX);
        let body = body.scan(left, |left, frame| {
            let frame = frame.map(|mut frame| {
                frame.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= frame.len() as u64;
                frame
            });
            let over = frame.as_ref().is_ok_and(|f| f.is_empty());
            futures::future::ready((!over).then_some(frame))
        });
        let bytes = self.bytes.clone();
        let body = body.inspect(move |frame| {
            bytes.fetch_add(frame.as_ref().map_or(0, |f| f.len()) as u64, Ordering::SeqCst);
        });
        self.done(ObjectStream { len, version, body: body.boxed() })
    }
}

#[async_trait]
impl Bucket for FaultStore {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    async fn get(&self, key: &str) -> Result<ObjectStream> {
        let verdict = self.before(OperationKind::Get, key, None, None).await?;
        verdict.body(self.inner.get(key).await?)
    }

    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        let verdict = self.before(OperationKind::GetRange, key, Some(offset), len).await?;
        verdict.body(self.inner.get_range(key, offset, len).await?)
    }

    async fn attributes(&self, key: &str) -> Result<Attributes> {
        let verdict = self.before(OperationKind::Attributes, key, None, None).await?;
        verdict.done(self.inner.attributes(key).await?)
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        let verdict = self.before(OperationKind::Exists, key, None, None).await?;
        verdict.done(self.inner.exists(key).await?)
    }

    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        let verdict = self.before(OperationKind::List, dir, None, None).await?;
        verdict.done(self.inner.list(dir, options).await?)
    }

    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        let verdict = self.before(OperationKind::Upload, key, None, None).await?;
        verdict.done(self.inner.upload(key, body).await?)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let verdict = self.before(OperationKind::Delete, key, None, None).await?;
        verdict.done(self.inner.delete(key).await?)
    }
}
