//! Postings lists and set operations on them.
//!
//! Holds decoding of the stored big-endian list, and intersection, union and difference on arrays of
//! series references. Invariant: every list is strictly ascending, inputs and outputs alike.

use super::bytes::Cursor;
use crate::error::{Corrupt, Result};

/// The entries of a list section's body, `count u32 | count × u32 big-endian`, still as bytes.
///
/// # Errors
/// [`Corrupt`] when the count does not fit the bytes.
pub fn raw(body: &[u8], base: u64) -> Result<&[u8]> {
    let mut c = Cursor::new(body, base);
    let count = c.be32("postings count")? as usize;
    let rest = c.take(c.left(), "postings")?;
    if count.checked_mul(4) != Some(rest.len()) {
        return Err(Corrupt::new("postings count", base));
    }
    Ok(rest)
}

/// Decodes a list section's body.
///
/// # Errors
/// [`Corrupt`] when the count does not fit the bytes or the entries are not ascending.
pub fn decode(body: &[u8], base: u64) -> Result<Vec<u32>> {
    let out: Vec<u32> =
        raw(body, base)?.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
    if out.windows(2).any(|w| w[0] >= w[1]) {
        return Err(Corrupt::new("postings order", base));
    }
    Ok(out)
}

/// The entries that stand in both lists.
pub fn intersect(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (short, mut long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut out = Vec::with_capacity(short.len());
    for &x in short {
        long = &long[gallop(long, x)..];
        match long.first() {
            Some(&y) if y == x => out.push(x),
            Some(_) => {}
            None => break,
        }
    }
    out
}

/// The entries of `a` that do not stand in `b`.
pub fn subtract(a: &[u32], mut b: &[u32]) -> Vec<u32> {
    let mut out = Vec::with_capacity(a.len());
    for &x in a {
        b = &b[gallop(b, x)..];
        if b.first() != Some(&x) {
            out.push(x);
        }
    }
    out
}

/// The entries that stand in any of the lists.
pub fn union(lists: &[&[u32]]) -> Vec<u32> {
    match lists {
        [] => Vec::new(),
        [one] => one.to_vec(),
        _ => {
            let mut all = Vec::with_capacity(lists.iter().map(|l| l.len()).sum());
            lists.iter().for_each(|l| all.extend_from_slice(l));
            // Stable sort finds the runs and merges them.
            all.sort();
            all.dedup();
            all
        }
    }
}

/// Index of the first entry that is at least `x`, found by doubling steps.
#[inline]
fn gallop(list: &[u32], x: u32) -> usize {
    let mut high = 1;
    while high < list.len() && list[high - 1] < x {
        high *= 2;
    }
    let low = high / 2;
    let high = high.min(list.len());
    low + list[low..high].partition_point(|y| *y < x)
}
