//! The recorded StoreAPI answers of Thanos, replayed in process.

#![allow(clippy::print_stdout, reason = "says what was not run, and figures")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use common::{Answer, Opened};
use serde_json::{Map, Value, json};
use storeapi::{Aggr, Call, Store as _};
use storeapi_proto::thanos;
use tonic::Status;

fn rows(path: &Path) -> Vec<Value> {
    let file = std::fs::File::open(path).unwrap();
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    lines.map(|l| serde_json::from_str(&l.unwrap()).unwrap()).collect()
}

fn int(request: &Value, key: &str) -> i64 {
    request[key].as_i64().unwrap_or(0)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|t| t.as_str().unwrap().to_owned()).collect()
}

fn matchers(request: &Value) -> Vec<thanos::LabelMatcher> {
    let all = request["matchers"].as_array().into_iter().flatten();
    all.map(|m| {
        let text = |key: &str| m[key].as_str().unwrap_or("").to_owned();
        thanos::LabelMatcher { r#type: int(m, "type") as i32, name: text("name"), value: text("value") }
    })
    .collect()
}

fn strategy(request: &Value) -> i32 {
    match request["partial_response_strategy"].as_str() {
        Some("ABORT") => 1,
        _ => 0,
    }
}

fn series_request(r: &Value) -> thanos::SeriesRequest {
    thanos::SeriesRequest {
        min_time: int(r, "min_time"),
        max_time: int(r, "max_time"),
        matchers: matchers(r),
        max_resolution_window: int(r, "max_resolution_window"),
        aggregates: r["aggregates"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|a| a.as_i64().unwrap() as i32)
            .collect(),
        partial_response_strategy: strategy(r),
        skip_chunks: r["skip_chunks"].as_bool().unwrap_or(false),
        without_replica_labels: texts(&r["without_replica_labels"]),
        limit: int(r, "limit"),
        ..Default::default()
    }
}

fn known(request: &Value) {
    const KEYS: [&str; 14] = [
        "min_time",
        "max_time",
        "matchers",
        "max_resolution_window",
        "aggregates",
        "partial_response_strategy",
        "skip_chunks",
        "without_replica_labels",
        "limit",
        "label",
        "start",
        "end",
        "partial_response_disabled",
        "response_batch_size",
    ];
    let unknown: Vec<_> =
        request.as_object().unwrap().keys().filter(|k| !KEYS.contains(&k.as_str())).collect();
    assert!(unknown.is_empty(), "fields this test does not send: {unknown:?}");
}

fn shown(answer: &Answer) -> Value {
    let series = answer.series.iter().map(|s| {
        let labels: Vec<Value> = s.labels.iter().map(|(n, v)| json!([n, v])).collect();
        let chunks: Vec<Value> = s
            .chunks
            .iter()
            .map(|c| {
                let mut aggr = Map::new();
                for a in Aggr::ALL {
                    let Some(chunk) = c.get(a) else { continue };
                    let name = ["raw", "count", "sum", "min", "max", "counter"][a as usize];
                    let kind = ["XOR", "HISTOGRAM", "FLOAT_HISTOGRAM"][chunk.encoding as usize];
                    aggr.insert(
                        name.to_owned(),
                        json!({"type": kind, "data": base64(&chunk.data), "hash": chunk.hash}),
                    );
                }
                let mut out = json!({"mint": c.min_time, "maxt": c.max_time});
                if !aggr.is_empty() {
                    out["aggr"] = Value::Object(aggr);
                }
                out
            })
            .collect();
        let mut out = json!({"labels": labels});
        if !chunks.is_empty() {
            out["chunks"] = Value::Array(chunks);
        }
        out
    });
    Value::Array(series.collect())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= group.len() { digit as char } else { '=' });
        }
    }
    out
}

/// Leaves only what a comparison is about: an empty `aggr` is none.
fn normal(mut series: Value) -> Value {
    for s in series.as_array_mut().into_iter().flatten() {
        for c in s["chunks"].as_array_mut().into_iter().flatten() {
            let c = c.as_object_mut().unwrap();
            if c.get("aggr").is_some_and(|a| a.as_object().is_none_or(Map::is_empty)) {
                c.remove("aggr");
            }
        }
        let s = s.as_object_mut().unwrap();
        if s.get("chunks").is_some_and(|c| c.as_array().is_none_or(Vec::is_empty)) {
            s.remove("chunks");
        }
    }
    series
}

fn sorted(list: &Value) -> Vec<String> {
    let mut all: Vec<String> = list.as_array().into_iter().flatten().map(Value::to_string).collect();
    all.sort();
    all
}

/// The answer in the shape of a row's own fields.
async fn ask(opened: &Opened, row: &Value) -> Value {
    let (method, r) = (row["method"].as_str().unwrap(), &row["request"]);
    known(r);
    let call = || Call::internal("default-tenant");
    let failed = |e: Status| json!({"code": storeapi::store::code_name(e.code()), "error": e.message()});
    let ok = |key: &str, value: Value| {
        let empty = value.as_array().is_none_or(Vec::is_empty);
        if empty { json!({"code": "OK"}) } else { json!({"code": "OK", key: value}) }
    };
    match method {
        "Series" => match common::series(&opened.store, series_request(r)).await {
            Ok(answer) => {
                assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
                ok("series", shown(&answer))
            }
            Err(e) => failed(e),
        },
        "LabelNames" => {
            let request = thanos::LabelNamesRequest {
                start: int(r, "start"),
                end: int(r, "end"),
                matchers: matchers(r),
                partial_response_strategy: strategy(r),
                without_replica_labels: texts(&r["without_replica_labels"]),
                limit: int(r, "limit"),
                ..Default::default()
            };
            match opened.store.label_names(request, call()).await {
                Ok(answer) => ok("values", json!(answer.names)),
                Err(e) => failed(e),
            }
        }
        "LabelValues" => {
            let request = thanos::LabelValuesRequest {
                label: r["label"].as_str().unwrap_or("").to_owned(),
                start: int(r, "start"),
                end: int(r, "end"),
                matchers: matchers(r),
                partial_response_strategy: strategy(r),
                without_replica_labels: texts(&r["without_replica_labels"]),
                limit: int(r, "limit"),
                ..Default::default()
            };
            match opened.store.label_values(request, call()).await {
                Ok(answer) => ok("values", json!(answer.values)),
                Err(e) => failed(e),
            }
        }
        "Info" => {
            let probe = component::probe::Probe::new("store", &opened.env.registry).unwrap();
            probe.ready();
            let info = store_gateway::info::InfoService::new(opened.store.clone(), probe).answer();
            let labels = |set: &thanos::ZLabelSet| {
                let pairs = set.labels.iter().map(|l| (l.name.clone(), json!(l.value)));
                Value::Object(pairs.collect())
            };
            let store = info.store.unwrap();
            let infos = store.tsdb_infos.iter().map(|i| {
                json!({"labels": labels(i.labels.as_ref().unwrap()), "min_time": i.min_time, "max_time": i.max_time})
            });
            let infos = Value::Array(infos.collect());
            let sets = Value::Array(info.label_sets.iter().map(labels).collect());
            json!({"code": "OK", "info": {"label_sets": sorted(&sets), "ComponentType": info.component_type, "store": {
                "min_time": store.min_time, "max_time": store.max_time,
                "supports_sharding": store.supports_sharding,
                "supports_without_replica_labels": store.supports_without_replica_labels,
                "tsdb_infos": sorted(&infos)}}})
        }
        other => panic!("method {other}"),
    }
}

fn wanted(row: &Value) -> Value {
    let mut out = json!({"code": row["code"]});
    for key in ["error", "series", "values", "info", "warnings"] {
        match &row[key] {
            Value::Null => {}
            Value::Array(all) if all.is_empty() => {}
            value => out[key] = value.clone(),
        }
    }
    if let Some(series) = out.get_mut("series") {
        *series = normal(series.take());
    }
    if let Some(info) = out.get_mut("info") {
        info["label_sets"] = json!(sorted(&info["label_sets"]));
        info["store"]["tsdb_infos"] = json!(sorted(&info["store"]["tsdb_infos"]));
    }
    out
}

/// Replays one file and returns the differences.
async fn replay(dir: &Path, answers: &str, bucket: &str) -> (usize, Vec<String>) {
    let bucket = dir.join("buckets").join(bucket);
    let answers = dir.join("answers").join(answers);
    if !bucket.is_dir() || !answers.is_file() {
        println!("not run: {} over {}", answers.display(), bucket.display());
        return (0, Vec::new());
    }
    let data = tempfile::tempdir().unwrap();
    let options = store_gateway::store::Options { data_dir: Some(data.path().into()), ..Default::default() };
    let opened = common::over(&bucket, options).await;
    let mut differences = Vec::new();
    let rows = rows(&answers);
    for (i, row) in rows.iter().enumerate() {
        let (got, want) = (ask(&opened, row).await, wanted(row));
        if got != want {
            let cut = |v: &Value| v.to_string().chars().take(600).collect::<String>();
            differences.push(format!(
                "row {i}: {} {}\n wanted {}\n got    {}",
                row["method"],
                row["request"],
                cut(&want),
                cut(&got)
            ));
        }
    }
    println!("{}: {} rows, {} differences", answers.display(), rows.len(), differences.len());
    (rows.len(), differences)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_answer_of_the_store_is_equal() {
    let (dir, slice) = common::golden();
    if slice {
        println!("the golden data is not here: only the committed slice is replayed");
    }
    let mut all = 0;
    for (answers, bucket) in
        [("storeapi-raw.jsonl.gz", "raw"), ("storeapi-plain.jsonl.gz", "compacted-plain")]
    {
        let (n, differences) = replay(&dir, answers, bucket).await;
        all += n;
        assert!(
            differences.is_empty(),
            "{} differences in {answers}, the first:\n{}",
            differences.len(),
            differences[..differences.len().min(3)].join("\n")
        );
    }
    assert!(all > 0, "nothing was replayed");
}

/// Every recorded block, with every encoding and index version there is, comes out as it stands.
#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_block_is_served_as_it_stands() {
    let (dir, _) = common::golden();
    let mut series = 0;
    for case in std::fs::read_dir(dir.join("blocks")).unwrap() {
        let case = case.unwrap().path();
        let opened = common::over(&case, store_gateway::store::Options::default()).await;
        assert!(opened.store.blocks() > 0, "{}", case.display());
        let answer = common::series(&opened.store, common::request(&[(2, "any", ".*")])).await.unwrap();
        assert_eq!(answer.warnings, Vec::<String>::new(), "{}", case.display());
        let mut want = std::collections::BTreeMap::<model::Labels, Vec<(i64, i64, i32, bytes::Bytes)>>::new();
        for block in std::fs::read_dir(&case).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
            let block = tsdb_block::block::BlockReader::open(&block).unwrap();
            for found in block.series().unwrap() {
                let (_, labels, series) = found.unwrap();
                let chunks = want.entry(labels).or_default();
                for meta in &series.chunks {
                    let (encoding, data) = block.chunk(meta).unwrap();
                    chunks.push((meta.mint, meta.maxt, i32::from(encoding as u8) - 1, data));
                }
            }
        }
        assert_eq!(answer.series.len(), want.len(), "{}", case.display());
        for (got, (labels, mut chunks)) in answer.series.iter().zip(want) {
            assert_eq!(got.labels, labels, "{}", case.display());
            let mut got: Vec<_> = got
                .chunks
                .iter()
                .map(|c| (c.min_time, c.max_time, c.parts[0].chunk.encoding, c.parts[0].chunk.data.clone()))
                .collect();
            // Overlapping blocks may hold the same chunk, which is sent once.
            chunks.sort();
            chunks.dedup_by(|a, b| a.3 == b.3);
            got.sort();
            assert_eq!(got, chunks, "{labels} of {}", case.display());
            series += 1;
        }
    }
    println!("{series} series compared");
}
