//! Blocks that are large, lie, or lack something.

mod common;

use std::path::Path;

use common::blocks::{RawChunk, Spec, floats, labels, plain_series};
use model::Labels;
use serde_json::json;
use store_gateway::store::Options;
use storeapi::{Aggr, Call, Store as _};
use storeapi_proto::thanos;
use tsdb_block::chunkenc::Encoding;
use tsdb_block::chunkenc::aggr::{Aggregate, Aggregates, SubChunk};

fn metric(opened: &common::Opened, line: &str) -> f64 {
    let text = component::metrics::text::encode(&opened.env.registry.gather());
    let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
    found.unwrap_or("0").parse().unwrap()
}

/// A chunk of about `size` bytes that does not compress.
fn noise(seed: u64, samples: usize) -> RawChunk {
    let (mut x, from) = (seed | 1, seed as i64 * samples as i64);
    let all: Vec<(i64, f64)> = (0..samples as i64)
        .map(|i| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            ((from + i) * 1000 + (x % 900) as i64, f64::from_bits(x >> 2))
        })
        .collect();
    floats(&all)
}

fn data(answer: &common::Answer) -> Vec<(String, Vec<Vec<u8>>)> {
    let chunks = |s: &storeapi::Series| s.chunks.iter().map(|c| c.parts[0].chunk.data.to_vec()).collect();
    answer.series.iter().map(|s| (s.labels.value("n").to_owned(), chunks(s))).collect()
}

/// R005, R011: chunks and series entries larger than all estimates, and hints in meta.json that are far
/// off: the answer is exact, and what was read again is counted.
#[tokio::test(flavor = "multi_thread")]
async fn r005_r011_what_is_larger_than_estimated_is_read_again() {
    let many: Vec<RawChunk> = (0..30_000).map(|i| floats(&[(i * 10, i as f64), (i * 10 + 5, 0.1)])).collect();
    let series = vec![
        (labels(&[("n", "a-plain")]), vec![floats(&[(1, 1.0)])]),
        (labels(&[("n", "b-large-chunks")]), (0..5).map(|i| noise(i + 3, 2500)).collect()),
        (labels(&[("n", "c-large-entry")]), many),
        (labels(&[("n", "d-plain"), ("x", &"y".repeat(70_000))]), vec![floats(&[(1, 2.0)])]),
    ];
    let mut want: Vec<(String, Vec<Vec<u8>>)> = series
        .iter()
        .map(|(l, c)| (l.value("n").to_owned(), c.iter().map(|c| c.data.clone()).collect()))
        .collect();
    want.sort();
    assert!(want[1].1[0].len() > 16_000);
    let hints = [
        (json!({}), true),
        (json!({}), false),
        (json!({"series_max_size": 1, "chunk_max_size": 1}), true),
        (json!({"series_max_size": 900_000_000, "chunk_max_size": 900_000_000}), true),
        (json!({"series_max_size": -5, "chunk_max_size": -5}), false),
    ];
    for (stats, files) in hints {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = Spec::new(1, series.clone());
        (spec.index_stats, spec.tells_files) = (stats.clone(), files);
        let name = spec.write(dir.path());
        let opened = common::over(dir.path(), Options::default()).await;
        for _ in 0..2 {
            let answer = common::series(&opened.store, common::request(&[(2, "n", ".+")])).await.unwrap();
            assert_eq!(answer.warnings, Vec::<String>::new(), "{stats}");
            assert_eq!(data(&answer), want, "{stats} {files}");
        }
        // Alone, so that no neighbour's range covers what is missing.
        let opened = common::over(dir.path(), Options::default()).await;
        for at in [1, 2] {
            let alone =
                common::series(&opened.store, common::request(&[(0, "n", &want[at].0)])).await.unwrap();
            assert_eq!(data(&alone), &want[at..=at], "{stats}");
        }
        for what in ["chunk", "series"] {
            let line = format!("thanos_bucket_store_{what}_refetches_total{{tenant=\"default-tenant\"}}");
            assert!(metric(&opened, &line) > 0.0, "{what} with {stats}");
        }

        // Wrong sizes of files, and no samples at all, in the words of meta.json.
        let path = dir.path().join(&name).join("meta.json");
        let mut meta: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for f in meta["thanos"]["files"].as_array_mut().unwrap() {
            f["size_bytes"] = json!(77);
        }
        meta["stats"] = json!({"numSeries": 0, "numChunks": 0, "numSamples": 0});
        std::fs::write(&path, meta.to_string()).unwrap();
        let opened = common::over(dir.path(), Options::default()).await;
        let answer = common::series(&opened.store, common::request(&[(2, "n", ".+")])).await.unwrap();
        assert_eq!(data(&answer), want, "{stats} with wrong sizes");
    }
}

/// R012: segments are found by number: a missing one costs its own chunks, by name.
#[tokio::test(flavor = "multi_thread")]
async fn r012_a_missing_segment_costs_its_own_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let series = (0..3).map(|i| (labels(&[("n", &i.to_string())]), vec![noise(i + 1, 200)])).collect();
    let mut spec = Spec::new(1, series);
    spec.segment_size = 100;
    // As old shippers wrote it: nothing about files.
    spec.tells_files = false;
    let name = spec.write(dir.path());
    let opened = common::over(dir.path(), Options::default()).await;
    let one = |n: &'static str| common::request(&[(0, "n", n)]);
    let whole = common::series(&opened.store, common::request(&[(2, "n", ".+")])).await.unwrap();
    assert_eq!(whole.series.len(), 3);
    std::fs::remove_file(dir.path().join(&name).join("chunks/000001")).unwrap();
    let opened = common::over(dir.path(), Options::default()).await;
    for (n, at) in [("1", 1), ("2", 2)] {
        let answer = common::series(&opened.store, one(n)).await.unwrap();
        assert_eq!((&answer.series[..], answer.warnings.len()), (&whole.series[at..=at], 0));
    }
    let answer = common::series(&opened.store, one("0")).await.unwrap();
    assert_eq!(answer.series.len(), 0);
    assert!(answer.warnings[0].contains(&format!("{name}/chunks/000001")), "{:?}", answer.warnings);
    let mut abort = one("0");
    abort.partial_response_strategy = 1;
    let status = common::series(&opened.store, abort).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Aborted);
    assert!(status.message().contains(&format!("{name}/chunks/000001")), "{status:?}");
}

/// R041: folders that are no whole block are not served; a missing index is a load failure, tried again.
#[tokio::test(flavor = "multi_thread")]
async fn r041_what_is_no_block_is_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    Spec::new(1, plain_series(3)).write(dir.path());
    let without_index = Spec::new(2, plain_series(3)).write(dir.path());
    let index = dir.path().join(&without_index).join("index");
    let kept = std::fs::read(&index).unwrap();
    std::fs::remove_file(&index).unwrap();
    let id = tsdb_block::meta::Ulid::from_parts(3, 3).to_string();
    std::fs::create_dir_all(dir.path().join(&id)).unwrap();
    std::fs::write(dir.path().join(&id).join("deletion-mark.json"), "{}").unwrap();
    let only_chunks = Spec::new(4, plain_series(3)).write(dir.path());
    std::fs::remove_file(dir.path().join(&only_chunks).join("meta.json")).unwrap();
    std::fs::remove_file(dir.path().join(&only_chunks).join("index")).unwrap();

    let data_dir = tempfile::tempdir().unwrap();
    let options = Options { data_dir: Some(data_dir.path().into()), ..Options::default() };
    let bucket: objstore::SharedBucket =
        std::sync::Arc::new(objstore::filesystem::Filesystem::new(dir.path()).unwrap());
    let opened = common::open(bucket.clone(), options, common::env(), None);
    let metas = common::metas(&bucket).await;
    for round in 1..3 {
        opened.store.sync(&metas, true).await;
        assert_eq!(opened.store.blocks(), 1);
        assert_eq!(metric(&opened, "thanos_bucket_store_block_load_failures_total"), f64::from(round));
        assert!(!data_dir.path().join(&without_index).exists(), "a failed load leaves nothing");
    }
    let answer = common::series(&opened.store, common::request(&[(0, "__name__", "up")])).await.unwrap();
    assert_eq!((answer.series.len(), answer.warnings.len()), (3, 0));
    std::fs::write(&index, kept).unwrap();
    opened.store.sync(&metas, true).await;
    assert_eq!(opened.store.blocks(), 2);

    // What is gone from the bucket is dropped, unless the view may be incomplete.
    let none = std::collections::BTreeMap::new();
    opened.store.sync(&none, false).await;
    assert_eq!(opened.store.blocks(), 2);
    opened.store.sync(&none, true).await;
    assert_eq!((opened.store.blocks(), opened.store.label_sets().len()), (0, 0));
    assert_eq!(std::fs::read_dir(data_dir.path()).unwrap().count(), 0);
    assert_eq!(metric(&opened, "thanos_bucket_store_block_drops_total"), 2.0);
    assert_eq!(metric(&opened, "thanos_bucket_store_blocks_loaded"), 0.0);
}

fn flip(path: &Path, at: usize, bit: u8) -> Vec<u8> {
    let good = std::fs::read(path).unwrap();
    let mut bad = good.clone();
    bad[at] ^= 1 << bit;
    std::fs::write(path, bad).unwrap();
    good
}

/// R002, the store's half: after any flipped bit the answer is the same, or names the block.
#[tokio::test(flavor = "multi_thread")]
async fn r002_flipped_bits_never_change_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let bad = Spec::new(1, plain_series(4)).write(dir.path());
    let mut other = Spec::new(2, plain_series(2));
    other.labels = vec![("cluster", "two")];
    other.write(dir.path());
    let names = |opened: &common::Opened| {
        let store = opened.store.clone();
        async move {
            let request = thanos::LabelValuesRequest {
                label: "n".into(),
                start: i64::MIN,
                end: i64::MAX,
                ..Default::default()
            };
            store.label_values(request, Call::internal("t")).await.unwrap()
        }
    };
    let opened = common::over(dir.path(), Options::default()).await;
    let request = || common::request(&[(0, "__name__", "up")]);
    let want = common::series(&opened.store, request()).await.unwrap().series;
    let healthy = &want[4..];
    assert_eq!((want.len(), want[4].labels.value("cluster")), (6, "two"));
    let want_values = names(&opened).await.values;
    for file in ["index", "chunks/000001"] {
        let path = dir.path().join(&bad).join(file);
        for at in 0..std::fs::metadata(&path).unwrap().len() as usize {
            let good = flip(&path, at, (at % 8) as u8);
            let opened = common::over(dir.path(), Options::default()).await;
            let answer = common::series(&opened.store, request()).await.unwrap();
            let whole = answer.series == want;
            let costs_itself = answer.series.ends_with(healthy)
                && (opened.store.blocks() == 1 || answer.warnings.iter().any(|w| w.contains(&bad)));
            assert!(whole || costs_itself, "{file} byte {at}: {answer:?}");
            let values = names(&opened).await;
            assert!(
                values.values == want_values
                    || opened.store.blocks() == 1
                    || values.warnings[0].contains(&bad),
                "{file} byte {at}: {values:?}"
            );
            std::fs::write(&path, good).unwrap();
        }
    }
}

/// Aggregates are split as asked; a block that lacks one is named.
#[tokio::test(flavor = "multi_thread")]
async fn aggregates_are_split_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let part = |v: f64| floats(&[(0, v), (300_000, v + 1.0)]).data;
    let (count, sum) = (part(1.0), part(2.0));
    let mut all = Aggregates::default();
    all.set(Aggregate::Count, Some(SubChunk { encoding: Encoding::Xor, data: &count }));
    all.set(Aggregate::Sum, Some(SubChunk { encoding: Encoding::Xor, data: &sum }));
    let chunk = RawChunk { mint: 0, maxt: 300_000, encoding: Encoding::Aggr, data: all.encode() };
    let mut spec = Spec::new(1, vec![(labels(&[("n", "a")]), vec![chunk])]);
    spec.resolution = 300_000;
    let name = spec.write(dir.path());
    let opened = common::over(dir.path(), Options::default()).await;
    let ask = |aggregates: Vec<i32>| {
        let mut r = common::request(&[(0, "n", "a")]);
        (r.aggregates, r.max_resolution_window) = (aggregates, 300_000);
        r
    };
    let answer = common::series(&opened.store, ask(vec![2, 1])).await.unwrap();
    let chunk = &answer.series[0].chunks[0];
    assert_eq!(chunk.get(Aggr::Count).unwrap().data, count);
    assert_eq!(chunk.get(Aggr::Sum).unwrap().data, sum);
    assert_eq!(chunk.parts.len(), 2);
    let answer = common::series(&opened.store, ask(vec![1])).await.unwrap();
    assert_eq!(answer.series[0].chunks[0].parts.len(), 1);
    let answer = common::series(&opened.store, ask(vec![5])).await.unwrap();
    assert_eq!(
        answer.warnings,
        [format!(
            "receive series from {name}: load chunks: populate chunk: aggregate counter does not exist"
        )]
    );
    // Raw data was asked for, and the block is finer than nothing: it does not answer.
    let mut raw = ask(vec![0]);
    raw.max_resolution_window = 0;
    assert_eq!(common::series(&opened.store, raw).await.unwrap().series.len(), 0);
}

/// Streams are sorted by final labels wherever external labels land, and replica labels are gone.
#[tokio::test(flavor = "multi_thread")]
async fn streams_are_sorted_by_final_labels() {
    let chunk = || vec![floats(&[(1, 1.0)])];
    let sets: Vec<Labels> = (0..40)
        .flat_map(|i| {
            let v = format!("{:02}", i / 3);
            [
                labels(&[("a", &v)]),
                labels(&[("a", &v), ("b", &i.to_string())]),
                labels(&[("a", &v), ("z", &i.to_string())]),
                labels(&[("b", &v), ("n", &i.to_string())]),
            ]
        })
        .collect();
    for (external, own_too) in [
        (vec![("aa", "1")], false),
        (vec![("m", "1"), ("zz", "2")], false),
        (vec![("A", "0")], false),
        (vec![("b", "ours"), ("replica", "r")], true),
        (vec![("replica", "r")], true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut all: std::collections::BTreeSet<Labels> = sets.iter().cloned().collect();
        if own_too {
            all.extend((0..5).map(|i| labels(&[("a", "03"), ("replica", &i.to_string())])));
        }
        let mut spec = Spec::new(1, all.iter().map(|l| (l.clone(), chunk())).collect());
        spec.labels = external.clone();
        spec.write(dir.path());
        let options = Options { batch: 7, ..Options::default() };
        let opened = common::over(dir.path(), options).await;
        let added = labels(&external);
        for removed in [vec![], vec!["replica".to_owned()], vec!["a".to_owned()]] {
            let mut r = common::request(&[(3, "a", "nothing")]);
            r.without_replica_labels = removed.clone();
            let answer = common::series(&opened.store, r).await.unwrap();
            let got: Vec<Labels> = answer.series.iter().map(|s| s.labels.clone()).collect();
            let want: std::collections::BTreeSet<Labels> =
                all.iter().map(|l| l.extended_with(&added).without(&removed)).collect();
            let want: Vec<Labels> = want.into_iter().collect();
            assert_eq!(got, want, "{external:?} without {removed:?}");
        }
    }
}
