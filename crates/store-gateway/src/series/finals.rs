//! Final labels, written straight from symbols.
//!
//! Holds where external labels go among a series' own and which are left out. It reads no entry.
//! Invariants: external labels win over a series' own, replica labels are gone, labels with an empty
//! value are not there, and names ascend.

use model::{Labels, LabelsWriter};
use storeapi::sort::lower_bound;

use crate::error::Result;
use crate::index_header::Symbols;

/// Whether the order of final labels follows closely from that of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// No series carries a label that is added or removed: only prefixes of label sets can move.
    Kept,
    /// Some may.
    Lost,
}

/// What is known of a label name once it was seen.
#[derive(Clone, Debug)]
struct Name {
    symbol: u32,
    text: String,
    /// How many external labels sort before it.
    external_before: usize,
    /// Replaced by an external label, or taken out.
    dropped: bool,
}

/// Makes final labels.
#[derive(Debug)]
pub(super) struct Finals {
    /// External labels that stay.
    external: Vec<(String, String)>,
    added: Labels,
    removed: Vec<String>,
    /// By position within the last series: series in a row carry the same names.
    names: Vec<Name>,
    writer: LabelsWriter,
}

impl Finals {
    pub(super) fn new(external: &Labels, removed: &[String]) -> Self {
        let added = Labels::from_sorted(external.without(removed).iter().filter(|(_, v)| !v.is_empty()));
        Finals {
            external: added.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            added,
            removed: removed.to_vec(),
            names: Vec::new(),
            writer: LabelsWriter::default(),
        }
    }

    pub(super) fn order(&self, has_name: impl Fn(&str) -> bool) -> Order {
        let touched = self.external.iter().map(|(n, _)| n).chain(&self.removed);
        if touched.into_iter().any(|name| has_name(name)) { Order::Lost } else { Order::Kept }
    }

    /// The final labels of a series with these symbols.
    #[inline]
    pub(super) fn labels(&mut self, pairs: &[(u32, u32)], symbols: &mut Symbols) -> Result<Labels> {
        // Symbols ascend as their texts do; entries of broken writers are sorted first.
        if !pairs.windows(2).all(|w| w[0].0 < w[1].0) {
            return self.unsorted(pairs, symbols);
        }
        self.writer.clear();
        let mut external = 0;
        for (i, (name, value)) in pairs.iter().enumerate() {
            if self.names.get(i).is_none_or(|n| n.symbol != *name) {
                self.learn(i, *name, symbols)?;
            }
            let known = &self.names[i];
            for (n, v) in &self.external[external..known.external_before.max(external)] {
                self.writer.push(n, v);
            }
            external = external.max(known.external_before);
            if !known.dropped {
                let value = symbols.get(*value)?;
                if !value.is_empty() {
                    self.writer.push(&known.text, value);
                }
            }
        }
        for (n, v) in &self.external[external..] {
            self.writer.push(n, v);
        }
        Ok(self.writer.labels())
    }

    #[cold]
    fn learn(&mut self, i: usize, symbol: u32, symbols: &mut Symbols) -> Result<()> {
        let text = symbols.get(symbol)?.to_owned();
        let name = Name {
            symbol,
            external_before: self.external.partition_point(|(n, _)| *n < text),
            dropped: self.external.iter().any(|(n, _)| *n == text) || self.removed.contains(&text),
            text,
        };
        match self.names.get_mut(i) {
            Some(known) => *known = name,
            None => self.names.push(name),
        }
        Ok(())
    }

    #[cold]
    fn unsorted(&mut self, pairs: &[(u32, u32)], symbols: &mut Symbols) -> Result<Labels> {
        let own = self.own(pairs, symbols)?;
        Ok(own.without(&self.removed).extended_with(&self.added))
    }

    fn own(&self, pairs: &[(u32, u32)], symbols: &mut Symbols) -> Result<Labels> {
        let mut texts = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let name = symbols.get(*name)?.to_owned();
            texts.push((name, symbols.get(*value)?.to_owned()));
        }
        texts.retain(|(_, v)| !v.is_empty());
        Ok(Labels::from_pairs(texts))
    }

    /// The least final labels of any series at or after the one with these symbols, where order is kept.
    pub(super) fn bound(&self, pairs: &[(u32, u32)], symbols: &mut Symbols) -> Result<Labels> {
        Ok(lower_bound(&self.own(pairs, symbols)?, &self.added))
    }
}
