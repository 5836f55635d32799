//! The recorded blocks: contents, and files written again byte for byte.

#![allow(clippy::print_stderr)] // a test that cannot run says so

use std::path::{Path, PathBuf};

use tsdb_block::block::BlockReader;
use tsdb_block::index::{Version, Writer};
use tsdb_block::meta::BlockMeta;

fn golden() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden");
    let dir = std::env::var_os("ATHANOR_GOLDEN").map_or_else(beside, PathBuf::from);
    let found = dir.join("blocks").is_dir();
    if !found {
        eprintln!("not run: no golden data ({})", dir.display());
    }
    found.then_some(dir)
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

#[test]
fn every_block_reads_as_recorded() {
    let Some(golden) = golden() else { return };
    for case in folders(&golden.join("blocks")) {
        let report = tsdb_block::testing::compare_recorded(&case).unwrap();
        assert_eq!(report.differences, Vec::<String>::new(), "{}", case.display());
        assert!(report.samples > 0);
    }
}

#[test]
fn indexes_are_written_again_byte_for_byte() {
    let Some(golden) = golden() else { return };
    let mut compared = 0;
    for dir in folders(&golden.join("blocks")).iter().flat_map(|c| folders(c)) {
        let block = BlockReader::open(&dir).unwrap();
        if block.index.version() == Version::V1 {
            continue;
        }
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("index");
        let symbols: Vec<&str> = block.index.symbols().iter().map(|s| s.unwrap()).collect();
        let mut w = Writer::create(&path, symbols).unwrap();
        for s in block.series().unwrap() {
            let (_, labels, series) = s.unwrap();
            w.add(&labels, &series.chunks).unwrap();
        }
        w.finish().unwrap();
        assert!(
            std::fs::read(&path).unwrap() == std::fs::read(dir.join("index")).unwrap(),
            "{}",
            dir.display()
        );
        compared += 1;
    }
    assert!(compared > 10);
}

#[test]
fn meta_files_are_written_again_byte_for_byte() {
    let Some(golden) = golden() else { return };
    let mut all: Vec<PathBuf> = folders(&golden.join("blocks")).iter().flat_map(|c| folders(c)).collect();
    for bucket in folders(&golden.join("buckets")) {
        all.extend(folders(&bucket));
    }
    for dir in all {
        let path = dir.join("meta.json");
        let Ok(json) = std::fs::read(&path) else { continue };
        let meta = BlockMeta::parse(&json).unwrap();
        let again = meta.to_json();
        if json.starts_with(b"{\n\t\"version\"") {
            // A writer of 2019 had another order of keys.
            assert_eq!(BlockMeta::parse(&again).unwrap(), meta);
            continue;
        }
        assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&json), "{}", path.display());
    }
}

#[test]
fn every_chunk_of_the_buckets_gives_its_bytes_again() {
    use tsdb_block::chunkenc::{Encoding, aggr::Aggregates, lossless};
    let Some(golden) = golden() else { return };
    let mut seen = [0usize; 256];
    for dir in folders(&golden.join("buckets")).iter().flat_map(|b| folders(b)) {
        if !dir.join("meta.json").is_file() {
            continue;
        }
        let block = BlockReader::open(&dir).unwrap();
        for s in block.series().unwrap() {
            for meta in s.unwrap().2.chunks {
                let (encoding, data) = block.chunk(&meta).unwrap();
                seen[encoding as usize] += 1;
                if encoding != Encoding::Aggr {
                    assert!(lossless::write(&lossless::read(encoding, &data).unwrap()).unwrap() == data);
                    continue;
                }
                let all = Aggregates::parse(&data).unwrap();
                assert!(all.encode() == data);
                for (_, sub) in all.iter() {
                    let chunk = lossless::read(sub.encoding, sub.data).unwrap();
                    assert!(lossless::write(&chunk).unwrap() == sub.data);
                }
            }
        }
    }
    assert!(seen[Encoding::Aggr as usize] > 100 && seen[Encoding::Xor as usize] > 1000);
}
