//! Reading objects that are small, or refusing them.
//!
//! Holds one function. Invariant: no more than the limit is ever in memory, whatever the bucket says of
//! the object's length.

use bytes::{Bytes, BytesMut};
use futures::stream::TryStreamExt as _;
use objstore::{Error, ErrorKind, SharedBucket};

/// What was read.
pub(crate) enum Small {
    /// Everything.
    Whole(Bytes),
    /// More than the limit; the rest was not read.
    TooLarge,
}

/// Reads the object unless it has more than `max` bytes.
pub(crate) async fn read_small(bucket: &SharedBucket, key: &str, max: u64) -> objstore::Result<Small> {
    let mut stream = bucket.get(key).await?;
    if stream.len > max {
        return Ok(Small::TooLarge);
    }
    let mut all = BytesMut::new();
    while let Some(frame) = stream.body.try_next().await? {
        if (all.len() + frame.len()) as u64 > max {
            return Ok(Small::TooLarge);
        }
        all.extend_from_slice(&frame);
    }
    if (all.len() as u64) < stream.len {
        let text = format!("the body has {} bytes instead of {}", all.len(), stream.len);
        return Err(Error::new(ErrorKind::Retry, "read", key, text));
    }
    Ok(Small::Whole(all.freeze()))
}
