//! Blocks of our own writer: read back by us, and by a real promtool where one is given.

#![allow(clippy::print_stderr)] // a test that cannot run says so

use std::path::Path;
use std::process::Command;

use model::{Labels, Samples};
use tsdb_block::block::{BlockReader, BlockWriter, TMP_SUFFIX};
use tsdb_block::chunkenc::{self, Encoding, histogram, xor, xor2};
use tsdb_block::meta::BlockMeta;

const ULID: &str = "01M5GNCB80YR434PJ7VBJ2HNV4";

fn meta() -> BlockMeta {
    let json = format!(
        r#"{{"ulid":"{ULID}","minTime":0,"maxTime":7200000,"compaction":{{"level":1,"sources":["{ULID}"]}},"version":1}}"#
    );
    BlockMeta::parse(json.as_bytes()).unwrap()
}

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("job", "t")])
}

fn write(root: &Path, newer: bool) -> BlockReader {
    let dir = root.join(ULID);
    let mut w = BlockWriter::create(&dir).unwrap();
    let h = |i: i64| model::Histogram {
        schema: 1,
        count: i as u64 + 1,
        sum: i as f64,
        positive_spans: vec![model::Span { offset: 0, length: 1 }],
        positive_buckets: vec![i + 1],
        ..model::Histogram::default()
    };
    let mut ints = histogram::IntEncoder::new(histogram::CounterReset::Unknown, newer);
    let mut floats = histogram::FloatEncoder::new(histogram::CounterReset::Unknown, newer);
    let (mut first, mut second, mut third) = (xor::Encoder::new(), xor::Encoder::new(), xor2::Encoder::new());
    for i in 0..100 {
        ints.push(i, i * 15_000, &h(i)).unwrap();
        floats.push(i, i * 15_000, &h(i).to_float()).unwrap();
        first.push(i * 15_000, i as f64 * 0.1).unwrap();
        second.push(i * 15_000 + 1_500_000, f64::from(i as u8)).unwrap();
        third.push(i, i * 15_000, i as f64).unwrap();
    }
    let (int, float) = match newer {
        true => (Encoding::HistogramSt, Encoding::FloatHistogramSt),
        false => (Encoding::Histogram, Encoding::FloatHistogram),
    };
    let (first, second) = (first.finish(), second.finish());
    w.add(&labels("a_float_histogram"), [(float, &floats.finish()[..])]).unwrap();
    w.add(&labels("b_histogram"), [(int, &ints.finish()[..])]).unwrap();
    w.add(&labels("c_total"), [(Encoding::Xor, &first[..]), (Encoding::Xor, &second[..])]).unwrap();
    if newer {
        w.add(&labels("d_total"), [(Encoding::Xor2, &third.finish()[..])]).unwrap();
    }
    assert!(w.add(&labels("a"), [(Encoding::Xor, &first[..])]).is_err());
    assert!(!dir.exists());
    w.finish(meta()).unwrap();
    BlockReader::open(&dir).unwrap()
}

#[test]
fn what_was_written_is_read_back() {
    let root = tempfile::tempdir().unwrap();
    let block = write(root.path(), true);
    let stats = &block.meta.stats;
    assert_eq!((stats.num_series, stats.num_chunks, stats.num_samples), (4, 5, 500));
    assert_eq!((stats.num_float_samples, stats.num_histogram_samples), (300, 200));
    assert_eq!(block.index.label_names().collect::<Vec<_>>(), ["__name__", "job"]);
    assert_eq!(block.index.postings("job", "t").unwrap().len(), 4);
    assert!(block.index.postings("job", "u").unwrap().is_empty());
    let mut names = Vec::new();
    for s in block.series().unwrap() {
        let (_, labels, series) = s.unwrap();
        let mut samples = Samples::default();
        for c in &series.chunks {
            let (encoding, data) = block.chunk(c).unwrap();
            chunkenc::decode(encoding, &data, &mut samples).unwrap();
        }
        assert_eq!(samples.ts[1], 15_000);
        assert!(samples.values[1] > 0.0);
        names.push(labels.metric_name().to_owned());
    }
    assert_eq!(names, ["a_float_histogram", "b_histogram", "c_total", "d_total"]);
}

#[test]
fn an_abandoned_block_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(ULID);
    let w = BlockWriter::create(&dir).unwrap();
    assert!(root.path().join(format!("{ULID}{TMP_SUFFIX}")).exists());
    drop(w);
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn promtool_reads_the_same() {
    let Some(promtool) = std::env::var_os("ATHANOR_PROMTOOL") else {
        eprintln!("not run: ATHANOR_PROMTOOL is not set");
        return;
    };
    let run = |args: &[&str], root: &Path| {
        let out = Command::new(&promtool).args(args).arg(root).output().unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let version = Command::new(&promtool).arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let minor = version.split_once("version 3.").and_then(|v| v.1.split('.').next()?.parse::<u32>().ok());
    for newer in [false, true] {
        if newer && minor.is_none_or(|m| m < 14) {
            eprintln!("not run: newer encodings with {version}");
            continue;
        }
        let root = tempfile::tempdir().unwrap();
        write(root.path(), newer);
        // promtool opens the folder as a whole database and insists on a write-ahead log.
        std::fs::create_dir(root.path().join("wal")).unwrap();
        let (ok, analyze, err) = run(&["tsdb", "analyze"], root.path());
        assert!(
            ok && analyze
                .lines()
                .any(|l| l.trim_start_matches("Total ") == format!("Series: {}", if newer { 4 } else { 3 })),
            "{analyze}{err}"
        );
        let (ok, dump, err) = run(&["tsdb", "dump"], root.path());
        assert!(ok, "{err}");
        let lines = |name: &str| dump.lines().filter(|l| l.contains(name)).count();
        // Before version 3, histograms are counted by `analyze` and left out by `dump`.
        let histograms = if version.contains("version 2.") { 0 } else { 100 };
        let got = (lines("a_float_histogram"), lines("b_histogram"), lines("c_total"));
        assert_eq!(got, (histograms, histograms, 200));
        assert_eq!(lines("d_total"), if newer { 100 } else { 0 });
        for i in 0..100 {
            let value = i as f64 * 0.1;
            let line = format!("{{__name__=\"c_total\", job=\"t\"}} {value} {}", i * 15_000);
            assert!(dump.lines().any(|l| l == line), "{line}");
        }
    }
}
