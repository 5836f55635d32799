//! Expressions of any size and shape: long chains are answered, deep ones refused, none overflows.

use promql::parse::{MAX_DEPTH, Options};

/// Parses, prints, copies and drops on a thread with a small stack.
fn answer(text: String) -> Result<String, String> {
    let run = move || {
        let ast = Options::all().parse(&text).map_err(|e| e.to_string())?;
        let copy = ast.clone();
        let printed = copy.to_string();
        drop(ast);
        // Indentation makes this quadratic for chains, so it may be refused, but not fail.
        let _ = copy.pretty(1 << 20);
        Ok(printed)
    };
    std::thread::Builder::new().stack_size(128 << 10).spawn(run).unwrap().join().unwrap()
}

fn chain(operand: &str, operator: &str, count: usize) -> String {
    vec![operand; count].join(operator)
}

#[test]
fn chains_of_operators_are_never_refused() {
    for (operand, operator) in
        [("a", " + "), ("1", " ^ "), ("-a", " * "), ("a", " or "), ("a{b=\"c\"}", " and ")]
    {
        let text = chain(operand, operator, 50_000);
        assert_eq!(answer(text.clone()).as_ref(), Ok(&text));
    }
    // Every level of precedence at once.
    let text = chain("a or b and c == d + e * f ^ g", " or ", 20_000);
    assert_eq!(answer(text.clone()).as_ref(), Ok(&text));
    let text = format!("a[{}]", chain("1m", " + ", 50_000));
    assert_eq!(answer(text.clone()).as_ref(), Ok(&text));
    let text = format!("a offset ({})", chain("1m", " ^ ", 50_000));
    assert_eq!(answer(text.clone()).as_ref(), Ok(&text));
}

#[test]
fn ten_megabytes_are_answered() {
    let text = format!("{}{}", chain("a", "+", 1 << 19), " ".repeat(9 << 20));
    assert_eq!(answer(text).unwrap().len(), (1 << 19) * 4 - 3);
    let error = answer("(".repeat(10 << 20)).unwrap_err();
    assert!(error.ends_with("are nested more than 1000 deep"), "{error}");
    let error = answer("-".repeat(10 << 20)).unwrap_err();
    assert!(error.ends_with("are nested more than 1000 deep"), "{error}");
    let error = answer(format!("a{}", "[5m:]".repeat(1 << 18))).unwrap_err();
    assert!(error.contains("subquery is only allowed on instant vector"), "{error}");
    let error = answer(format!("a{{{}}}", "b=\"c\",".repeat(1 << 18) + "d")).unwrap_err();
    assert!(error.contains("in label matching, expected label matching operator"), "{error}");
}

#[test]
fn nesting_is_limited_to_a_known_depth() {
    let shapes: [fn(usize) -> String; 6] = [
        |n| format!("{}a{}", "(".repeat(n), ")".repeat(n)),
        |n| format!("{}a{}", "abs(".repeat(n), ")".repeat(n)),
        |n| format!("{}a{}", "sum(".repeat(n), ")".repeat(n)),
        |n| format!("{}a", "-".repeat(n)),
        |n| format!("a[{}5m{}]", "(".repeat(n), ")".repeat(n)),
        |n| format!("a offset {}step()", "-".repeat(n)),
    ];
    for shape in shapes {
        assert!(answer(shape(MAX_DEPTH)).is_ok());
        let error = answer(shape(MAX_DEPTH + 2)).unwrap_err();
        assert!(error.contains("are nested more than 1000 deep"), "{error}");
    }
    // Closed brackets do not count.
    assert!(answer(chain("(abs(-a))", " + ", 10_000)).is_ok());
}
