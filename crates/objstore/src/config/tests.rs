//! Tests of the configuration.

use prometheus::Registry;
use proptest::prelude::*;

use super::*;
use crate::BucketExt as _;

fn refused(yaml: &str) -> String {
    build(yaml, "store", &Registry::new()).unwrap_err().to_string()
}

#[tokio::test]
async fn a_filesystem_with_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!("type: filesystem\nprefix: /a/b/\nconfig: {{directory: {}}}\n", dir.path().display());
    let registry = Registry::new();
    let bucket = build(&yaml, "store", &registry).unwrap();
    bucket.upload_bytes("k", "v".into()).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("a/b/k")).unwrap(), b"v");
    assert_eq!(bucket.name(), format!("fs: {}", dir.path().display()));
    assert!(build(&yaml, "store", &registry).is_err(), "metrics are registered once");
}

#[test]
fn texts_of_errors() {
    assert_eq!(refused("type: INMEM"), "bucket with type INMEM is not supported");
    assert_eq!(refused("type: Gcs"), "bucket with type Gcs is not supported by this build");
    assert_eq!(
        refused("type: FILESYSTEM"),
        "create FILESYSTEM client: missing directory for filesystem bucket"
    );
    assert_eq!(
        refused("type: S3\nbogus: 1"),
        "parsing config YAML file: yaml: unmarshal errors:\n  line 2: field bogus not found in type client.BucketConfig"
    );
    assert!(refused("type: S3\ntype: S3").starts_with("parsing config YAML file: "));
    assert_eq!(refused(""), "bucket with type  is not supported");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(yaml in "\\PC{0,80}") {
        drop(parse(&yaml));
    }
}
