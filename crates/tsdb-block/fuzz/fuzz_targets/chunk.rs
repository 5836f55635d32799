//! A byte that names the encoding, and data: no panic, memory within bounds, and all ways of reading
//! agree.
#![no_main]

#[path = "../heap.rs"]
mod heap;

use libfuzzer_sys::fuzz_target;
use model::Samples;
use tsdb_block::chunkenc::{self, Encoding, aggr, lossless, reencode};
use tsdb_block::chunks;

fuzz_target!(|input: &[u8]| {
    let _ = heap::bounded(input, || chunks::parse(input).is_ok());
    let Some((byte, data)) = input.split_first() else { return };
    let Ok(encoding) = Encoding::try_from(*byte) else { return };
    if encoding == Encoding::Aggr {
        let parts = heap::bounded(data, || aggr::Aggregates::parse(data));
        if let Ok(parts) = parts {
            assert_eq!(aggr::Aggregates::parse(&parts.encode()).expect("our own bytes"), parts);
        }
        let _ = chunkenc::time_range(encoding, data);
        return;
    }
    let all = heap::bounded(data, || {
        let mut out = Samples::default();
        let read = chunkenc::decode(encoding, data, &mut out);
        assert!(read.is_ok() || out.is_empty(), "an error leaves nothing behind");
        read.map(|()| out)
    });
    let exact = heap::bounded(data, || lossless::read(encoding, data));
    let range = heap::bounded(data, || chunkenc::time_range(encoding, data));
    let Ok(all) = all else { return };
    assert!(all.values.len() == all.ts.len() && all.ts.len() <= 65_535);
    // The exact form takes more memory, so its allowance may end earlier.
    assert!(exact.is_ok_and(|exact| exact.samples.len() == all.ts.len()) || all.ts.len() > 1000);
    assert_eq!(range.expect("what decodes has a range").is_some(), !all.ts.is_empty());
    let Ok((encoding, bytes)) = reencode::drop_start_timestamps(encoding, data) else { return };
    let mut again = Samples::default();
    chunkenc::decode(encoding, &bytes, &mut again).expect("our own bytes");
    assert_eq!(again.ts, all.ts);
    assert!(again.values.iter().zip(&all.values).all(|(a, b)| a.to_bits() == b.to_bits()));
});
