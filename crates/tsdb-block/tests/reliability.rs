//! Damaged, odd and old blocks: the reliability cases R001–R003, R006–R009, R012 and R015 by number.

#![allow(clippy::print_stderr)] // a test that cannot run says so

use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::{Histogram, Labels, Samples, Span};
use tsdb_block::block::{BlockReader, BlockWriter};
use tsdb_block::chunkenc::{self, Encoding, aggr, histogram, xor, xor2};
use tsdb_block::index::{self, ChunkMeta, postings, series};
use tsdb_block::meta::BlockMeta;
use tsdb_block::{Error, Result};

const ULID: &str = "01M5GNCB80YR434PJ7VBJ2HNV4";

fn ints(n: i64, st: bool) -> Vec<u8> {
    let mut encoder = histogram::IntEncoder::new(histogram::CounterReset::Unknown, st);
    for i in 0..n {
        encoder.push(i, i * 1000, &sample(i)).unwrap();
    }
    encoder.finish()
}

fn floats(n: i64, st: bool) -> Vec<u8> {
    let mut encoder = histogram::FloatEncoder::new(histogram::CounterReset::Gauge, st);
    for i in 0..n {
        encoder.push(i, i * 1000, &sample(i).to_float()).unwrap();
    }
    encoder.finish()
}

fn sample(i: i64) -> Histogram {
    Histogram {
        schema: 2,
        count: 3 * i as u64 + 4,
        sum: i as f64 / 3.0,
        zero_threshold: 0.001,
        zero_count: i as u64,
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 1, length: 1 }],
        positive_buckets: vec![i + 1, 1, -1],
        ..Histogram::default()
    }
}

fn xor_chunk(n: i64) -> Vec<u8> {
    let mut encoder = xor::Encoder::new();
    (0..n).for_each(|i| encoder.push(i * 1000 + i % 3, i as f64 * 0.1).unwrap());
    encoder.finish()
}

fn xor2_chunk(n: i64) -> Vec<u8> {
    let mut encoder = xor2::Encoder::new();
    (0..n).for_each(|i| encoder.push(i / 4, i * 1000 + i % 3, i as f64 * 0.1).unwrap());
    encoder.finish()
}

/// One chunk of `n` samples in each encoding that is decoded.
fn encodings(n: i64) -> [(Encoding, Vec<u8>); 6] {
    [
        (Encoding::Xor, xor_chunk(n)),
        (Encoding::Xor2, xor2_chunk(n)),
        (Encoding::Histogram, ints(n, false)),
        (Encoding::FloatHistogram, floats(n, false)),
        (Encoding::HistogramSt, ints(n, true)),
        (Encoding::FloatHistogramSt, floats(n, true)),
    ]
}

fn block_meta() -> BlockMeta {
    let json = format!(r#"{{"ulid":"{ULID}","minTime":0,"maxTime":7200000,"version":1}}"#);
    BlockMeta::parse(json.as_bytes()).unwrap()
}

/// A block with a series for each encoding, and labels of several names.
fn small_block(root: &Path, n: i64) -> PathBuf {
    let dir = root.join(ULID);
    let mut writer = BlockWriter::create(&dir).unwrap();
    for (i, (encoding, data)) in encodings(n).iter().enumerate() {
        let labels = Labels::from_pairs([
            ("__name__", format!("m{i}")),
            ("job", "j".into()),
            ("x", "y".repeat(i + 1)),
        ]);
        writer.add(&labels, [(*encoding, &data[..])]).unwrap();
    }
    writer.finish(block_meta()).unwrap();
    dir
}

/// Everything that a block answers, bit by bit.
fn dump(dir: &Path) -> Result<Vec<String>> {
    let block = BlockReader::open(dir)?;
    let mut out = Vec::new();
    for entry in block.series()? {
        let (reference, labels, series) = entry?;
        let mut samples = Samples::default();
        for chunk in &series.chunks {
            let (encoding, data) = block.chunk(chunk)?;
            chunkenc::decode(encoding, &data, &mut samples)?;
        }
        let values: Vec<u64> = samples.values.iter().map(|v| v.to_bits()).collect();
        out.push(format!(
            "{reference} {labels} {:?} {values:?} {:?} {:?}",
            samples.ts, samples.start_ts, samples.hists
        ));
    }
    let names: Vec<&str> = block.index.label_names().collect();
    for name in names {
        for value in block.index.label_values(name).map(str::to_owned).collect::<Vec<_>>() {
            out.push(format!("{name}={value} {:?}", block.index.postings(name, &value)?.to_vec()));
        }
    }
    Ok(out)
}

#[test]
fn r001_six_classic_segment_corruptions() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(ULID);
    let mut writer = BlockWriter::create(&dir).unwrap();
    writer.add(&Labels::from_pairs([("a", "b")]), [(Encoding::Xor, &xor_chunk(5)[..])]).unwrap();
    writer.finish(block_meta()).unwrap();
    let path = dir.join("chunks/000001");
    let good = std::fs::read(&path).unwrap();
    let last = good.len() - 1;
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let cases = [
        ("cut to one byte", good[..1].to_vec(), true),
        ("magic of zero", changed(0, 0), true),
        ("version of zero", changed(4, 0), true),
        ("cut after the header", good[..9].to_vec(), false),
        ("last byte missing", good[..last].to_vec(), false),
        ("last byte of data changed", changed(last - 4, !good[last - 4]), false),
    ];
    for (what, bytes, on_open) in cases {
        std::fs::write(&path, bytes).unwrap();
        let error = match BlockReader::open(&dir) {
            Err(e) => {
                assert!(on_open, "{what}: {e}");
                e
            }
            Ok(block) => {
                assert!(!on_open, "{what}");
                let (_, _, series) = block.series().unwrap().next().unwrap().unwrap();
                let error = block.chunk(&series.chunks[0]).unwrap_err();
                assert!(error.to_string().contains("chunk reference 8"), "{what}: {error}");
                error
            }
        };
        // Block and segment by path, the chunk by its place.
        let text = error.to_string();
        assert!(text.contains(&format!("{ULID}/chunks/000001")) && text.contains("offset"), "{what}: {text}");
    }
}

/// Runs `check` on the block with each damaged form of each of its files.
fn damage(
    dir: &Path,
    forms: impl Fn(&[u8]) -> Vec<Vec<u8>>,
    check: impl Fn(&str, usize, Result<Vec<String>>),
) {
    for name in ["index", "chunks/000001", "meta.json", "tombstones"] {
        let path = dir.join(name);
        let Ok(good) = std::fs::read(&path) else { continue };
        for (n, bytes) in forms(&good).into_iter().enumerate() {
            // A mapped file must not change: the damaged one takes its place.
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
            check(name, n, dump(dir));
        }
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn r002_no_flipped_bit_changes_an_answer() {
    let root = tempfile::tempdir().unwrap();
    let dir = small_block(root.path(), 6);
    let want = dump(&dir).unwrap();
    let flips = |good: &[u8]| {
        let flip = |bit: usize| {
            let mut bytes = good.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        (0..good.len() * 8).map(flip).collect()
    };
    damage(&dir, flips, |name, bit, got| match got {
        Ok(got) => assert_eq!(got, want, "{name}, bit {bit}"),
        Err(e) => assert!(e.to_string().contains(ULID) || name != "meta.json", "{name}, bit {bit}: {e}"),
    });
    assert_eq!(dump(&dir).unwrap(), want);
}

#[test]
fn r003_no_truncation_changes_an_answer() {
    let root = tempfile::tempdir().unwrap();
    let dir = small_block(root.path(), 6);
    let want = dump(&dir).unwrap();
    let cuts = |good: &[u8]| (0..good.len()).map(|n| good[..n].to_vec()).collect();
    damage(&dir, cuts, |name, len, got| {
        assert!(got.is_err(), "{name} cut to {len} bytes: {got:?}");
    });
    assert_eq!(dump(&dir).unwrap(), want);
}

#[test]
fn r006_chunks_that_lie_about_their_samples() {
    let decoded = |encoding, data: &[u8]| {
        let mut out = Samples::default();
        chunkenc::decode(encoding, data, &mut out).map(|()| out)
    };
    // The low bits of the first two bytes are the number of samples in every encoding.
    let claims = |data: &[u8], n: u16| {
        let mut data = data.to_vec();
        let (high, [a, b]) = (data[0] & 0xc0, n.to_be_bytes());
        (data[0], data[1]) = (high | a, b);
        data
    };
    for (encoding, good) in encodings(40) {
        let all = decoded(encoding, &good).unwrap();
        assert_eq!(all.len(), 40, "{encoding:?}");
        // Fewer are what it says; more are an error once the bytes run out.
        assert_eq!(decoded(encoding, &claims(&good, 39)).unwrap().ts, all.ts[..39], "{encoding:?}");
        for more in [100, 0x3fff] {
            assert!(decoded(encoding, &claims(&good, more)).is_err(), "{encoding:?} of {more}");
        }
        // Zero bytes behind the samples are harmless.
        let padded = [good.clone(), vec![0; 64]].concat();
        assert_eq!(decoded(encoding, &padded).unwrap().ts, all.ts, "{encoding:?}");
        // A range beyond the samples ends like the samples do.
        let mut out = Samples::default();
        chunkenc::decode_range(encoding, &good, 1 << 60, i64::MAX, &mut out).unwrap();
        assert!(out.is_empty());
    }
    // The largest count there is, with bytes to match: that many samples and no more.
    let mut data = vec![0; 200_000];
    (data[0], data[1]) = (0xff, 0xff);
    assert_eq!(decoded(Encoding::Xor, &data).unwrap().len(), 65_535);
    // Aggregates whose parts are longer than the whole.
    let sub = xor_chunk(5);
    let mut all = aggr::Aggregates::default();
    all.set(aggr::Aggregate::Count, Some(aggr::SubChunk { encoding: Encoding::Xor, data: &sub }));
    let good = all.encode();
    for lie in [0x7f, 0xff] {
        let mut data = good.clone();
        data[0] = lie;
        assert!(aggr::Aggregates::parse(&data).is_err(), "{lie}");
    }
}

#[test]
fn r007_unknown_and_invalid_encodings_cost_their_own_series() {
    let (bounds, schema) = (|b: &[f64]| Some(b.into()), model::histogram::CUSTOM_BUCKETS_SCHEMA);
    let custom = |b: &[f64]| Histogram {
        schema,
        custom_values: bounds(b),
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: vec![1],
        ..Histogram::default()
    };
    let bad = [
        ("schema -10", Histogram { schema: -10, ..sample(1) }),
        ("schema 53", Histogram { schema: 53, ..sample(1) }),
        (
            "spans that overlap",
            Histogram {
                positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: -2, length: 1 }],
                ..sample(1)
            },
        ),
        ("a bucket below zero", Histogram { positive_buckets: vec![1, -2, 5], ..sample(1) }),
        ("bounds that fall", custom(&[1.0, 0.5])),
        ("bounds that repeat", custom(&[1.0, 1.0])),
        ("a bound that is no number", custom(&[1.0, f64::NAN])),
    ];
    let mut out = Samples::default();
    for (what, h) in bad {
        for st in [false, true] {
            let mut ints = histogram::IntEncoder::new(histogram::CounterReset::Unknown, st);
            ints.push(0, 0, &h).unwrap();
            let mut floats = histogram::FloatEncoder::new(histogram::CounterReset::Unknown, st);
            floats.push(0, 0, &h.to_float()).unwrap();
            let (int, float) = match st {
                false => (Encoding::Histogram, Encoding::FloatHistogram),
                true => (Encoding::HistogramSt, Encoding::FloatHistogramSt),
            };
            for (encoding, data) in [(int, ints.finish()), (float, floats.finish())] {
                assert!(chunkenc::decode(encoding, &data, &mut out).is_err(), "{what}, {encoding:?}");
                assert!(out.is_empty(), "{what}");
            }
        }
    }
    // Encodings that do not exist, in a block with ten good series beside them.
    for byte in [0, 7, 200] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join(ULID);
        let mut writer = BlockWriter::create(&dir).unwrap();
        for i in 0..11 {
            let labels = Labels::from_pairs([("n", format!("{i:02}"))]);
            writer.add(&labels, [(Encoding::Xor, &xor_chunk(5)[..])]).unwrap();
        }
        writer.finish(block_meta()).unwrap();
        let path = dir.join("chunks/000001");
        let mut bytes = std::fs::read(&path).unwrap();
        // The third chunk gets another encoding, and a checksum to match.
        let len = (bytes.len() - 8) / 11;
        let chunk = &mut bytes[8 + 2 * len..8 + 3 * len];
        chunk[1] = byte;
        let sum = crc32c::crc32c(&chunk[1..len - 4]);
        chunk[len - 4..].copy_from_slice(&sum.to_be_bytes());
        std::fs::write(&path, bytes).unwrap();
        let block = BlockReader::open(&dir).unwrap();
        let read = |(_, _, series): (u32, Labels, index::Series)| block.chunk(&series.chunks[0]);
        let results: Vec<_> = block.series().unwrap().map(|entry| read(entry.unwrap())).collect();
        assert!(results.iter().enumerate().all(|(i, r)| r.is_ok() == (i != 2)), "{byte}");
        let error = results[2].as_ref().unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        let place = format!("000001 at offset {}", 8 + 2 * len);
        assert!(error.to_string().contains(&place), "{error}");
    }
}

/// An index of version 1: symbols and series are referred to by their place in the file.
fn version_1(sets: &[&[(&str, &str)]]) -> Vec<u8> {
    let section = |body: Vec<u8>| {
        let sum = crc32c::crc32c(&body).to_be_bytes();
        [(body.len() as u32).to_be_bytes().to_vec(), body, sum.to_vec()].concat()
    };
    let text = |s: &str| [vec![s.len() as u8], s.as_bytes().to_vec()].concat();
    let mut out = index::MAGIC.to_be_bytes().to_vec();
    out.push(1);
    let mut toc = index::Toc { symbols: out.len() as u64, ..index::Toc::default() };
    let mut symbols: Vec<&str> = sets.iter().flat_map(|s| s.iter()).flat_map(|(n, v)| [*n, *v]).collect();
    symbols.sort_unstable();
    symbols.dedup();
    let mut body = (symbols.len() as u32).to_be_bytes().to_vec();
    let mut places = std::collections::BTreeMap::new();
    for symbol in symbols {
        places.insert(symbol, (out.len() + 4 + body.len()) as u32);
        body.extend(text(symbol));
    }
    out.extend(section(body));
    toc.series = out.len() as u64;
    let mut pairs: std::collections::BTreeMap<(&str, &str), Vec<u32>> = Default::default();
    for (i, set) in sets.iter().enumerate() {
        let reference = out.len() as u32;
        let labels: Vec<(u32, u32)> = set.iter().map(|(n, v)| (places[n], places[v])).collect();
        let chunk = ChunkMeta { mint: i as i64, maxt: i as i64 + 1, reference: 8 };
        series::encode(&labels, &[chunk], &mut out);
        for pair in set.iter().chain(&[("", "")]) {
            pairs.entry(*pair).or_default().push(reference);
        }
    }
    toc.label_indices = out.len() as u64;
    let mut table = (pairs.len() as u32).to_be_bytes().to_vec();
    toc.postings = out.len() as u64;
    // In an order of their own, as writers of this version left them.
    for ((name, value), list) in pairs.iter().rev() {
        table.push(2);
        table.extend([text(name), text(value)].concat());
        let mut at = out.len();
        while at >= 0x80 {
            table.push(at as u8 | 0x80);
            at >>= 7;
        }
        table.push(at as u8);
        postings::encode(list, &mut out).unwrap();
    }
    (toc.label_indices_table, toc.postings_table) = (out.len() as u64, out.len() as u64);
    out.extend(section(table));
    out.extend(toc.encode());
    out
}

#[test]
fn r008_version_1_is_read_and_other_versions_are_refused() {
    let sets: [&[(&str, &str)]; 3] =
        [&[("a", "1"), ("b", "x")], &[("a", "1"), ("b", "y")], &[("a", "2"), ("c", "z")]];
    let bytes = version_1(&sets);
    let reader = index::Reader::new(Bytes::from(bytes.clone())).unwrap();
    assert_eq!(reader.version(), index::Version::V1);
    let mut entry = index::Series::default();
    for (reference, set) in reader.all_postings().unwrap().iter().zip(sets) {
        reader.series(reference, &mut entry).unwrap();
        assert_eq!(reader.labels(&entry).unwrap(), Labels::from_pairs(set.iter().copied()));
    }
    assert_eq!(reader.label_names().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(reader.label_values("b").collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(reader.postings("a", "1").unwrap().len(), 2);
    assert_eq!(reader.postings("a", "3").unwrap().len(), 0);
    for version in [0, 3, 255] {
        let mut bytes = bytes.clone();
        bytes[4] = version;
        let error = index::Reader::new(bytes.into()).unwrap_err();
        assert_eq!(error.to_string(), format!("unsupported index version: {version}"));
    }
    // Version 1 taken for version 2: its references mean nothing there.
    let mut wrong = bytes;
    wrong[4] = 2;
    let reader = index::Reader::new(wrong.into()).unwrap();
    let all = reader.all_postings().unwrap().to_vec();
    assert!(all.iter().all(|reference| reader.series(*reference, &mut entry).is_err()));
}

/// Prometheus' own block of version 1, where its sources are at hand.
#[test]
fn r008_the_block_of_prometheus_tests_is_read() {
    let Some(sources) = std::env::var_os("ATHANOR_PROMETHEUS_SOURCE") else {
        eprintln!("not run: ATHANOR_PROMETHEUS_SOURCE is not set");
        return;
    };
    let data = Path::new(&sources).join("tsdb/testdata");
    let block = BlockReader::open(&data.join("index_format_v1")).unwrap();
    let series = block.series().unwrap().collect::<Result<Vec<_>>>().unwrap();
    assert_eq!((series.len(), series.len() as u64), (102, block.meta.stats.num_series));
    let samples = series.iter().flat_map(|(_, _, s)| &s.chunks).map(|chunk| {
        let (encoding, data) = block.chunk(chunk).unwrap();
        u64::from(chunkenc::count(encoding, &data).unwrap())
    });
    assert_eq!(samples.sum::<u64>(), block.meta.stats.num_samples);
    // A version 1 index that calls itself 2: refused, where Prometheus repairs it at its own start.
    let broken = data.join("repair_index_version/01BZJ9WJQPWHGNC2W4J9TA62KC");
    assert!(index::Reader::open(&broken.join("index")).is_err());
}

#[test]
fn r009_odd_labels_round_trip() {
    let long = "x".repeat(1 << 20);
    let sets: Vec<Labels> = [
        ("dots.and spaces", "v"),
        ("empty", ""),
        ("name", "a\0b"),
        ("name", "quotes \" and \\ and\nlines"),
        ("name", "ünï©ödé 🦀"),
        ("name", long.as_str()),
        ("{}=~", "="),
    ]
    .into_iter()
    .map(|pair| Labels::from_pairs([pair]))
    .collect();
    let mut sorted = sets.clone();
    sorted.sort();
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(ULID);
    let mut writer = BlockWriter::create(&dir).unwrap();
    for labels in &sorted {
        writer.add(labels, [(Encoding::Xor, &xor_chunk(2)[..])]).unwrap();
    }
    writer.finish(block_meta()).unwrap();
    let block = BlockReader::open(&dir).unwrap();
    let read: Vec<Labels> = block.series().unwrap().map(|entry| entry.unwrap().1).collect();
    assert_eq!(read, sorted);
    for labels in &sorted {
        let (name, value) = labels.iter().next().unwrap();
        assert_eq!(block.index.postings(name, value).unwrap().len(), 1, "{name}");
    }
    // Names out of order, as some writers left them: a set all the same, sorted.
    let bytes = version_1(&[&[("b", "1"), ("a", "2")]]);
    let reader = index::Reader::new(bytes.into()).unwrap();
    let mut entry = index::Series::default();
    reader.series(reader.all_postings().unwrap().iter().next().unwrap(), &mut entry).unwrap();
    assert_eq!(reader.labels(&entry).unwrap().to_string(), r#"{a="2", b="1"}"#);
    // No text: an error that says so.
    let mut bytes = version_1(&[&[("b", "1"), ("a", "2")]]);
    let at = bytes.iter().position(|b| *b == b'b').unwrap();
    bytes[at] = 0xff;
    let len = u32::from_be_bytes(bytes[5..9].try_into().unwrap()) as usize;
    let sum = crc32c::crc32c(&bytes[9..9 + len]).to_be_bytes();
    bytes[9 + len..13 + len].copy_from_slice(&sum);
    assert!(index::Reader::new(bytes.into()).unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn r012_segments_are_addressed_by_number() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(ULID);
    std::fs::create_dir_all(&dir).unwrap();
    let mut writer = tsdb_block::chunks::Writer::with_segment_size(&dir.join("chunks"), 64).unwrap();
    let chunks: Vec<Vec<u8>> = (1..=3).map(|n| xor_chunk(20 + n)).collect();
    let references: Vec<u64> = chunks.iter().map(|c| writer.write(Encoding::Xor, c).unwrap()).collect();
    writer.finish().unwrap();
    assert_eq!(references.iter().map(|r| r >> 32).collect::<Vec<_>>(), [0, 1, 2]);
    std::fs::remove_file(dir.join("chunks/000001")).unwrap();
    // What is no number is no segment.
    std::fs::write(dir.join("chunks/000002.tmp"), "x").unwrap();
    let reader = tsdb_block::chunks::Reader::open(&dir.join("chunks")).unwrap();
    for n in [1, 2] {
        assert_eq!(reader.chunk(references[n]).unwrap().1, chunks[n], "segment {}", n + 1);
    }
    let error = reader.chunk(references[0]).unwrap_err().to_string();
    assert!(error.contains("000001"), "{error}");
}

/// Values whose bits matter, through our own block and back.
#[test]
fn r015_every_bit_of_a_float_survives() {
    let payload = f64::from_bits(0x7ff8_0000_dead_beef);
    let values = [
        payload,
        f64::from_bits(model::STALE_NAN_BITS),
        0.0,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE / 2.0,
        f64::from_bits(1),
        f64::MAX,
        -1.5,
    ];
    for first in 0..values.len() {
        let rotated: Vec<f64> = (0..values.len()).map(|i| values[(first + i) % values.len()]).collect();
        let (mut a, mut b) = (xor::Encoder::new(), xor2::Encoder::new());
        for (i, v) in rotated.iter().enumerate() {
            a.push(i as i64 * 15_000, *v).unwrap();
            b.push(0, i as i64 * 15_000, *v).unwrap();
        }
        for (encoding, data) in [(Encoding::Xor, a.finish()), (Encoding::Xor2, b.finish())] {
            let mut out = Samples::default();
            chunkenc::decode(encoding, &data, &mut out).unwrap();
            let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&out.values), bits(&rotated), "{encoding:?}");
        }
    }
}
