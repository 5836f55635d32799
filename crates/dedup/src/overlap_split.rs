//! Splits the overlapping chunks of one series into rows without overlap.
//!
//! Replicas whose label was removed arrive as one series with all their chunks in one list. Each
//! row found here becomes one replica for [`crate::merge`]. It sees time ranges only. Invariant:
//! within a row every chunk starts after the one before it ends, and the rows are those of Thanos'
//! `NewOverlapSplit` (`pkg/dedup/iter.go`): a chunk goes to the first row that has room.

use model::Millis;

/// Assigns each chunk, given as `(min, max)` ascending by `min`, to a row; returns the number of rows.
///
/// `rows[i]` is the row of chunk `i`.
pub fn assign(ranges: impl IntoIterator<Item = (Millis, Millis)>, rows: &mut Vec<u32>) -> usize {
    rows.clear();
    // The end of each row's last chunk.
    let mut ends: Vec<Millis> = Vec::new();
    for (min, max) in ranges {
        let row = match ends.iter().position(|end| *end < min) {
            Some(row) => {
                ends[row] = max;
                row
            }
            None => {
                ends.push(max);
                ends.len() - 1
            }
        };
        rows.push(row as u32);
    }
    ends.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(ranges: &[(Millis, Millis)]) -> (Vec<u32>, usize) {
        let mut rows = Vec::new();
        let n = assign(ranges.iter().copied(), &mut rows);
        (rows, n)
    }

    #[test]
    fn chunks_fill_the_first_row_with_room() {
        assert_eq!(split(&[]), (vec![], 0));
        assert_eq!(split(&[(0, 10), (11, 20), (21, 30)]), (vec![0, 0, 0], 1));
        // Touching at one timestamp is an overlap.
        assert_eq!(split(&[(0, 10), (10, 20), (11, 12)]), (vec![0, 1, 0], 2));
        // Two replicas in step, and a long block over both.
        assert_eq!(split(&[(0, 10), (1, 11), (5, 90), (12, 20), (13, 21)]), (vec![0, 1, 2, 0, 1], 3));
    }
}
