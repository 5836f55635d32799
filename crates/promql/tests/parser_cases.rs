//! Replays recorded parser cases of Prometheus 3.14: verdict, first error and its place, canonical
//! and pretty text, type.
//!
//! The full table (3,837 cases) lies outside the repository: `$ATHANOR_PROMQL`, else `../shared/promql`
//! beside the checkout. Without it the committed slice is run. Every difference is printed.

#![allow(clippy::print_stdout, reason = "a test's output lists what differs")]

use std::path::{Path, PathBuf};

use model::gofmt::float_g;
use promql::parse::{Ast, Expr, Options, ParseError, SequenceValue};
use serde_json::Value;

fn cases() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let outside = match std::env::var_os("ATHANOR_PROMQL") {
        Some(dir) => PathBuf::from(dir),
        None => root.join("../../../shared/promql"),
    };
    let full = outside.join("parser-cases.jsonl");
    if full.exists() {
        return full;
    }
    println!("not run: the full table of parser cases ({} does not exist)", full.display());
    root.join("testdata/parser-cases-slice.jsonl")
}

fn options(case: &Value) -> Options {
    let has = |name: &str| case["opts"].as_array().is_some_and(|o| o.iter().any(|v| v == name));
    Options {
        experimental_functions: has("experimental-functions"),
        duration_expressions: has("duration-expr"),
        extended_range_selectors: has("extended-range-selectors"),
        fill_modifiers: has("binop-fill-modifiers"),
        ..Options::default()
    }
}

fn input(case: &Value) -> Vec<u8> {
    match case["expr_b64"].as_str() {
        Some(text) => base64(text),
        None => case["expr"].as_str().unwrap().as_bytes().to_vec(),
    }
}

fn base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits =
            group.iter().fold(0u32, |n, b| n << 6 | alphabet.iter().position(|a| a == b).unwrap() as u32)
                << (6 * (4 - group.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    out
}

/// Kind and span of every node, children first, as the table lists them.
fn spans_in_order(ast: &Ast) -> Vec<String> {
    let mut out = Vec::new();
    let mut todo = vec![(ast.root(), false)];
    while let Some((id, left)) = todo.pop() {
        if !left {
            todo.push((id, true));
            let at = todo.len();
            ast.for_each_child(id, |child| todo.push((child, false)));
            todo[at..].reverse();
            continue;
        }
        let kind = match ast.expr(id) {
            Expr::Number { .. } => "NumberLiteral",
            Expr::String(_) => "StringLiteral",
            Expr::Vector(_) => "VectorSelector",
            Expr::Matrix { .. } => "MatrixSelector",
            Expr::Subquery(_) => "SubqueryExpr",
            Expr::Call { .. } => "Call",
            Expr::Aggregate(_) => "AggregateExpr",
            Expr::Binary(_) => "BinaryExpr",
            Expr::Unary { .. } => "UnaryExpr",
            Expr::Paren(_) => "ParenExpr",
            Expr::Duration { .. } => "DurationExpr",
        };
        let span = ast.span(id);
        out.push(format!("{kind} {}-{}", span.start, span.end));
    }
    out
}

/// A value of a series as the table writes it: the bits of a float, the fields of a histogram.
fn value_text(value: &SequenceValue) -> String {
    let list = |values: &[f64]| {
        let texts: Vec<String> = values.iter().map(|v| float_g(*v)).collect();
        format!("[{}]", texts.join(" "))
    };
    let spans = |spans: &[model::Span]| {
        let texts: Vec<String> = spans.iter().map(|s| format!("{{{} {}}}", s.offset, s.length)).collect();
        format!("[{}]", texts.join(" "))
    };
    match value {
        SequenceValue::Omitted => "_".to_owned(),
        SequenceValue::Float(v) => format!("{:x}", v.to_bits()),
        SequenceValue::Histogram { histogram: h, hint_written } => format!(
            "H {} {} {} {} {} {} {} {} {} {} {} {hint_written}",
            h.schema,
            float_g(h.sum),
            float_g(h.count),
            float_g(h.zero_count),
            float_g(h.zero_threshold),
            spans(&h.positive_spans),
            list(&h.positive_buckets),
            spans(&h.negative_spans),
            list(&h.negative_buckets),
            list(h.custom_values.as_deref().unwrap_or_default()),
            h.counter_reset_hint as u8,
        ),
    }
}

/// What differs between a case and our answer; empty when nothing does.
fn differences(case: &Value) -> Vec<String> {
    let (options, input) = (options(case), input(case));
    let mut out = Vec::new();
    let mut compare = |what: &str, want: &str, got: &str| {
        if want != got {
            out.push(format!("{what}: wanted {want:?}, got {got:?}"));
        }
    };
    let error: Option<ParseError> = match case["kind"].as_str().unwrap() {
        "series" => match options.parse_series(&input) {
            Err(e) => Some(e),
            Ok(series) => {
                if let Some(values) = case["values"].as_array() {
                    let want: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                    let got = series.values(100_000).map(|v| v.iter().map(value_text).collect::<Vec<_>>());
                    compare("labels", case["labels"].as_str().unwrap(), &series.labels.to_string());
                    compare(
                        "values",
                        &want.join("; "),
                        &got.map_or_else(|e| e.to_string(), |v| v.join("; ")),
                    );
                }
                None
            }
        },
        "selector" => options.parse_metric_selector(&input).err(),
        _ => match options.parse(&input) {
            Err(e) => Some(e),
            Ok(ast) => {
                if let Some(canonical) = case["canonical"].as_str() {
                    compare("canonical", canonical, &ast.to_string());
                    compare("type", case["type"].as_str().unwrap(), ast.value_type().documented());
                    compare("pretty", case["pretty"].as_str().unwrap(), &ast.pretty(1 << 20).unwrap());
                }
                if let Some(json) = case["json"].as_str() {
                    compare("json", json, &ast.to_json());
                }
                if let Some(spans) = case["dump"].as_array() {
                    let want: Vec<&str> = spans.iter().filter_map(Value::as_str).collect();
                    compare("spans", &want.join("; "), &spans_in_order(&ast).join("; "));
                }
                None
            }
        },
    };
    let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
    compare("error", case["err"].as_str().unwrap(), &text);
    if case["fail"].as_bool().unwrap() != error.is_some() {
        compare("verdict", &format!("fail={}", case["fail"]), &format!("fail={}", error.is_some()));
    }
    if let (Some(pos), Some(e)) = (case["pos"].as_array(), &error) {
        compare(
            "position",
            &format!("{pos:?}"),
            &format!("[Number({}), Number({})]", e.span.start, e.span.end),
        );
    }
    out
}

#[test]
fn every_recorded_case_agrees() {
    let path = cases();
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut passed, mut failed) = (0, 0);
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let differences = differences(&case);
        if differences.is_empty() {
            passed += 1;
            continue;
        }
        failed += 1;
        println!("{} {}\n    {}", case["source"], case["expr"], differences.join("\n    "));
    }
    println!("{passed} passed, {failed} failed ({})", path.display());
    assert!(passed > 100, "the table is too small to mean anything");
    assert_eq!(failed, 0);
}
