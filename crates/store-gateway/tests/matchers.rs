//! Matchers against a naive scan.

mod common;

use std::collections::BTreeSet;

use common::blocks::{RawChunk, Spec, floats};
use model::{Labels, MatchType, Matcher};
use store_gateway::LazyOptions;
use store_gateway::store::Options;
use storeapi::{Call, Store as _};
use storeapi_proto::{convert, thanos};

/// A small generator of numbers: tests are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

const NAMES: [&str; 4] = ["__name__", "a", "b", "ü"];
const VALUES: [&str; 9] = ["a", "A", "ab", "a|b", "b", "bc", "é", "0", "longer value"];
const PATTERNS: [&str; 27] = [
    ".*",
    ".+",
    "",
    "^$",
    "a||b",
    "(a|)",
    "(?i)a",
    "(?i)a|b",
    "^a$",
    "a.*",
    ".*b",
    ".*b.*",
    "[ab]",
    "[a-c]+",
    "a|b|ab|bc|0",
    "a\\|b",
    "é|ü",
    "(a)(b)?",
    "b?",
    "0|",
    "x",
    "x|y",
    ".",
    "..",
    "(?i:AB)|0",
    "longer.*|a",
    "a+",
];

/// R042: all operators and odd patterns, negative-only sets, external labels: equal to a naive scan, for
/// series, names and values; eager and lazy postings alike, cold and cached.
#[tokio::test(flavor = "multi_thread")]
async fn r042_matchers_select_what_a_naive_scan_selects() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut sets = BTreeSet::new();
    while sets.len() < 150 {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for name in NAMES {
            if dice.roll(3) > 0 {
                pairs.push((name, dice.one(&VALUES)));
            }
        }
        if !pairs.is_empty() {
            sets.insert(Labels::from_pairs(pairs));
        }
    }
    let chunk = || -> Vec<RawChunk> { vec![floats(&[(10, 1.0)])] };
    let dir = tempfile::tempdir().unwrap();
    let external = Labels::from_pairs([("cluster", "one")]);
    Spec::new(1, sets.iter().map(|l| (l.clone(), chunk())).collect()).write(dir.path());
    let eager = common::over(dir.path(), Options::default()).await;
    let options = Options {
        lazy_postings: LazyOptions { enabled: true, max_keys_per_series: 0.5 },
        estimates: store_gateway::Estimates { series: 1, chunk: 16_000 },
        ..Options::default()
    };
    let lazy = common::over(dir.path(), options).await;
    let finals: Vec<Labels> = sets.iter().map(|l| l.extended_with(&external)).collect();
    let kinds = [MatchType::Equal, MatchType::NotEqual, MatchType::Regexp, MatchType::NotRegexp];
    let mut selected = 0;
    for round in 0..600 {
        let matchers: Vec<Matcher> = (0..1 + dice.roll(4))
            .map(|_| {
                let kind = kinds[dice.roll(4)];
                let name = dice.one(&["__name__", "a", "b", "ü", "cluster", "missing"]);
                let value = match kind {
                    MatchType::Equal | MatchType::NotEqual => {
                        dice.one(&["a", "A", "ab", "a|b", "b", "", "x", "one"])
                    }
                    _ => dice.one(&PATTERNS),
                };
                Matcher::new(kind, name, value).unwrap()
            })
            .collect();
        // Upstream answers nothing where all matchers are decided by external labels.
        if matchers.iter().all(|m| m.name == "cluster") {
            continue;
        }
        let want: Vec<&Labels> = {
            let fits = |l: &&Labels| matchers.iter().all(|m| m.matches(l.value(&m.name)));
            let mut all: Vec<&Labels> = finals.iter().filter(fits).collect();
            all.sort();
            all
        };
        selected += want.len();
        let wire = convert::to_matchers(&matchers);
        for opened in [&eager, &lazy] {
            let mut request = common::request(&[]);
            request.matchers = wire.clone();
            let answer = common::series(&opened.store, request).await.unwrap();
            let got: Vec<&Labels> = answer.series.iter().map(|s| &s.labels).collect();
            assert_eq!(got, want, "round {round}: {matchers:?}");

            let names = thanos::LabelNamesRequest {
                start: i64::MIN,
                end: i64::MAX,
                matchers: wire.clone(),
                ..Default::default()
            };
            let got = opened.store.label_names(names, Call::internal("t")).await.unwrap().names;
            let want_names: BTreeSet<&str> = want.iter().flat_map(|l| l.iter()).map(|(n, _)| n).collect();
            assert_eq!(got, want_names.into_iter().collect::<Vec<_>>(), "{matchers:?}");

            let label = dice.one(&["a", "b", "cluster", "missing", "ü"]);
            let values = thanos::LabelValuesRequest {
                label: label.to_owned(),
                start: i64::MIN,
                end: i64::MAX,
                matchers: wire.clone(),
                ..Default::default()
            };
            let got = opened.store.label_values(values, Call::internal("t")).await.unwrap().values;
            let want_values: BTreeSet<&str> =
                want.iter().map(|l| l.value(label)).filter(|v| !v.is_empty()).collect();
            assert_eq!(got, want_values.into_iter().collect::<Vec<_>>(), "{label} of {matchers:?}");
        }
    }
    assert!(selected > 4_000, "the test selects too little: {selected}");
    let text = component::metrics::text::encode(&lazy.env.registry.gather());
    let lazily =
        text.lines().find_map(|l| l.strip_prefix("thanos_bucket_store_lazy_expanded_postings_total "));
    assert!(lazily.unwrap().parse::<f64>().unwrap() > 50.0, "postings were hardly ever lazy");
}

/// The range of a request leaves out series without a chunk in it, and chunks outside of it.
#[tokio::test(flavor = "multi_thread")]
async fn time_ranges_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let chunks =
        |from: i64| (0..3).map(|i| floats(&[(from + i * 10, 1.0), (from + i * 10 + 5, 2.0)])).collect();
    let series = [("early", 0), ("late", 100)];
    let all = series.iter().map(|(n, at)| (Labels::from_pairs([("n", *n)]), chunks(*at))).collect();
    Spec::new(1, all).write(dir.path());
    let opened = common::over(dir.path(), Options::default()).await;
    for (mint, maxt, want) in [
        (0, 0, vec![("early", 1)]),
        (5, 10, vec![("early", 2)]),
        (6, 9, vec![]),
        (25, 100, vec![("early", 1), ("late", 1)]),
        (i64::MIN, i64::MAX, vec![("early", 3), ("late", 3)]),
        (126, 900, vec![]),
    ] {
        for skip_chunks in [false, true] {
            let mut request = common::request(&[(2, "n", ".+")]);
            (request.min_time, request.max_time, request.skip_chunks) = (mint, maxt, skip_chunks);
            let answer = common::series(&opened.store, request).await.unwrap();
            let got: Vec<(&str, usize)> =
                answer.series.iter().map(|s| (s.labels.value("n"), s.chunks.len())).collect();
            let want: Vec<_> = want.iter().map(|(n, c)| (*n, if skip_chunks { 0 } else { *c })).collect();
            assert_eq!(got, want, "{mint}..={maxt}");
        }
    }
}
