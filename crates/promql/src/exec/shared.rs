//! Selections that several selectors share: read once, or as often as needed where they are too large to
//! keep.
//!
//! Holds the started selections of a run and what was kept of them. It knows no operator. Invariant: at
//! most [`MOST_KEPT`] bytes of a selection are kept, charged to the run; a selection that is larger, or
//! for which there is no room, is asked of the store again instead. Warnings are passed on once.

use std::sync::Arc;

use model::{Labels, Samples};

use crate::error::QueryError;
use crate::exec::op::Env;
use crate::storage::{Queryable, Selection, SeriesSet};

/// Most bytes kept of one selection.
const MOST_KEPT: u64 = 32 << 20;

/// Everything a run selects.
pub(crate) struct Sources<'r> {
    store: &'r dyn Queryable,
    all: Vec<Shared>,
}

struct Shared {
    selection: Selection,
    started: Option<Box<dyn SeriesSet>>,
    uses: usize,
    kept: Option<Arc<Vec<(Labels, Samples)>>>,
    bytes: u64,
}

impl<'r> Sources<'r> {
    /// Starts all selections, each with the number of times it will be read.
    pub(crate) fn start(store: &'r dyn Queryable, selections: Vec<(Selection, usize)>) -> Self {
        let start = |(selection, uses): (Selection, usize)| {
            let started = Some(store.select(&selection));
            Shared { selection, started, uses, kept: None, bytes: 0 }
        };
        Sources { store, all: selections.into_iter().map(start).collect() }
    }

    /// Starts one more, and returns its index.
    pub(crate) fn add(&mut self, selection: Selection) -> usize {
        let started = Some(self.store.select(&selection));
        self.all.push(Shared { selection, started, uses: 1, kept: None, bytes: 0 });
        self.all.len() - 1
    }

    /// Begins to read a selection.
    pub(crate) fn open<'s>(&mut self, at: usize, env: &'s Env) -> Reader<'s> {
        let shared = &mut self.all[at];
        shared.uses = shared.uses.saturating_sub(1);
        let last = shared.uses == 0;
        if let Some(kept) = &shared.kept {
            let kept = Arc::clone(kept);
            return Reader { at, env, from: From::Kept(kept, 0), keep: None, bytes: 0 };
        }
        let set = shared.started.take().unwrap_or_else(|| self.store.select(&shared.selection));
        let keep = (!last).then(Vec::new);
        Reader { at, env, from: From::Store(set), keep, bytes: 0 }
    }

    /// Ends reading: what is to be read again is kept, what is not is dropped.
    pub(crate) fn close(&mut self, mut reader: Reader<'_>) -> Vec<String> {
        let shared = &mut self.all[reader.at];
        if let Some(keep) = reader.keep.take() {
            (shared.kept, shared.bytes) = (Some(Arc::new(keep)), reader.bytes);
        } else if shared.uses == 0 && shared.kept.take().is_some() {
            reader.env.meter.release(shared.bytes);
        }
        match &mut reader.from {
            From::Store(set) => set.warnings(),
            From::Kept(..) => Vec::new(),
        }
    }
}

/// A selection being read.
pub(crate) struct Reader<'s> {
    at: usize,
    env: &'s Env,
    from: From,
    keep: Option<Vec<(Labels, Samples)>>,
    bytes: u64,
}

enum From {
    Store(Box<dyn SeriesSet>),
    Kept(Arc<Vec<(Labels, Samples)>>, usize),
}

impl Reader<'_> {
    /// The next series, as [`SeriesSet::next`].
    pub(crate) fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, QueryError> {
        let labels = match &mut self.from {
            From::Kept(kept, at) => {
                let Some((labels, have)) = kept.get(*at) else { return Ok(None) };
                *at += 1;
                samples.clone_from(have);
                return Ok(Some(labels.clone()));
            }
            From::Store(set) => set.next(samples).map_err(QueryError::Storage)?,
        };
        if let (Some(labels), Some(keep)) = (&labels, &mut self.keep) {
            let hists: usize = samples.hists.iter().map(|h| h.histogram.size() + 16).sum();
            let each = 16 + if samples.start_ts.is_empty() { 0 } else { 8 };
            let bytes = (labels.byte_len() + 128 + each * samples.len() + hists) as u64;
            let fits = self.bytes + bytes <= MOST_KEPT
                && self.env.meter.charge(bytes, &"a selection that is used twice").is_ok();
            if fits {
                self.bytes += bytes;
                keep.push((labels.clone(), samples.clone()));
            } else {
                self.env.meter.release(self.bytes);
                (self.keep, self.bytes) = (None, 0);
            }
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineOptions;
    use crate::exec::meter::Meter;
    use crate::storage::StorageError;

    struct Store;

    struct Set(usize);

    impl Queryable for Store {
        fn select(&self, _: &Selection) -> Box<dyn SeriesSet> {
            Box::new(Set(0))
        }
    }

    impl SeriesSet for Set {
        fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
            samples.clear();
            samples.push(self.0 as i64, 1.0);
            self.0 += 1;
            Ok((self.0 <= 3).then(|| Labels::from_pairs([("i", self.0.to_string())])))
        }

        fn warnings(&mut self) -> Vec<String> {
            vec!["once".to_owned()]
        }
    }

    fn read(sources: &mut Sources<'_>, env: &Env) -> (Vec<String>, bool, usize) {
        let mut reader = sources.open(0, env);
        let mut samples = Samples::default();
        let mut labels = Vec::new();
        while let Some(next) = reader.next(&mut samples).unwrap() {
            labels.push(next.to_string());
        }
        let kept = matches!(reader.from, From::Kept(..));
        (labels, kept, sources.close(reader).len())
    }

    #[test]
    fn what_is_read_twice_is_kept_and_warned_of_once() {
        let options = std::sync::Arc::new(EngineOptions::default());
        let env = Env::new(options, None, 1, Default::default(), Meter::new(None));
        let mut sources = Sources::start(&Store, vec![(Selection::default(), 2)]);
        let (first, second) = (read(&mut sources, &env), read(&mut sources, &env));
        assert_eq!(first.0.len(), 3);
        assert_eq!(first.0, second.0);
        assert_eq!(((first.1, first.2), (second.1, second.2)), ((false, 1), (true, 0)));
        assert!(sources.all[0].kept.is_none());
    }
}
