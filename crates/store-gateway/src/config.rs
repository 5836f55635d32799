//! What the flags mean, validated.
//!
//! Holds the step from text to types and the words about what has no effect. It opens nothing but
//! configuration files. Invariant: a value that cannot work is refused at the start, by its flag.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use bucket::fetcher::Strategy;
use component::clock::SharedClock;
use model::relabel::Rule;

use crate::args::Args;
use crate::block::Estimates;
use crate::cache::CacheConfig;
use crate::index_header::Laziness;
use crate::limits::CallLimits;
use crate::postings::LazyOptions;
use crate::store::Options;

/// Samples a chunk counts as in `--store.limits.request-samples`.
const SAMPLES_PER_CHUNK: u64 = 120;

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bucket's YAML.
    pub bucket: String,
    /// The store.
    pub store: Options,
    /// The index cache.
    pub cache: CacheConfig,
    /// Block selection.
    pub rules: Vec<Rule>,
    /// How blocks are found.
    pub strategy: Strategy,
    /// `meta.json` files read at once.
    pub meta_concurrency: usize,
}

impl Config {
    /// Validates `args`.
    ///
    /// # Errors
    /// A text that names the flag.
    pub fn new(args: &Args, clock: &SharedClock) -> anyhow::Result<Self> {
        let (blocks, caching, headers, calls) = (&args.blocks, &args.caching, &args.headers, &args.calls);
        let now = clock.now_millis();
        if blocks.min_time.at(now) > blocks.max_time.at(now) {
            bail!(
                "invalid argument: --min-time '{}' can't be greater than --max-time '{}'",
                blocks.min_time.show(),
                blocks.max_time.show()
            );
        }
        let bucket = args.objstore.content()?.unwrap_or_default();
        if blocks.parquet.content()?.is_some() {
            bail!("objstore-parquet.config: this version reads no parquet copies; remove the flag");
        }
        let relabel = blocks.selector_relabel.content().context("get content of relabel configuration")?;
        let rules = component::relabel::parse(&relabel.unwrap_or_default(), component::relabel::SELECTOR);
        let cache = match caching.index_cache.content().context("get content of index cache configuration")? {
            Some(yaml) => CacheConfig::parse(&yaml),
            None => CacheConfig::of_size(u64::try_from(caching.index_cache_size).unwrap_or(0)),
        };
        if calls.max_concurrency < 0 {
            bail!("max concurrency value cannot be lower than 0 (got {})", calls.max_concurrency);
        }
        if blocks.sync_concurrency < 1 {
            bail!(
                "create object storage store: validate config: the block sync concurrency must be equal or greater than 1."
            );
        }
        if calls.series_batch < 1 {
            bail!("debug.series-batch-size must be at least 1 (got {})", calls.series_batch);
        }
        let either = |new: u64, old: u64| if new > 0 { new } else { old };
        let store = Options {
            data_dir: caching.headers_on_disk.then(|| PathBuf::from(&caching.data_dir)),
            laziness: match (headers.lazy_reader, headers.lazy_download) {
                (false, _) => Laziness::Eager,
                (true, false) => Laziness::LazyLoad,
                (true, true) => Laziness::LazyBuild,
            },
            idle_timeout: headers.idle_timeout,
            sampling: u32::try_from(headers.sampling.max(1)).unwrap_or(u32::MAX),
            sync_concurrency: size(blocks.sync_concurrency),
            limits: CallLimits {
                series: either(calls.limit_series, calls.touched_series_limit),
                chunks: either(calls.limit_samples, calls.series_sample_limit) / SAMPLES_PER_CHUNK,
                bytes: u64::try_from(calls.downloaded_bytes_limit).unwrap_or(0),
            },
            series_concurrency: size(calls.max_concurrency),
            batch: size(calls.series_batch),
            estimates: Estimates { series: calls.max_series_size, chunk: calls.max_chunk_size },
            lazy_postings: LazyOptions {
                enabled: calls.lazy_postings,
                max_keys_per_series: calls.key_series_ratio,
            },
            matcher_cache: size(caching.matcher_cache_size),
            min_time: blocks.min_time,
            max_time: blocks.max_time,
        };
        warn_of_ignored(args)?;
        Ok(Config {
            bucket,
            store,
            cache: cache.context("create index cache")?,
            rules: rules.map_err(anyhow::Error::msg)?,
            strategy: blocks.discovery_strategy.parse().map_err(anyhow::Error::msg)?,
            meta_concurrency: size(blocks.meta_concurrency),
        })
    }
}

fn size(n: i64) -> usize {
    usize::try_from(n).unwrap_or(0)
}

/// Says once what is accepted without effect; `exceptions.toml` has the same list.
fn warn_of_ignored(args: &Args) -> anyhow::Result<()> {
    let caching = &args.caching;
    let ignored = [(
        caching.bucket_cache.content().context("get caching bucket configuration")?.is_some(),
        "store.caching-bucket.config",
        "ranges are read exactly, and the index cache keeps what is read again",
    )];
    for (given, flag, reason) in ignored {
        if given {
            tracing::warn!(flag, reason, "flag is accepted but has no effect");
        }
    }
    Ok(())
}
