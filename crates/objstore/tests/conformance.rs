//! Every provider and wrapper passes the suite; the wrappers do what they add.

use std::sync::Arc;
use std::time::Duration;

use objstore::filesystem::Filesystem;
use objstore::instrumented::{Instrumented, Metrics};
use objstore::memory::InMemory;
use objstore::prefixed::prefixed;
use objstore::retry::{Policy, Retrying};
use objstore::testing::{Delayed, Fault, FaultStore, OperationKind, acceptance};
use objstore::traced::Traced;
use objstore::{Bucket as _, BucketExt as _, ErrorKind, SharedBucket};

fn fault(operation: OperationKind, error: ErrorKind) -> Fault {
    Fault { operation: Some(operation), error: Some(error), ..Fault::default() }
}

fn patience() -> Policy {
    Policy { attempts: 3, first: Duration::ZERO, longest: Duration::ZERO }
}

#[tokio::test]
async fn r016_providers_pass_the_suite() {
    acceptance(&InMemory::new()).await;
    let dir = tempfile::tempdir().unwrap();
    acceptance(&Filesystem::new(dir.path()).unwrap()).await;
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no folder, no temporary file is left");
    let missing = dir.path().join("not/there");
    acceptance(&Filesystem::new(missing).unwrap()).await;
}

#[tokio::test]
async fn r016_wrappers_pass_the_suite() {
    let inner: SharedBucket = Arc::new(InMemory::new());
    inner.upload_bytes("outside", "x".into()).await.unwrap();
    acceptance(prefixed(inner.clone(), "/a/b/").as_ref()).await;
    assert!(inner.exists("outside").await.unwrap());
    inner.delete("outside").await.unwrap();
    acceptance(&FaultStore::new(inner.clone())).await;
    acceptance(&Delayed::new(inner.clone(), Duration::ZERO)).await;
    acceptance(&Retrying::new(inner.clone(), patience())).await;
    let metrics = Metrics::new(&prometheus::Registry::new(), "x").unwrap();
    acceptance(&Instrumented::new(inner.clone(), metrics)).await;
    acceptance(&Traced::new(inner)).await;
}

#[tokio::test]
async fn keys_stay_in_the_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = Filesystem::new(dir.path().join("b")).unwrap();
    std::fs::write(dir.path().join("secret"), "x").unwrap();
    for key in ["", "/", "../secret", "a/../../secret", "a\0"] {
        assert_eq!(bucket.get(key).await.unwrap_err().kind(), ErrorKind::Invalid, "{key:?}");
        assert!(bucket.delete(key).await.is_err() && bucket.upload_bytes(key, "y".into()).await.is_err());
    }
    assert_eq!(std::fs::read(dir.path().join("secret")).unwrap(), b"x");
}

#[tokio::test]
async fn faults_and_retries() {
    let inner: SharedBucket = Arc::new(InMemory::new());
    inner.upload_bytes("k", "0123456789".into()).await.unwrap();
    let store = Arc::new(FaultStore::new(inner));
    let patient = Retrying::new(store.clone(), patience());
    store.inject(fault(OperationKind::GetRange, ErrorKind::Retry));
    store.inject(fault(OperationKind::GetRange, ErrorKind::Retry));
    assert_eq!(patient.read_range("k", 8, 5).await.unwrap(), "89");
    let log = store.log();
    assert_eq!(log.len(), 3);
    assert_eq!((log[2].offset, log[2].length, log[2].bytes), (Some(8), Some(5), 2));
    store.inject(fault(OperationKind::Get, ErrorKind::AccessDenied));
    assert_eq!(patient.read("k").await.unwrap_err().kind(), ErrorKind::AccessDenied);
    assert_eq!(store.log().len(), 4, "what cannot help is not tried again");
    store.stop_at(4);
    assert!(patient.read("k").await.is_err() && patient.upload_bytes("j", "x".into()).await.is_err());
}

/// Every length at which a body can end early, and more than one break in a row.
#[tokio::test]
async fn r017_a_body_shorter_than_announced_is_resumed_or_an_error() {
    let inner: SharedBucket = Arc::new(InMemory::new());
    let whole: Vec<u8> = (0..100u8).collect();
    inner.upload_bytes("k", whole.clone().into()).await.unwrap();
    let cut = |at: u64| Fault { truncate: Some(at), ..Fault::default() };
    for at in [0, 1, 50, 99] {
        let store = Arc::new(FaultStore::new(inner.clone()));
        // Without patience: an error that says so, never fewer bytes.
        store.inject(cut(at));
        let error = store.read("k").await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        let patient = Retrying::new(store.clone(), patience());
        for n in 0..3 {
            (0..n).for_each(|_| store.inject(cut(at)));
            assert_eq!(patient.read("k").await.unwrap(), whole, "{n} breaks at {at}");
            (0..n).for_each(|_| store.inject(cut(at.min(39))));
            assert_eq!(patient.read_range("k", 10, 40).await.unwrap(), whole[10..50], "{n} breaks at {at}");
        }
        // Bytes that came are not asked for again.
        store.clear();
        store.inject(cut(at));
        patient.read("k").await.unwrap();
        let log = store.log();
        assert_eq!((log[1].offset, log[1].length), (Some(at), Some(100 - at)));
        // No byte at all, for good.
        (0..3).for_each(|_| store.inject(cut(0)));
        let error = patient.read("k").await.unwrap_err();
        assert!(error.to_string().contains("bytes early"), "{error}");
    }
    // Nothing is put together from two versions.
    let store = Arc::new(FaultStore::new(inner.clone()));
    store.inject(cut(50));
    let stream = Retrying::new(store, patience()).get("k").await.unwrap();
    inner.upload_bytes("k", vec![7; 60].into()).await.unwrap();
    assert!(stream.collect().await.unwrap_err().to_string().contains("changed while it was read"));
}

#[tokio::test]
async fn r019_stored_but_not_acknowledged() {
    let inner: SharedBucket = Arc::new(InMemory::new());
    let store = Arc::new(FaultStore::new(inner.clone()));
    let lost = |operation| Fault { applied: true, ..fault(operation, ErrorKind::Retry) };
    store.inject(lost(OperationKind::Upload));
    assert!(store.upload_bytes("k", "v".into()).await.is_err());
    assert_eq!(inner.read("k").await.unwrap(), "v");
    store.upload_bytes("k", "v".into()).await.unwrap();
    store.inject(lost(OperationKind::Delete));
    let patient = Retrying::new(store, patience());
    patient.delete("k").await.unwrap();
    assert!(!inner.exists("k").await.unwrap());
    assert!(
        patient.delete("k").await.is_err_and(|e| e.is_not_found()),
        "what never was there is another matter"
    );
}

#[tokio::test(start_paused = true)]
async fn r025_pauses_grow_and_are_bounded() {
    let store = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
    let policy = Policy::default();
    let mut times = Vec::new();
    for _ in 0..200 {
        (0..20).for_each(|_| store.inject(fault(OperationKind::Exists, ErrorKind::Retry)));
        let start = tokio::time::Instant::now();
        store.clear();
        let error = Retrying::new(store.clone(), policy).exists("k").await.unwrap_err();
        assert_eq!(
            (error.kind(), store.log().len()),
            (ErrorKind::Retry, 10),
            "one request at a time, ten in all"
        );
        times.push(start.elapsed());
    }
    let most = Duration::from_millis(200 + 400 + 800 + 6 * 1000);
    assert!(times.iter().all(|t| *t <= most));
    times.sort();
    let middle = times[100];
    assert!(middle > most / 3 && middle < most * 2 / 3, "half of the longest on average: {middle:?}");
    assert!(times[199] - times[0] > most / 8, "and not all alike");
}

#[tokio::test]
async fn metrics_count() {
    let registry = prometheus::Registry::new();
    let store = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
    let bucket = Instrumented::new(store.clone(), Metrics::new(&registry, "b").unwrap());
    bucket.upload_bytes("k", "12345".into()).await.unwrap();
    bucket.read("k").await.unwrap();
    assert!(bucket.read("missing").await.is_err());
    assert!(bucket.read_range("missing", 0, 1).await.is_err());
    store.inject(fault(OperationKind::Exists, ErrorKind::Other));
    assert!(bucket.exists("k").await.is_err());
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        r#"operations_total{bucket="b",operation="get"} 2"#,
        r#"operations_total{bucket="b",operation="attributes"} 0"#,
        r#"operation_failures_total{bucket="b",operation="get"} 0"#,
        r#"operation_failures_total{bucket="b",operation="get_range"} 1"#,
        r#"operation_failures_total{bucket="b",operation="exists"} 1"#,
        r#"operation_fetched_bytes_total{bucket="b",operation="get"} 5"#,
        r#"operation_transferred_bytes_sum{bucket="b",operation="upload"} 5"#,
        r#"operation_transferred_bytes_bucket{bucket="b",operation="get",le="32768"} 1"#,
        r#"operation_duration_seconds_count{bucket="b",operation="get"} 2"#,
    ] {
        assert!(text.contains(&format!("thanos_objstore_bucket_{line}\n")), "{line} in\n{text}");
    }
}
