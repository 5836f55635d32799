//! Uploads without a shipper: refusals and what is recorded.

use std::sync::Arc;

use objstore::{BucketExt as _, SharedBucket, memory::InMemory};

use super::*;
use crate::shipper::tests::block;

const ID: &str = "01M5FC5ZR0JRHRCP081V3NP1HX";

fn labelled(dir: &Path) {
    let path = dir.join(meta::FILE_NAME);
    let mut m = BlockMeta::parse(&std::fs::read(&path).unwrap()).unwrap();
    m.thanos.get_or_insert_default().labels.insert("replica".into(), "a".into());
    std::fs::write(&path, m.to_json()).unwrap();
}

#[tokio::test]
async fn files_sizes_hashes_and_time_are_recorded() {
    let dir = tempfile::tempdir().unwrap();
    block(dir.path(), ID, 0, 1, 2);
    let from = dir.path().join(ID);
    let bucket: SharedBucket = Arc::new(InMemory::new());
    let refused = upload(&bucket, &from, Options::default(), 0).await;
    assert!(matches!(refused, Err(Error::NoLabels)));
    labelled(&from);
    upload(&bucket, &from, Options { hash: true, concurrency: 4 }, 1_795_359_533_602).await.unwrap();
    let json = bucket.read(&format!("{ID}/meta.json")).await.unwrap();
    let thanos = BlockMeta::parse(&json).unwrap().thanos.unwrap();
    assert_eq!(thanos.upload_time, "2026-11-22T14:58:53.602Z");
    let paths: Vec<_> = thanos.files.iter().map(|f| (f.rel_path.as_str(), f.size_bytes > 0)).collect();
    assert_eq!(
        paths,
        [("chunks/000001", true), ("chunks/000002", true), ("index", true), ("meta.json", false)]
    );
    // SHA-256 of "index of 01M5FC5ZR0JRHRCP081V3NP1HX", computed by the same digest over the object.
    let object = bucket.read(&format!("{ID}/index")).await.unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &object);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(thanos.files[2].hash, Some(Hash { func: "SHA256".into(), value: hex }));
}

#[tokio::test]
async fn a_directory_of_another_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    block(dir.path(), ID, 0, 1, 1);
    labelled(&dir.path().join(ID));
    std::fs::rename(dir.path().join(ID), dir.path().join("x")).unwrap();
    let bucket: SharedBucket = Arc::new(InMemory::new());
    let refused = upload(&bucket, &dir.path().join("x"), Options::default(), 0).await;
    assert!(matches!(refused, Err(Error::NotABlock(_))));
}
