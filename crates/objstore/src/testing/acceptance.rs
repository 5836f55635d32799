//! The conformance suite.
//!
//! Panics with the case that differs. Invariant: it relies on nothing that real providers disagree
//! on (deleting a missing object, the order of their own pages).

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::{Bucket, BucketExt as _, ListOptions, UploadBody};

/// Runs the suite on an empty bucket; panics at the first difference.
///
/// # Panics
/// When the bucket does not behave as the trait says.
#[allow(clippy::unwrap_used)]
pub async fn acceptance(bucket: &dyn Bucket) {
    assert_eq!(keys(bucket, "", true).await, [""; 0], "the suite wants an empty bucket");
    missing_objects(bucket).await;
    let key = "id1/obj_1.some";
    bucket.upload_bytes(key, "@test-data@".into()).await.unwrap();
    ranges(bucket, key).await;
    for key in ["id1/obj_2.some", "id1/obj_2.some", "id1/sub/o", "id1x", "id2/obj_4.some", "obj_5.some"] {
        bucket.upload_bytes(key, "x".into()).await.unwrap();
    }
    assert_eq!(keys(bucket, "", false).await, ["id1/", "id1x", "id2/", "obj_5.some"]);
    for dir in ["id1", "id1/"] {
        assert_eq!(keys(bucket, dir, false).await, [key, "id1/obj_2.some", "id1/sub/"]);
        assert_eq!(keys(bucket, dir, true).await, [key, "id1/obj_2.some", "id1/sub/o"]);
    }
    assert_eq!(keys(bucket, "id0", false).await, [""; 0]);
    assert!(!bucket.exists("id1").await.unwrap(), "a folder is no object");
    bucket.delete("id2/obj_4.some").await.unwrap();
    assert_eq!(keys(bucket, "", false).await, ["id1/", "id1x", "obj_5.some"]);
    bodies(bucket).await;
    for key in keys(bucket, "", true).await {
        bucket.delete(&key).await.unwrap();
    }
    assert_eq!(keys(bucket, "", true).await, [""; 0]);
}

async fn keys(bucket: &dyn Bucket, dir: &str, recursive: bool) -> Vec<String> {
    let entries = bucket.list(dir, ListOptions { recursive }).await.expect("list");
    let entries: Vec<crate::Entry> = entries.try_collect().await.expect("list");
    assert!(entries.iter().all(|e| e.is_dir == e.key.ends_with('/')), "folders end with a slash");
    let mut keys = Vec::with_capacity(entries.len());
    for entry in entries {
        // Some servers show a folder for a while after its last object is gone.
        if !entry.is_dir || holds_something(bucket, &entry.key).await {
            keys.push(entry.key);
        }
    }
    keys
}

async fn holds_something(bucket: &dyn Bucket, dir: &str) -> bool {
    let mut entries = bucket.list(dir, ListOptions { recursive: true }).await.expect("list");
    entries.try_next().await.expect("list").is_some()
}

async fn missing_objects(bucket: &dyn Bucket) {
    assert!(bucket.get("no/such").await.is_err_and(|e| e.is_not_found()));
    assert!(bucket.get_range("no/such", 0, Some(1)).await.is_err_and(|e| e.is_not_found()));
    assert!(bucket.attributes("no/such").await.is_err_and(|e| e.is_not_found()));
    assert!(!bucket.exists("no/such").await.expect("exists"));
}

async fn ranges(bucket: &dyn Bucket, key: &str) {
    assert_eq!(bucket.read(key).await.expect("get"), "@test-data@");
    assert_eq!(bucket.attributes(key).await.expect("attributes").size, 11);
    assert!(bucket.exists(key).await.expect("exists"));
    let cases = [
        (1, Some(3), "tes"),
        (1, None, "test-data@"),
        (3, Some(9999), "st-data@"),
        (0, Some(0), ""),
        (11, Some(5), ""),
        (99, Some(5), ""),
        (99, None, ""),
        (3, Some(u64::MAX), "st-data@"),
    ];
    for (offset, len, want) in cases {
        let stream = bucket.get_range(key, offset, len).await.expect("get_range");
        assert_eq!(stream.len, want.len() as u64, "length of {offset} {len:?}");
        assert_eq!(stream.collect().await.expect("body"), want, "{offset} {len:?}");
    }
}

async fn bodies(bucket: &dyn Bucket) {
    let big = Bytes::from((0..3_000_000u32).map(|i| (i % 251) as u8).collect::<Vec<u8>>());
    bucket.upload_bytes("big", big.clone()).await.expect("upload bytes");
    assert_eq!(bucket.read("big").await.expect("get"), big);
    assert_eq!(
        bucket.read_range("big", 1_000_000, 700_000).await.expect("range"),
        big.slice(1_000_000..1_700_000)
    );
    bucket.upload_bytes("big", Bytes::new()).await.expect("overwrite");
    assert_eq!(bucket.attributes("big").await.expect("attributes").size, 0);
    let frames = vec![Ok(Bytes::from("a ")), Ok(Bytes::from("b"))];
    bucket.upload("odd +%25=ü:x", UploadBody::Stream(stream::iter(frames).boxed())).await.expect("stream");
    assert_eq!(bucket.read("odd +%25=ü:x").await.expect("get"), "a b");
    let broken = vec![Ok(Bytes::from("half")), Err(crate::Error::not_found("read", "source"))];
    assert!(bucket.upload("half", UploadBody::Stream(stream::iter(broken).boxed())).await.is_err());
    assert!(!bucket.exists("half").await.expect("exists"), "a broken upload leaves nothing");
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(file.path(), "from a file").expect("write");
    bucket.upload("file", UploadBody::File(file.path().to_owned())).await.expect("file");
    assert_eq!(bucket.read("file").await.expect("get"), "from a file");
}
