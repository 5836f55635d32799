//! How many queries compute at once.
//!
//! A query runs on a thread of its own, because it waits for stores and for its reader in the middle of
//! its work; a [`Lease`] is held only while it computes. It knows no query. Invariant: the number of
//! leases held never exceeds the number of processors, and nobody who waits for something else holds
//! one.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Processors to compute on. Clones share them.
#[derive(Clone, Debug)]
pub struct Cpus(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Mutex<usize>,
    given_back: Condvar,
}

impl Cpus {
    /// As many as `count`, at least one.
    pub fn new(count: usize) -> Self {
        Cpus(Arc::new(Inner { free: Mutex::new(count.max(1)), given_back: Condvar::new() }))
    }

    /// Waits for a processor. Blocks the thread.
    pub fn lease(&self) -> Lease {
        self.take();
        Lease { cpus: self.clone(), outside: Mutex::new(0) }
    }

    fn take(&self) {
        let mut free = self.0.free.lock();
        self.0.given_back.wait_while(&mut free, |free| *free == 0);
        *free -= 1;
    }

    fn give_back(&self) {
        *self.0.free.lock() += 1;
        self.0.given_back.notify_one();
    }
}

/// A processor for one query, whose threads share it.
#[derive(Debug)]
pub struct Lease {
    cpus: Cpus,
    outside: Mutex<usize>,
}

impl Lease {
    /// Runs `wait`, which blocks, while somebody else may compute.
    pub fn while_outside<T>(&self, wait: impl FnOnce() -> T) -> T {
        {
            let mut outside = self.outside.lock();
            *outside += 1;
            if *outside == 1 {
                self.cpus.give_back();
            }
        }
        let _back = Back(self);
        wait()
    }
}

/// Comes back in, also from a panic.
struct Back<'l>(&'l Lease);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        let mut outside = self.0.outside.lock();
        if *outside == 1 {
            self.0.cpus.take();
        }
        *outside -= 1;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.cpus.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_waits_lets_others_compute() {
        let cpus = Cpus::new(1);
        let first = cpus.lease();
        let (done, wait) = mpsc::channel();
        let other = std::thread::spawn({
            let cpus = cpus.clone();
            move || {
                let lease = cpus.lease();
                lease.while_outside(|| ());
                done.send(()).unwrap();
            }
        });
        assert!(wait.try_recv().is_err());
        first.while_outside(|| wait.recv().unwrap());
        drop(first);
        other.join().unwrap();
        assert_eq!(*cpus.0.free.lock(), 1);
    }
}
