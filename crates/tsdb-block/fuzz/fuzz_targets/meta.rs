//! Bytes as `meta.json`: no panic, memory within bounds, and what is read survives being written.
#![no_main]

#[path = "../heap.rs"]
mod heap;

use libfuzzer_sys::fuzz_target;
use tsdb_block::meta::BlockMeta;

fuzz_target!(|data: &[u8]| {
    let Ok(meta) = heap::bounded(data, || BlockMeta::parse(data)) else { return };
    let text = meta.to_json();
    assert_eq!(BlockMeta::parse(&text).expect("our own text"), meta);
    let _ = (meta.external_labels(), meta.resolution());
});
