//! Tests of `codec`.

use proptest::prelude::*;
use storeapi_proto::thanos;

use super::*;

fn series() -> impl Strategy<Value = Series> {
    let chunk = (0i32..6, proptest::collection::vec(any::<u8>(), 0..40), any::<u64>())
        .prop_map(|(encoding, data, hash)| Chunk { encoding, data: data.into(), hash });
    let parts = proptest::collection::btree_map(0usize..6, chunk, 0..4);
    let aggr = (any::<i64>(), any::<i64>(), parts).prop_map(|(min_time, max_time, parts)| AggrChunk {
        min_time,
        max_time,
        parts: parts.into_iter().map(|(a, chunk)| Part { aggr: Aggr::ALL[a], chunk }).collect(),
    });
    let labels = proptest::collection::btree_map("[a-zé_]{1,140}", ".{0,6}", 0..5);
    (labels, proptest::collection::vec(aggr, 0..4))
        .prop_map(|(l, chunks)| Series { labels: Labels::from_pairs(l), chunks })
}

fn message(frame: &Frame) -> thanos::SeriesResponse {
    use thanos::series_response::Result as R;
    let result = match frame {
        Frame::Series(s) => R::Series(crate::series::to_message(s)),
        Frame::Batch(all) => {
            R::Batch(thanos::SeriesBatch { series: all.iter().map(crate::series::to_message).collect() })
        }
        Frame::Warning(w) => R::Warning(w.clone()),
        Frame::Hints(h) => R::Hints(h.clone()),
    };
    thanos::SeriesResponse { result: Some(result) }
}

proptest! {
    /// Both directions agree with the generated codec, byte for byte.
    #[test]
    fn frames_are_the_generated_ones(all in proptest::collection::vec(series(), 1..4), batch: bool) {
        let frame = if batch { Frame::Batch(all.clone()) } else { Frame::Series(all[0].clone()) };
        let mut out = Vec::new();
        encode(&frame, &mut out);
        prop_assert_eq!(out.len(), frame_len(&frame));
        prop_assert_eq!(&out, &message(&frame).encode_to_vec());
        let back = decode(&out.into()).unwrap().unwrap();
        let want = if batch { all } else { vec![all[0].clone()] };
        prop_assert_eq!(back, Item::Series(want));
    }

    /// Whatever the bytes, decoding ends in a value or an error.
    #[test]
    fn garbage_is_refused_or_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), all in series(), cut in 0usize..300, flip in 0usize..300) {
        let _ = decode(&bytes.clone().into());
        bytes.clear();
        encode(&Frame::Series(all), &mut bytes);
        let n = bytes.len().max(1);
        if let Some(b) = bytes.get_mut(flip % n) { *b ^= 0x15; }
        bytes.truncate(cut);
        let _ = decode(&bytes.into());
    }
}

#[test]
fn warnings_and_hints_travel() {
    for frame in [
        Frame::Warning("a store is down".into()),
        Frame::Hints(prost_types::Any { type_url: "t/x".into(), value: vec![1, 2] }),
    ] {
        let mut out = Vec::new();
        encode(&frame, &mut out);
        assert_eq!(out, message(&frame).encode_to_vec());
        let want = match frame {
            Frame::Warning(w) => Item::Warning(w),
            Frame::Hints(h) => Item::Hints(h),
            _ => unreachable!(),
        };
        assert_eq!(decode(&out.into()).unwrap(), Some(want));
    }
}

#[test]
fn disorder_and_lying_lengths_are_named() {
    let msg = thanos::SeriesResponse {
        result: Some(thanos::series_response::Result::Series(thanos::Series {
            labels: vec![
                thanos::Label { name: "b".into(), value: "1".into() },
                thanos::Label { name: "a".into(), value: "1".into() },
            ],
            chunks: vec![],
        })),
    };
    assert_eq!(decode(&msg.encode_to_vec().into()).unwrap_err().what, "labels are not sorted");
    let lie = Bytes::from_static(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(decode(&lie).unwrap_err(), Malformed { at: 8, what: "length beyond the frame" });
}

#[test]
fn chunks_that_say_nothing_are_left_out_however_many_bytes_they_take() {
    // Empty, a zero written out, and a field nobody knows.
    let chunks: [&[u8]; 3] = [b"\x12\x00", b"\x12\x02\x08\x00", b"\x12\x02\x78\x01"];
    let mut series = vec![0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b'];
    series.extend(chunks.concat());
    let mut frame = vec![0x0a, series.len() as u8];
    frame.extend(series);
    let labels = Labels::from_pairs([("a", "b")]);
    let wanted = Item::Series(vec![Series { labels, chunks: vec![] }]);
    assert_eq!(decode(&frame.into()).unwrap(), Some(wanted));
}
