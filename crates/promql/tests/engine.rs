//! The engine through its public face: chains, threads, limits, interruption, statistics.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use model::{Budget, Labels, Millis, Samples};
use promql::storage::EmptySeriesSet;
use promql::testing::{Memory, load as try_load};
use promql::{
    Collect, Engine, EngineOptions, ErrorKind, Interrupt, QueryError, QueryOptions, Queryable, Selection,
    SeriesSet, StatsLevel, StorageError, parse,
};

fn load(text: &str) -> Memory {
    try_load(text).unwrap()
}

fn engine(threads: usize) -> Engine {
    Engine::new(EngineOptions { parser: parse::Options::all(), threads, ..EngineOptions::default() })
}

fn range(engine: &Engine, store: &Memory, query: &str) -> Result<Collect, QueryError> {
    let mut out = Collect::default();
    engine.range(query, 0, 600_000, 10_000, QueryOptions::default())?.run(store, &mut out)?;
    Ok(out)
}

fn instant(engine: &Engine, store: &Memory, query: &str) -> Result<Collect, QueryError> {
    let mut out = Collect::default();
    engine.instant(query, 300_000, QueryOptions::default())?.run(store, &mut out)?;
    Ok(out)
}

/// Everything of a result, floats by their bits.
fn bits(out: &Collect) -> Vec<(String, Vec<Millis>, Vec<u64>)> {
    let row = |(labels, samples): &(Labels, Samples)| {
        let values = samples.values.iter().map(|v| v.to_bits()).collect();
        (labels.to_string(), samples.ts.clone(), values)
    };
    out.series.iter().map(row).collect()
}

/// Runs `f` with a stack on which nothing that recurses gets far.
fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(512 << 10).spawn(f).unwrap().join().unwrap();
}

#[test]
fn chains_of_operators_are_evaluated_without_recursion() {
    on_a_small_stack(|| {
        let store = load("load 10s\n  a 1+1x100\n  b{x=\"1\"} 2x100\n  b{x=\"2\"} 3x100");
        let engine = engine(1);
        let n = 50_000;
        let value = |query: &str| {
            let out = instant(&engine, &store, query).unwrap();
            (out.series.len(), out.series.first().and_then(|(_, s)| s.values.first().copied()), out.scalar)
        };
        let sum = vec!["a"; n].join("+");
        assert_eq!(value(&sum), (1, Some(31.0 * n as f64), None));
        // To the right.
        let power = format!("{}^0", vec!["a"; n].join("^"));
        assert_eq!(value(&power).0, 1);
        assert_eq!(value(&vec!["1"; n].join("+")).2, Some((300_000, n as f64)));
        assert_eq!(value(&vec!["time()"; 10_000].join("-")).2, Some((300_000, 300.0 * -9_998.0)));
        assert_eq!(value(&format!("a{}", "+1".repeat(n))).1, Some(31.0 + n as f64));
        assert_eq!(value(&vec!["b"; 20_000].join(" or ")).0, 2);
        assert_eq!(value(&vec!["b"; 20_000].join(" and ")).0, 2);
        assert_eq!(value(&vec!["b"; 20_001].join(" unless ")).0, 0);
        let mixed = vec!["b or on(x) a unless on(y) c"; 2_000].join(" or ");
        assert_eq!(value(&mixed).0, 3);
    });
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let mut text = "load 10s\n".to_owned();
    for i in 0..300 {
        let gap = if i % 7 == 0 { "_x5 stale 3+1.5x20" } else { "" };
        text.push_str(&format!(
            "  c_total{{g=\"{}\", i=\"{i}\"}} 0.1+{}.{}x30 {gap} 7+0.3x40\n",
            i % 5,
            i % 13,
            i
        ));
    }
    let store = load(&text);
    let (one, four) = (engine(1), engine(4));
    for query in [
        "c_total",
        "sum by (g) (rate(c_total[1m]))",
        "avg(c_total / 3)",
        "stddev by (g) (sqrt(c_total))",
        "max_over_time(rate(c_total[1m])[2m:15s])",
        "topk(3, sum_over_time(c_total[3m]))",
        "c_total - on (i, g) c_total offset 30s",
        "sum(deriv(c_total[2m])) by (g) > 0.1",
        "label_replace(c_total, \"n\", \"$1\", \"i\", \"(.).*\") > 5",
        "c_total > 10 or c_total < 3",
        "quantile by (g) (0.3, exp(c_total / 100))",
    ] {
        let want = range(&one, &store, query).unwrap();
        assert_eq!(bits(&range(&four, &store, query).unwrap()), bits(&want), "{query}");
        assert!(!want.series.is_empty(), "{query}");
        let want = instant(&one, &store, query).unwrap();
        assert_eq!(bits(&instant(&four, &store, query).unwrap()), bits(&want), "{query}");
    }
}

/// Many series of many samples, made while they are read.
struct Generated {
    series: usize,
    samples: usize,
}

struct Generator {
    next: usize,
    of: (usize, usize),
}

impl Queryable for Generated {
    fn select(&self, _: &Selection) -> Box<dyn SeriesSet> {
        Box::new(Generator { next: 0, of: (self.series, self.samples) })
    }
}

impl SeriesSet for Generator {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
        samples.clear();
        if self.next == self.of.0 {
            return Ok(None);
        }
        let i = self.next;
        self.next += 1;
        (0..self.of.1).for_each(|t| samples.push(t as Millis * 1000, (t * (i % 10)) as f64));
        let (number, zone) = (format!("{i:07}"), format!("z{}", i % 7));
        let pairs = [("__name__", "x_total"), ("i", number.as_str()), ("zone", zone.as_str())];
        Ok(Some(Labels::from_sorted(pairs)))
    }

    fn warnings(&mut self) -> Vec<String> {
        vec!["a store did not answer".to_owned()]
    }
}

#[test]
fn a_heavy_operator_ends_within_a_hundred_milliseconds_of_its_deadline() {
    let store = Generated { series: 2, samples: 400_000 };
    for threads in [1, 2] {
        for (query, step) in
            [("sum_over_time(x_total[3d])", 1), ("quantile_over_time(0.5, x_total[3d])", 1000)]
        {
            let deadline = Instant::now() + Duration::from_millis(300);
            let options = QueryOptions { interrupt: Interrupt::at(deadline), ..QueryOptions::default() };
            let query = engine(threads).range(query, 0, 400_000 * step, 100 * step, options).unwrap();
            let error = query.run(&store, &mut Collect::default()).unwrap_err();
            assert_eq!(error, QueryError::Timeout);
            assert_eq!(error.to_string(), "query timed out in expression evaluation");
        }
    }
}

#[test]
fn cancellation_ends_a_query() {
    let interrupt = Interrupt::new();
    let options = QueryOptions { interrupt: interrupt.clone(), ..QueryOptions::default() };
    let query = engine(1).range("sum(rate(x_total[5m]))", 0, 1_000_000, 1000, options).unwrap();
    let canceler = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        interrupt.cancel();
    });
    let error =
        query.run(&Generated { series: usize::MAX, samples: 1000 }, &mut Collect::default()).unwrap_err();
    canceler.join().unwrap();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Canceled, "query was canceled in expression evaluation")
    );
}

#[test]
fn memory_is_charged_and_a_refusal_names_the_selector() {
    let budget = Budget::new(4 << 20, "--memory.budget");
    let run = |query: &str, series: usize| {
        let account = Some(Arc::new(budget.account()));
        let options = QueryOptions { account, ..QueryOptions::default() };
        let query = engine(1).range(query, 0, 100_000, 1000, options).unwrap();
        query.run(&Generated { series, samples: 100 }, &mut Collect::default())
    };
    // Streams: nothing of it is held.
    run("sum by (zone) (rate(x_total[1m]))", 20_000).unwrap();
    let refused = ["x_total * on (i) x_total", "sum by (i) (x_total)", "sort_by_label(x_total, \"i\")"];
    for query in [refused[0], refused[1], "max_over_time((x_total or x_total)[1m:1s])"] {
        let error = run(query, 20_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Execution);
        let text = error.to_string();
        assert!(text.contains("--memory.budget") && text.contains("x_total"), "{text}");
    }
    assert_eq!(budget.used(), 0);
    run(refused[0], 20).unwrap();
    assert_eq!(budget.used(), 0);
}

#[test]
fn warnings_of_a_store_become_warnings_of_the_result() {
    let query = engine(2).instant("x_total + on (i) x_total", 5000, QueryOptions::default()).unwrap();
    let outcome = query.run(&Generated { series: 3, samples: 10 }, &mut Collect::default()).unwrap();
    let (warnings, infos) = outcome.annotations.render(&query.text(), 10, 10);
    assert_eq!((warnings, infos.len()), (vec!["a store did not answer".to_owned()], 0));
}

/// What was counted, as in the recorded rows.
fn counted(
    store: &Memory,
    query: &str,
    (start, end, step): (Millis, Millis, Millis),
    (limit, threads): (usize, usize),
) -> Result<String, QueryError> {
    let engine = Engine::new(EngineOptions { max_samples: limit, threads, ..EngineOptions::default() });
    let options = QueryOptions { stats: StatsLevel::PerStep, ..QueryOptions::default() };
    let query = match step {
        0 => engine.instant(query, start, options)?,
        _ => engine.range(query, start, end, step, options)?,
    };
    let stats = query.run(store, &mut Collect::default())?.stats.samples.unwrap();
    let steps = |of: Option<Vec<(Millis, i64)>>| {
        of.unwrap().into_iter().map(|(_, n)| n.to_string()).collect::<Vec<_>>().join(" ")
    };
    let (total, read) = (steps(stats.total_per_step), steps(stats.read_per_step));
    Ok(format!("{}\t{}\t{}\t{total}\t{read}", stats.peak, stats.total, stats.read))
}

#[test]
fn samples_are_counted_as_prometheus_counts_them() {
    let store = load(
        "load 10s
  f1 1+1x100
  f3{a=\"1\",b=\"1\"} 1+1x100
  f3{a=\"2\",b=\"2\"} 1+1x100
  f3{a=\"3\",b=\"2\"} 1+1x100
  h1 {{schema:1 count:5 sum:20 buckets:[1 2 1 1]}}+{{schema:1 count:10 sum:5 buckets:[1 2 3 4]}}x100",
    );
    let mut rows = 0;
    for row in include_str!("../testdata/query_statistics.tsv").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = row.splitn(5, '\t').collect();
        let number = |i: usize| fields[i].parse::<Millis>().unwrap();
        let (query, times, want) = (fields[0], (number(1), number(2), number(3)), fields[4]);
        // The peak is what the limit is held against.
        let peak: usize = want.split('\t').next().unwrap().parse().unwrap();
        for threads in [1, 4] {
            let counted = |limit| counted(&store, query, times, (limit, threads));
            assert_eq!(counted(0).unwrap(), want, "{query} {times:?}");
            if peak > 0 {
                assert_eq!(counted(peak).unwrap(), want, "{query}");
            }
            if peak > 1 {
                assert_eq!(counted(peak - 1), Err(QueryError::TooManySamples), "{query}");
            }
        }
        rows += 1;
    }
    assert!(rows > 50);
}

/// Keeps what it is asked, and has nothing.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

impl Queryable for Asked {
    fn select(&self, s: &Selection) -> Box<dyn SeriesSet> {
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let h = &s.hints;
        let by = if h.by { "by" } else { "-" };
        let (func, labels) = (or_dash(h.func.clone()), or_dash(h.grouping.join(",")));
        let row = format!("{} {} {} {} {func} {by} {labels}", s.mint, s.maxt, h.step, h.range);
        self.0.lock().unwrap().push(row);
        Box::new(EmptySeriesSet)
    }
}

#[test]
fn stores_are_told_what_prometheus_tells_its_own() {
    let engine = Engine::new(EngineOptions { lookback: 5000, ..EngineOptions::default() });
    let mut rows = 0;
    for row in include_str!("../testdata/select_hints.tsv").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = row.split('\t').collect();
        let (start, end): (Millis, Millis) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
        let query = match end {
            0 => engine.instant(fields[0], start, QueryOptions::default()),
            _ => engine.range(fields[0], start, end, 1000, QueryOptions::default()),
        };
        let asked = Asked::default();
        query.unwrap().run(&asked, &mut Collect::default()).unwrap();
        let (mut got, mut want) = (asked.0.into_inner().unwrap(), fields[3].split("; ").collect::<Vec<_>>());
        got.sort();
        want.sort_unstable();
        assert_eq!(got, want, "{row}");
        rows += 1;
    }
    assert!(rows > 40);
}

#[test]
fn extreme_times_and_steps_are_answered_or_refused() {
    let store = load("load 10s\n  a 1+1x100\n  h {{schema:0 count:3 sum:4 buckets:[1 1 1]}}x100");
    let engine = engine(1);
    let times = [Millis::MIN, -1, 0, 500_000, Millis::MAX - 1, Millis::MAX];
    for at in ["", "@ 9.2e15", "@ -9.2e15", "@ 0", "offset 290y", "offset -290y", "@ -9.2e15 offset 290y"] {
        for shape in [
            format!("a {at}"),
            format!("rate(a[290y] {at})"),
            format!("rate(a[1m] {at})"),
            format!("sum_over_time(a[290y:145y] {at})"),
            format!("max_over_time(rate(a[5m] {at})[290y:145y])"),
            format!("timestamp(a {at})"),
            format!("absent_over_time(a[5m] {at})"),
            format!("predict_linear(a[5m] {at}, 1e300)"),
            format!("a {at} smoothed"),
            format!("rate(a[5m] anchored {at})"),
            format!("info(a {at})"),
            format!("histogram_count(rate(h[5m] {at}))"),
        ] {
            for time in times {
                let query = engine.instant(&shape, time, QueryOptions::default());
                // The text of a refusal is not what is tested here: nothing overflows.
                let _ = query.map(|q| q.run(&store, &mut Collect::default()));
                let query =
                    engine.range(&shape, time, time.saturating_add(30_000), 10_000, QueryOptions::default());
                let _ = query.map(|q| q.run(&store, &mut Collect::default()));
            }
        }
    }
    for query in ["max_over_time(vector(1)[290y:1ms])", "sum_over_time((a or time() + a)[290y:1s])"] {
        let error = instant(&engine, &store, query).unwrap_err();
        assert!(error.to_string().starts_with("too many steps: "), "{error}");
    }
}

#[test]
fn matrices_ascend_whatever_sorts_around_the_name() {
    let labels = [
        "",
        "A=\"1\"",
        "A=\"1\",B=\"2\"",
        "A=\"1\",c=\"0\"",
        "Z=\"1\"",
        "__a=\"1\"",
        "a=\"1\"",
        "a=\"1\",b=\"1\"",
    ];
    let mut text = "load 10s\n".to_owned();
    for set in labels {
        text.push_str(&format!("  x_total{{{set}}} 0+1x60\n"));
    }
    text.push_str(
        "  y_total{__type__=\"counter\",b=\"1\"} 0+1x60\n  y_total{__unit__=\"s\",a=\"1\"} 0+1x60\n",
    );
    text.push_str("  y_total{a=\"2\"} 0+1x60\n  y_total{A=\"3\"} 0+1x60");
    let store = load(&text);
    for threads in [1, 3] {
        let engine = engine(threads);
        for query in [
            "x_total",
            "rate(x_total[1m])",
            "-x_total",
            "abs(x_total) * 2",
            "rate(y_total[1m])",
            "{__name__=~\"[xy]_total\"}",
            "x_total or y_total",
            "topk(3, x_total)",
            "sum by (a, A) (x_total)",
        ] {
            let out = range(&engine, &store, query).unwrap();
            assert!(out.series.len() > 1, "{query}");
            assert!(out.series.is_sorted_by(|a, b| a.0 < b.0), "{query}: {:?}", bits(&out));
        }
    }
}

#[test]
fn a_series_whose_type_changes_is_one_once_the_type_is_dropped() {
    let store = load(
        "load 10s\n  m{__type__=\"gauge\",a=\"1\"} 1x20 stale\n  m{__type__=\"counter\",a=\"1\"} _x21 2x39\n  m{a=\"2\"} 3x60",
    );
    let engine = engine(1);
    for query in ["m + 1", "abs(m)", "-m", "m * on (a, __type__) group_left () m"] {
        let out = range(&engine, &store, query).unwrap();
        let rows: Vec<(String, usize)> = out.series.iter().map(|(l, s)| (l.to_string(), s.len())).collect();
        assert_eq!(rows, [("{a=\"1\"}".to_owned(), 61), ("{a=\"2\"}".to_owned(), 61)], "{query}");
    }
    // Prometheus is strict about calls.
    let error = range(&engine, &store, "rate(m[1m])").unwrap_err();
    assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset");
}

#[test]
fn of_a_float_and_a_histogram_that_become_one_series_the_histogram_is_shown() {
    let store =
        load("load 10s\n  f{a=\"1\"} 1x60\n  h{a=\"1\"} {{schema:0 count:3 sum:4 buckets:[1 1 1]}}x60");
    for query in
        ["-{__name__=~\"f|h\"}", "label_replace({__name__=~\"f|h\"}, \"__name__\", \"n\", \"\", \"\")"]
    {
        let out = instant(&engine(1), &store, query).unwrap();
        assert_eq!((out.series.len(), out.series[0].1.hists.len()), (1, 1), "{query}");
    }
    let error = instant(&engine(1), &store, "{__name__=~\"f|h\"} * 2").unwrap_err();
    assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset");
}

#[test]
fn a_float_and_a_histogram_of_one_step_are_both_shown() {
    let store = load("load 1m\n  f 1 2 3 _ 5\n  h _ {{sum:4 count:4}} _ {{sum:6 count:6}} {{sum:7 count:7}}");
    // What puts series together, at once or when names go in the end.
    for (query, delayed) in [
        ("label_replace({__name__=~\"f|h\"}, \"__name__\", \"m\", \"\", \"\")", false),
        ("label_join({__name__=~\"f|h\"}, \"__name__\", \"\")", false),
        ("-(-{__name__=~\"f|h\"})", false),
        ("label_replace({__name__=~\"f|h\"}, \"__name__\", \"m\", \"\", \"\")", true),
        ("-(-{__name__=~\"f|h\"})", true),
    ] {
        let parser = parse::Options::all();
        let engine = Engine::new(EngineOptions {
            parser,
            lookback: 60_000,
            delayed_name_removal: delayed,
            ..EngineOptions::default()
        });
        let mut out = Collect::default();
        let times = engine.range(query, 0, 240_000, 60_000, QueryOptions::default());
        times.unwrap().run(&store, &mut out).unwrap();
        let [(_, samples)] = out.series.as_slice() else { panic!("{query}: {:?}", out.series) };
        let points: Vec<(Millis, f64)> = (0..samples.len())
            .map(|i| match samples.histogram(i) {
                Some(h) => (samples.ts[i] / 60_000, 10.0 * h.sum),
                None => (samples.ts[i] / 60_000, samples.values[i]),
            })
            .collect();
        assert_eq!(
            points,
            [(0, 1.0), (1, 2.0), (1, 40.0), (2, 3.0), (3, 60.0), (4, 5.0), (4, 70.0)],
            "{query}"
        );
        // A vector has room for one.
        let mut out = Collect::default();
        let once = engine.instant(query, 240_000, QueryOptions::default());
        once.unwrap().run(&store, &mut out).unwrap();
        assert_eq!(out.series[0].1.histogram(0).map(|h| h.sum), Some(7.0), "{query}");
    }
}
