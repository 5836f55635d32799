//! Which postings are cheaper to leave unread.
//!
//! Holds upstream's choice (`optimizePostingsFetchByDownloadedBytes`): lists are read in order of their
//! length while they save more bytes of series than they cost; the rest of the matchers is applied to
//! the series. It reads nothing. Invariant: at least one group that adds series is read.

use super::groups::Group;
use crate::metrics::Metrics;

/// Share of series that one more group is assumed to leave over.
const MATCH_RATIO: f64 = 0.5;

/// `--store.enable-lazy-expanded-postings` and its ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LazyOptions {
    /// Whether anything is left unread.
    pub enabled: bool,
    /// Keys per selected series above which a group is left unread; 0 for no bound.
    pub max_keys_per_series: f64,
}

/// Marks groups as lazy and sorts them by length.
pub(super) fn choose(groups: &mut [Group], series_size: u64, options: LazyOptions, metrics: &Metrics) {
    groups.sort_by(|a, b| (a.cardinality(), &a.name).cmp(&(b.cardinality(), &b.name)));
    let Some(first) = groups.iter().position(|g| !g.add_all) else { return };
    if first + 1 >= groups.len() {
        return;
    }
    let half = |n: i64| (n as f64 * MATCH_RATIO).ceil() as i64;
    let of = |g: &Group| i64::try_from(g.cardinality()).unwrap_or(i64::MAX);
    let series_size = i64::try_from(series_size).unwrap_or(i64::MAX);
    let negative: i64 = groups[..first].iter().map(of).fold(0, i64::saturating_add);
    let mut matched = of(&groups[first]).saturating_sub(half(negative));
    let most = matched;
    let mut next = first + 1;
    while next < groups.len() && matched > 0 {
        let group = &mut groups[next];
        let cardinality = of(group);
        let keys = group.keys().len() as f64;
        if options.max_keys_per_series > 0.0 && most > 0 && keys / most as f64 > options.max_keys_per_series {
            mark(group, "keys_limit", metrics);
            next += 1;
            continue;
        }
        let spared = if group.add_all {
            let spared = half(cardinality.min(matched));
            matched -= spared;
            spared
        } else {
            let spared = (matched as f64 * (1.0 - MATCH_RATIO)).ceil() as i64;
            matched = half(matched);
            spared
        };
        if cardinality.saturating_mul(4) > spared.saturating_mul(series_size) {
            break;
        }
        next += 1;
    }
    for group in &mut groups[next..] {
        mark(group, "postings_size", metrics);
    }
}

fn mark(group: &mut Group, reason: &str, metrics: &Metrics) {
    group.lazy = true;
    metrics.lazy_size.inc_by(4 * group.cardinality());
    metrics.lazy_groups.with_label_values(&[reason]).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, lists: &[u64], add_all: bool) -> Group {
        let keys = lists.iter().enumerate().map(|(i, n)| (i.to_string(), 0..12 + 4 * n)).collect();
        let mut g = Group::all_series(0..0);
        g.name = name.to_owned();
        g.add_all = add_all;
        if add_all {
            (g.remove, g.add) = (keys, Vec::new());
        } else {
            g.add = keys;
        }
        g
    }

    #[test]
    fn long_lists_are_left_unread_when_series_are_few() {
        let registry = component::metrics::Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let options = LazyOptions { enabled: true, max_keys_per_series: 100.0 };
        let lazy = |mut groups: Vec<Group>| -> Vec<(String, bool)> {
            choose(&mut groups, 512, options, &metrics);
            groups.into_iter().map(|g| (g.name, g.lazy)).collect()
        };
        let of = |n: &str, l| (n.to_owned(), l);
        // 10 series of 512 bytes are cheaper than a list of a million references.
        assert_eq!(
            lazy(vec![group("all", &[1_000_000], false), group("few", &[10], false)]),
            [of("few", false), of("all", true)]
        );
        // 100,000 series are not.
        assert_eq!(
            lazy(vec![group("a", &[100_000], false), group("b", &[200_000], false)]),
            [of("a", false), of("b", false)]
        );
        // Too many keys for one series.
        assert_eq!(
            lazy(vec![group("a", &[1], false), group("keys", &[1; 101], false)]),
            [of("a", false), of("keys", true)]
        );
        // Only what is taken away is left: nothing to gain.
        assert_eq!(
            lazy(vec![group("not", &[5], true), group("a", &[9], false)]),
            [of("not", false), of("a", false)]
        );
    }
}
