//! Damaged input: nothing panics, and no decoder allocates beyond 64 bytes per input byte and 1 MiB.
//!
//! A deterministic mutator over seeds of our own writers; `ATHANOR_MUTATIONS` sets the number of
//! inputs (5,000 by default).
#![allow(unsafe_code)] // counting allocations takes a global allocator

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use model::{Labels, Samples};
use tsdb_block::chunkenc::{self, Encoding, aggr, histogram, lossless, xor, xor2};
use tsdb_block::index::{self, ChunkMeta, Series};
use tsdb_block::tombstones::{Interval, Tombstones};
use tsdb_block::{chunks, meta};

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(by: isize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + by);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system allocator unchanged; only sizes are noted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn mutate(seed: &[u8], state: &mut u64) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..next(state) % 4 + 1 {
        let r = next(state) as usize;
        if data.is_empty() {
            data.push(r as u8);
        }
        let at = (r >> 16) % data.len();
        // The first bytes hold the counts and lengths: hit them more often.
        let at = if r & 3 == 0 { at % 8 % data.len() } else { at };
        match (r >> 2) % 6 {
            0 => data[at] ^= 1 << (r >> 8 & 7),
            1 => data[at] = (r >> 8) as u8,
            2 => data[at] = 0xff,
            3 => data.truncate(at),
            4 => data.insert(at, (r >> 8) as u8),
            _ => data[at..].fill(if r & 256 == 0 { 0 } else { 0xff }),
        }
    }
    data
}

fn chunk_seeds() -> Vec<(Encoding, Vec<u8>)> {
    let (mut a, mut b) = (xor::Encoder::new(), xor2::Encoder::new());
    let mut out = Vec::new();
    for i in 0..100i64 {
        a.push(i * 1000 + i % 7, i as f64 * 0.3).unwrap();
        b.push(i / 9, i * 1000 + i % 7, i as f64 * 0.3).unwrap();
    }
    let (a, b) = (a.finish(), b.finish());
    let mut all = aggr::Aggregates::default();
    all.set(aggr::Aggregate::Count, Some(aggr::SubChunk { encoding: Encoding::Xor, data: &a }));
    out.push((Encoding::Aggr, all.encode()));
    out.extend([(Encoding::Xor, a), (Encoding::Xor2, b)]);
    for st in [false, true] {
        let mut ints = histogram::IntEncoder::new(histogram::CounterReset::Unknown, st);
        let mut floats = histogram::FloatEncoder::new(histogram::CounterReset::Gauge, st);
        for i in 0..50i64 {
            let h = model::Histogram {
                schema: -53,
                count: i as u64,
                sum: i as f64,
                positive_spans: vec![model::Span { offset: 0, length: 3 }],
                positive_buckets: vec![i, 1, -i],
                custom_values: Some([0.1, 2.5, 1e9].into()),
                ..model::Histogram::default()
            };
            ints.push(i / 5, i * 1000, &h).unwrap();
            floats.push(i / 5, i * 1000, &h.to_float()).unwrap();
        }
        let (i, f) = match st {
            false => (Encoding::Histogram, Encoding::FloatHistogram),
            true => (Encoding::HistogramSt, Encoding::FloatHistogramSt),
        };
        out.extend([(i, ints.finish()), (f, floats.finish())]);
    }
    out
}

fn index_seed() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    let mut w = index::Writer::create(&path, ["a", "b", "n", "x", "y"]).unwrap();
    for (n, v) in [("a", "x"), ("a", "y"), ("b", "n")] {
        w.add(&Labels::from_pairs([(n, v)]), &[ChunkMeta { mint: 1, maxt: 2, reference: 8 }]).unwrap();
    }
    w.finish().unwrap();
    std::fs::read(path).unwrap()
}

/// Runs `f` and checks what it allocated at its peak against the size of the input.
fn bounded<T>(data: &[u8], f: impl FnOnce() -> T) {
    let before = LIVE.get();
    PEAK.set(before);
    drop(f());
    let peak = PEAK.get() - before;
    assert!(peak <= 64 * data.len() as isize + (1 << 20), "{peak} bytes for {}: {data:02x?}", data.len());
}

#[test]
fn damage_is_an_error_within_bounds() {
    let inputs = std::env::var("ATHANOR_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(5_000u32);
    let (chunk_seeds, index_seed) = (chunk_seeds(), index_seed());
    let mut stones = Tombstones::default();
    (0..20).for_each(|i| stones.add(i, Interval { mint: 0, maxt: i as i64 }));
    let stones = stones.encode();
    let json = br#"{"ulid":"01M5GNCB80YR434PJ7VBJ2HNV4","minTime":1,"maxTime":2,"version":1,"thanos":{"labels":{"a":"b"}}}"#;
    let mut state = 0x2545_f491_4f6c_dd1d;
    for _ in 0..inputs {
        for (encoding, seed) in &chunk_seeds {
            let data = mutate(seed, &mut state);
            bounded(&data, || {
                let mut out = Samples::default();
                chunkenc::decode(*encoding, &data, &mut out).map(|()| out)
            });
            bounded(&data, || lossless::read(*encoding, &data));
            bounded(&data, || chunkenc::time_range(*encoding, &data));
            bounded(&data, || chunks::parse(&data).is_ok());
        }
        let data = mutate(&index_seed, &mut state);
        bounded(&data, || {
            let reader = index::Reader::new(Bytes::copy_from_slice(&data)).ok()?;
            let mut series = Series::default();
            for reference in reader.all_postings().ok()?.to_vec() {
                reader.series(reference, &mut series).ok().and_then(|()| reader.labels(&series).ok())?;
            }
            Some(reader)
        });
        let data = mutate(&stones, &mut state);
        bounded(&data, || Tombstones::parse(&data));
        let data = mutate(json, &mut state);
        bounded(&data, || meta::BlockMeta::parse(&data));
    }
}

/// Numbers that a length or a count may pretend to be.
const LIES: [u64; 6] = [0, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1, u64::MAX, 1 << 40];

fn uvarint(mut v: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
    out
}

fn text(s: &str) -> Vec<u8> {
    [uvarint(s.len() as u64), s.as_bytes().to_vec()].concat()
}

/// What one field of the index below says instead of the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    None,
    SymbolCount,
    SymbolLength,
    SymbolSection,
    LabelCount,
    ChunkCount,
    SeriesLength,
    PostingCount,
    PostingSection,
    TableCount,
    TableKeys,
    TableName,
    TableOffset,
    TableSection,
    Toc(usize),
}

/// An index of one series `a="b"`, all checksums right, one field lying.
fn lying_index(field: Field, lie: u64) -> Vec<u8> {
    let or = |f: Field, truth: u64| if f == field { lie } else { truth };
    let sum = |body: &[u8]| crc32c::crc32c(body).to_be_bytes().to_vec();
    let section = |f: Field, body: Vec<u8>| {
        let len = or(f, body.len() as u64) as u32;
        [len.to_be_bytes().to_vec(), body.clone(), sum(&body)].concat()
    };
    let mut out = index::MAGIC.to_be_bytes().to_vec();
    out.push(2);
    let mut toc = [0u64; 6];
    toc[0] = out.len() as u64;
    let symbols = [
        (or(Field::SymbolCount, 2) as u32).to_be_bytes().to_vec(),
        uvarint(or(Field::SymbolLength, 1)),
        b"a".to_vec(),
        text("b"),
    ];
    out.extend(section(Field::SymbolSection, symbols.concat()));
    toc[1] = out.len() as u64;
    out.resize(out.len().next_multiple_of(16), 0);
    let reference = (out.len() / 16) as u32;
    let series = [
        uvarint(or(Field::LabelCount, 1)),
        vec![0, 1],
        uvarint(or(Field::ChunkCount, 1)),
        // From 1, for 1, at 8.
        vec![2, 1, 8],
    ]
    .concat();
    out.extend(
        [uvarint(or(Field::SeriesLength, series.len() as u64)), series.clone(), sum(&series)].concat(),
    );
    toc[2] = out.len() as u64;
    out.resize(out.len().next_multiple_of(4), 0);
    toc[4] = out.len() as u64;
    let list = [(or(Field::PostingCount, 1) as u32).to_be_bytes(), reference.to_be_bytes()].concat();
    out.extend(section(Field::PostingSection, list));
    (toc[3], toc[5]) = (out.len() as u64, out.len() as u64);
    let entry = |name: &str, value: &str| [text(name), text(value), uvarint(toc[4])].concat();
    let table = [
        (or(Field::TableCount, 2) as u32).to_be_bytes().to_vec(),
        uvarint(or(Field::TableKeys, 2)),
        uvarint(or(Field::TableName, 0)),
        text(""),
        uvarint(or(Field::TableOffset, toc[4])),
        uvarint(2),
        entry("a", "b"),
    ];
    out.extend(section(Field::TableSection, table.concat()));
    if let Field::Toc(at) = field {
        toc[at] = lie;
    }
    let toc: Vec<u8> = toc.iter().flat_map(|f| f.to_be_bytes()).collect();
    out.extend([toc.clone(), sum(&toc)].concat());
    out
}

/// Every series, as a query would read it.
fn read_all(data: &[u8]) -> tsdb_block::Result<Vec<(Labels, usize)>> {
    let reader = index::Reader::new(Bytes::copy_from_slice(data))?;
    let (mut series, mut out) = (Series::default(), Vec::new());
    for reference in reader.all_postings()?.to_vec() {
        reader.series(reference, &mut series)?;
        out.push((reader.labels(&series)?, series.chunks.len()));
    }
    let names: Vec<String> = reader.label_names().map(str::to_owned).collect();
    for name in names {
        let values: Vec<String> = reader.label_values(&name).map(str::to_owned).collect();
        for value in values {
            reader.postings(&name, &value)?;
        }
    }
    Ok(out)
}

#[test]
fn r004_lying_lengths_are_errors_within_bounds() {
    use Field::{
        ChunkCount, LabelCount, PostingCount, PostingSection, SeriesLength, SymbolCount, SymbolLength,
        SymbolSection, TableCount, TableKeys, TableName, TableOffset, TableSection, Toc,
    };
    let truth = vec![(Labels::from_pairs([("a", "b")]), 1)];
    assert_eq!(read_all(&lying_index(Field::None, 0)).unwrap(), truth);
    let read = [
        SymbolCount,
        SymbolLength,
        SymbolSection,
        LabelCount,
        ChunkCount,
        SeriesLength,
        PostingCount,
        PostingSection,
        TableCount,
        TableKeys,
        TableOffset,
        TableSection,
        Toc(0),
        Toc(5),
    ];
    for lie in LIES {
        for field in read {
            let data = lying_index(field, lie);
            bounded(&data, || {
                let got = read_all(&data);
                assert!(got.is_err(), "{field:?} {lie}: {got:?}");
            });
        }
        // The name of the list of all series has no byte: only other lengths lie.
        let data = lying_index(TableName, lie.max(1));
        bounded(&data, || assert!(read_all(&data).is_err(), "{lie}"));
        for field in (0..6).map(Toc) {
            let data = lying_index(field, lie);
            bounded(&data, || assert!(read_all(&data).map_or(true, |got| got == truth)));
        }
    }
    // Sections that overlap: each offset in the place of each other.
    let good = index::Reader::new(lying_index(Field::None, 0).into()).unwrap();
    let toc = good.toc();
    for at in [toc.symbols, toc.series, toc.label_indices, toc.postings, toc.postings_table] {
        for field in [Toc(0), Toc(5)] {
            let data = lying_index(field, at);
            bounded(&data, || assert!(read_all(&data).map_or(true, |got| got == truth)));
        }
    }
    // A chunk that pretends to be longer or shorter than its bytes.
    for lie in LIES.into_iter().chain([1, 3, 4, 6, 7]) {
        let stored = [uvarint(lie), vec![1], vec![0; 5], vec![0; 4]].concat();
        bounded(&stored, || assert!(chunks::parse(&stored).is_err(), "{lie}"));
        bounded(&stored, || chunks::stored_len(&stored).ok());
    }
}
