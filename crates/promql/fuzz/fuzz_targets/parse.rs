//! Any bytes as an expression, a selector and a series: no panic, and what is printed parses to the
//! same text again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promql::parse::Options;

fuzz_target!(|data: &[u8]| {
    let all = Options::all();
    let _ = all.parse_series(data);
    let _ = all.parse_metric(data);
    let _ = all.parse_metric_selector(data);
    let _ = Options::default().parse(data);
    match all.parse(data) {
        Err(e) => {
            assert!(e.span.start as usize <= data.len() && !e.text.is_empty());
            let _ = e.to_string();
        }
        Ok(ast) => {
            let printed = ast.to_string();
            let _ = ast.to_json();
            // Prometheus prints infinity with a sign, which before `^` reads as an operator.
            if printed.contains("Inf") {
                return;
            }
            let again = all.parse(&printed).expect("what is printed parses");
            assert_eq!(again.to_string(), printed);
            assert_eq!(again.value_type(), ast.value_type());
            if let Ok(pretty) = ast.pretty(1 << 20) {
                assert_eq!(all.parse(&pretty).expect("pretty text parses").to_string(), printed);
            }
        }
    }
});
