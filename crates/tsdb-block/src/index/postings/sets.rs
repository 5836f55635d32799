//! Set operations on ascending lists.
//!
//! Holds intersection, union and difference over anything indexable ([`Postings`]): arrays of
//! `u32`, and the big-endian words of an index without converting them first. Invariant: inputs
//! ascend; where they do not, results are wrong but every index stays in bounds.
//!
//! Each loop works in blocks of eight: where one list lags by a whole block it gallops, else eight
//! steps run without a branch that depends on data (mispredictions cost more than the steps).

use super::List;

const BLOCK: usize = 8;

/// A list that the set operations can read.
pub trait Postings: Copy {
    /// Number of references.
    fn count(self) -> usize;
    /// The reference at `i`, which must be below [`Postings::count`].
    fn at(self, i: usize) -> u32;
}

impl Postings for &[u32] {
    #[inline(always)]
    fn count(self) -> usize {
        self.len()
    }
    #[inline(always)]
    fn at(self, i: usize) -> u32 {
        self[i]
    }
}

impl Postings for List<'_> {
    #[inline(always)]
    fn count(self) -> usize {
        self.as_words().len()
    }
    #[inline(always)]
    fn at(self, i: usize) -> u32 {
        u32::from_be_bytes(self.as_words()[i])
    }
}

/// First index from `from` on whose reference is at least `x`, by doubling steps.
#[inline]
fn gallop<P: Postings>(p: P, from: usize, x: u32) -> usize {
    let n = p.count();
    let (mut low, mut step) = (from, BLOCK);
    while low + step < n && p.at(low + step) < x {
        low += step;
        step *= 2;
    }
    let mut high = n.min(low + step);
    while low < high {
        let mid = low + (high - low) / 2;
        if p.at(mid) < x { low = mid + 1 } else { high = mid }
    }
    low
}

/// References in both lists.
pub fn intersect<A: Postings, B: Postings>(a: A, b: B) -> Vec<u32> {
    let (n, m) = (a.count(), b.count());
    let mut out = vec![0u32; n.min(m)];
    let (mut i, mut j, mut k) = (0, 0, 0);
    while i + BLOCK <= n && j + BLOCK <= m && k + BLOCK <= out.len() {
        if a.at(i + BLOCK - 1) < b.at(j) {
            i = gallop(a, i + BLOCK, b.at(j));
            continue;
        }
        if b.at(j + BLOCK - 1) < a.at(i) {
            j = gallop(b, j + BLOCK, a.at(i));
            continue;
        }
        for _ in 0..BLOCK {
            let (x, y) = (a.at(i), b.at(j));
            out[k] = x;
            k += usize::from(x == y);
            i += usize::from(x <= y);
            j += usize::from(y <= x);
        }
    }
    while i < n && j < m && k < out.len() {
        let (x, y) = (a.at(i), b.at(j));
        if x < y {
            i = gallop(a, i, y);
        } else if y < x {
            j = gallop(b, j, x);
        } else {
            out[k] = x;
            (i, j, k) = (i + 1, j + 1, k + 1);
        }
    }
    out.truncate(k);
    out
}

/// References in all lists; none for no list. The shortest lists meet first.
pub fn intersect_all<P: Postings>(lists: &[P]) -> Vec<u32> {
    let mut order: Vec<P> = lists.to_vec();
    order.sort_by_key(|p| p.count());
    match *order.as_slice() {
        [] => Vec::new(),
        [only] => (0..only.count()).map(|i| only.at(i)).collect(),
        [a, b, ref rest @ ..] => {
            let mut found = intersect(a, b);
            for p in rest {
                if found.is_empty() {
                    break;
                }
                found = intersect(found.as_slice(), *p);
            }
            found
        }
    }
}

/// References in either list, each once.
pub fn union<A: Postings, B: Postings>(a: A, b: B) -> Vec<u32> {
    let (n, m) = (a.count(), b.count());
    let mut out = vec![0u32; n + m];
    let (mut i, mut j, mut k) = (0, 0, 0);
    while i < n && j < m {
        let (x, y) = (a.at(i), b.at(j));
        out[k] = x.min(y);
        k += 1;
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    for r in i..n {
        out[k] = a.at(r);
        k += 1;
    }
    for r in j..m {
        out[k] = b.at(r);
        k += 1;
    }
    out.truncate(k);
    out
}

/// References in any list, each once: lists are merged in pairs, round by round.
pub fn union_all<P: Postings>(lists: &[P]) -> Vec<u32> {
    let mut round: Vec<Vec<u32>> = lists
        .chunks(2)
        .map(|pair| match *pair {
            [a, b] => union(a, b),
            [a] => (0..a.count()).map(|i| a.at(i)).collect(),
            _ => Vec::new(),
        })
        .collect();
    while round.len() > 1 {
        round = round
            .chunks_mut(2)
            .map(|pair| match pair {
                [a, b] => union(a.as_slice(), b.as_slice()),
                [a] => std::mem::take(a),
                _ => Vec::new(),
            })
            .collect();
    }
    round.pop().unwrap_or_default()
}

/// References of `a` that are not in `b`.
pub fn subtract<A: Postings, B: Postings>(a: A, b: B) -> Vec<u32> {
    let (n, m) = (a.count(), b.count());
    let mut out = vec![0u32; n];
    let (mut i, mut j, mut k) = (0, 0, 0);
    while i + BLOCK <= n && j + BLOCK <= m {
        if b.at(j + BLOCK - 1) < a.at(i) {
            j = gallop(b, j + BLOCK, a.at(i));
            continue;
        }
        for _ in 0..BLOCK {
            let (x, y) = (a.at(i), b.at(j));
            out[k] = x;
            k += usize::from(x < y);
            i += usize::from(x <= y);
            j += usize::from(y <= x);
        }
    }
    while i < n {
        let x = a.at(i);
        while j < m && b.at(j) < x {
            j += 1;
        }
        if j >= m || b.at(j) != x {
            out[k] = x;
            k += 1;
        }
        i += 1;
    }
    out.truncate(k);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    fn stored(list: &[u32]) -> Vec<u8> {
        let mut out = Vec::new();
        super::super::encode(list, &mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn agree_with_sets(
            a in proptest::collection::btree_set(0u32..3000, 0..400),
            b in proptest::collection::btree_set(0u32..60_000, 0..400),
            c in proptest::collection::btree_set(0u32..300, 0..200),
        ) {
            let flat = |s: &BTreeSet<u32>| s.iter().copied().collect::<Vec<_>>();
            let (va, vb, vc) = (flat(&a), flat(&b), flat(&c));
            let (sa, sb, sc) = (stored(&va), stored(&vb), stored(&vc));
            let (la, lb, lc) =
                (super::super::decode(&sa).unwrap(), super::super::decode(&sb).unwrap(), super::super::decode(&sc).unwrap());
            let both: Vec<u32> = a.intersection(&b).copied().collect();
            prop_assert_eq!(&intersect(va.as_slice(), vb.as_slice()), &both);
            prop_assert_eq!(&intersect(la, lb), &both);
            prop_assert_eq!(&intersect(lb, va.as_slice()), &both);
            let less: Vec<u32> = a.difference(&c).copied().collect();
            prop_assert_eq!(&subtract(va.as_slice(), vc.as_slice()), &less);
            prop_assert_eq!(&subtract(la, lc), &less);
            let mut all = a.clone();
            all.extend(&b);
            all.extend(&c);
            prop_assert_eq!(&union_all(&[la, lb, lc]), &flat(&all));
            let three: Vec<u32> = a.iter().filter(|x| b.contains(x) && c.contains(x)).copied().collect();
            prop_assert_eq!(&intersect_all(&[la, lb, lc]), &three);
        }

        #[test]
        fn disorder_is_harmless(a: Vec<u32>, b: Vec<u32>) {
            let _ = (intersect(a.as_slice(), b.as_slice()), union(a.as_slice(), b.as_slice()));
            let _ = (subtract(a.as_slice(), b.as_slice()), intersect_all(&[a.as_slice(), b.as_slice()]));
        }
    }

    #[test]
    fn edges() {
        assert!(intersect_all::<&[u32]>(&[]).is_empty());
        assert!(union_all::<&[u32]>(&[]).is_empty());
        assert_eq!(union_all(&[&[3u32, 4][..]]), [3, 4]);
        assert_eq!(subtract(&[1u32, 2][..], &[][..]), [1, 2]);
        assert!(super::super::decode(&[0, 0, 0, 8, 0, 0, 0, 9]).is_err());
    }
}
