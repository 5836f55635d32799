//! What is counted of a query is what one thread would count, whatever is done in parallel.

use std::fmt::Write as _;
use std::sync::OnceLock;

use model::{Labels, Millis, Samples};
use promql::explain::Figures;
use promql::testing::{Memory, load};
use promql::{Collect, Engine, EngineOptions, QueryError, QueryOptions, SampleStats, StatsLevel, parse};
use proptest::prelude::*;

/// Enough series for several batches: with gaps, stale markers, histograms, and samples at times of their
/// own and at common ones.
fn store() -> &'static Memory {
    static STORE: OnceLock<Memory> = OnceLock::new();
    STORE.get_or_init(|| {
        let mut text = "load 10s\n".to_owned();
        for i in 0..150 {
            let gap = match i % 7 {
                0 => "_x5 stale 3+1.5x20",
                3 => "_x40",
                _ => "",
            };
            let _ = writeln!(
                text,
                "  a{{g=\"{}\", i=\"{i}\"}} 0.1+{}.{i}x30 {gap} 7+0.3x40",
                i % 5,
                i % 13
            );
            if i % 10 == 0 {
                let _ = writeln!(text, "  b{{g=\"{}\", i=\"{i}\"}} 1+1x{}", i % 3, 10 + i % 50);
            }
            if i % 6 == 0 {
                let size = i % 4;
                let _ = writeln!(
                    text,
                    "  h{{g=\"{}\", i=\"{i}\"}} {{{{schema:0 sum:1 count:{} buckets:[1{}]}}}}+{{{{schema:0 sum:1 count:1 buckets:[1]}}}}x{}",
                    i % 2,
                    1 + size,
                    " 1".repeat(size),
                    20 + i % 40
                );
            }
        }
        text.push_str("\nload 7s\n");
        for i in 0..20 {
            let _ = writeln!(text, "  c{{g=\"{}\", i=\"{i}\"}} 1+{i}x80", i % 5);
        }
        load(&text).unwrap()
    })
}

/// Everything a query gives, floats by their bits.
type Given = (Vec<(Labels, Vec<Millis>, Vec<u64>)>, Option<u64>, Vec<String>, SampleStats, Vec<Figures>);

fn run(query: &str, step: Millis, threads: usize, max_samples: usize) -> Result<Given, QueryError> {
    let engine = Engine::new(EngineOptions {
        parser: parse::Options::all(),
        threads,
        max_samples,
        ..EngineOptions::default()
    });
    let options = QueryOptions { stats: StatsLevel::PerStep, analyze: true, ..QueryOptions::default() };
    let query = match step {
        0 => engine.instant(query, 300_000, options)?,
        _ => engine.range(query, 0, 600_000, step, options)?,
    };
    let mut out = Collect::default();
    let outcome = query.run(store(), &mut out)?;
    let row = |(labels, samples): (Labels, Samples)| {
        (labels, samples.ts, samples.values.iter().map(|v| v.to_bits()).collect())
    };
    let (warnings, infos) = outcome.annotations.render(&query.text(), 0, 0);
    let figures = outcome.analysis.iter().flat_map(|tree| tree.operators());
    Ok((
        out.series.into_iter().map(row).collect(),
        out.scalar.map(|(_, v)| v.to_bits()),
        warnings.into_iter().chain(infos).collect(),
        outcome.stats.samples.unwrap_or_default(),
        figures.map(|o| Figures { time: Default::default(), ..o.figures }).collect(),
    ))
}

fn is_same_with_threads(query: &str, step: Millis, max_samples: usize) -> Result<Given, QueryError> {
    let one = run(query, step, 1, max_samples);
    for threads in [2, 5] {
        assert_eq!(run(query, step, threads, max_samples), one, "{query}, at most {max_samples}");
    }
    one
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "a{g=\"1\"}",
        "b offset 30s",
        "c",
        "h",
        "{__name__=~\"a|b\"}",
        "a @ 120",
        "b smoothed",
        "timestamp(a)",
        "rate(a[1m])",
        "rate(a[1m] @ 200)",
        "increase(c[30s])",
        "increase(c[30s] anchored)",
        "rate(h[2m])",
        "max_over_time(a[5m])",
        "count_over_time({__name__=~\"[bh]\"}[2m])",
        "sum_over_time(h[90s])",
        "predict_linear(c[2m] @ 300, 60)",
        "vector(time())",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 12, 2, |inner| {
        let around = prop::sample::select(vec![
            "sum by (g) (X)",
            "avg(X)",
            "topk(2, X)",
            "count_values(\"v\", X)",
            "quantile by (g) (scalar(max(b)) / 100, X)",
            "abs(X)",
            "sqrt(abs(X))",
            "-X",
            "X > 3",
            "X * scalar(sum(b))",
            "timestamp(X)",
            "absent(X)",
            "max_over_time(X[2m:15s])",
            "sum_over_time(abs(X)[1m:20s])",
            "count_over_time(X[2m:20s] @ 300)",
            "label_replace(X, \"n\", \"$1\", \"i\", \"(.).*\")",
            "histogram_count(X)",
            "sort(X)",
        ]);
        let between = prop::sample::select(vec![
            "X + on (g, i) Y",
            "X / on (g) group_left () sum by (g) (Y)",
            "X and on (g) Y",
            "X unless on (i) Y",
            "X or Y",
            "sum(X) - sum(Y)",
        ]);
        prop_oneof![
            3 => (around, inner.clone()).prop_map(|(form, x)| form.replace('X', &format!("({x})"))),
            2 => (between, inner.clone(), inner).prop_map(|(form, x, y)| {
                form.replace('X', "\0").replace('Y', &format!("({y})")).replace('\0', &format!("({x})"))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_do_not_depend_on_the_number_of_threads(
        query in expression(),
        step in prop::sample::select(vec![0, 7_000, 10_000, 60_000]),
        part in 0..100usize,
    ) {
        let unlimited = is_same_with_threads(&query, step, 0);
        let Ok((.., stats, _)) = &unlimited else { return Ok(()) };
        // The peak is what the limit is held against (rows of `smoothed` are in no peak, and yet may not be
        // more).
        if stats.peak > 0 && !query.contains("smoothed") {
            prop_assert_eq!(&is_same_with_threads(&query, step, stats.peak), &unlimited);
        }
        for limit in [stats.peak.saturating_sub(1), stats.peak * part / 100] {
            if limit > 0 {
                prop_assert_eq!(is_same_with_threads(&query, step, limit), Err(QueryError::TooManySamples));
            }
        }
    }

    #[test]
    fn of_two_errors_the_same_one_is_reported(query in expression(), limit in 1..100_000usize) {
        let query = format!("abs(abs(-({query}))) + on (i) abs({{__name__=~\"a|b\"}})");
        let _ = is_same_with_threads(&query, 10_000, limit);
    }
}

#[test]
fn the_first_series_in_order_decides_what_a_query_fails_with() {
    let samples = |query| run(query, 10_000, 1, 0).unwrap().3.total as usize;
    let (all, next) = (samples("a"), samples("b{i=\"0\"}"));
    // The first of `b` repeats labels of the first of `a` once names are gone.
    let error = |limit| is_same_with_threads("sqrt(abs({__name__=~\"a|b\"}))", 10_000, limit).unwrap_err();
    for limit in [1_000, all - 1, all, all + next - 1] {
        assert_eq!(error(limit), QueryError::TooManySamples);
    }
    let twice = "vector cannot contain metrics with the same labelset";
    assert_eq!(error(all + next).to_string(), twice);
    assert_eq!(error(0).to_string(), twice);
}
