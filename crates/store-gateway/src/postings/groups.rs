//! Which postings lists a set of matchers needs.
//!
//! Holds the translation of matchers into keys to add and keys to take away, one group a label name
//! (upstream `toPostingGroup`, `mergeKeys`; Prometheus' `PostingsForMatchers`). It reads lists of values
//! and places from the header only. Invariant: a missing label is the empty value, for every kind of
//! matcher.

use std::collections::BTreeMap;

use model::{MatchType, Matcher};

use crate::error::Result;
use crate::index_header::{ListRange, Reader};

/// Label values with the places of their lists, ascending by value.
pub(super) type Keys = Vec<(String, ListRange)>;

/// What the matchers on one label name ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) matchers: Vec<Matcher>,
    /// All series but those of `remove`; else those of `add`.
    pub(super) add_all: bool,
    pub(super) add: Keys,
    pub(super) remove: Keys,
    /// Not read: the matchers are applied to the series.
    pub(super) lazy: bool,
}

impl Group {
    /// The group of the list of all series.
    pub(super) fn all_series(range: ListRange) -> Group {
        Group {
            name: String::new(),
            matchers: Vec::new(),
            add_all: false,
            add: vec![(String::new(), range)],
            remove: Vec::new(),
            lazy: false,
        }
    }

    /// References in the lists of the group.
    pub(super) fn cardinality(&self) -> u64 {
        // A list has its length, its count and its checksum besides the references.
        self.keys().iter().map(|(_, r)| (r.end - r.start).saturating_sub(12) / 4).sum()
    }

    /// The keys that decide.
    pub(super) fn keys(&self) -> &Keys {
        if self.add_all { &self.remove } else { &self.add }
    }
}

/// Groups by ascending name; `None` where nothing can match.
pub(super) fn groups(matchers: &[Matcher], header: &Reader) -> Result<Option<Vec<Group>>> {
    let mut by_name: BTreeMap<&str, Vec<&Matcher>> = BTreeMap::new();
    for m in matchers {
        let same = by_name.entry(&m.name).or_default();
        if !same.contains(&m) {
            same.push(m);
        }
    }
    let mut out = Vec::with_capacity(by_name.len());
    for (name, matchers) in by_name {
        let mut merged: Option<Group> = None;
        // One walk over the values serves all matchers that need one.
        let mut values: Option<Keys> = None;
        for matcher in &matchers {
            let group = group(matcher, header, &mut values)?;
            let group = match merged.take() {
                None => group,
                Some(before) => before.and(group),
            };
            if !group.add_all && group.add.is_empty() {
                return Ok(None);
            }
            merged = Some(group);
        }
        if let Some(mut group) = merged {
            group.name = name.to_owned();
            group.matchers = matchers.into_iter().cloned().collect();
            out.push(group);
        }
    }
    Ok(Some(out))
}

impl Group {
    fn adding(add: Keys) -> Group {
        Group { add_all: false, add, ..Group::everything(Vec::new()) }
    }

    fn everything(remove: Keys) -> Group {
        Group {
            name: String::new(),
            matchers: Vec::new(),
            add_all: true,
            add: Vec::new(),
            remove,
            lazy: false,
        }
    }

    /// Both conditions on the same label: a series has one value of it.
    fn and(self, other: Group) -> Group {
        match (self.add_all, other.add_all) {
            (true, true) => {
                let mut remove = self.remove;
                remove.extend(other.remove);
                remove.sort_by(|a, b| a.0.cmp(&b.0));
                remove.dedup_by(|a, b| a.0 == b.0);
                Group::everything(remove)
            }
            (false, false) => Group::adding(keep(self.add, &other.add, true)),
            (true, false) => Group::adding(keep(other.add, &self.remove, false)),
            (false, true) => Group::adding(keep(self.add, &other.remove, false)),
        }
    }
}

/// The keys that are (or are not) in the sorted `others`.
fn keep(keys: Keys, others: &Keys, present: bool) -> Keys {
    let has = |value: &str| others.binary_search_by(|(v, _)| v.as_str().cmp(value)).is_ok();
    keys.into_iter().filter(|(v, _)| has(v) == present).collect()
}

/// The lists of those of `values` that exist.
fn existing(header: &Reader, name: &str, mut values: Vec<&str>) -> Result<Keys> {
    values.sort_unstable();
    values.dedup();
    let ranges = header.lookup(name, &values)?;
    Ok(values.into_iter().zip(ranges).filter_map(|(v, r)| Some((v.to_owned(), r?))).collect())
}

/// All values of `name`, walked once.
fn all<'v>(header: &Reader, name: &str, values: &'v mut Option<Keys>) -> Result<&'v Keys> {
    if values.is_none() {
        let mut keys = Vec::new();
        header.values(name, |value, range| keys.push((value.to_owned(), range)))?;
        *values = Some(keys);
    }
    Ok(values.get_or_insert_default())
}

fn group(m: &Matcher, header: &Reader, values: &mut Option<Keys>) -> Result<Group> {
    let name = m.name.as_str();
    match (m.kind, m.value.as_str()) {
        (MatchType::Regexp, ".*") => return Ok(Group::everything(Vec::new())),
        (MatchType::NotRegexp, ".*") => return Ok(Group::adding(Vec::new())),
        _ => {}
    }
    let words = || m.set_matches().map(|set| set.iter().map(String::as_str).collect::<Vec<_>>());
    if m.matches_empty() {
        // Series without the label match too, so it is said which ones do not.
        return Ok(Group::everything(match m.kind {
            MatchType::NotEqual => existing(header, name, vec![&m.value])?,
            MatchType::NotRegexp if words().is_some() => existing(header, name, words().unwrap_or_default())?,
            _ => all(header, name, values)?.iter().filter(|(v, _)| !m.matches(v)).cloned().collect(),
        }));
    }
    Ok(Group::adding(match m.kind {
        MatchType::Equal => existing(header, name, vec![&m.value])?,
        MatchType::Regexp if words().is_some() => existing(header, name, words().unwrap_or_default())?,
        _ => all(header, name, values)?.iter().filter(|(v, _)| m.matches(v)).cloned().collect(),
    }))
}
