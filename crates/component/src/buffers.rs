//! Buffers that are used again.
//!
//! Holds a [`Pool`]: what is read from and written to connections goes through a few large buffers, and
//! allocating them anew for each message would cost more than filling them. It knows no message.
//! Invariant: what waits in a pool is bounded, so that it need not be charged to anyone.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Empty buffers that wait for use. Clones share them.
#[derive(Clone, Debug)]
pub struct Pool {
    idle: Arc<Mutex<Idle>>,
    /// Bytes that may wait.
    most: usize,
}

/// Waiting buffers and the sum of their capacities.
#[derive(Debug, Default)]
struct Idle {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    /// A pool in which buffers of at most `most` bytes wait, taken together.
    pub fn new(most: usize) -> Self {
        Pool { idle: Arc::default(), most }
    }

    /// An empty buffer with a capacity within `sizes`, if one waits. Those that came last are the ones in
    /// the processor's caches.
    pub fn take(&self, sizes: RangeInclusive<usize>) -> Option<Vec<u8>> {
        let mut idle = self.idle.lock();
        let at = idle.buffers.iter().rposition(|b| sizes.contains(&b.capacity()))?;
        let buffer = idle.buffers.swap_remove(at);
        idle.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Takes a buffer back, or frees it where enough wait.
    pub fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut idle = self.idle.lock();
        if idle.bytes + buffer.capacity() <= self.most {
            idle.bytes += buffer.capacity();
            idle.buffers.push(buffer);
        }
    }

    /// The content of a buffer, which comes back when nothing shares the bytes any more.
    pub fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, pool: self.clone() })
    }
}

struct Lent {
    buffer: Vec<u8>,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_as_long_as_there_is_room() {
        let pool = Pool::new(1100);
        pool.put(Vec::with_capacity(100));
        pool.put(Vec::with_capacity(1000));
        pool.put(Vec::with_capacity(1));
        assert!(pool.take(1001..=5000).is_none() && pool.take(0..=99).is_none());
        assert_eq!(pool.take(90..=200).map(|b| b.capacity()), Some(100));
        assert_eq!(pool.idle.lock().bytes, 1000);
        let mut buffer = pool.take(0..=usize::MAX).unwrap();
        buffer.extend_from_slice(b"content");
        let (lent, other) = (pool.lend(buffer), pool.take(0..=usize::MAX));
        assert!(other.is_none() && lent.slice(3..) == b"tent"[..]);
        drop(lent);
        assert_eq!(pool.take(1000..=1000).map(|b| b.len()), Some(0));
    }
}
