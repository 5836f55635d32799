//! One side of a binary operator between vectors, held while the other streams past.
//!
//! Holds the rows of the "one" side by signature. It knows no operator. Invariant: a signature has one
//! sample a step at most; where two rows of one signature meet, that is noted and becomes an error as soon
//! as the other side has any sample at that step. Read `probe` next.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::Labels;

use super::Signature;
use crate::column::Column;
use crate::error::QueryError;
use crate::exec::op::{Env, Row};

/// How a side is held.
#[derive(Clone, Debug)]
pub(crate) struct BuildSpec {
    /// What rows match by.
    pub signature: Signature,
    /// Whether only presence matters (`and`, `unless`).
    pub presence: bool,
    /// What refusals of memory name.
    pub what: Arc<str>,
}

/// All rows of one signature, as one.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// Their samples.
    pub column: Column,
    /// Their labels, in order.
    pub rows: Vec<Labels>,
    /// Which row each step's sample is of, where there are several.
    pub owner: Option<Vec<u32>>,
}

impl Side {
    /// The row whose sample stands at step `i`.
    pub(crate) fn owner(&self, i: usize) -> usize {
        self.owner.as_ref().map_or(0, |o| o[i] as usize)
    }
}

/// A side that was read to its end.
#[derive(Debug, Default)]
pub(crate) struct Build {
    index: HashMap<Labels, usize>,
    /// By signature.
    pub sides: Vec<Side>,
    /// Every row in order: its signature, and its number there.
    pub order: Vec<(u32, u32)>,
    /// Steps at which two rows of one signature meet: the later row's labels, the earlier one's.
    pub conflicts: BTreeMap<u32, (Labels, Labels)>,
    /// What was charged for it.
    pub charged: u64,
}

impl Build {
    /// The number of a signature.
    pub(crate) fn find(&self, signature: &Labels) -> Option<usize> {
        self.index.get(signature).copied()
    }

    /// The number of a signature, which is added if it is new.
    pub(crate) fn find_or_add(&mut self, signature: &Labels) -> usize {
        match self.index.get(signature) {
            Some(at) => *at,
            None => {
                self.index.insert(signature.clone(), self.sides.len());
                self.sides.push(Side::default());
                self.sides.len() - 1
            }
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: &mut Row, spec: &BuildSpec, env: &Env) -> Result<(), QueryError> {
        let signature = spec.signature.of(&row.labels);
        let bits = row.column.present.len() * 8;
        // A side with its entry in the index, both in lists that may be twice as long as needed.
        let place = 2 * size_of::<Side>() + 128;
        let bytes = match spec.presence {
            true => signature.byte_len() + place + bits,
            false => signature.byte_len() + row.bytes() as usize + place,
        } as u64;
        env.meter.charge(bytes, &spec.what)?;
        self.charged += bytes;
        let at = self.find_or_add(&signature);
        let side = &mut self.sides[at];
        if spec.presence {
            match side.column.present.is_empty() {
                true => side.column.present = std::mem::take(&mut row.column.present),
                false => side.column.present.iter_mut().zip(&row.column.present).for_each(|(a, b)| *a |= b),
            }
            return Ok(());
        }
        self.order.push((at as u32, side.rows.len() as u32));
        let labels = std::mem::take(&mut row.labels);
        if side.rows.is_empty() {
            side.column = std::mem::take(&mut row.column);
            side.rows.push(labels);
            return Ok(());
        }
        join(side, labels, std::mem::take(&mut row.column), &mut self.conflicts);
        Ok(())
    }
}

/// Adds a further row to a side.
fn join(side: &mut Side, labels: Labels, column: Column, conflicts: &mut BTreeMap<u32, (Labels, Labels)>) {
    let steps = column.len();
    let number = side.rows.len() as u32;
    let owner = side.owner.get_or_insert_with(|| vec![0; steps]);
    let mut hists = column.hists.into_iter().peekable();
    let mut new_hists = Vec::new();
    for (word, bits) in column.present.iter().enumerate() {
        let mut left = *bits;
        while left != 0 {
            let i = word * 64 + left.trailing_zeros() as usize;
            left &= left - 1;
            let hist = hists.next_if(|h| h.index as usize == i);
            if side.column.has(i) {
                let earlier = || side.rows[owner[i] as usize].clone();
                conflicts.entry(i as u32).or_insert_with(|| (labels.clone(), earlier()));
                continue;
            }
            owner[i] = number;
            side.column.set(i, column.values[i]);
            new_hists.extend(hist);
        }
    }
    if !new_hists.is_empty() {
        side.column.hists.extend(new_hists);
        side.column.hists.sort_by_key(|h| h.index);
    }
    side.rows.push(labels);
}
