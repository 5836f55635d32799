//! Bytes as an index, as they are and with their checksums put right: no panic, memory within bounds.
#![no_main]

#[path = "../heap.rs"]
mod heap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tsdb_block::index::{self, Reader, Series, Toc, offset_table, postings};

/// Everything a query could ask of an index.
fn read(data: &Bytes) -> tsdb_block::Result<()> {
    let reader = Reader::new(data.clone())?;
    let mut series = Series::default();
    for reference in reader.all_postings()?.iter() {
        reader.series(reference, &mut series)?;
        let _ = reader.labels(&series)?;
    }
    for name in reader.label_names() {
        for value in reader.label_values(name) {
            let _ = reader.postings(name, value)?.iter().count();
        }
    }
    Ok(())
}

/// Puts the sum right behind the body at `start..end`.
fn seal(data: &mut [u8], start: usize, end: usize) {
    if end.checked_add(4).is_some_and(|after| after <= data.len()) && start <= end {
        let sum = crc32c::crc32c(&data[start..end]).to_be_bytes();
        data[end..end + 4].copy_from_slice(&sum);
    }
}

/// Puts the sum of a section with a length of four bytes right.
fn seal_section(data: &mut [u8], at: u64) {
    let Ok(at) = usize::try_from(at) else { return };
    let Some(len) = at.checked_add(4).and_then(|end| data.get(at..end)) else { return };
    let len = u32::from_be_bytes(len.try_into().unwrap()) as usize;
    seal(data, at + 4, (at + 4).saturating_add(len));
}

/// Puts the sum of a series entry right.
fn seal_series(data: &mut [u8], at: usize) {
    let (mut len, mut shift, mut start) = (0usize, 0, at);
    while let Some(byte) = data.get(start).filter(|_| shift < 28) {
        len |= usize::from(byte & 0x7f) << shift;
        (shift, start) = (shift + 7, start + 1);
        if byte & 0x80 == 0 {
            return seal(data, start, start.saturating_add(len));
        }
    }
}

/// The same bytes with every checksum right that a reader would look at.
fn sealed(data: &[u8]) -> Option<Bytes> {
    let mut data = data.to_vec();
    let end = data.len().checked_sub(4)?;
    let start = data.len().checked_sub(index::toc::LEN)?;
    seal(&mut data, start, end);
    let toc = Toc::parse(&data).ok()?;
    let version = index::Version::parse(&data).ok()?;
    for at in [toc.symbols, toc.postings_table] {
        seal_section(&mut data, at);
    }
    let table = offset_table::body(&data, toc.postings_table).ok()?.to_vec();
    let lists: Vec<u64> = offset_table::iter(&table).ok()?.map_while(Result::ok).map(|e| e.offset).take(64).collect();
    for at in lists {
        seal_section(&mut data, at);
        let references = postings::decode_at(&data, at).map_or(Vec::new(), |list| list.iter().take(64).collect());
        for reference in references {
            seal_series(&mut data, usize::try_from(version.series_offset(reference)).ok()?);
        }
    }
    Some(data.into())
}

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let _ = heap::bounded(data, || read(&bytes));
    if let Some(bytes) = sealed(data) {
        let _ = heap::bounded(data, || read(&bytes));
    }
});
