//! The S3 provider on a real server, where the environment names one (`cargo xtask servers`).
#![cfg(feature = "s3")]

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use objstore::testing::acceptance;
use objstore::{BucketExt as _, ErrorKind, ListOptions, SharedBucket, UploadBody, config};

const VARIABLES: [&str; 4] =
    ["ATHANOR_S3_ENDPOINT", "ATHANOR_S3_BUCKET", "ATHANOR_S3_ACCESS_KEY", "ATHANOR_S3_SECRET_KEY"];

/// Endpoint, bucket and keys; none where there is no server, which CI does not accept.
#[expect(clippy::print_stderr, reason = "says what was not run")]
fn server() -> Option<[String; 4]> {
    let found = VARIABLES.map(|name| std::env::var(name).ok());
    if found.iter().all(Option::is_some) {
        return Some(found.map(Option::unwrap_or_default));
    }
    assert!(std::env::var_os("CI").is_none(), "no S3 server: run under `cargo xtask servers exec`");
    eprintln!("not run: no S3 server is named by {VARIABLES:?}");
    None
}

/// The bucket below a prefix of its own.
fn open(server: &[String; 4], prefix: &str, more: &str) -> SharedBucket {
    let [endpoint, bucket, access_key, secret_key] = server;
    let yaml = format!(
        "type: S3\nprefix: {prefix}-{}\nconfig:\n  endpoint: '{endpoint}'\n  bucket: {bucket}\n  insecure: true\n  \
         access_key: {access_key}\n  secret_key: {secret_key}\n  {more}\n",
        std::process::id()
    );
    config::build(&yaml, "test", &prometheus::Registry::new()).unwrap()
}

#[tokio::test]
async fn r016_s3_passes_the_suite() {
    let Some(server) = server() else { return };
    acceptance(open(&server, "suite", "").as_ref()).await;
    acceptance(open(&server, "suite-path", "bucket_lookup_type: path\n  region: eu-west-1").as_ref()).await;
}

#[tokio::test]
async fn large_objects_go_up_in_parts() {
    let Some(server) = server() else { return };
    let bucket = open(&server, "parts", "part_size: 5242880");
    let bytes: Vec<u8> = (0..13_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let frames: Vec<_> = bytes.chunks(700_001).map(|c| Ok(c.to_vec().into())).collect();
    for (key, body) in [
        ("bytes", UploadBody::Bytes(bytes.clone().into())),
        ("file", UploadBody::File(file.path().to_owned())),
        ("stream", UploadBody::Stream(stream::iter(frames).boxed())),
    ] {
        bucket.upload(key, body).await.unwrap();
        assert_eq!(bucket.attributes(key).await.unwrap().size, bytes.len() as u64, "{key}");
        assert_eq!(bucket.read(key).await.unwrap(), bytes, "{key}");
        let around = bucket.read_range(key, 5_242_870, 20).await.unwrap();
        assert_eq!(around, bytes[5_242_870..5_242_890], "{key}, across parts");
        bucket.delete(key).await.unwrap();
    }
    // A stream that breaks off in its second part.
    let frames =
        vec![Ok(bytes[..6_000_000].to_vec().into()), Err(objstore::Error::not_found("read", "source"))];
    assert!(bucket.upload("broken", UploadBody::Stream(stream::iter(frames).boxed())).await.is_err());
    assert!(!bucket.exists("broken").await.unwrap());
}

#[tokio::test]
async fn listings_longer_than_a_page_are_whole_and_sorted() {
    let Some(server) = server() else { return };
    let bucket = open(&server, "pages", "");
    let keys: Vec<String> = (0..1234).map(|n| format!("d{}/k {n:04}+", n / 100)).collect();
    let uploads = keys.iter().map(|key| bucket.upload_bytes(key, "v".into()));
    stream::iter(uploads).buffer_unordered(32).try_collect::<()>().await.unwrap();
    let list = async |recursive| {
        let entries = bucket.list("", ListOptions { recursive }).await.unwrap();
        entries.map_ok(|e| e.key).try_collect::<Vec<String>>().await.unwrap()
    };
    let mut want = keys.clone();
    want.sort();
    assert_eq!(list(true).await, want);
    assert_eq!(list(false).await.len(), 13);
    let deletes = keys.iter().map(|key| bucket.delete(key));
    stream::iter(deletes).buffer_unordered(32).try_collect::<()>().await.unwrap();
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_a_missing_bucket_is_no_missing_object() {
    let Some(server) = server() else { return };
    let mut wrong = server.clone();
    wrong[3] = "wrong".to_owned();
    let error = open(&wrong, "wrong", "").read("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
    let mut missing = server.clone();
    missing[1] = "no-such-bucket".to_owned();
    let error = open(&missing, "missing", "max_retries: 1").read("k").await.unwrap_err();
    assert!(!error.is_not_found(), "{error}");
}
