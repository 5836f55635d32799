//! Shipping under faults: the reliability cases R027–R033 and R037 by number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use component::clock::ManualClock;
use futures::TryStreamExt as _;
use objstore::memory::InMemory;
use objstore::testing::{Fault, FaultStore, OperationKind};
use objstore::{
    Attributes, Bucket, BucketExt as _, EntryStream, Error as StoreError, ErrorKind, ListOptions,
    ObjectStream, Result as Stored, UploadBody,
};
use tsdb_block::meta::Compaction;

use super::*;

const A: &str = "01M5FC5ZR0JRHRCP081V3NP1HX";
const B: &str = "01M5FK1Q00E12PH56HXJ31K279";
const C: &str = "01M5FSXE80GGSXKANMMPEXFP6M";
const HOUR2: i64 = 7_200_000;

/// Writes a block directory with `segments` chunk files whose bytes name the block.
pub(crate) fn block(dir: &Path, id: &str, min_time: i64, level: i64, segments: usize) {
    let at = dir.join(id);
    std::fs::create_dir_all(at.join("chunks")).unwrap();
    for n in 1..=segments {
        std::fs::write(at.join(format!("chunks/{n:06}")), format!("segment {n} of {id}")).unwrap();
    }
    std::fs::write(at.join("index"), format!("index of {id}")).unwrap();
    let ulid = Ulid::from_string(id).unwrap();
    let meta = BlockMeta {
        ulid,
        min_time,
        max_time: min_time + HOUR2,
        stats: tsdb_block::meta::Stats { num_samples: 1, ..Default::default() },
        compaction: Compaction { level, sources: vec![ulid], ..Default::default() },
        version: 1,
        thanos: None,
        other: Default::default(),
    };
    std::fs::write(at.join("meta.json"), meta.to_json()).unwrap();
}

/// A bucket that fails: from one operation on, or for keys with one ending.
#[derive(Debug)]
struct Faulty {
    inner: Arc<InMemory>,
    left: AtomicUsize,
    /// Whether the operation at which it stops still takes effect.
    after: bool,
    ending: Option<&'static str>,
    /// Removed before the first upload.
    remove: Option<PathBuf>,
}

impl Faulty {
    fn new(inner: &Arc<InMemory>) -> Self {
        let inner = inner.clone();
        Faulty { inner, left: AtomicUsize::new(usize::MAX), after: false, ending: None, remove: None }
    }

    fn step(&self, key: &str) -> Stored<bool> {
        let fault = || StoreError::new(ErrorKind::Retry, "fault", key, "injected");
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(fault());
        }
        self.left.store(left - 1, Ordering::SeqCst);
        if self.ending.is_some_and(|e| key.ends_with(e)) {
            return Err(fault());
        }
        Ok(left == 1)
    }
}

#[async_trait]
impl Bucket for Faulty {
    fn name(&self) -> &str {
        "faulty"
    }
    fn provider(&self) -> &'static str {
        "FAULTY"
    }
    async fn get(&self, key: &str) -> Stored<ObjectStream> {
        self.step(key)?;
        self.inner.get(key).await
    }
    async fn get_range(&self, key: &str, offset: u64, len: Option<u64>) -> Stored<ObjectStream> {
        self.step(key)?;
        self.inner.get_range(key, offset, len).await
    }
    async fn attributes(&self, key: &str) -> Stored<Attributes> {
        // Asking whether `meta.json` is there is no upload of it.
        self.step("")?;
        self.inner.attributes(key).await
    }
    async fn list(&self, dir: &str, options: ListOptions) -> Stored<EntryStream> {
        self.step(dir)?;
        self.inner.list(dir, options).await
    }
    async fn upload(&self, key: &str, body: UploadBody) -> Stored<()> {
        let last = self.step(key)?;
        if let Some(dir) = &self.remove {
            // Prometheus' retention does not mind that we are reading.
            let _ = std::fs::remove_dir_all(dir);
        }
        if last && !self.after {
            return Err(StoreError::new(ErrorKind::Retry, "fault", key, "injected"));
        }
        self.inner.upload(key, body).await?;
        if last { Err(StoreError::new(ErrorKind::Retry, "fault", key, "injected")) } else { Ok(()) }
    }
    async fn delete(&self, key: &str) -> Stored<()> {
        panic!("nothing may be deleted: {key}");
    }
}

fn options() -> Options {
    Options {
        source: "sidecar",
        state_file: "thanos.shipper.json".to_owned(),
        upload_compacted: false,
        allow_out_of_order: false,
        skip_corrupted: false,
        upload: upload::Options::default(),
    }
}

fn shipper(bucket: SharedBucket, dir: &Path, options: Options) -> Shipper {
    let labels: LabelSource = Box::new(|| Labels::from_pairs([("replica", "a")]));
    let clock = Arc::new(ManualClock::at(1_795_359_533_602));
    Shipper::new(bucket, dir.to_owned(), options, labels, clock, &Registry::new()).unwrap()
}

async fn objects(bucket: &InMemory) -> BTreeMap<String, Vec<u8>> {
    let entries: Vec<_> =
        bucket.list("", ListOptions { recursive: true }).await.unwrap().try_collect().await.unwrap();
    let mut out = BTreeMap::new();
    for entry in entries {
        out.insert(entry.key.clone(), bucket.read(&entry.key).await.unwrap().to_vec());
    }
    out
}

fn listed(dir: &Path) -> Vec<String> {
    State::read(&dir.join("thanos.shipper.json"))
        .map(|s| s.uploaded.iter().map(Ulid::to_string).collect())
        .unwrap_or_default()
}

/// Everything a visible block must have, byte for byte.
fn complete(all: &BTreeMap<String, Vec<u8>>, id: &str, segments: usize) -> bool {
    if !all.contains_key(&format!("{id}/meta.json")) {
        return false;
    }
    for n in 1..=segments {
        let key = format!("{id}/chunks/{n:06}");
        assert_eq!(all.get(&key), Some(&format!("segment {n} of {id}").into_bytes()), "{key}");
    }
    assert_eq!(all.get(&format!("{id}/index")), Some(&format!("index of {id}").into_bytes()));
    true
}

/// Every operation of two blocks' shipping fails once, in each way, and then for good.
#[tokio::test]
async fn r018_an_error_at_operation_n_costs_time_only() {
    let ship = async |kind: Option<ErrorKind>, n: u64, times: usize| {
        let dir = tempfile::tempdir().unwrap();
        block(dir.path(), A, 0, 1, 2);
        block(dir.path(), B, HOUR2, 1, 1);
        let store = Arc::new(InMemory::new());
        let faults = Arc::new(FaultStore::new(store.clone()));
        for _ in 0..times {
            faults.inject(Fault { skip: n, error: kind, ..Fault::default() });
        }
        let mut s = shipper(faults.clone(), dir.path(), options());
        let mut failed = 0;
        for _ in 0..times {
            failed += u64::from(s.sync().await.is_err());
            // Nothing half, nothing lost: what is listed is whole, at every moment.
            let all = objects(&store).await;
            for id in listed(dir.path()) {
                assert!(complete(&all, &id, if id == A { 2 } else { 1 }));
            }
            assert!(!all.contains_key(&format!("{B}/meta.json")) || complete(&all, A, 2), "oldest first");
        }
        assert_eq!((s.metrics.sync_failures.get(), s.metrics.upload_failures.get()), (failed, 0));
        // Once the fault is gone, everything is there without help.
        s.sync().await.unwrap();
        let all = objects(&store).await;
        assert!(complete(&all, A, 2) && complete(&all, B, 1));
        assert_eq!((listed(dir.path()), all.len()), (vec![A.to_owned(), B.to_owned()], 7));
        (failed, faults.log().len() as u64)
    };
    let (_, operations) = ship(None, 0, 1).await;
    for n in 0..operations {
        for kind in [ErrorKind::Retry, ErrorKind::AccessDenied, ErrorKind::Limit, ErrorKind::Other] {
            assert_eq!(ship(Some(kind), n, 1).await.0, 1, "{kind:?} at {n}");
        }
    }
    // For a while: each round fails at its first operation.
    assert_eq!(ship(Some(ErrorKind::Retry), 0, 20).await.0, 20);
}

#[tokio::test]
async fn r019_uploads_that_are_stored_and_not_acknowledged_are_not_doubled() {
    let dir = tempfile::tempdir().unwrap();
    block(dir.path(), A, 0, 1, 3);
    let store = Arc::new(InMemory::new());
    let faults = Arc::new(FaultStore::new(store.clone()));
    let mut s = shipper(faults.clone(), dir.path(), options());
    // Three segments, the index, the metadata: each goes up, and each seems to fail.
    for n in 0..5 {
        let operation = Some(OperationKind::Upload);
        let error = Some(ErrorKind::Retry);
        faults.inject(Fault { operation, skip: n, error, applied: true, ..Fault::default() });
        assert!(s.sync().await.is_err(), "{n}");
        assert!(listed(dir.path()).is_empty());
    }
    // The block is whole by now: it is found, not sent again, and there is one of it.
    assert_eq!(s.sync().await.unwrap(), 0);
    let all = objects(&store).await;
    assert!(complete(&all, A, 3) && all.len() == 5);
    assert_eq!(listed(dir.path()), [A]);
}

/// A power cut while the state file is written leaves the old one, whatever got to the disk.
#[tokio::test]
async fn r031_a_cut_leaves_the_old_state_file_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("thanos.shipper.json");
    let state =
        |ids: &[&str]| State { uploaded: ids.iter().map(|id| Ulid::from_string(id).unwrap()).collect() };
    let (old, new) = (state(&[A]), state(&[A, B]));
    let text = new.to_json();
    for cut in 0..=text.len() {
        old.write(&path).unwrap();
        // What is not in place yet, torn at any byte.
        std::fs::write(dir.path().join("thanos.shipper.json.tmp"), &text[..cut]).unwrap();
        assert_eq!(State::read(&path).unwrap(), old);
        new.write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), new);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }
    // A torn file of another writer: rebuilt from the bucket, nothing sent twice.
    for cut in [0, 1, text.len() / 2, text.len() - 3] {
        let dir = tempfile::tempdir().unwrap();
        block(dir.path(), A, 0, 1, 1);
        let store = Arc::new(InMemory::new());
        assert_eq!(shipper(store.clone(), dir.path(), options()).sync().await.unwrap(), 1);
        std::fs::write(dir.path().join("thanos.shipper.json"), &text[..cut]).unwrap();
        assert_eq!(shipper(store, dir.path(), options()).sync().await.unwrap(), 0, "{cut}");
        assert_eq!(listed(dir.path()), [A]);
    }
}

#[tokio::test]
async fn r027_crash_at_each_upload_step() {
    let mut steps = 0;
    for after in [false, true] {
        for at in 1.. {
            let dir = tempfile::tempdir().unwrap();
            block(dir.path(), A, 0, 1, 3);
            let store = Arc::new(InMemory::new());
            let faulty = Faulty { left: AtomicUsize::new(at), after, ..Faulty::new(&store) };
            let ended = shipper(Arc::new(faulty), dir.path(), options()).sync().await;
            let all = objects(&store).await;
            let visible = complete(&all, A, 3);
            // Listed means complete; complete and not yet listed is found again below.
            assert!(listed(dir.path()).is_empty() || visible);
            assert_eq!(listed(dir.path()).is_empty(), ended.is_err());
            // A process that was killed leaves its links; the next start removes them.
            std::fs::create_dir_all(dir.path().join("thanos/upload").join(B)).unwrap();
            let sent = shipper(store.clone(), dir.path(), options()).sync().await.unwrap();
            assert_eq!(sent, usize::from(!visible));
            assert!(complete(&objects(&store).await, A, 3));
            assert_eq!(listed(dir.path()), [A]);
            assert!(!dir.path().join("thanos/upload").join(B).exists());
            if ended.is_ok() {
                break;
            }
            steps += 1;
        }
    }
    // exists, three segments, index, meta; with and without effect.
    assert_eq!(steps, 12);
}

#[tokio::test]
async fn r028_index_or_meta_upload_fails() {
    for (ending, left) in [("/index", 3), ("/meta.json", 4)] {
        let dir = tempfile::tempdir().unwrap();
        block(dir.path(), A, 0, 1, 3);
        let store = Arc::new(InMemory::new());
        let faulty = Faulty { ending: Some(ending), ..Faulty::new(&store) };
        let mut failing = shipper(Arc::new(faulty), dir.path(), options());
        assert!(matches!(failing.sync().await, Err(Error::Upload { .. })));
        assert_eq!(failing.metrics.sync_failures.get(), 1);
        assert_eq!(objects(&store).await.len(), left, "what was sent stays");
        assert_eq!(shipper(store.clone(), dir.path(), options()).sync().await.unwrap(), 1);
        assert!(complete(&objects(&store).await, A, 3));
    }
}

#[tokio::test]
async fn r029_resume_over_remains() {
    let dir = tempfile::tempdir().unwrap();
    block(dir.path(), A, 0, 1, 1);
    let store = Arc::new(InMemory::new());
    store.upload_bytes(&format!("{A}/chunks/000001"), "seg".into()).await.unwrap();
    store.upload_bytes(&format!("{A}/chunks/000009"), "stale".into()).await.unwrap();
    shipper(store.clone(), dir.path(), options()).sync().await.unwrap();
    let all = objects(&store).await;
    assert!(complete(&all, A, 1));
    let thanos = BlockMeta::parse(&all[&format!("{A}/meta.json")]).unwrap().thanos.unwrap();
    assert_eq!(thanos.segment_files, ["000001"]);
    for file in thanos.files.iter().filter(|f| f.rel_path != "meta.json") {
        assert_eq!(all[&format!("{A}/{}", file.rel_path)].len() as i64, file.size_bytes);
    }
}

#[tokio::test]
async fn r030_oldest_first_stop_at_failure() {
    for allow in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        // Names and times disagree, so that the order can only come from the times.
        for (id, min) in [(C, 0), (B, HOUR2), (A, 2 * HOUR2)] {
            block(dir.path(), id, min, 1, 1);
        }
        let store = Arc::new(InMemory::new());
        let faulty = Faulty { ending: Some("01M5FSXE80GGSXKANMMPEXFP6M/index"), ..Faulty::new(&store) };
        let mut s = shipper(Arc::new(faulty), dir.path(), Options { allow_out_of_order: allow, ..options() });
        let ended = s.sync().await;
        let all = objects(&store).await;
        let seen: Vec<bool> = [C, B, A].iter().map(|id| complete(&all, id, 1)).collect();
        if allow {
            assert!(matches!(ended, Err(Error::Some { failed: 1, corrupted: 0 })));
            assert_eq!((seen, listed(dir.path())), (vec![false, true, true], vec![B.into(), A.into()]));
            assert_eq!(s.metrics.upload_failures.get(), 1);
        } else {
            assert!(matches!(ended, Err(Error::Upload { .. })));
            assert_eq!((seen, listed(dir.path()).len()), (vec![false; 3], 0));
        }
        shipper(store, dir.path(), options()).sync().await.unwrap();
        assert_eq!(listed(dir.path()), [C, B, A]);
    }
}

#[tokio::test]
async fn r032_state_file_missing_damaged_or_lying() {
    let lies = format!("{{\"version\":1,\"uploaded\":[\"{A}\"]}}");
    for (text, sent) in [
        (None, 1),
        (Some(""), 1),
        (Some("no JSON"), 1),
        (Some(r#"{"version":7,"uploaded":[]}"#), 1),
        (Some(r#"{"version":1,"uploaded":null}"#), 1),
        // A listed block is not sent again: the compactor may have replaced it.
        (Some(lies.as_str()), 0),
    ] {
        let dir = tempfile::tempdir().unwrap();
        block(dir.path(), A, 0, 1, 1);
        block(dir.path(), B, HOUR2, 1, 1);
        let store = Arc::new(InMemory::new());
        // The bucket has B already; the file omits it.
        store.upload_bytes(&format!("{B}/meta.json"), "there".into()).await.unwrap();
        if let Some(text) = text {
            std::fs::write(dir.path().join("thanos.shipper.json"), text).unwrap();
        }
        assert_eq!(shipper(store.clone(), dir.path(), options()).sync().await.unwrap(), sent, "{text:?}");
        assert_eq!(listed(dir.path()), [A, B]);
        assert_eq!(objects(&store).await[&format!("{B}/meta.json")], b"there");
    }
}

#[tokio::test]
async fn r033_local_block_removed_during_upload() {
    let dir = tempfile::tempdir().unwrap();
    block(dir.path(), A, 0, 1, 3);
    let store = Arc::new(InMemory::new());
    let faulty = Faulty { remove: Some(dir.path().join(A)), ..Faulty::new(&store) };
    assert_eq!(shipper(Arc::new(faulty), dir.path(), options()).sync().await.unwrap(), 1);
    assert!(complete(&objects(&store).await, A, 3));
    assert!(!dir.path().join("thanos/upload").join(A).exists());
    assert!(!dir.path().join(A).exists());
}

#[tokio::test]
async fn r037_refusals_at_ship_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    block(dir.path(), A, 0, 1, 1);
    shipper(store.clone(), dir.path(), options()).sync().await.unwrap();
    // A compacted block is passed over, then refused for its overlap, then accepted without the check.
    block(dir.path(), B, 0, 2, 1);
    assert_eq!(shipper(store.clone(), dir.path(), options()).sync().await.unwrap(), 0);
    let compacted = Options { upload_compacted: true, ..options() };
    let refused = shipper(store.clone(), dir.path(), compacted.clone()).sync().await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains(A) && text.contains(B) && text.contains("range: 2h0m0s"), "{text}");
    let any = Options { allow_out_of_order: true, ..compacted };
    assert_eq!(shipper(store.clone(), dir.path(), any).sync().await.unwrap(), 1);
    // An empty block is passed over.
    block(dir.path(), C, HOUR2, 1, 1);
    let path = dir.path().join(C).join("meta.json");
    let mut meta = BlockMeta::parse(&std::fs::read(&path).unwrap()).unwrap();
    meta.stats.num_samples = 0;
    std::fs::write(&path, meta.to_json()).unwrap();
    assert_eq!(shipper(store.clone(), dir.path(), options()).sync().await.unwrap(), 0);
    // A block that cannot be read stops everything, or is counted.
    std::fs::write(&path, "{").unwrap();
    let stopped = shipper(store.clone(), dir.path(), options()).sync().await;
    assert!(matches!(stopped, Err(Error::Corrupted { .. })));
    let mut skipping = shipper(store, dir.path(), Options { skip_corrupted: true, ..options() });
    assert!(matches!(skipping.sync().await, Err(Error::Some { failed: 0, corrupted: 1 })));
    assert_eq!(skipping.metrics.corrupted.get(), 1);
}

#[test]
fn state_file_has_gos_form() {
    let ids = [A, B].map(|id| Ulid::from_string(id).unwrap()).to_vec();
    let want = format!("{{\n\t\"version\": 1,\n\t\"uploaded\": [\n\t\t\"{A}\",\n\t\t\"{B}\"\n\t]\n}}\n");
    assert_eq!(String::from_utf8(State { uploaded: ids }.to_json()).unwrap(), want);
    let empty = State::default().to_json();
    assert_eq!(String::from_utf8(empty).unwrap(), "{\n\t\"version\": 1,\n\t\"uploaded\": null\n}\n");
}

/// The recorded files of a real Thanos, where they are at hand.
#[test]
fn golden_state_files_are_written_back() {
    let root = std::env::var("ATHANOR_GOLDEN")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden").to_owned());
    for name in ["raw.shipper-a.json", "raw.shipper-b.json"] {
        let path = Path::new(&root).join("buckets").join(name);
        if !path.exists() {
            #[expect(clippy::print_stderr, reason = "says what was not run")]
            {
                eprintln!("not run: {} is not there", path.display());
            }
            continue;
        }
        let state = State::read(&path).unwrap();
        assert_eq!(state.to_json(), std::fs::read(&path).unwrap());
    }
}
