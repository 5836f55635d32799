//! `info()`: labels of info series, such as `target_info`, on the series they belong to.
//!
//! Holds which info series to select and how they are joined, on `instance` and `job`. It knows no
//! storage: the caller selects and samples them. Invariant: a label that the series has stays as it
//! is, and of several info series with one name and identity the newest sample decides at each step.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder, MatchType, Matcher};

use super::absent;
use crate::Column;

/// The labels by which a series and its info series know each other.
const IDENTITY: [&str; 2] = ["instance", "job"];

/// The default info metric.
const TARGET_INFO: &str = "target_info";

/// A call of `info()`.
#[derive(Clone, Debug)]
pub(crate) struct Info {
    /// Which metric names are info metrics.
    names: Vec<Matcher>,
    /// Which labels are wanted, and with which values; all if empty.
    data: Vec<Matcher>,
}

/// A row of the result.
#[derive(Clone, Debug)]
pub(crate) struct Enriched {
    /// The row of the input it comes from.
    pub(crate) base: usize,
    /// Its labels.
    pub(crate) labels: Labels,
    /// Its samples.
    pub(crate) column: Column,
}

/// A name, and the values of the identifying labels.
type Identity = (String, [Option<String>; 2]);

fn identity(name: &str, labels: &Labels) -> Identity {
    (name.to_owned(), IDENTITY.map(|l| labels.get(l).map(str::to_owned)))
}

fn fixed(kind: MatchType, name: &str, value: &str) -> Option<Matcher> {
    Matcher::new(kind, name, value).ok()
}

/// Escapes what means something in a pattern.
fn literal(out: &mut String, text: &str) {
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
}

impl Info {
    /// Takes the matchers of the second argument, if there is one.
    pub(crate) fn new(selector: Option<&[Matcher]>) -> Self {
        let (mut names, data): (Vec<_>, Vec<_>) =
            selector.unwrap_or_default().iter().cloned().partition(|m| m.name == METRIC_NAME);
        let positive = |m: &Matcher| matches!(m.kind, MatchType::Equal | MatchType::Regexp);
        if names.is_empty() {
            names.extend(fixed(MatchType::Equal, METRIC_NAME, TARGET_INFO));
        } else if !names.iter().any(positive) {
            // Exclusions alone: of all that is called an info metric.
            let all = fixed(MatchType::Regexp, METRIC_NAME, ".+_info");
            names = all.into_iter().chain(names).collect();
        }
        Info { names, data }
    }

    /// Whether a series is an info series itself, and stays as it is.
    fn is_info(&self, labels: &Labels) -> bool {
        self.names.iter().all(|m| m.matches(labels.metric_name()))
    }

    /// What to select for these series; nothing where none of them has an identity.
    pub(crate) fn matchers<'l>(&self, series: impl IntoIterator<Item = &'l Labels>) -> Option<Vec<Matcher>> {
        let mut values: BTreeMap<&str, std::collections::BTreeSet<&str>> = BTreeMap::new();
        for labels in series.into_iter().filter(|labels| !self.is_info(labels)) {
            for name in IDENTITY {
                if let Some(value) = labels.get(name).filter(|v| !v.is_empty()) {
                    values.entry(name).or_default().insert(value);
                }
            }
        }
        if values.is_empty() {
            return None;
        }
        let any_of = |(name, values): (&str, std::collections::BTreeSet<&str>)| {
            let mut pattern = String::new();
            for value in values {
                if !pattern.is_empty() {
                    pattern.push('|');
                }
                literal(&mut pattern, value);
            }
            fixed(MatchType::Regexp, name, &pattern)
        };
        let identities = values.into_iter().filter_map(any_of);
        Some(identities.chain(self.data.iter().cloned()).chain(self.names.iter().cloned()).collect())
    }

    /// Joins. The columns of `infos` hold the times of the samples in milliseconds, not their values.
    ///
    /// # Errors
    /// Prometheus' text where info series are histograms, duplicates, or contradict each other.
    pub(crate) fn join(
        &self,
        base: Vec<(Labels, Column)>,
        infos: &[(Labels, Column)],
    ) -> Result<Vec<Enriched>, String> {
        if let Some((labels, _)) = infos.iter().find(|(_, column)| !column.hists.is_empty()) {
            return Err(format!("this should be an info metric, with float samples: {labels}"));
        }
        let newest = Newest::of(&base, infos)?;
        let mut out = Vec::with_capacity(base.len());
        let mut refused: Option<(usize, String)> = None;
        for (at, (labels, column)) in base.into_iter().enumerate() {
            if self.is_info(&labels) {
                out.push(Enriched { base: at, labels, column });
                continue;
            }
            match self.enrich(at, &labels, column, &newest, infos) {
                Ok(rows) => out.extend(rows),
                // The earliest step's refusal is the one that is told.
                Err(e) => match &refused {
                    Some((step, _)) if *step <= e.0 => {}
                    _ => refused = Some(e),
                },
            }
        }
        refused.map_or(Ok(out), |(_, text)| Err(text))
    }

    /// One series' rows: one for each choice of info series over the steps.
    fn enrich(
        &self,
        base: usize,
        labels: &Labels,
        column: Column,
        newest: &Newest,
        infos: &[(Labels, Column)],
    ) -> Result<Vec<Enriched>, (usize, String)> {
        let sources: Vec<&Vec<u32>> =
            newest.names.iter().filter_map(|name| newest.by_identity.get(&identity(name, labels))).collect();
        let choice =
            |step: usize| -> Vec<u32> { sources.iter().map(|s| s[step]).filter(|i| *i != NONE).collect() };
        // Without info series a series stays unless a matcher asks for a label's value.
        let needed = self.data.iter().any(|m| !m.matches(""));
        let mut rows: Vec<(Vec<u32>, Option<Enriched>)> = Vec::new();
        let mut hists = column.hists.iter().peekable();
        for step in column.steps() {
            let hist = hists.next_if(|h| h.index as usize == step);
            let choice = choice(step);
            let row = match rows.iter().position(|(c, _)| *c == choice) {
                Some(row) => row,
                None => {
                    let enriched = if choice.is_empty() && needed {
                        None
                    } else {
                        let labels = self.labels(labels, &choice, infos).map_err(|text| (step, text))?;
                        let mut empty = Column::default();
                        empty.reset(column.len());
                        Some(Enriched { base, labels, column: empty })
                    };
                    rows.push((choice, enriched));
                    rows.len() - 1
                }
            };
            if let Some(row) = &mut rows[row].1 {
                match hist {
                    Some(h) => row.column.push_histogram(step, h.histogram.clone()),
                    None => row.column.set(step, column.values[step]),
                }
            }
        }
        Ok(rows.into_iter().filter_map(|(_, row)| row).collect())
    }

    /// The labels of a series with those of its info series.
    fn labels(&self, base: &Labels, choice: &[u32], infos: &[(Labels, Column)]) -> Result<Labels, String> {
        let wanted = |name: &str| self.data.is_empty() || self.data.iter().any(|m| m.name == name);
        let mut added: BTreeMap<&str, &str> = BTreeMap::new();
        for info in choice {
            for (name, value) in &infos[*info as usize].0 {
                if name == METRIC_NAME || !wanted(name) {
                    continue;
                }
                if added.get(name).is_some_and(|v| !v.is_empty() && *v != value) {
                    return Err(format!("conflicting label: {name}"));
                }
                if !base.has(name) {
                    added.insert(name, value);
                }
            }
        }
        let mut builder = LabelsBuilder::new(base);
        for (name, value) in added {
            builder.set(name, value);
        }
        Ok(builder.labels())
    }
}

/// No info series at a step.
const NONE: u32 = u32::MAX;

/// Which info series counts at each step.
struct Newest {
    /// Names of info metrics, ascending.
    names: Vec<String>,
    /// For each identity the index of the info series at each step.
    by_identity: HashMap<Identity, Vec<u32>>,
}

impl Newest {
    fn of(base: &[(Labels, Column)], infos: &[(Labels, Column)]) -> Result<Self, String> {
        let mut names: Vec<String> = infos.iter().map(|(l, _)| l.metric_name().to_owned()).collect();
        names.sort();
        names.dedup();
        let mut by_identity: HashMap<Identity, Vec<u32>> = HashMap::new();
        // The first pair that disagrees, by step and by the later series of the pair.
        let mut duplicate: Option<(usize, usize, usize)> = None;
        let mut occupied: Vec<u64> = Vec::new();
        for (_, column) in base {
            absent::mark(&mut occupied, column);
        }
        let occupied = |step: usize| occupied.get(step / 64).is_some_and(|word| word >> (step % 64) & 1 == 1);
        for (at, (labels, column)) in infos.iter().enumerate() {
            let chosen = by_identity
                .entry(identity(labels.metric_name(), labels))
                .or_insert_with(|| vec![NONE; column.len()]);
            for step in column.steps() {
                let held = chosen[step];
                let earlier = infos.get(held as usize).map(|(_, c)| c.values[step]);
                let time = column.values[step];
                match earlier {
                    Some(earlier) if earlier > time => {}
                    Some(earlier) if earlier == time => {
                        let found = (step, at, held as usize);
                        if duplicate.is_none_or(|d| found < d) && occupied(step) {
                            duplicate = Some(found);
                        }
                    }
                    _ => chosen[step] = at as u32,
                }
            }
        }
        if let Some((step, new, held)) = duplicate {
            let at = |i: usize| format!("{} @ {}", infos[i].0, infos[i].1.values[step] as i64);
            return Err(format!(
                "found duplicate series for info metric: existing {}, new {}",
                at(held),
                at(new)
            ));
        }
        Ok(Newest { names, by_identity })
    }
}
