//! The tree of operators, and what each took.

use std::sync::Arc;

use model::{Budget, Millis};
use promql::explain::{Operator, Visit};
use promql::testing::{Memory, load};
use promql::{Collect, Engine, EngineOptions, Explanation, QueryOptions, StatsLevel};

const STEPS: (Millis, Millis, Millis) = (0, 600_000, 60_000);

/// A tree as text: `name(child child)`.
fn shown(tree: &Explanation) -> String {
    let mut out = String::new();
    tree.walk(|visit| match visit {
        Visit::Enter { operator, first } => {
            if !first {
                out.push_str(" ; ");
            }
            out.push_str(&operator.name);
            if !operator.children.is_empty() {
                out.push_str(" < ");
            }
        }
        Visit::Leave(operator) if operator.children.is_empty() => {}
        Visit::Leave(_) => out.push_str(" >"),
    });
    out
}

fn explained(text: &str) -> Option<String> {
    let (start, end, step) = STEPS;
    let engine = Engine::new(EngineOptions::default());
    let query = engine.range(text, start, end, step, QueryOptions::default()).unwrap();
    query.explain().unwrap().map(|tree| shown(&tree))
}

#[test]
fn operators_are_named_as_in_thanos_where_they_are_alike() {
    let foo = "[vectorSelector] {[__name__=\"foo\"]} 0 mod 1";
    for (text, want) in [
        ("foo", foo.to_owned()),
        ("((foo))", foo.to_owned()),
        ("foo{a!=\"b\"}", "[vectorSelector] {[__name__=\"foo\" a!=\"b\"]} 0 mod 1".to_owned()),
        ("sum by (a, b) (foo)", format!("[aggregate] sum by ([a b]) < {foo} >")),
        (
            "topk without (a) (3, foo)",
            format!("[kaggregate] topk without ([a]) < [numberLiteral] 3 ; {foo} >"),
        ),
        ("count_values(\"v\", foo)", format!("[countValues] by ([]) - param (v) < {foo} >")),
        (
            "rate(foo{a=\"b\"}[5m])",
            "[matrixSelector] rate({[__name__=\"foo\" a=\"b\"]}[5m0s] 0 mod 1)".to_owned(),
        ),
        (
            "max_over_time(abs(foo)[1h:90s])",
            format!("[subquery] max_over_time([1h0m0s:1m30s]) < [function] abs([foo]) < {foo} > >"),
        ),
        ("1 + 2 * 3", "[numberLiteral] 7".to_owned()),
        ("time() + 1", "[vectorScalarBinary] + < [noArgFunction] ; [numberLiteral] 1 >".to_owned()),
        ("-foo", format!("[unaryNegation] < {foo} >")),
        ("foo @ 100", format!("[stepInvariant] < {foo} >")),
        (
            "foo > bool on (x) group_left (y) foo",
            format!("[vectorBinary] > - many-to-one, on: [x], group: [y] < {foo} ; {foo} >"),
        ),
        (
            "foo and ignoring (x) foo",
            format!("[vectorBinary] and - many-to-many, ignoring: [x], group: [] < {foo} ; {foo} >"),
        ),
        ("timestamp(foo)", "[timestamp] {[__name__=\"foo\"]} 0 mod 1".to_owned()),
        ("timestamp(-foo)", format!("[timestamp] < [unaryNegation] < {foo} > >")),
        (
            "histogram_quantile(0.9, foo)",
            format!("[histogram_quantile]([0.9 foo]) < [numberLiteral] 0.9 ; {foo} >"),
        ),
        ("label_replace(foo, \"a\", \"b\", \"c\", \"d\")", format!("[relabel] < {foo} >")),
        ("scalar(foo)", format!("[scalar] < {foo} >")),
        (
            "foo + absent(foo)",
            format!("[vectorBinary] + - one-to-one, ignoring: [], group: [] < {foo} ; [absent] < {foo} > >"),
        ),
    ] {
        assert_eq!(explained(text), Some(want), "{text}");
    }
    let engine = Engine::new(EngineOptions::default());
    for text in ["foo[5m]", "foo[5m:1m]", "\"text\""] {
        let query = engine.instant(text, 0, QueryOptions::default()).unwrap();
        assert_eq!(query.explain().unwrap(), None, "{text}");
    }
    let query = engine.instant("count_values(\"\", foo)", 0, QueryOptions::default()).unwrap();
    assert_eq!(query.explain().unwrap_err().to_string(), "invalid label name \"\"");
}

#[test]
fn trees_of_any_depth_are_made_walked_and_dropped() {
    let chain = format!("foo{}", " + foo".repeat(30_000));
    let nested = format!("{}foo{}", "abs(".repeat(900), ")".repeat(900));
    for (text, operators) in [(chain, 60_001), (nested, 901)] {
        let query = Engine::default().instant(&text, 0, QueryOptions::default()).unwrap();
        let tree = query.explain().unwrap().unwrap();
        assert_eq!(tree.operators().len(), operators);
        let (mut entered, mut bytes) = (0, 0);
        tree.walk(|visit| {
            if let Visit::Enter { operator, .. } = visit {
                (entered, bytes) = (entered + 1, bytes + operator.name.len());
            }
        });
        assert_eq!(entered, operators);
        assert!(bytes < 300 * operators, "{bytes}");
    }
}

fn store() -> Memory {
    load(
        "load 30s
  foo{i=\"1\"} 0+1x40
  foo{i=\"2\"} 0+2x40
  foo{i=\"3\"} 0+3x40
  bar{i=\"1\"} 0+1x10",
    )
    .unwrap()
}

fn analysed(text: &str, max_samples: usize) -> (Explanation, promql::SampleStats) {
    let (start, end, step) = STEPS;
    let engine = Engine::new(EngineOptions { threads: 2, max_samples, ..EngineOptions::default() });
    let account = Some(Arc::new(Budget::unlimited().account()));
    let options =
        QueryOptions { analyze: true, stats: StatsLevel::Totals, account, ..QueryOptions::default() };
    let query = engine.range(text, start, end, step, options).unwrap();
    let outcome = query.run(&store(), &mut Collect::default()).unwrap();
    (outcome.analysis.unwrap(), outcome.stats.samples.unwrap())
}

fn find<'t>(tree: &'t Explanation, name: &str) -> &'t Operator {
    tree.operators().iter().find(|o| o.name.starts_with(name)).unwrap()
}

#[test]
fn the_root_of_an_analysis_has_the_totals_of_the_statistics() {
    for text in [
        "foo",
        "sum(foo)",
        "sum by (i) (rate(foo[5m])) / on (i) bar",
        "foo or bar or -foo",
        "sum(foo @ 100) + sum(foo)",
        "max_over_time(sum(rate(foo[1m]))[5m:1m])",
        "topk(2, foo) + scalar(sum(bar))",
        "timestamp(foo) > 3",
        "predict_linear(foo[5m] @ 300, 60)",
        "count_values(\"v\", foo)",
        "vector(1) + time()",
    ] {
        let (tree, stats) = analysed(text, 0);
        let root = tree.root().unwrap();
        assert_eq!(
            (root.figures.samples, root.figures.peak_samples),
            (stats.total, stats.peak as i64),
            "{text}"
        );
        for operator in tree.operators() {
            let below = operator.children.iter().map(|c| tree.operators()[*c].figures.time);
            assert!(operator.figures.time >= below.sum(), "{text}: {}", operator.name);
        }
    }
}

#[test]
fn operators_have_their_own_series_samples_and_bytes() {
    let (tree, _) = analysed("sum by (i) (rate(foo[5m])) * on (i) bar", 0);
    let (rate, sum) = (find(&tree, "[matrixSelector]"), find(&tree, "[aggregate]"));
    let (bar, product) = (find(&tree, "[vectorSelector]"), find(&tree, "[vectorBinary]"));
    let series: Vec<u64> = [rate, sum, bar, product].iter().map(|o| o.figures.series).collect();
    assert_eq!(series, [3, 3, 1, 1]);
    // Eleven steps: windows of the first reach back before the data, and `bar` ends before the last.
    assert_eq!(rate.figures.samples, 3 * (1 + 3 + 5 + 7 + 9 + 6 * 10));
    assert_eq!(bar.figures.samples, 10);
    assert_eq!(product.figures.samples, rate.figures.samples + bar.figures.samples);
    // What streams holds nothing; sums and held sides do.
    assert_eq!((rate.figures.peak_bytes, bar.figures.peak_bytes), (0, 0));
    assert!(sum.figures.peak_bytes > 0 && product.figures.peak_bytes > 0, "{tree:?}");
    assert!(rate.figures.time > std::time::Duration::ZERO);
}

#[test]
fn long_chains_are_analysed() {
    let (tree, stats) = analysed(&format!("foo{}", " + foo".repeat(2_000)), 0);
    let root = tree.root().unwrap();
    assert_eq!((tree.operators().len(), root.figures.series), (4_001, 3));
    assert_eq!((root.figures.samples, stats.total), (2_001 * 33, 2_001 * 33));
    let (tree, stats) = analysed(&format!("foo{}", " or foo".repeat(500)), 0);
    assert_eq!((tree.operators().len(), tree.root().unwrap().figures.samples), (1_001, stats.total));
}

#[test]
fn what_is_evaluated_once_is_counted_once_and_its_repetition_at_every_step() {
    let (tree, _) = analysed("foo @ 300", 0);
    let (once, repeated) = (find(&tree, "[vectorSelector]"), find(&tree, "[stepInvariant]"));
    assert_eq!((once.figures.samples, once.figures.peak_samples), (3, 3));
    assert_eq!((repeated.figures.samples, repeated.figures.peak_samples), (33, 33));
    assert_eq!((once.selection, repeated.selection), (Some(0), None));
}

#[test]
fn a_query_that_is_not_analysed_has_no_analysis() {
    let query = Engine::default().instant("foo", 0, QueryOptions::default()).unwrap();
    let outcome = query.run(&store(), &mut Collect::default()).unwrap();
    assert_eq!((outcome.analysis, outcome.stats.samples), (None, None));
    let options = QueryOptions { analyze: true, ..QueryOptions::default() };
    let query = Engine::default().instant("foo[5m]", 0, options.clone()).unwrap();
    let outcome = query.run(&store(), &mut Collect::default()).unwrap();
    assert_eq!((outcome.analysis, outcome.stats.samples), (None, None));
    let query = Engine::default().instant("foo", 0, options).unwrap();
    let outcome = query.run(&store(), &mut Collect::default()).unwrap();
    assert_eq!(outcome.analysis.unwrap().root().unwrap().figures.series, 3);
    assert_eq!(outcome.stats.samples, None);
}
