//! Explanations, analyses and statistics over scripted stores.

use http::{Method, StatusCode};
use model::Budget;
use serde_json::{Value, json};

use crate::api::tests::{ask, get, replicated};
use crate::testing;

#[tokio::test]
async fn plans_are_explained_for_the_engine_of_thanos_alone() {
    let api = replicated(&[]).await;
    let up = json!({"name": "[vectorSelector] {[__name__=\"up\"]} 0 mod 1"});
    let sum = json!({"name": "[aggregate] sum by ([job])", "children": [up]});
    let range = "start=0&end=60&step=30";
    for (path, query, want) in [
        ("query_explain", "query=up&engine=thanos".to_owned(), up.clone()),
        ("query_range_explain", format!("query=sum by (job) (up)&engine=thanos&{range}"), sum),
        (
            "query_range_explain",
            format!("query=up @ 30&engine=thanos&{range}"),
            json!({"name": "[stepInvariant]", "children": [up]}),
        ),
    ] {
        let want = json!({"status": "success", "data": want});
        let path = format!("/api/v1/{path}");
        let answer = ask(&api, Method::POST, &path, &query, "").await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, want.clone()), "{query}");
        let answer = get(&api, &format!("{path}?{}", query.replace(' ', "%20"))).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, want), "{query}");
    }
}

#[tokio::test]
async fn what_cannot_be_explained_is_refused_in_the_order_of_thanos() {
    let api = replicated(&[]).await;
    let refused = async |path: &str, want: &str| {
        let answer = get(&api, &format!("/api/v1/{path}")).await;
        let want = json!({"status": "error", "errorType": "bad_data", "error": want});
        assert_eq!((answer.status, answer.body), (StatusCode::BAD_REQUEST, want), "{path}");
    };
    let thanos = "engine type must be 'thanos'";
    for path in ["query_explain", "query_range_explain"] {
        refused(&format!("{path}?query=up&time=abc"), thanos).await;
        refused(&format!("{path}?query=up&engine=prometheus"), thanos).await;
        refused(&format!("{path}?query=up&engine=x"), "'x' bad engine").await;
    }
    for query in ["up[5m]", "up[5m:1m]", "%22text%22"] {
        refused(&format!("query_explain?engine=thanos&query={query}"), "Query not explainable").await;
    }
    let text = "1:5: parse error: unclosed left parenthesis";
    refused("query_explain?engine=thanos&query=sum(", text).await;
    let text = "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector";
    refused("query_range_explain?engine=thanos&query=up[5m]&start=0&end=1&step=1", text).await;
    let text = "end timestamp must not be before start time";
    refused("query_range_explain?engine=thanos&query=up&start=2&end=1&dedup=x", text).await;
    // The flag decides where the request does not.
    let api = replicated(&["--query.promql-engine=thanos"]).await;
    assert_eq!(get(&api, "/api/v1/query_explain?query=up").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_analysis_has_times_samples_series_and_bytes_of_operators() {
    let api = replicated(&["--query.replica-label=replica"]).await;
    let path = "/api/v1/query_range?query=sum(up)&start=300&end=600&step=30&engine=thanos&stats=1&analyze";
    let answer = get(&api, &format!("{path}=true")).await.body;
    let data = &answer["data"];
    assert_eq!(data["result"][0]["values"].as_array().unwrap().len(), 11);
    let sum = &data["analysis"];
    let up = &sum["children"][0];
    assert_eq!(sum["name"], "[aggregate] sum by ([])");
    assert_eq!(up["name"], "[vectorSelector] {[__name__=\"up\"]} 0 mod 1");
    assert_eq!((&sum["totalSamples"], &up["totalSamples"]), (&json!(11), &json!(11)));
    assert_eq!((&sum["series"], &up["series"]), (&json!(1), &json!(1)));
    assert_eq!(sum["totalSamples"], data["stats"]["samples"]["totalQueryableSamples"]);
    assert_eq!(sum["peakSamples"], data["stats"]["samples"]["peakSamples"]);
    assert!(sum["peakBytes"].as_u64().unwrap() > 0);
    assert_eq!(up.get("peakBytes"), None);
    for node in [sum, up] {
        assert!(node["executionTime"].as_str().unwrap().ends_with('s'), "{node}");
    }
    // One store, two series of one chunk each, in one message.
    let [store] = &up["fanout"].as_array().unwrap()[..] else { panic!("{up}") };
    assert_eq!((&store["endpointAddr"], &store["numResponses"]), (&json!("s1:1"), &json!(1)));
    let numbers = ["series", "chunks", "samples"].map(|name| store[name].clone());
    assert_eq!(numbers, [2, 2, 42].map(Value::from));
    assert!(store["bytesProcessed"].as_u64().unwrap() > 0);
    assert!(store["duration"].as_str().unwrap().ends_with('s'));
    assert_eq!(sum.get("fanout"), None);
    assert_eq!(answer.get("warnings"), None);
    assert_eq!(get(&api, &format!("{path}=no")).await.body["data"]["analysis"], json!({}));
}

#[tokio::test]
async fn endpoints_are_listed_at_the_operator_that_reads_them() {
    let fake = |series| std::sync::Arc::new(testing::Fake::holding(series));
    let one = |name: &str| testing::series(&format!("__name__={name}"), &[&[(600_000, 1.0)]]);
    let stores = vec![fake(vec![one("a")]), fake(vec![one("a"), one("b")]), fake(vec![])];
    let api = testing::api(stores, &[], Budget::unlimited()).await;
    let query = "query=a/(b%2Brate(a[5m]))&time=600&engine=thanos&analyze=1";
    let answer = get(&api, &format!("/api/v1/query?{query}")).await.body;
    let quotient = &answer["data"]["analysis"];
    let sum = &quotient["children"][1];
    let asked = |node: &Value| -> Vec<(String, u64)> {
        let all = node["fanout"].as_array().unwrap().iter();
        let series = |e: &Value| e["series"].as_u64().unwrap_or(0);
        all.map(|e| (e["endpointAddr"].as_str().unwrap().to_owned(), series(e))).collect()
    };
    let want = |numbers: [u64; 3]| -> Vec<(String, u64)> {
        ["s1:1", "s2:1", "s3:1"].map(str::to_owned).into_iter().zip(numbers).collect()
    };
    assert_eq!(asked(&quotient["children"][0]), want([1, 1, 0]));
    assert_eq!(asked(&sum["children"][0]), want([0, 1, 0]));
    assert_eq!(asked(&sum["children"][1]), want([1, 1, 0]));
    assert_eq!((quotient.get("fanout"), sum.get("fanout")), (None, None));
}

#[tokio::test]
async fn what_has_no_operators_has_no_analysis_and_a_warning() {
    let api = replicated(&[]).await;
    for (query, engine, want) in [
        ("up", "prometheus", "Query not analyzable; change engine to 'thanos'."),
        ("up[5m]", "thanos", "Query fallback to prometheus engine; not analyzable."),
    ] {
        let path = format!("/api/v1/query?query={query}&engine={engine}&analyze=1&time=600");
        let answer = get(&api, &path).await.body;
        assert_eq!((&answer["data"]["analysis"], &answer["warnings"]), (&json!({}), &json!([want])));
        assert!(!answer["data"]["result"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn statistics_by_step_come_where_all_are_asked_for() {
    let api = replicated(&["--query.replica-label=replica"]).await;
    let samples = async |stats: &str| {
        let path = format!("/api/v1/query_range?query=up&start=60&end=61&step=0.5&stats={stats}");
        get(&api, &path).await.body["data"]["stats"]["samples"].clone()
    };
    let steps = json!([[60, 1], [60.5, 1], [61, 1]]);
    let totals = json!({"totalQueryableSamples": 3, "samplesRead": 3, "peakSamples": 3});
    let mut all = totals.clone();
    all["totalQueryableSamplesPerStep"] = steps.clone();
    all["samplesReadPerStep"] = steps;
    assert_eq!(samples("all").await, all);
    assert_eq!(samples("true").await, totals);
    assert_eq!(samples("").await, Value::Null);
}

#[tokio::test]
async fn queries_of_too_many_samples_are_refused_where_there_is_a_limit() {
    let store = || vec![std::sync::Arc::new(testing::Fake::holding(crate::api::tests::replicas()))];
    let path = "/api/v1/query_range?query=up&start=300&end=600&step=30";
    let want = json!({
        "status": "error", "errorType": "execution",
        "error": "query processing would load too many samples into memory in query execution"
    });
    // Two series of eleven steps.
    for (words, good) in
        [(&["--query.max-samples=21"][..], false), (&["--query.max-samples=22"], true), (&[], true)]
    {
        let api = testing::api(store(), words, Budget::unlimited()).await;
        let answer = get(&api, path).await;
        match good {
            true => assert_eq!(answer.status, StatusCode::OK, "{words:?}"),
            false => {
                assert_eq!((answer.status, answer.body), (StatusCode::UNPROCESSABLE_ENTITY, want.clone()))
            }
        }
    }
}
