//! Every provider and wrapper passes the suite; the wrappers do what they add.

use std::sync::Arc;
use std::time::Duration;

use objstore::filesystem::Filesystem;
use objstore::instrumented::{Instrumented, Metrics};
use objstore::memory::InMemory;
use objstore::prefixed::prefixed;
use objstore::retry::Retrying;
use objstore::testing::{Delayed, Fault, FaultStore, OperationKind, acceptance};
use objstore::{Bucket as _, BucketExt as _, ErrorKind, SharedBucket};

fn fault(operation: OperationKind, error: ErrorKind) -> Fault {
    Fault {
        operation: Some(operation),
        key: String::new(),
        skip: 0,
        delay: Duration::ZERO,
        error: Some(error),
    }
}

#[tokio::test]
async fn providers() {
    acceptance(&InMemory::new()).await;
    let dir = tempfile::tempdir().unwrap();
    acceptance(&Filesystem::new(dir.path()).unwrap()).await;
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no folder, no temporary file is left");
    let missing = dir.path().join("not/there");
    acceptance(&Filesystem::new(missing).unwrap()).await;
}

#[tokio::test]
async fn wrappers() {
    let inner: SharedBucket = Arc::new(InMemory::new());
    inner.upload_bytes("outside", "x".into()).await.unwrap();
    acceptance(prefixed(inner.clone(), "/a/b/").as_ref()).await;
    assert!(inner.exists("outside").await.unwrap());
    inner.delete("outside").await.unwrap();
    acceptance(&FaultStore::new(inner.clone())).await;
    acceptance(&Delayed::new(inner.clone(), Duration::ZERO)).await;
    acceptance(&Retrying::new(inner.clone(), 3, Duration::ZERO)).await;
    let metrics = Metrics::new(&prometheus::Registry::new(), "x").unwrap();
    acceptance(&Instrumented::new(inner, metrics)).await;
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
    let patient = Retrying::new(store.clone(), 3, Duration::ZERO);
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

#[tokio::test]
async fn metrics_count() {
    let registry = prometheus::Registry::new();
    let store = Arc::new(FaultStore::new(Arc::new(InMemory::new())));
    let bucket = Instrumented::new(store.clone(), Metrics::new(&registry, "b").unwrap());
    bucket.upload_bytes("k", "12345".into()).await.unwrap();
    bucket.read("k").await.unwrap();
    assert!(bucket.read("missing").await.is_err());
    store.inject(fault(OperationKind::Exists, ErrorKind::Other));
    assert!(bucket.exists("k").await.is_err());
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        r#"operations_total{bucket="b",operation="get"} 2"#,
        r#"operations_total{bucket="b",operation="attributes"} 0"#,
        r#"operation_failures_total{bucket="b",operation="get"} 0"#,
        r#"operation_failures_total{bucket="b",operation="exists"} 1"#,
        r#"operation_fetched_bytes_total{bucket="b",operation="get"} 5"#,
        r#"operation_transferred_bytes_sum{bucket="b",operation="upload"} 5"#,
        r#"operation_transferred_bytes_bucket{bucket="b",operation="get",le="32768"} 1"#,
        r#"operation_duration_seconds_count{bucket="b",operation="get"} 2"#,
    ] {
        assert!(text.contains(&format!("thanos_objstore_bucket_{line}\n")), "{line} in\n{text}");
    }
}
