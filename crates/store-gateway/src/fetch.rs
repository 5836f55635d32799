//! Ranged reads of a bucket's objects, whole or not at all.
//!
//! Holds the one way by which this crate reads indexes and chunks. It knows no format. Invariants: never
//! more than asked is taken, a body shorter than announced is read again and then an error, and the
//! number of reads at once is bounded for the process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use objstore::SharedBucket;
use tokio::sync::Semaphore;

use crate::error::{Failure, Result};

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

/// Why one try failed.
enum Tried {
    Again(Failure),
    Never(Failure),
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
                Err(Tried::Never(failure)) => return Err(failure),
                Err(Tried::Again(failure)) => failure,
            };
            tried += 1;
            if tried == ATTEMPTS {
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

    async fn once(&self, key: &str, offset: u64, len: u64) -> std::result::Result<Vec<u8>, Tried> {
        let _place = self.places.acquire().await;
        let classify = |e: objstore::Error| {
            let again = e.is_retryable();
            let failure = Failure::block(e).context("get range reader");
            if again { Tried::Again(failure) } else { Tried::Never(failure) }
        };
        let stream = self.bucket.get_range(key, offset, Some(len)).await.map_err(classify)?;
        let announced = stream.len;
        if announced > len {
            return Err(Tried::Never(Failure::block(format!(
                "{key}: the store announces {announced} bytes for a range of {len} at {offset}"
            ))));
        }
        let mut out = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        let mut body = stream.body;
        let wrong = |got: usize| {
            Tried::Again(Failure::block(format!(
                "{key}: body of {got} bytes at offset {offset}, {announced} announced"
            )))
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
                Err(e) => return Err(Tried::Again(Failure::block(e).context("read range"))),
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
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + Unpin + use<>> {
        let stream = self.bucket.get_range(key, offset, Some(len)).await?;
        Ok(stream.body.map(|frame| frame.map_err(|e| Failure::block(e).context("read range"))))
    }
}
