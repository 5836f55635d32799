//! Index headers over a bucket in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use component::clock::SystemClock;
use component::metrics::Registry;
use model::Labels;
use objstore::memory::InMemory;
use objstore::testing::{Fault, FaultStore, OperationKind};
use objstore::{BucketExt as _, ErrorKind, SharedBucket};
use proptest::prelude::*;
use tsdb_block::index::{ChunkMeta, Reader as WholeIndex, Writer};

use super::*;

const ID: Ulid = Ulid(7);

/// Writes an index of series with these labels.
fn index(series: &[Labels]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let symbols: std::collections::BTreeSet<&str> =
        series.iter().flat_map(|l| l.iter()).flat_map(|(n, v)| [n, v]).collect();
    let mut writer = Writer::create(&path, symbols).unwrap();
    for (i, labels) in series.iter().enumerate() {
        let chunk = ChunkMeta { mint: 1, maxt: 2, reference: 8 + i as u64 };
        writer.add(labels, &[chunk]).unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(path).unwrap()
}

async fn bucket_of(index: &[u8]) -> Arc<FaultStore> {
    let bucket: SharedBucket = Arc::new(InMemory::new());
    bucket.upload_bytes(&format!("{ID}/index"), index.to_vec().into()).await.unwrap();
    Arc::new(FaultStore::new(bucket))
}

fn header(bucket: &Arc<FaultStore>, sampling: u32, laziness: Laziness, folder: Option<&Path>) -> IndexHeader {
    let shared = Shared {
        reader: RangeReader::new(bucket.clone()),
        metrics: Metrics::new(&Registry::new()).unwrap(),
        laziness,
        sampling,
        clock: SystemClock::shared(),
    };
    IndexHeader::new(shared, ID, None, folder.map(Path::to_owned))
}

fn numbered(n: usize) -> Vec<Labels> {
    let mut out: Vec<Labels> = (0..n)
        .map(|i| Labels::from_pairs([("a", format!("v{i:03}")), ("z", format!("w{:02}", i % 50))]))
        .collect();
    out.sort();
    out
}

/// All pairs of an index with their lists, as a whole reading of it tells.
fn truth(bytes: &[u8]) -> BTreeMap<(String, String), u64> {
    let whole = WholeIndex::new(bytes.to_vec().into()).unwrap();
    let names: Vec<String> = whole.label_names().map(str::to_owned).collect();
    let pairs =
        names.iter().flat_map(|n| whole.table().values(n).map(|(v, o)| ((n.clone(), v.to_owned()), o)));
    pairs.collect()
}

/// R045: every existing value, every neighbour that does not exist, ends, many at once.
#[tokio::test]
async fn r045_offsets_around_the_sampling_step_are_exact_or_not_found() {
    for values in [1, 2, 31, 32, 33, 63, 64, 65, 200] {
        let bytes = index(&numbered(values));
        let truth = truth(&bytes);
        let bucket = bucket_of(&bytes).await;
        for sampling in [1, 2, 31, 32, 33, 64] {
            let header = header(&bucket, sampling, Laziness::Eager, None);
            let reader = header.open().await.unwrap();
            for name in ["a", "z", "nothing", ""] {
                let mut known: Vec<String> =
                    truth.keys().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect();
                if name.is_empty() {
                    known = vec![String::new()];
                }
                let mut seen = Vec::new();
                reader.values(name, |v, _| seen.push(v.to_owned())).unwrap();
                assert_eq!(seen, if name == "nothing" { Vec::new() } else { known.clone() });
                let mut asked: Vec<String> =
                    known.iter().flat_map(|v| [v.clone(), format!("{v}!"), format!("{v}~")]).collect();
                asked.extend(["".to_owned(), "\u{1}".to_owned(), "zzz".to_owned()]);
                asked.sort();
                let found = reader.lookup(name, &asked).unwrap();
                for (value, range) in asked.iter().zip(&found) {
                    let want = truth.get(&(name.to_owned(), value.clone()));
                    let label = format!("{name}={value:?} of {values}, every {sampling}th");
                    if !name.is_empty() {
                        assert_eq!(range.as_ref().map(|r| &r.start), want, "{label}");
                    }
                    if let Some(range) = range {
                        let list = &bytes[range.start as usize..range.end as usize];
                        tsdb_block::index::postings::decode(list).expect(&label);
                    }
                    assert_eq!(reader.lookup(name, std::slice::from_ref(value)).unwrap()[0], *range);
                }
            }
        }
    }
}

#[tokio::test]
async fn symbols_and_sections_are_those_of_the_index() {
    let series: Vec<Labels> = (0..3000)
        .map(|i| {
            Labels::from_pairs([("long", format!("{i:04}{}", "x".repeat(i % 300))), ("é", "ü".to_owned())])
        })
        .collect();
    let bytes = index(&series);
    let whole = WholeIndex::new(bytes.clone().into()).unwrap();
    let bucket = bucket_of(&bytes).await;
    let folder = tempfile::tempdir().unwrap();
    for path in [None, Some(folder.path())] {
        let header = header(&bucket, 32, Laziness::LazyBuild, path);
        let reader = header.open().await.unwrap();
        assert_eq!(reader.label_names().collect::<Vec<_>>(), ["long", "é"]);
        assert_eq!(reader.series_section(), whole.toc().series..whole.toc().label_indices);
        let mut symbols = Symbols::new(reader);
        for (i, want) in whole.symbols().iter().enumerate() {
            assert_eq!(symbols.get(i as u32).unwrap(), want.unwrap());
        }
        assert!(symbols.get(whole.symbols().len() as u32).is_err());
        assert!(symbols.get(u32::MAX).is_err());
    }
}

#[tokio::test]
async fn an_index_is_never_read_whole() {
    let bytes = index(&numbered(999));
    let bucket = bucket_of(&bytes).await;
    header(&bucket, 32, Laziness::Eager, None).prepare().await.unwrap();
    let log = bucket.log();
    let read: u64 = log.iter().map(|o| o.bytes).sum();
    assert!(
        log.iter().all(|o| matches!(o.kind, OperationKind::GetRange | OperationKind::Attributes)),
        "{log:?}"
    );
    assert!(read < bytes.len() as u64, "{read} of {}", bytes.len());
    assert!(log.len() <= 4, "{log:?}");
}

/// R013: a build that dies at any point leaves nothing that is served, and the next start cleans up.
#[tokio::test]
async fn r013_a_build_that_breaks_off_is_begun_anew() {
    let bytes = index(&numbered(300));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    for fails in 0..4 {
        let bucket = bucket_of(&bytes).await;
        bucket.stop_at(fails);
        let broken = header(&bucket, 32, Laziness::Eager, Some(folder.path())).prepare().await;
        if broken.is_err() {
            assert!(!file.exists(), "after {fails} operations");
        }
    }
    // A process that died while writing leaves a temporary file.
    let tmp = folder.path().join(format!("{FILE_NAME}{}", build::TMP_SUFFIX));
    std::fs::write(&tmp, b"half").unwrap();
    let _ = std::fs::remove_file(&file);
    for laziness in [Laziness::Eager, Laziness::LazyLoad, Laziness::LazyBuild] {
        let bucket = bucket_of(&bytes).await;
        let header = header(&bucket, 32, laziness, Some(folder.path()));
        header.prepare().await.unwrap();
        assert_eq!(header.open().await.unwrap().label_names().count(), 2);
        assert!(file.exists() && !tmp.exists(), "{laziness:?}");
    }
}

/// R013: a finished header with any damage is built anew from the bucket once, and never served.
#[tokio::test]
async fn r013_a_damaged_header_is_rebuilt_once() {
    let bytes = index(&numbered(100));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    let bucket = bucket_of(&bytes).await;
    header(&bucket, 32, Laziness::Eager, Some(folder.path())).prepare().await.unwrap();
    let good = std::fs::read(&file).unwrap();
    let all: Vec<String> = (0..100).map(|i| format!("v{i:03}")).collect();
    for at in (0..good.len()).step_by(7).chain(good.len() - 30..good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&file, &bad).unwrap();
        let header = header(&bucket, 32, Laziness::LazyLoad, Some(folder.path()));
        header.prepare().await.unwrap();
        bucket.clear();
        let reader = header.open().await.unwrap();
        let generation = reader.generation();
        let whole = |reader: Reader| -> Result<Vec<String>> {
            let mut seen = Vec::new();
            reader.values("a", |v, _| seen.push(v.to_owned()))?;
            reader.values("z", |_, _| {})?;
            reader.values("", |_, _| {})?;
            let mut symbols = Symbols::new(reader);
            for i in 0..200 {
                match symbols.get(i) {
                    Err(e) if e.kind() == Kind::Header => return Err(e),
                    _ => {}
                }
            }
            Ok(seen)
        };
        let seen = match whole(reader) {
            Err(e) => {
                assert_eq!(e.kind(), Kind::Header, "byte {at}: {e}");
                let again = header.reopen(generation, &e).await.unwrap();
                // Whoever finds the same damage later gets the new header without another build.
                header.reopen(generation, &e).await.unwrap();
                whole(again).unwrap()
            }
            Ok(seen) => seen,
        };
        assert_eq!(seen, all, "byte {at}");
        let builds = bucket.log().iter().filter(|o| o.kind == OperationKind::Attributes).count();
        assert!(builds <= 1, "byte {at}: {builds} builds");
        // What stands in the file's own first bytes is the only thing nobody reads.
        assert!(builds == 1 || at < 8, "byte {at} was not noticed");
    }
    for cut in [0, 1, 23, 24, good.len() / 2, good.len() - 1] {
        std::fs::write(&file, &good[..cut]).unwrap();
        header(&bucket, 32, Laziness::Eager, Some(folder.path())).prepare().await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), good, "cut to {cut}");
    }
    // Another block's header, or one with another sampling, is not taken either.
    header(&bucket, 5, Laziness::Eager, Some(folder.path())).prepare().await.unwrap();
    assert_ne!(std::fs::read(&file).unwrap(), good);
}

/// R014: the file under an open reader is cut, removed, overwritten: an error, and then a new header.
#[tokio::test]
async fn r014_a_header_that_changes_under_load_is_an_error_and_then_rebuilt() {
    let bytes = index(&numbered(999));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    let bucket = bucket_of(&bytes).await;
    let header = header(&bucket, 32, Laziness::Eager, Some(folder.path()));
    header.prepare().await.unwrap();
    let good = std::fs::read(&file).unwrap();
    type Harm = fn(&Path);
    let harms: [Harm; 3] = [
        |f| std::fs::File::options().write(true).open(f).unwrap().set_len(100).unwrap(),
        |f| std::fs::remove_file(f).unwrap(),
        |f| std::fs::write(f, vec![0xAA; 100_000]).unwrap(),
    ];
    for harm in harms {
        let before = header.open().await.unwrap();
        let generation = before.generation();
        harm(&file);
        // A removed file stays readable while it is open; a cut or overwritten one does not.
        let read = before.values("a", |_, _| {});
        if let Err(e) = &read {
            assert_eq!(e.kind(), Kind::Header);
        }
        let why = read.err().unwrap_or_else(|| Failure::header("gone"));
        let after = header.reopen(generation, &why).await.unwrap();
        let mut seen = 0;
        after.values("a", |_, _| seen += 1).unwrap();
        assert_eq!(seen, 999);
        assert_eq!(std::fs::read(&file).unwrap(), good);
    }
    // Opening what was removed builds it at once.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(header.open().await.unwrap().label_names().count(), 2);
}

#[tokio::test]
async fn lazy_headers_leave_memory_and_come_back() {
    let bytes = index(&numbered(10));
    let folder = tempfile::tempdir().unwrap();
    let bucket = bucket_of(&bytes).await;
    let header = header(&bucket, 32, Laziness::LazyLoad, Some(folder.path()));
    header.prepare().await.unwrap();
    assert!(header.loaded.lock().await.is_none(), "nothing is loaded before the first use");
    header.open().await.unwrap();
    header.unload_idle(i64::MIN).await;
    assert!(header.loaded.lock().await.is_some(), "it was just used");
    header.unload_idle(i64::MAX).await;
    assert!(header.loaded.lock().await.is_none());
    bucket.clear();
    header.open().await.unwrap();
    assert!(bucket.log().is_empty(), "it came back from disk");
}

/// R017 for index headers: a store that is busy now and then does not keep a block from loading.
#[tokio::test]
async fn r017_a_build_survives_transient_failures() {
    let bytes = index(&numbered(100));
    for skip in 0..4 {
        let bucket = bucket_of(&bytes).await;
        bucket.inject(Fault {
            operation: Some(OperationKind::GetRange),
            key: "index".into(),
            skip,
            error: Some(ErrorKind::Retry),
            ..Fault::default()
        });
        header(&bucket, 32, Laziness::Eager, None).prepare().await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Lying lengths and flipped bits in an index: an error, or what the whole index says too.
    #[test]
    fn damaged_indexes_do_no_harm(at in 0usize..4000, bit in 0u8..8, cut in 0usize..4000) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let good = index(&numbered(60));
        let mut bytes = good.clone();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        bytes.truncate(bytes.len() - if cut % 3 == 0 { cut % bytes.len() } else { 0 });
        runtime.block_on(async {
            let bucket = bucket_of(&bytes).await;
            let header = header(&bucket, 4, Laziness::Eager, None);
            if let Ok(reader) = header.open().await {
                let mut seen = Vec::new();
                reader.values("a", |v, _| seen.push(v.to_owned())).unwrap();
                assert_eq!(seen.len(), 60, "bit {bit} of byte {at}");
            }
        });
    }
}
