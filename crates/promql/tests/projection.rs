//! Which labels stores are told to be of use, and that those which leave out the others change no answer.

use std::sync::Mutex;

use model::labels::hash_bytes;
use model::{Labels, LabelsBuilder, Samples};
use promql::storage::EmptySeriesSet;
use promql::testing::{Memory, load};
use promql::{
    Collect, Engine, EngineOptions, QueryOptions, Queryable, Selection, SeriesSet, StorageError, parse,
};

const ALWAYS: &str = "__name__,__type__,__unit__";

/// Queries and, for each selection in order, the labels needed besides those that describe the metric;
/// `*` for all.
const NEEDED: &[(&str, &[&str])] = &[
    ("sum by (job) (rate(m_total[5m]))", &["job"]),
    ("sum by (job) (m_total)", &["job"]),
    ("avg by (job, pod) ((-m_total))", &["job,pod"]),
    ("sum(rate(m_total[5m]))", &[""]),
    ("count by (none) (m_total)", &["none"]),
    ("sum by (pod, job, pod) (m_total)", &["job,pod"]),
    ("quantile by (job) (scalar(g), m_total)", &["", "job"]),
    ("count_values by (job) (\"v\", m_total)", &["job"]),
    ("sum by (job) (m_total * 2 > bool 1)", &["job"]),
    ("sum by (job) (2 ^ clamp_max(m_total, scalar(g)))", &["job", ""]),
    ("max by (job) (max_over_time(rate(m_total[5m])[10m:1m]))", &["job"]),
    ("min by (job) (timestamp(m_total))", &["job"]),
    ("sum by (job) (histogram_count(rate(h[5m])))", &["job"]),
    ("sum by (job) (quantile_over_time(0.5, g[5m]))", &["job"]),
    ("absent(m_total)", &[""]),
    ("absent_over_time(m_total[5m])", &[""]),
    ("scalar(m_total)", &[""]),
    ("sum by (job) (sum by (job, pod) (m_total))", &["job,pod"]),
    // One selection with two uses.
    ("sum by (job) (rate(m_total[5m])) / sum by (pod) (rate(m_total[5m]))", &["job,pod"]),
    ("sum by (job) (rate(m_total[5m])) or rate(m_total[5m])", &["*"]),
    // Everything is seen, or may be.
    ("m_total", &["*"]),
    ("rate(m_total[5m])", &["*"]),
    ("sum without (pod) (m_total)", &["*"]),
    ("topk by (job) (1, m_total)", &["*"]),
    ("sum by (job) (bottomk(1, m_total))", &["*"]),
    ("sum by (job) (limitk(1, m_total))", &["*"]),
    ("sum by (job) (limit_ratio(0.5, m_total))", &["*"]),
    ("sum by (job) (m_total + m_total)", &["*"]),
    ("sum by (job) (m_total and on (job) g)", &["*", "*"]),
    ("sum by (job) (label_replace(m_total, \"job\", \"$1\", \"pod\", \"(.*)\"))", &["*"]),
    ("sum by (job) (label_join(m_total, \"job\", \"-\", \"pod\"))", &["*"]),
    ("sum by (job) (histogram_quantile(0.5, b_bucket))", &["*"]),
    ("sum by (job) (histogram_fraction(0, 1, b_bucket))", &["*"]),
    ("sum by (job) (info(m_total))", &["*"]),
    ("sum by (job) (sort(m_total))", &["*"]),
    ("sum by (job) ({__name__=~\"m_total|g\"})", &["*"]),
    ("sum by (job) (rate({job=\"a\"}[5m]))", &["*"]),
];

/// A store that gives nothing and remembers what was asked.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

impl Queryable for Asked {
    fn select(&self, s: &Selection) -> Box<dyn SeriesSet> {
        // What `info` selects by itself is never narrowed.
        let labels = s.hints.projection.as_ref().map_or("*".to_owned(), |labels| labels.join(","));
        self.0.lock().unwrap().push(labels);
        Box::new(EmptySeriesSet)
    }
}

/// A store that leaves out what is not of use.
struct Honouring<'a>(&'a Memory);

/// The label by which it tells series apart: as in Thanos, it sorts before the name.
const TELLING: &str = "__hash__";

struct Sorted(std::vec::IntoIter<(Labels, Samples)>);

impl SeriesSet for Sorted {
    fn next(&mut self, samples: &mut Samples) -> Result<Option<Labels>, StorageError> {
        samples.clear();
        Ok(self.0.next().map(|(labels, all)| {
            *samples = all;
            labels
        }))
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

impl Queryable for Honouring<'_> {
    fn select(&self, selection: &Selection) -> Box<dyn SeriesSet> {
        let mut all = self.0.select(selection);
        let Some(of_use) = &selection.hints.projection else { return all };
        let (mut series, mut samples) = (Vec::new(), Samples::default());
        while let Some(labels) = all.next(&mut samples).unwrap() {
            let hash = format!("{:016x}", hash_bytes(labels.to_string().as_bytes()));
            let left = LabelsBuilder::new(&labels.only(of_use)).set(TELLING, &hash).labels();
            series.push((left, samples.clone()));
        }
        series.sort_by(|a, b| a.0.cmp(&b.0));
        Box::new(Sorted(series.into_iter()))
    }
}

fn engine() -> Engine {
    Engine::new(EngineOptions { parser: parse::Options::all(), ..EngineOptions::default() })
}

/// The answer of a query: series in order of labels, and what is noted.
fn answer(text: &str, store: &dyn Queryable, range: bool) -> Result<(Vec<String>, Vec<String>), String> {
    let engine = engine();
    let query = match range {
        true => engine.range(text, 0, 600_000, 60_000, QueryOptions::default()),
        false => engine.instant(text, 300_000, QueryOptions::default()),
    };
    let (query, mut out) = (query.map_err(|e| e.to_string())?, Collect::default());
    let outcome = query.run(store, &mut out).map_err(|e| e.to_string())?;
    let (warnings, infos) = outcome.annotations.render(text, 0, 0);
    let mut rows: Vec<String> = out.series.iter().map(|(l, s)| format!("{l} {s:?}")).collect();
    rows.sort();
    rows.push(format!("{:?}", out.scalar));
    Ok((rows, [warnings, infos].concat()))
}

#[test]
fn stores_are_told_which_labels_suffice() {
    for (query, needed) in NEEDED {
        let asked = Asked::default();
        answer(query, &asked, true).unwrap();
        let mut want: Vec<String> = needed
            .iter()
            .map(|labels| match *labels {
                "*" => "*".to_owned(),
                "" => ALWAYS.to_owned(),
                more => format!("{ALWAYS},{more}"),
            })
            .collect();
        let mut got = asked.0.into_inner().unwrap();
        got.sort();
        want.sort();
        assert_eq!(got, want, "{query}");
    }
}

#[test]
fn a_store_that_leaves_labels_out_changes_no_answer() {
    let store = load(
        "load 30s
           m_total{job=\"a\", pod=\"1\"} 0+2x20
           m_total{job=\"a\", pod=\"2\"} 0+3x20
           m_total{job=\"b\", pod=\"1\"} 0+5x5 0+1x14
           m_total{job=\"b\", pod=\"3\", zone=\"z\"} _ 7x10
           m_total{zone=\"y\"} 1 2 4 8
           g{job=\"a\"} 4x20
           w{job=\"a\"} 5x20
           h{job=\"a\", pod=\"1\"} {{schema:0 sum:1 count:3 buckets:[1 2]}}+{{schema:0 sum:1 count:3 buckets:[1 2]}}x20
           h{job=\"a\", pod=\"2\"} {{schema:0 sum:2 count:2 buckets:[1 1]}}+{{schema:0 sum:2 count:2 buckets:[1 1]}}x20
           h{job=\"b\"} 5x20
           b_bucket{job=\"a\", le=\"1\"} 0+1x20
           b_bucket{job=\"a\", le=\"+Inf\"} 0+2x20",
    )
    .unwrap();
    let more = [
        "sum by (job) (rate(g[5m]))",
        "sum by (job) (h)",
        "sum by (job) (rate(h[2m]))",
        "avg by (pod) (increase(h[2m]))",
        "stddev by (job) (m_total)",
        "group by (zone) (m_total)",
        "count by (pod) (present_over_time(m_total[1m]))",
        "sum by (job) (rate({__name__=~\"m_total|g\"}[5m]))",
        // An error: without their names the two are equal.
        "sum by (job) (rate({__name__=~\"g|w\"}[5m]))",
    ];
    for query in NEEDED.iter().map(|(query, _)| *query).chain(more) {
        for range in [false, true] {
            let want = answer(query, &store, range);
            assert_eq!(answer(query, &Honouring(&store), range), want, "{query}");
        }
    }
}
