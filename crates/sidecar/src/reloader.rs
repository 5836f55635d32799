//! Making Prometheus reload when its files change.
//!
//! Holds the loop of `--reloader.*` (upstream `pkg/reloader`): hash, expand, trigger, retry. It parses no
//! configuration. Invariant: after a failed reload the next round reloads, changed or not. Files are
//! looked at once a second by size and time, and hashed when that differs or the watch interval is over.
//! Parts: `files` (hash, expand), `signal` (SIGHUP by process name).

mod files;
mod signal;

use std::time::Duration;

use component::Env;
use component::metrics::{self, Gauge, IntCounter, Registry};
use promclient::Client;

use crate::args::{ReloadMethod, Reloader as Settings};
use files::Glance;

/// Between two looks at sizes and times.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
struct Metrics {
    reloads: IntCounter,
    failed: IntCounter,
    successful: Gauge,
    success_time: Gauge,
    applied: IntCounter,
    apply_failed: IntCounter,
    expansion_errors: Gauge,
    watches: Gauge,
    watch_events: IntCounter,
    watch_errors: IntCounter,
}

impl Metrics {
    fn new(registry: &Registry, method: ReloadMethod) -> metrics::Result<Self> {
        let full = |name: &str| format!("thanos_sidecar_reloader_{name}");
        let counter = |name: &str, help: &str| metrics::counter(registry, &full(name), help);
        let gauge = |name: &str, help: &str| metrics::gauge(registry, &full(name), help);
        let info = metrics::gauges(
            registry,
            &full("info"),
            "A metric with a constant '1' value labeled by reload method (either 'http' or 'signal').",
            &["method"],
        )?;
        info.with_label_values(&[if method == ReloadMethod::Http { "http" } else { "signal" }]).set(1.0);
        Ok(Metrics {
            reloads: counter("reloads_total", "Total number of reload requests.")?,
            failed: counter("reloads_failed_total", "Total number of reload requests that failed.")?,
            successful: gauge("last_reload_successful", "Whether the last reload attempt was successful")?,
            success_time: gauge(
                "last_reload_success_timestamp_seconds",
                "Timestamp of the last successful reload",
            )?,
            applied: counter("config_apply_operations_total", "Total number of config apply operations.")?,
            apply_failed: counter(
                "config_apply_operations_failed_total",
                "Total number of config apply operations that failed.",
            )?,
            expansion_errors: gauge(
                "config_environment_variable_expansion_errors",
                "Number of environment variable expansions that failed during the last operation.",
            )?,
            watches: gauge("watches", "Number of resources watched by the reloader.")?,
            watch_events: counter(
                "watch_events_total",
                "Total number of events received by the reloader from the watcher.",
            )?,
            watch_errors: counter(
                "watch_errors_total",
                "Total number of errors received by the reloader from the watcher.",
            )?,
        })
    }
}

/// What was loaded last: hashes of the file and of the directories.
type Loaded = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Watches files and makes Prometheus reload.
#[derive(Debug)]
pub struct Reloader {
    settings: Settings,
    client: Client,
    env: Env,
    metrics: Metrics,
    loaded: Loaded,
    force: bool,
}

impl Reloader {
    /// A reloader that has not begun.
    ///
    /// # Errors
    /// When the registry has its metrics already.
    pub fn new(settings: &Settings, client: Client, env: &Env) -> metrics::Result<Self> {
        let metrics = Metrics::new(&env.registry, settings.method)?;
        let (settings, env) = (settings.clone(), env.clone());
        Ok(Reloader { settings, client, env, metrics, loaded: (None, None), force: false })
    }

    /// Watches until stopped.
    ///
    /// # Errors
    /// When the configuration file cannot be read or expanded at the start.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let shutdown = self.env.shutdown.clone();
        if self.settings.config_file.is_empty() && self.settings.rule_dirs.is_empty() {
            tracing::info!(component = "reloader", "nothing to be watched");
            shutdown.requested().await;
            return Ok(());
        }
        if !self.settings.config_file.is_empty()
            && shutdown.or_stop(self.apply()).await.transpose()?.is_none()
        {
            return Ok(());
        }
        if self.settings.watch_interval.is_zero() {
            return Ok(());
        }
        let has_file = usize::from(!self.settings.config_file.is_empty());
        self.metrics.watches.set((has_file + self.settings.rule_dirs.len()) as f64);
        let (mut seen, mut since) = (self.glance(), Duration::ZERO);
        while shutdown.or_stop(self.env.clock.sleep(LOOK)).await.is_some() {
            since += LOOK;
            let now = self.glance();
            if now != seen {
                self.metrics.watch_events.inc();
            } else if since < self.settings.watch_interval {
                continue;
            }
            (seen, since) = (now, Duration::ZERO);
            self.metrics.applied.inc();
            match shutdown.or_stop(self.apply()).await {
                None => break,
                Some(Ok(())) => {}
                Some(Err(e)) => {
                    self.metrics.apply_failed.inc();
                    tracing::error!(component = "reloader", err = %e, "apply error");
                }
            }
        }
        Ok(())
    }

    fn glance(&self) -> Glance {
        let mut glance = Glance::default();
        if glance.take(&self.settings.config_file, &self.settings.rule_dirs).is_err() {
            self.metrics.watch_errors.inc();
        }
        glance
    }

    async fn apply(&mut self) -> anyhow::Result<()> {
        let mut now: Loaded = (None, None);
        let s = &self.settings;
        if !s.config_file.is_empty() {
            now.0 = Some(files::hash_file(s.config_file.as_ref())?);
            if !s.output_file.is_empty() {
                let missing = files::expand_to(s.config_file.as_ref(), s.output_file.as_ref());
                self.metrics.expansion_errors.set(f64::from(u8::from(missing.is_err())));
                missing?;
            }
        }
        if !s.rule_dirs.is_empty() {
            now.1 = Some(files::hash_dirs(&s.rule_dirs)?);
        }
        if !self.force && self.loaded == now {
            return Ok(());
        }
        let mut waited = Duration::ZERO;
        loop {
            if self.settings.watch_interval.is_zero() {
                return Ok(());
            }
            self.metrics.reloads.inc();
            match self.trigger().await {
                Ok(()) => break,
                Err(e) => {
                    self.metrics.failed.inc();
                    self.metrics.successful.set(0.0);
                    self.force = true;
                    tracing::error!(component = "reloader", err = %e, "Failed to trigger reload. Retrying.");
                }
            }
            // Tried again until the watch interval is over; the next round forces it then.
            waited += self.settings.retry_interval.max(LOOK);
            if waited > self.settings.watch_interval {
                return Ok(());
            }
            self.env.clock.sleep(self.settings.retry_interval.max(LOOK)).await;
        }
        (self.force, self.loaded) = (false, now);
        tracing::info!(
            component = "reloader",
            cfg_in = %self.settings.config_file,
            cfg_out = %self.settings.output_file,
            watched_dirs = %self.settings.rule_dirs.join(", "),
            "Reload triggered"
        );
        self.metrics.successful.set(1.0);
        self.metrics.success_time.set(self.env.clock.now_millis() as f64 / 1000.0);
        Ok(())
    }

    async fn trigger(&self) -> anyhow::Result<()> {
        match self.settings.method {
            ReloadMethod::Http => Ok(self.client.reload().await?),
            ReloadMethod::Signal => {
                signal::hang_up(&self.settings.process_name)?;
                // The signal says nothing of success; Prometheus' own word does.
                self.env.clock.sleep(LOOK).await;
                let info = self.client.runtime_info().await?;
                match info.get("reloadConfigSuccess").and_then(serde_json::Value::as_bool) {
                    Some(true) | None => Ok(()),
                    Some(false) => anyhow::bail!("configuration reload has failed"),
                }
            }
        }
    }
}
