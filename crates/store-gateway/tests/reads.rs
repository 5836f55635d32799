//! What is read of a bucket, and what happens when reading it goes wrong.

#![allow(clippy::print_stdout, reason = "says what was not run, and figures")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use common::blocks::{Spec, floats, labels, plain_series};
use futures::StreamExt as _;
use objstore::filesystem::Filesystem;
use objstore::testing::{FaultStore, OperationKind};
use objstore::{
    Attributes, Bucket, EntryStream, ListOptions, ObjectStream, Result, SharedBucket, UploadBody,
};
use store_gateway::store::Options;
use storeapi::{Call, Item, Store as _};

fn filesystem(dir: &std::path::Path) -> SharedBucket {
    Arc::new(Filesystem::new(dir).unwrap())
}

/// The rule: one cold series costs at most 8 requests and 256 KiB, and nothing is read whole.
#[tokio::test(flavor = "multi_thread")]
async fn one_cold_series_of_many_costs_little_and_nothing_is_read_whole() {
    let (golden, _) = common::golden();
    let many = golden.join("blocks/many-series");
    let holder = tempfile::tempdir().unwrap();
    let dir = if many.is_dir() {
        many
    } else {
        println!("not run on the golden block many-series: it is not here");
        Spec::new(1, plain_series(20_000)).write(holder.path());
        holder.path().to_owned()
    };
    let faults = Arc::new(FaultStore::new(filesystem(&dir)));
    let bucket: SharedBucket = faults.clone();
    let metas = common::metas(&bucket).await;
    assert_eq!(metas.len(), 1);
    let id = metas.keys().next().unwrap().to_string();
    faults.clear();
    let opened = common::over_bucket(bucket, Options::default()).await;
    let size = |key: &str| std::fs::metadata(dir.join(key)).unwrap().len();
    let header: Vec<_> = faults.log().into_iter().filter(|o| o.kind == OperationKind::GetRange).collect();
    let of_header: u64 = header.iter().map(|o| o.bytes).sum();
    assert!(of_header < size(&format!("{id}/index")), "the header took {of_header} bytes");

    // Any one series of the block, found by what it is called.
    let all = common::series(&opened.store, common::request(&[(2, "__name__", ".+")])).await.unwrap();
    assert_eq!(all.series.len(), 20_000);
    let one = &all.series[4242].labels;
    let own: Vec<(String, String)> =
        one.iter().filter(|(n, _)| *n != "cluster").map(|(n, v)| (n.to_owned(), v.to_owned())).collect();

    // A new store has nothing cached.
    let bucket: SharedBucket = faults.clone();
    let opened = common::over_bucket(bucket, Options::default()).await;
    faults.clear();
    let matchers: Vec<(i32, &str, &str)> = own.iter().map(|(n, v)| (0, n.as_str(), v.as_str())).collect();
    let answer = common::series(&opened.store, common::request(&matchers)).await.unwrap();
    assert_eq!((answer.series.len(), &answer.series[0]), (1, &all.series[4242]));
    let log = faults.log();
    let bytes: u64 = log.iter().map(|o| o.bytes).sum();
    println!(
        "one cold series: {} requests, {bytes} bytes; its header: {} requests, {of_header} bytes",
        log.len(),
        header.len()
    );
    assert!(log.len() <= 8, "{log:#?}");
    assert!(bytes <= 256 << 10, "{bytes} bytes: {log:#?}");
    for o in log.iter().chain(&header) {
        assert_eq!(o.kind, OperationKind::GetRange, "{o:?}");
        let whole = o.offset == Some(0) && o.bytes >= size(&o.key);
        assert!(!whole, "{o:?} is all of the object");
    }

    // Asked again, the index is not read any more.
    faults.clear();
    common::series(&opened.store, common::request(&matchers)).await.unwrap();
    assert!(faults.log().iter().all(|o| o.key.contains("/chunks/")), "{:?}", faults.log());
}

/// The first series is sent before the last chunk is fetched, and an idle reader stops the fetching.
#[tokio::test(flavor = "multi_thread")]
async fn the_reader_sets_the_pace() {
    let dir = tempfile::tempdir().unwrap();
    let noise = |seed: u64| {
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let samples: Vec<(i64, f64)> = (0..120)
            .map(|i| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (i, f64::from_bits(x >> 2))
            })
            .collect();
        floats(&samples)
    };
    let series = (0..20_000)
        .map(|i| (labels(&[("__name__", "noise"), ("n", &format!("{i:05}"))]), vec![noise(i + 1)]))
        .collect();
    let name = Spec::new(1, series).write(dir.path());
    let total = std::fs::metadata(dir.path().join(format!("{name}/chunks/000001"))).unwrap().len();
    let faults = Arc::new(FaultStore::new(filesystem(dir.path())));
    let bucket: SharedBucket = faults.clone();
    let opened = common::over_bucket(bucket, Options::default()).await;
    let read = || {
        let log = faults.log();
        log.iter().filter(|o| o.key.contains("/chunks/")).map(|o| o.bytes).sum::<u64>()
    };
    let call = Call::internal("default-tenant");
    let mut stream = opened.store.series(common::request(&[(0, "__name__", "noise")]), call).await.unwrap();
    let Some(Ok(Item::Series(first))) = stream.next().await else { panic!("no series") };
    assert!(!first.is_empty());
    // Time for whatever would run ahead.
    let mut before = read();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let now = read();
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < total / 2, "{before} of {total} bytes were fetched for a reader that waits");
    let mut n = first.len();
    while let Some(item) = stream.next().await {
        if let Item::Series(all) = item.unwrap() {
            n += all.len();
        }
    }
    assert_eq!(n, 20_000);
    assert!(read() >= total - 8);
    // Chunks hold on to what they were cut from.
    drop((stream, first));
    settled(&opened).await;

    // A reader that goes away ends the work.
    faults.clear();
    let call = Call::internal("default-tenant");
    let mut stream = opened.store.series(common::request(&[(0, "__name__", "noise")]), call).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    settled(&opened).await;
    assert!(read() < total / 2);
}

/// Waits until everything but the cache is given back.
async fn settled(opened: &common::Opened) {
    for _ in 0..200 {
        if opened.env.budget.used() == cached(opened) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(opened.env.budget.used(), cached(opened));
}

fn cached(opened: &common::Opened) -> u64 {
    let text = component::metrics::text::encode(&opened.env.registry.gather());
    let of_line = |l: &str| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64;
    text.lines().filter(|l| l.starts_with("thanos_store_index_cache_total_size_bytes{")).map(of_line).sum()
}

/// How a range answer is spoilt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    /// The body ends after so many bytes though more were announced.
    Short(u64),
    /// The whole object is answered, as by a server that ignores ranges.
    Whole,
    /// More bytes than announced.
    Longer,
    /// The range from another place.
    Shifted,
}

/// A bucket whose range answers for one kind of object are spoilt, some or all of the time.
#[derive(Debug)]
struct Harmful {
    inner: SharedBucket,
    harm: Harm,
    key: &'static str,
    /// Spoilt answers left to give.
    left: AtomicU64,
}

#[async_trait]
impl Bucket for Harmful {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn provider(&self) -> &'static str {
        self.inner.provider()
    }
    async fn get(&self, key: &str) -> Result<ObjectStream> {
        self.inner.get(key).await
    }
    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Result<ObjectStream> {
        let spoil = key.contains(self.key)
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if !spoil {
            return self.inner.get_range(key, offset, len).await;
        }
        match self.harm {
            Harm::Whole => self.inner.get(key).await,
            Harm::Shifted => {
                let good = self.inner.get_range(key, offset, len).await?;
                let other = self.inner.get_range(key, offset + 16, Some(good.len)).await?.collect().await?;
                let mut bytes = other.to_vec();
                bytes.resize(good.len as usize, 0);
                Ok(ObjectStream::from_bytes(bytes.into()))
            }
            Harm::Short(k) => {
                let mut stream = self.inner.get_range(key, offset, len).await?;
                let announced = stream.len;
                let body = stream.collect().await?;
                let keep = k.min(announced.saturating_sub(1)) as usize;
                stream = ObjectStream::from_bytes(body.slice(..keep));
                stream.len = announced;
                Ok(stream)
            }
            Harm::Longer => {
                let stream = self.inner.get_range(key, offset, len).await?;
                let announced = stream.len;
                let mut body = stream.collect().await?.to_vec();
                body.extend_from_slice(b"more");
                let mut stream = ObjectStream::from_bytes(Bytes::from(body));
                stream.len = announced;
                Ok(stream)
            }
        }
    }
    async fn attributes(&self, key: &str) -> Result<Attributes> {
        self.inner.attributes(key).await
    }
    async fn list(&self, dir: &str, options: ListOptions) -> Result<EntryStream> {
        self.inner.list(dir, options).await
    }
    async fn upload(&self, key: &str, body: UploadBody) -> Result<()> {
        self.inner.upload(key, body).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }
}

/// R017: bodies shorter than announced are read again; when that does not help the block is named, and
/// nothing of them is parsed or cached.
#[tokio::test(flavor = "multi_thread")]
async fn r017_short_bodies_are_read_again_and_never_believed() {
    let dir = tempfile::tempdir().unwrap();
    let name = Spec::new(1, plain_series(300)).write(dir.path());
    let good = common::over(dir.path(), Options::default()).await;
    let request = || common::request(&[(0, "__name__", "up"), (2, "n", "000.*")]);
    let want = common::series(&good.store, request()).await.unwrap().series;
    assert_eq!(want.len(), 100);
    for key in ["/index", "/chunks/"] {
        for k in [0, 1, 60, u64::MAX] {
            // Once: nobody notices.
            let harmful = Arc::new(Harmful {
                inner: filesystem(dir.path()),
                harm: Harm::Short(k),
                key,
                left: AtomicU64::new(1),
            });
            let opened = common::over_bucket(harmful.clone(), Options::default()).await;
            assert_eq!(opened.store.blocks(), 1, "{key} {k}");
            let answer = common::series(&opened.store, request()).await.unwrap();
            assert_eq!((answer.series, answer.warnings.len()), (want.clone(), 0), "{key} {k}");

            // For ever, once the block is loaded.
            let opened = common::over_bucket(harmful.clone(), Options::default()).await;
            harmful.left.store(u64::MAX, Ordering::SeqCst);
            let answer = common::series(&opened.store, request()).await.unwrap();
            assert_eq!(answer.series.len(), 0, "{key} {k}");
            assert_eq!(answer.warnings.len(), 1);
            assert!(answer.warnings[0].contains(&name), "{:?}", answer.warnings);
            let mut abort = request();
            abort.partial_response_strategy = 1;
            let status = common::series(&opened.store, abort).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::Aborted, "{status:?}");
            assert!(status.message().contains(&name), "{status:?}");

            // Nothing wrong was cached.
            harmful.left.store(0, Ordering::SeqCst);
            let answer = common::series(&opened.store, request()).await.unwrap();
            assert_eq!((answer.series, answer.warnings.len()), (want.clone(), 0), "{key} {k}");
        }
    }
}

/// R023: a range answered with the whole object, with more, or from another place gives the right bytes
/// or an error, never the wrong window.
#[tokio::test(flavor = "multi_thread")]
async fn r023_odd_range_answers_never_give_the_wrong_window() {
    let dir = tempfile::tempdir().unwrap();
    let name = Spec::new(1, plain_series(300)).write(dir.path());
    let good = common::over(dir.path(), Options::default()).await;
    let request = || common::request(&[(2, "n", "000[0-4].")]);
    let want = common::series(&good.store, request()).await.unwrap().series;
    for harm in [Harm::Whole, Harm::Longer, Harm::Shifted] {
        for key in ["/index", "/chunks/"] {
            let harmful =
                Arc::new(Harmful { inner: filesystem(dir.path()), harm, key, left: AtomicU64::new(0) });
            let opened = common::over_bucket(harmful.clone(), Options::default()).await;
            harmful.left.store(u64::MAX, Ordering::SeqCst);
            let answer = common::series(&opened.store, request()).await.unwrap();
            if answer.series.is_empty() {
                assert!(answer.warnings[0].contains(&name), "{harm:?} {key}: {:?}", answer.warnings);
            } else {
                assert_eq!((answer.series, answer.warnings.len()), (want.clone(), 0), "{harm:?} {key}");
            }
            // A store that is built on such answers has no block, or the right one.
            let opened = common::over_bucket(harmful.clone(), Options::default()).await;
            if opened.store.blocks() == 1 {
                harmful.left.store(0, Ordering::SeqCst);
                assert_eq!(common::series(&opened.store, request()).await.unwrap().series, want);
            }
        }
    }
}
