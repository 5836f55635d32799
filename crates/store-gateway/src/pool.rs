//! Threads for work that computes.
//!
//! Holds a bounded pool beside the async runtime, so that decoding never delays probes or other
//! requests' reads. It knows no work. Invariant: a panic in a job fails that job alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::{Failure, Result};

/// A job's result; a panic is a failure.
fn caught<T>(job: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|panic| {
        Err(Failure::block(format!("internal error: {}", component::run::panic_text(&*panic))))
    })
}

/// A pool of as many threads as the machine has processors. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct CpuPool(Arc<rayon::ThreadPool>);

impl CpuPool {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().thread_name(|n| format!("cpu-{n}")).build()?;
        Ok(CpuPool(Arc::new(pool)))
    }

    /// Runs `job` on the pool and waits for it without holding the async thread.
    pub(crate) async fn run<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (send, receive) = oneshot::channel();
        self.0.spawn(move || {
            // Nobody waits any more when the request was dropped: then there is nothing to do.
            if send.is_closed() {
                return;
            }
            let _ = send.send(caught(job));
        });
        receive.await.unwrap_or_else(|_| Err(Failure::block("the processing pool has stopped")))
    }

    /// As [`CpuPool::run`], but a job of few microseconds runs where it is: a change of threads costs more.
    pub(crate) async fn run_sized<T, F>(&self, small: bool, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        if small { caught(job) } else { self.run(job).await }
    }
}
