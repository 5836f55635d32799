//! The store gateway as a process: what its HTTP port says.

mod common;

use common::blocks::{Spec, plain_series};
use component::testing::service::Service;
use serde_json::Value;

fn start(bucket: &std::path::Path, data: &std::path::Path, more: &[&str]) -> Service {
    let mut arguments = vec![
        format!("--data-dir={}", data.display()),
        format!("--objstore.config=type: FILESYSTEM\nconfig: {{directory: {}}}", bucket.display()),
    ];
    arguments.extend(more.iter().map(|a| (*a).to_owned()));
    let service = Service::start(env!("CARGO_BIN_EXE_store-gateway"), "store", &arguments);
    service.wait_ready();
    service
}

fn data(service: &Service, path: &str) -> Value {
    let (status, body) = service.get(path).unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["status"], "success");
    answer["data"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_shows_flags_build_and_blocks() {
    let (bucket, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let id = Spec::new(1, plain_series(3)).write(bucket.path());
    let service = start(bucket.path(), dir.path(), &["--bucket-web-label=cluster"]);

    let flags = data(&service, "/api/v1/status/flags");
    assert_eq!(flags["bucket-web-label"], "cluster");
    assert_eq!(flags["objstore.config"], "<REDACTED>");
    let (golden, _) = common::golden();
    if let Ok(recorded) = std::fs::read(golden.join("http/store-status_flags.json")) {
        let recorded: Value = serde_json::from_slice(&recorded).unwrap();
        for (name, want) in recorded["data"].as_object().unwrap() {
            let chosen_here = ["data-dir", "http-address", "grpc-address", "bucket-web-label"];
            assert!(chosen_here.contains(&name.as_str()) || flags[name] == *want, "{name}: {}", flags[name]);
        }
        assert_eq!(flags.as_object().unwrap().len(), recorded["data"].as_object().unwrap().len());
    }
    assert!(data(&service, "/api/v1/status/buildinfo")["goVersion"].is_string());
    assert!(data(&service, "/api/v1/status/runtimeinfo")["GOMAXPROCS"].as_u64().unwrap() > 0);
    let loaded = data(&service, "/api/v1/blocks?view=loaded");
    assert_eq!(
        (loaded["label"].as_str(), loaded["blocks"][0]["ulid"].as_str()),
        (Some("cluster"), Some(id.as_str()))
    );
    assert_eq!(loaded["err"], Value::Null);
    let global = data(&service, "/api/v1/blocks");
    assert_eq!(
        (global["blocks"].as_array().unwrap().len(), &global["refreshedAt"]),
        (0, &Value::from("0001-01-01T00:00:00Z"))
    );
    assert_eq!(service.get("/api/v1/nothing").unwrap().0, 404);
    assert!(dir.path().join(&id).join(store_gateway::INDEX_HEADER_FILE).is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_web_there_are_probes_and_metrics_only() {
    let (bucket, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Spec::new(1, plain_series(3)).write(bucket.path());
    let service = start(bucket.path(), dir.path(), &["--web.disable", "--no-cache-index-header"]);
    assert_eq!(service.get("/api/v1/status/flags").unwrap().0, 404);
    assert_eq!(service.get("/-/healthy").unwrap().0, 200);
    let (_, metrics) = service.get("/metrics").unwrap();
    assert!(metrics.contains("\nthanos_bucket_store_blocks_loaded 1\n"), "{metrics}");
    assert!(!metrics.contains("\nhttp_requests_total"));
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing is written without a cache on disk"
    );
}
