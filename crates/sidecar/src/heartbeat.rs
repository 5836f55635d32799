//! Watching over the paired Prometheus.
//!
//! Holds the start-up questions (flags, version, time range, external labels), each asked until it is
//! answered, and the heartbeat after that (upstream `cmd/thanos/sidecar.go`). It serves nothing.
//! Invariant: once gRPC has begun, the sidecar is ready exactly while the last heartbeat succeeded.

use std::future::Future;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use component::Env;
use component::metrics::{self, Gauge, Registry};
use component::probe::Probe;
use promclient::status::Flags;
use promclient::{Client, Error};
use tokio::sync::Notify;

use crate::args::Args;
use crate::state::State;

/// The error of a Prometheus without external labels, in Thanos' words.
pub const NO_LABELS: &str = "no external labels configured on Prometheus server, uniquely identifying external labels must be configured; see https://thanos.io/tip/thanos/storage.md#external-labels for details.";

/// Block duration that is recommended.
const TWO_HOURS: i64 = 2 * 60 * 60 * 1000;

/// Watches over one Prometheus.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    args: Args,
    env: Env,
    client: Client,
    state: State,
    probe: Probe,
    up: Gauge,
    /// Told once, when the labels are known.
    labelled: Arc<Notify>,
}

impl Heartbeat {
    /// A watch that has not begun.
    ///
    /// # Errors
    /// When `registry` has its metric already.
    pub fn new(args: &Args, env: &Env, client: Client, state: State, probe: Probe) -> metrics::Result<Self> {
        let up = up(&env.registry)?;
        let labelled = Arc::new(Notify::new());
        Ok(Heartbeat { args: args.clone(), env: env.clone(), client, state, probe, up, labelled })
    }

    /// Is told when the external labels are known and gRPC may begin.
    pub fn labelled(&self) -> Arc<Notify> {
        self.labelled.clone()
    }

    /// Asks until stopped; `uploads` adds the check of Prometheus' flags.
    ///
    /// # Errors
    /// When Prometheus has no external labels.
    pub async fn run(self, uploads: bool) -> anyhow::Result<()> {
        if self.start(uploads).await?.is_none() {
            return Ok(());
        }
        self.up.set(1.0);
        self.labelled.notify_one();
        while self.pause().await {
            match self.within(self.beat()).await {
                Ok(()) => {
                    self.up.set(1.0);
                    self.probe.ready();
                }
                Err(e) => {
                    tracing::warn!(err = %e, "updating timestamps or labels failed");
                    self.up.set(0.0);
                    self.probe.not_ready(&e.to_string());
                }
            }
        }
        Ok(())
    }

    /// The questions that must be answered first; `None` when it is time to stop.
    async fn start(&self, uploads: bool) -> anyhow::Result<Option<()>> {
        if uploads {
            let asked = self
                .until("failed to validate prometheus flags. Is Prometheus running? Retrying", || async {
                    match self.client.flags().await.map_err(|e| format!("fetch Prometheus flags: {e}"))? {
                        Some(flags) => check_flags(&flags, &self.args),
                        None => {
                            tracing::warn!(
                                "failed to check Prometheus flags, due to potentially older Prometheus. No extra validation is done."
                            );
                            Ok(())
                        }
                    }
                })
                .await;
            if asked.is_none() {
                return Ok(None);
            }
            tracing::info!("successfully validated prometheus flags");
        }
        let asked = self
            .until("failed to fetch prometheus version. Is Prometheus running? Retrying", || async {
                let version = self.client.version().await.map_err(|e| e.to_string())?;
                self.state.set_version(version);
                Ok(())
            })
            .await;
        if asked.is_none() {
            return Ok(None);
        }
        tracing::info!("successfully loaded prometheus version");
        let asked = self
            .until("failed to fetch initial external labels. Is Prometheus running? Retrying", || async {
                self.beat().await.map_err(|e| e.to_string())
            })
            .await;
        if asked.is_none() {
            return Ok(None);
        }
        let labels = self.state.labels();
        tracing::info!(external_labels = %labels, "successfully loaded prometheus external labels");
        if labels.is_empty() {
            bail!(NO_LABELS);
        }
        Ok(Some(()))
    }

    async fn beat(&self) -> Result<(), Error> {
        let lowest = self.client.lowest_timestamp().await?;
        let labels = self.client.external_labels().await?;
        self.state.set_lowest(lowest, self.env.clock.now_millis());
        self.state.set_labels(labels);
        Ok(())
    }

    /// Bounds one question by `--prometheus.get_config_timeout`.
    async fn within<E: ToString>(&self, asked: impl Future<Output = Result<(), E>>) -> Result<(), String> {
        let limit = self.args.prometheus.config_timeout;
        tokio::select! {
            answer = asked => answer.map_err(|e| e.to_string()),
            () = self.env.clock.sleep(limit) => Err(format!("no answer of Prometheus within {limit:?}")),
        }
    }

    /// Asks until there is an answer; `None` when it is time to stop.
    async fn until<F, R>(&self, complaint: &str, ask: F) -> Option<()>
    where
        F: Fn() -> R,
        R: Future<Output = Result<(), String>>,
    {
        loop {
            match self.env.shutdown.or_stop(self.within(ask())).await? {
                Ok(()) => return Some(()),
                Err(e) => tracing::warn!(err = %e, "{complaint}"),
            }
            if !self.pause().await {
                return None;
            }
        }
    }

    async fn pause(&self) -> bool {
        let pause = self.env.clock.sleep(self.args.prometheus.config_interval);
        self.env.shutdown.or_stop(pause).await.is_some()
    }
}

fn up(registry: &Registry) -> metrics::Result<Gauge> {
    metrics::gauge(
        registry,
        "thanos_sidecar_prometheus_up",
        "Boolean indicator whether the sidecar can reach its Prometheus peer.",
    )
}

/// Go's `filepath.Clean`, as far as comparing two paths needs it.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// Whether Prometheus is set up so that no block is lost between compaction and upload.
///
/// # Errors
/// Thanos' text.
pub fn check_flags(flags: &Flags, args: &Args) -> Result<(), String> {
    let delayed = flags.delay_compact_file();
    let ours = clean(&Path::new(&args.tsdb_path).join(&args.shipper.meta_file_name));
    if !delayed.is_empty() && clean(Path::new(delayed)) != ours {
        return Err(format!(
            "found that Prometheus and Thanos use different paths for tracking block uploads. Prometheus uses --storage.tsdb.delay-compact-file.path={delayed} while Thanos will write to {}, they must both use the same path.",
            ours.display()
        ));
    }
    let read = |text: &str| component::flags::value::prom_duration(if text.is_empty() { "0s" } else { text });
    let (min, max) = (read(flags.min_block_duration())?, read(flags.max_block_duration())?);
    if min != max && delayed.is_empty() {
        if !args.shipper.ignore_unequal_block_size {
            return Err(format!(
                "found that TSDB Max time is {} and Min time is {}. Compaction needs to be disabled (storage.tsdb.min-block-duration = storage.tsdb.max-block-duration)",
                flags.max_block_duration(),
                flags.min_block_duration()
            ));
        }
        tracing::warn!(
            "flag to ignore Prometheus min/max block duration flags differing is being used. If the upload of a 2h block fails and a Prometheus compaction happens that block may be missing from your Thanos bucket storage."
        );
    }
    if min != TWO_HOURS {
        tracing::warn!(
            block_time = %flags.min_block_duration(),
            "found that TSDB block time is not 2h. Only 2h block time is recommended."
        );
    }
    Ok(())
}
