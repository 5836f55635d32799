//! Label sets that must not meet at a step.
//!
//! Holds the check behind Prometheus' "vector cannot contain metrics with the same labelset". It knows
//! label sets by their hash, as Prometheus does. Invariant: rows that repeat a label set at other steps
//! pass (they are one series in the end) unless the check is strict. Read `kinds` for where a float and a
//! histogram may meet.

use std::collections::HashMap;

use crate::column::Column;
use crate::error::QueryError;
use crate::exec::op::{Cx, Op, Row, same_labelset};

/// Which steps the rows of one label set have taken so far.
#[derive(Debug)]
struct Taken {
    first: u32,
    last: u32,
    /// The steps themselves, where interleaving rows are to be expected.
    bits: Option<Box<[u64]>>,
}

/// Remembers which label sets were seen at which steps.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    sets: HashMap<u64, Taken>,
    exact: bool,
}

impl Seen {
    /// `exact` where several rows of one label set are to be expected.
    pub(crate) fn new(exact: bool) -> Self {
        Seen { sets: HashMap::new(), exact }
    }

    /// The steps taken by this hash, where they are known.
    pub(crate) fn steps(&self, hash: u64) -> Option<&[u64]> {
        self.sets.get(&hash)?.bits.as_deref()
    }

    /// Adds a row. Returns whether it meets an earlier one of the same labels.
    pub(crate) fn collides(&mut self, hash: u64, column: &Column) -> bool {
        let (Some(first), Some(last)) = (column.first(), column.last()) else { return false };
        let (first, last) = (first as u32, last as u32);
        match self.sets.get_mut(&hash) {
            None => {
                let bits = self.exact.then(|| Box::from(column.present.as_slice()));
                self.sets.insert(hash, Taken { first, last, bits });
                false
            }
            Some(taken) => {
                let apart = last < taken.first || first > taken.last;
                let meet = !apart
                    && match &taken.bits {
                        Some(bits) => bits.iter().zip(&column.present).any(|(a, b)| a & b != 0),
                        None => true,
                    };
                (taken.first, taken.last) = (taken.first.min(first), taken.last.max(last));
                if let Some(bits) = &mut taken.bits {
                    bits.iter_mut().zip(&column.present).for_each(|(a, b)| *a |= b);
                }
                meet
            }
        }
    }
}

/// Fails the query where two rows with the same labels meet.
pub(crate) struct Distinct {
    seen: Seen,
    /// Whether equal labels are an error even where they do not meet.
    strict: bool,
}

impl Distinct {
    /// For results of calls on range vectors: equal labels are an error wherever they stand.
    pub(crate) fn strict() -> Self {
        Distinct { seen: Seen::new(false), strict: true }
    }

    /// For everything else; `exact` as in [`Seen::new`].
    pub(crate) fn per_step(exact: bool) -> Self {
        Distinct { seen: Seen::new(exact), strict: false }
    }
}

impl Op for Distinct {
    fn is_gate(&self) -> bool {
        true
    }

    fn apply(&mut self, row: &mut Row, _more: &mut Vec<Row>, _cx: &mut Cx<'_>) -> Result<bool, QueryError> {
        let hash = row.labels.hash64();
        let fails = match self.strict {
            true => {
                let taken = Taken { first: 0, last: 0, bits: None };
                self.seen.sets.insert(hash, taken).is_some()
            }
            false => self.seen.collides(hash, &row.column),
        };
        if fails { Err(same_labelset()) } else { Ok(true) }
    }
}
