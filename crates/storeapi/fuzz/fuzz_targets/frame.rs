//! Bytes as a frame of a Series answer: no panic, memory within bounds, and what is read survives
//! being written.
#![no_main]

#[path = "../heap.rs"]
mod heap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use storeapi::codec::{Frame, decode, encode, frame_len};
use storeapi::Item;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let (read, used) = heap::peak(|| decode(&bytes));
    assert!(used <= 64 * data.len() + (1 << 20), "{used} bytes for {} of input", data.len());
    let Ok(Some(item)) = read else { return };
    let frame = match item.clone() {
        Item::Series(all) => Frame::Batch(all),
        Item::Warning(text) => Frame::Warning(text),
        Item::Hints(any) => Frame::Hints(any),
    };
    let mut out = Vec::new();
    encode(&frame, &mut out);
    assert_eq!(out.len(), frame_len(&frame));
    assert_eq!(decode(&out.into()).expect("our own frame"), Some(item));
});
