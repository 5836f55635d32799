//! Bytes as each of the requests and answers that are read by generated code: no panic, memory within
//! bounds, and matchers become ours or an error.
#![no_main]

#[path = "../heap.rs"]
mod heap;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use storeapi_proto::{convert, info, thanos};

fn read<M: Message + Default>(data: &[u8]) -> Option<M> {
    let (read, used) = heap::peak(|| M::decode(data));
    assert!(used <= 64 * data.len() + (1 << 20), "{used} bytes for {} of input", data.len());
    read.ok()
}

fuzz_target!(|data: &[u8]| {
    if let Some(request) = read::<thanos::SeriesRequest>(data) {
        let _ = convert::matchers(&request.matchers);
    }
    let _ = read::<thanos::LabelNamesRequest>(data);
    let _ = read::<thanos::LabelValuesRequest>(data);
    let _ = read::<thanos::LabelNamesResponse>(data);
    let _ = read::<thanos::LabelValuesResponse>(data);
    let _ = read::<info::InfoResponse>(data);
});
