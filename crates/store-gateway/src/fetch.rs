//! Ranged reads of a bucket's objects, whole or not at all.
//!
//! Holds the one way by which this crate reads indexes and chunks. It knows no format. Invariants: never
//! more than asked is taken, a body shorter than announced is read again and then an error, and the
//! number of reads at once is bounded for the process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use objstore::SharedBucket;
use tokio::sync::Semaphore;

use crate::error::{Context as _, Failure, Result};

/// Reads at once, over all requests.
const READS: usize = 256;
/// How often a read is tried.
const ATTEMPTS: u32 = 3;
/// Pause before the second try; the third waits four times as long.
const PAUSE: Duration = Duration::from_millis(50);

/// Reads ranges. Clones share the bound.
#[derive(Clone, Debug)]
pub(crate) struct RangeReader {
    bucket: SharedBucket,
    places: Arc<Semaphore>,
}

impl RangeReader {
    pub(crate) fn new(bucket: SharedBucket) -> Self {
        RangeReader { bucket, places: Arc::new(Semaphore::new(READS)) }
    }

    /// The bucket.
    pub(crate) fn bucket(&self) -> &SharedBucket {
        &self.bucket
    }

    /// Up to `len` bytes from `offset`; fewer only where the object ends. The caller has charged them.
    pub(crate) async fn read(&self, key: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
        let mut tried = 0;
        loop {
            let failure = match self.once(key, offset, len).await {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => failure,
            };
            tried += 1;
            if tried == ATTEMPTS || !failure.is_transient() {
                return Err(failure);
            }
            tracing::debug!(object = key, offset, len, err = %failure, "range is read again");
            tokio::time::sleep(PAUSE * 4u32.pow(tried - 1)).await;
        }
    }

    /// Exactly `len` bytes from `offset`.
    pub(crate) async fn read_exact(&self, key: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
        let bytes = self.read(key, offset, len).await?;
        if bytes.len() as u64 != len {
            return Err(Failure::block(format!(
                "{key}: {} bytes from offset {offset}, {len} wanted",
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    async fn once(&self, key: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
        let _place = self.places.acquire().await;
        let stream = self.bucket.get_range(key, offset, Some(len)).await.context("get range reader")?;
        let announced = stream.len;
        if announced > len {
            return Err(Failure::block(format!(
                "{key}: the store announces {announced} bytes for a range of {len} at {offset}"
            )));
        }
        let mut out = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        let mut body = stream.body;
        let wrong = |got: usize| {
            let text = format!("{key}: body of {got} bytes at offset {offset}, {announced} announced");
            Failure::block(text).transient()
        };
        loop {
            match body.try_next().await {
                Ok(Some(frame)) => {
                    if (out.len() + frame.len()) as u64 > announced {
                        return Err(wrong(out.len() + frame.len()));
                    }
                    out.extend_from_slice(&frame);
                }
                Ok(None) => break,
                Err(e) => return Err(Failure::block(e).context("read range").transient()),
            }
        }
        if (out.len() as u64) < announced {
            return Err(wrong(out.len()));
        }
        Ok(out)
    }

    /// The same range as a stream of frames, for sections too long to hold. Not tried again.
    pub(crate) async fn stream(
        &self,
        key: &str,
        offset: u64,
        len: u64,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let stream = self.bucket.get_range(key, offset, Some(len)).await?;
        if stream.len > len {
            return Err(Failure::block(format!(
                "{key}: the store announces {} bytes for a range of {len} at {offset}",
                stream.len
            )));
        }
        let mut left = stream.len;
        let key = key.to_owned();
        let end = futures::stream::once(async { None });
        let frames = stream.body.map(Some).chain(end).map(move |frame| match frame {
            Some(Ok(bytes)) => {
                left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
                    Failure::block(format!("{key}: a body longer than announced")).transient()
                })?;
                Ok(bytes)
            }
            Some(Err(e)) => Err(Failure::block(e).context("read range").transient()),
            None if left > 0 => {
                Err(Failure::block(format!("{key}: the body ends {left} bytes early")).transient())
            }
            None => Ok(Bytes::new()),
        });
        Ok(frames.boxed())
    }
}
