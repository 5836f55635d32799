//! A store in process over a bucket, for tests of the public API.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod blocks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use component::Env;
use component::clock::SystemClock;
use futures::TryStreamExt as _;
use model::Budget;
use objstore::filesystem::Filesystem;
use objstore::{BucketExt as _, ListOptions, SharedBucket};
use store_gateway::cache::{CacheConfig, IndexCache};
use store_gateway::store::{BucketStore, Options};
use storeapi::{Item, Series, Store as _};
use storeapi_proto::thanos;
use tonic::Status;
use tsdb_block::meta::{BlockMeta, Ulid};

/// A store with its surroundings.
pub(crate) struct Opened {
    pub(crate) store: Arc<BucketStore>,
    pub(crate) cache: Arc<IndexCache>,
    pub(crate) env: Env,
}

/// An environment without limits.
pub(crate) fn env() -> Env {
    Env::for_tests("store", SystemClock::shared())
}

/// A store over `bucket` without blocks.
pub(crate) fn open(
    bucket: SharedBucket,
    options: Options,
    mut env: Env,
    budget: Option<Arc<Budget>>,
) -> Opened {
    if let Some(budget) = budget {
        env.budget = budget;
    }
    let cache = Arc::new(IndexCache::new(CacheConfig::default(), &env.budget, &env.registry).unwrap());
    let store = Arc::new(BucketStore::new(bucket, options, cache.clone(), env.clone()).unwrap());
    Opened { store, cache, env }
}

/// Every meta.json of a bucket.
pub(crate) async fn metas(bucket: &SharedBucket) -> BTreeMap<Ulid, Arc<BlockMeta>> {
    let entries: Vec<_> = bucket.list("", ListOptions::default()).await.unwrap().try_collect().await.unwrap();
    let mut out = BTreeMap::new();
    for entry in entries {
        let Ok(id) = entry.key.trim_end_matches('/').parse::<Ulid>() else { continue };
        if let Ok(json) = bucket.read(&format!("{id}/meta.json")).await {
            out.insert(id, Arc::new(BlockMeta::parse(&json).unwrap()));
        }
    }
    out
}

/// A loaded store over a folder.
pub(crate) async fn over(dir: &Path, options: Options) -> Opened {
    let bucket: SharedBucket = Arc::new(Filesystem::new(dir).unwrap());
    over_bucket(bucket, options).await
}

/// A loaded store over a bucket.
pub(crate) async fn over_bucket(bucket: SharedBucket, options: Options) -> Opened {
    let opened = open(bucket.clone(), options, env(), None);
    opened.store.sync(&metas(&bucket).await, true).await;
    opened
}

/// All of a Series answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) series: Vec<Series>,
    pub(crate) warnings: Vec<String>,
    pub(crate) hints: Vec<prost_types::Any>,
}

/// Collects a Series answer.
pub(crate) async fn series(store: &BucketStore, request: thanos::SeriesRequest) -> Result<Answer, Status> {
    let mut stream = store.series(request, storeapi::Call::internal("default-tenant")).await?;
    let mut answer = Answer::default();
    while let Some(item) = stream.try_next().await? {
        match item {
            Item::Series(all) => answer.series.extend(all),
            Item::Warning(text) => answer.warnings.push(text),
            Item::Hints(any) => answer.hints.push(any),
        }
    }
    Ok(answer)
}

/// A matcher on the wire.
pub(crate) fn matcher(kind: i32, name: &str, value: &str) -> thanos::LabelMatcher {
    thanos::LabelMatcher { r#type: kind, name: name.to_owned(), value: value.to_owned() }
}

/// Everything of the range that `matchers` select.
pub(crate) fn request(matchers: &[(i32, &str, &str)]) -> thanos::SeriesRequest {
    thanos::SeriesRequest {
        min_time: i64::MIN,
        max_time: i64::MAX,
        matchers: matchers.iter().map(|(k, n, v)| matcher(*k, n, v)).collect(),
        aggregates: vec![0],
        ..Default::default()
    }
}

/// The folder of golden data, and whether it is only the committed slice of it.
pub(crate) fn golden() -> (PathBuf, bool) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if let Some(dir) = std::env::var_os("ATHANOR_GOLDEN") {
        return (PathBuf::from(dir), false);
    }
    let shared = root.join("../../../shared/golden");
    if shared.is_dir() { (shared, false) } else { (root.join("../e2e/testdata/golden"), true) }
}
