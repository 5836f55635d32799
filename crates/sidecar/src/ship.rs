//! The loop that ships blocks.
//!
//! Holds the wait for external labels and a pass every 30 seconds. It knows no block (`bucket::shipper`
//! does). Invariant: a failed pass is logged and tried again; only missing labels end the process.

use std::time::Duration;

use anyhow::bail;
use bucket::shipper::{Options, Shipper};
use component::Env;
use objstore::SharedBucket;

use crate::args::Args;
use crate::state::State;

/// Between two passes.
const EVERY: Duration = Duration::from_secs(30);
/// Between two looks at the labels.
const LOOK: Duration = Duration::from_secs(2);

/// Ships until it is told to stop.
pub(crate) async fn run(args: Args, env: Env, state: State, bucket: SharedBucket) -> anyhow::Result<()> {
    if !std::path::Path::new(&args.tsdb_path).join("wal").is_dir() {
        tracing::error!(
            err = "WAL dir is not accessible. Is this dir a TSDB directory? If yes it is shared with TSDB?"
        );
    }
    let (labels, shipping) = (state.clone(), &args.shipper);
    let options = Options {
        source: "sidecar",
        state_file: shipping.meta_file_name.clone(),
        upload_compacted: shipping.upload_compacted,
        allow_out_of_order: shipping.allow_out_of_order,
        skip_corrupted: shipping.skip_corrupted,
        upload: bucket::upload::Options {
            hash: shipping.hash,
            concurrency: usize::try_from(shipping.concurrency).unwrap_or(0),
        },
    };
    let source = Box::new(move || labels.labels());
    let dir = args.tsdb_path.clone().into();
    let mut shipper = Shipper::new(bucket, dir, options, source, env.clock.clone(), &env.registry)?;
    let mut waited = Duration::ZERO;
    while state.labels().is_empty() {
        if waited >= args.prometheus.ready_timeout {
            let shown = component::flags::value::show_go_duration(
                i64::try_from(args.prometheus.ready_timeout.as_nanos()).unwrap_or(i64::MAX),
            );
            bail!(
                "aborting as no external labels found after waiting {shown}: not uploading as no external labels are configured yet - is Prometheus healthy/reachable?"
            );
        }
        if env.shutdown.or_stop(env.clock.sleep(LOOK)).await.is_none() {
            return Ok(());
        }
        waited += LOOK;
    }
    loop {
        match env.shutdown.or_stop(shipper.sync()).await {
            None => return Ok(()),
            Some(Ok(0)) => {}
            Some(Ok(uploaded)) => tracing::debug!(uploaded, "blocks shipped"),
            Some(Err(e)) => tracing::warn!(err = %e),
        }
        if env.shutdown.or_stop(env.clock.sleep(EVERY)).await.is_none() {
            return Ok(());
        }
    }
}
