//! Supervised tasks.
//!
//! A service's loops are spawned here, by name: one that fails or panics stops the process in order,
//! with its error as the result. It restarts nothing. Invariant: no task ends unseen.

use std::future::Future;

use futures::FutureExt as _;
use tokio::task::JoinHandle;

use crate::shutdown::Shutdown;

/// Spawns `task` under `name`. It should end soon after `shutdown` asks; ending earlier with `Ok` is
/// fine, with `Err` or a panic it stops the process.
pub fn spawn<F>(shutdown: &Shutdown, name: &str, task: F) -> JoinHandle<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let guard = shutdown.guard(name);
    let shutdown = shutdown.clone();
    let name = name.to_owned();
    tokio::spawn(async move {
        let _guard = guard;
        match std::panic::AssertUnwindSafe(task).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => shutdown.fail(error.context(name)),
            Err(panic) => shutdown.fail(anyhow::anyhow!("{name}: panicked: {}", panic_text(&*panic))),
        }
    })
}

/// The message of a caught panic.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::Reason;

    #[tokio::test]
    async fn failures_and_panics_stop_the_process() {
        let shutdown = Shutdown::new();
        spawn(&shutdown, "calm", async { Ok(()) }).await.unwrap();
        assert!(!shutdown.is_requested());
        spawn(&shutdown, "sync", async { anyhow::bail!("bucket gone") }).await.unwrap();
        let Some(Reason::Failed(error)) = shutdown.reason() else { panic!("no reason") };
        assert_eq!(format!("{error:#}"), "sync: bucket gone");

        let shutdown = Shutdown::new();
        spawn(&shutdown, "loop", async { panic!("boom") }).await.unwrap();
        let Some(Reason::Failed(error)) = shutdown.reason() else { panic!("no reason") };
        assert_eq!(format!("{error:#}"), "loop: panicked: boom");
    }
}
