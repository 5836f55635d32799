//! The clock, injected wherever time decides something.
//!
//! Holds the trait, the system's clock and one that tests turn by hand. It formats no time.
//! Invariant: with a [`ManualClock`] nothing sleeps in real time, and time moves only when a test
//! says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use model::Millis;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Tells the time and waits.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Milliseconds since the epoch.
    fn now_millis(&self) -> Millis;
    /// Returns after `length`.
    async fn sleep(&self, length: Duration);
}

/// A clock shared by a service's parts.
pub type SharedClock = Arc<dyn Clock>;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The system's clock, ready to share.
    pub fn shared() -> SharedClock {
        Arc::new(SystemClock)
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now_millis(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    }

    async fn sleep(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }
}

#[derive(Debug, Default)]
struct Manual {
    now: Millis,
    sleepers: BTreeMap<(Millis, u64), oneshot::Sender<()>>,
    serial: u64,
}

/// A clock that stands still until [`ManualClock::advance`].
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<Mutex<Manual>>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Millis) -> Self {
        ManualClock(Arc::new(Mutex::new(Manual { now, ..Manual::default() })))
    }

    /// Moves time on and wakes every sleeper that is due, earliest first.
    pub fn advance(&self, length: Duration) {
        let mut clock = self.0.lock();
        clock.now = clock.now.saturating_add(Millis::try_from(length.as_millis()).unwrap_or(Millis::MAX));
        let first_later = (clock.now.saturating_add(1), 0);
        let later = clock.sleepers.split_off(&first_later);
        let due = std::mem::replace(&mut clock.sleepers, later);
        drop(clock);
        for waker in due.into_values() {
            // A sleeper that was dropped meanwhile needs no waking.
            let _ = waker.send(());
        }
    }

    /// How many sleeps are pending.
    pub fn sleepers(&self) -> usize {
        let mut clock = self.0.lock();
        clock.sleepers.retain(|_, waker| !waker.is_closed());
        clock.sleepers.len()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now_millis(&self) -> Millis {
        self.0.lock().now
    }

    async fn sleep(&self, length: Duration) {
        let woken = {
            let mut clock = self.0.lock();
            let length = Millis::try_from(length.as_millis()).unwrap_or(Millis::MAX);
            if length == 0 {
                return;
            }
            let (send, woken) = oneshot::channel();
            clock.serial += 1;
            let key = (clock.now.saturating_add(length), clock.serial);
            clock.sleepers.insert(key, send);
            woken
        };
        let _ = woken.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn manual_time_wakes_only_those_due() {
        let clock = ManualClock::at(1_000);
        let early = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(1)).await }
        });
        let late = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(60)).await }
        });
        while clock.sleepers() < 2 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(1));
        early.await.unwrap();
        assert_eq!((clock.now_millis(), clock.sleepers()), (2_000, 1));
        assert!(!late.is_finished());
        clock.advance(Duration::from_secs(59));
        late.await.unwrap();
    }
}
