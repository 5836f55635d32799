//! Sorting and heaps as Go does them, ties included.
//!
//! Holds Go's pattern-defeating quicksort (`sort.Sort`, `slices.SortFunc`) and its binary heap
//! (`container/heap`): neither is stable, and which of two equal samples comes first in `topk` or `sort()`
//! is visible. It knows no sample. Invariant: for equal comparisons the same elements change places as in
//! Go 1.25; the comparison need not be a consistent order, nothing panics then.

/// Up to this many elements are sorted by insertion.
const SHORT: usize = 12;
/// From this many on the pivot is a median of medians, and small disorder is repaired in place.
const LONG: usize = 50;
/// Exchanges while choosing a pivot that mean "descending".
const ALL_EXCHANGED: usize = 12;

/// Sorts by `less` ("comes strictly before").
pub(crate) fn sort<T>(data: &mut [T], less: impl Fn(&T, &T) -> bool) {
    let bits = usize::BITS - data.len().leading_zeros();
    let end = data.len();
    Sorter { data, less }.quick(0, end, bits);
}

struct Sorter<'d, T, L> {
    data: &'d mut [T],
    less: L,
}

#[derive(PartialEq)]
enum Guess {
    Ascending,
    Descending,
    Unknown,
}

impl<T, L: Fn(&T, &T) -> bool> Sorter<'_, T, L> {
    fn less(&self, a: usize, b: usize) -> bool {
        (self.less)(&self.data[a], &self.data[b])
    }

    fn quick(&mut self, mut lo: usize, mut hi: usize, mut bad_left: u32) {
        let (mut balanced, mut untouched) = (true, true);
        loop {
            let len = hi - lo;
            if len <= SHORT {
                return self.insertion(lo, hi);
            }
            if bad_left == 0 {
                return self.heap(lo, hi);
            }
            if !balanced {
                self.scatter(lo, hi);
                bad_left -= 1;
            }
            let (mut pivot, mut guess) = self.pivot(lo, hi);
            if guess == Guess::Descending {
                self.data[lo..hi].reverse();
                pivot = (hi - 1) - (pivot - lo);
                guess = Guess::Ascending;
            }
            if balanced && untouched && guess == Guess::Ascending && self.repair(lo, hi) {
                return;
            }
            if lo > 0 && !self.less(lo - 1, pivot) {
                // Many equal elements: those equal to the pivot are in place then.
                lo = self.part_equal(lo, hi, pivot);
                continue;
            }
            let mid;
            (mid, untouched) = self.part(lo, hi, pivot);
            let (left, right) = (mid - lo, hi - mid);
            balanced = left.min(right) >= len / 8;
            // The shorter side is taken on at once, which bounds the depth.
            if left < right {
                self.quick(lo, mid, bad_left);
                lo = mid + 1;
            } else {
                self.quick(mid + 1, hi, bad_left);
                hi = mid;
            }
        }
    }

    fn insertion(&mut self, lo: usize, hi: usize) {
        for i in lo + 1..hi {
            let mut j = i;
            while j > lo && self.less(j, j - 1) {
                self.data.swap(j, j - 1);
                j -= 1;
            }
        }
    }

    fn heap(&mut self, lo: usize, hi: usize) {
        let len = hi - lo;
        for root in (0..=(len - 1) / 2).rev() {
            self.sink(root, len, lo);
        }
        for end in (0..len).rev() {
            self.data.swap(lo, lo + end);
            self.sink(0, end, lo);
        }
    }

    fn sink(&mut self, mut root: usize, end: usize, base: usize) {
        loop {
            let mut child = 2 * root + 1;
            if child >= end {
                return;
            }
            if child + 1 < end && self.less(base + child, base + child + 1) {
                child += 1;
            }
            if !self.less(base + root, base + child) {
                return;
            }
            self.data.swap(base + root, base + child);
            root = child;
        }
    }

    /// Exchanges three elements in the middle with pseudo-random others.
    fn scatter(&mut self, lo: usize, hi: usize) {
        let len = hi - lo;
        if len < 8 {
            return;
        }
        let mut random = len as u64;
        let mask = (1usize << (usize::BITS - len.leading_zeros())) - 1;
        let middle = lo + len / 4 * 2;
        for at in middle - 1..=middle + 1 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let mut other = random as usize & mask;
            if other >= len {
                other -= len;
            }
            self.data.swap(at, lo + other);
        }
    }

    fn pivot(&self, lo: usize, hi: usize) -> (usize, Guess) {
        let len = hi - lo;
        let mut exchanged = 0;
        let (mut i, mut j, mut k) = (lo + len / 4, lo + len / 4 * 2, lo + len / 4 * 3);
        if len >= 8 {
            if len >= LONG {
                for at in [&mut i, &mut j, &mut k] {
                    *at = self.median(*at - 1, *at, *at + 1, &mut exchanged);
                }
            }
            j = self.median(i, j, k, &mut exchanged);
        }
        let guess = match exchanged {
            0 => Guess::Ascending,
            ALL_EXCHANGED => Guess::Descending,
            _ => Guess::Unknown,
        };
        (j, guess)
    }

    fn median(&self, mut a: usize, mut b: usize, mut c: usize, exchanged: &mut usize) -> usize {
        let mut order = |x: &mut usize, y: &mut usize| {
            if self.less(*y, *x) {
                std::mem::swap(x, y);
                *exchanged += 1;
            }
        };
        order(&mut a, &mut b);
        order(&mut b, &mut c);
        order(&mut a, &mut b);
        b
    }

    /// Tries to sort with a few shifts; returns whether that was enough.
    fn repair(&mut self, lo: usize, hi: usize) -> bool {
        let mut i = lo + 1;
        for _ in 0..5 {
            while i < hi && !self.less(i, i - 1) {
                i += 1;
            }
            if i == hi {
                return true;
            }
            if hi - lo < LONG {
                return false;
            }
            self.data.swap(i, i - 1);
            if i - lo >= 2 {
                let mut j = i - 1;
                while j >= 1 && self.less(j, j - 1) {
                    self.data.swap(j, j - 1);
                    j -= 1;
                }
            }
            if hi - i >= 2 {
                let mut j = i + 1;
                while j < hi && self.less(j, j - 1) {
                    self.data.swap(j, j - 1);
                    j += 1;
                }
            }
        }
        false
    }

    /// Splits around a pivot; also returns whether nothing had to move.
    fn part(&mut self, lo: usize, hi: usize, pivot: usize) -> (usize, bool) {
        self.data.swap(lo, pivot);
        let (mut i, mut j) = (lo + 1, hi - 1);
        let mut untouched = true;
        loop {
            while i <= j && self.less(i, lo) {
                i += 1;
            }
            while i <= j && !self.less(j, lo) {
                j -= 1;
            }
            if i > j {
                break;
            }
            untouched = false;
            self.data.swap(i, j);
            i += 1;
            j -= 1;
        }
        self.data.swap(j, lo);
        (j, untouched)
    }

    /// Moves what equals the pivot to the front, where nothing is smaller; returns where the rest starts.
    fn part_equal(&mut self, lo: usize, hi: usize, pivot: usize) -> usize {
        self.data.swap(lo, pivot);
        let (mut i, mut j) = (lo + 1, hi - 1);
        loop {
            while i <= j && !self.less(lo, i) {
                i += 1;
            }
            while i <= j && self.less(lo, j) {
                j -= 1;
            }
            if i > j {
                return i;
            }
            self.data.swap(i, j);
            i += 1;
            j -= 1;
        }
    }
}

/// Adds to a heap whose first element is the least.
pub(crate) fn heap_push<T>(heap: &mut Vec<T>, value: T, less: impl Fn(&T, &T) -> bool) {
    heap.push(value);
    let mut at = heap.len() - 1;
    while at > 0 && less(&heap[at], &heap[(at - 1) / 2]) {
        heap.swap(at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

/// Replaces the first element of a heap.
pub(crate) fn heap_replace_first<T>(heap: &mut [T], value: T, less: impl Fn(&T, &T) -> bool) {
    heap[0] = value;
    let mut at = 0;
    loop {
        let mut child = 2 * at + 1;
        if child >= heap.len() {
            return;
        }
        if child + 1 < heap.len() && less(&heap[child + 1], &heap[child]) {
            child += 1;
        }
        if !less(&heap[child], &heap[at]) {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_whatever_the_pattern() {
        for n in [0, 1, 2, 11, 12, 13, 49, 50, 51, 200, 1000] {
            let patterns: [fn(usize) -> usize; 6] = [
                |i| i,
                |i| 5000 - i,
                |i| i % 3,
                |i| i * 7919 % 1009,
                |i| i / 50 * 31 % 17,
                |i| (i * i) % 257,
            ];
            for pattern in patterns {
                let mut got: Vec<usize> = (0..n).map(pattern).collect();
                let mut want = got.clone();
                want.sort_unstable();
                sort(&mut got, |a, b| a < b);
                assert_eq!(got, want);
            }
        }
    }

    #[test]
    fn a_heap_keeps_the_least_first() {
        let mut heap = Vec::new();
        for v in [5, 3, 8, 1, 9, 2] {
            heap_push(&mut heap, v, |a, b| a < b);
        }
        assert_eq!(heap[0], 1);
        heap_replace_first(&mut heap, 7, |a, b| a < b);
        assert_eq!(heap[0], 2);
        assert_eq!(heap.len(), 6);
    }

    #[test]
    fn an_inconsistent_order_ends() {
        let mut values: Vec<f64> =
            (0..500).map(|i| if i % 3 == 0 { f64::NAN } else { f64::from(i) }).collect();
        sort(&mut values, |a, b| a.is_nan() || a < b);
        assert_eq!(values.len(), 500);
    }
}
