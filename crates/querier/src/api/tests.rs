//! The API over scripted stores.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use component::http::{Router, body};
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use model::{Budget, Millis};
use serde_json::{Value, json};
use storeapi::Series;
use tonic::Status;

use super::*;
use crate::testing::{self, Fake, Step, labels, series};

pub(super) struct Answer {
    pub(super) status: StatusCode,
    cache_control: Option<String>,
    pub(super) body: Value,
}

pub(super) async fn ask(api: &Arc<Api>, method: Method, path: &str, form: &str, tenant: &str) -> Answer {
    let routes = api.routes(Router::new().with_cors(true)).build().unwrap();
    let request = http::Request::builder().method(method).uri(path).header("thanos-tenant", tenant);
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let response = routes.answer(request.body(body::full(form.to_owned())).unwrap()).await;
    let (head, body) = response.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        cache_control: head.headers.get(header::CACHE_CONTROL).map(|v| v.to_str().unwrap().to_owned()),
        body: serde_json::from_slice(&text)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&text).into_owned())),
    }
}

pub(super) async fn get(api: &Arc<Api>, path: &str) -> Answer {
    ask(api, Method::GET, path, "", "").await
}

/// `up` of two replicas, one sample each half minute from 0 to 600 s.
pub(super) fn replicas() -> Vec<Series> {
    let points = |offset: Millis| -> Vec<(Millis, f64)> {
        (0..=20).map(|i| (i * 30_000 + offset, (i + 1) as f64)).collect()
    };
    let of = |replica: &str, points: &[(Millis, f64)]| {
        series(&format!("__name__=up job=web replica={replica}"), &[points])
    };
    vec![of("a", &points(0)), of("b", &points(3_000))]
}

fn store(steps: Vec<Step>) -> Fake {
    Fake { sets: vec![labels("replica=a"), labels("replica=b")], removes: false, ..Fake::of(steps) }
}

pub(super) async fn replicated(words: &[&str]) -> Arc<Api> {
    testing::api(vec![Arc::new(store(vec![Step::Send(replicas())]))], words, Budget::unlimited()).await
}

#[tokio::test]
async fn replicas_are_merged_by_flag_by_list_by_parameter_or_not_at_all() {
    for words in [
        &["--query.replica-label=replica"][..],
        &["--query.replica-label=x", "--query.replica-label=replica"],
        &["--query.replica-label=x,replica"],
    ] {
        let api = replicated(words).await;
        let answer = get(&api, "/api/v1/query?query=up&time=600").await;
        let want = json!([{"metric": {"__name__": "up", "job": "web"}, "value": [600, "21"]}]);
        assert_eq!(answer.body["data"]["result"], want, "{words:?}");
        let answer = get(&api, "/api/v1/query?query=count(up)&time=600&dedup=false").await;
        assert_eq!(answer.body["data"]["result"][0]["value"], json!([600, "2"]));
        let answer = get(&api, "/api/v1/query?query=up&time=600&replicaLabels[]=job").await;
        assert_eq!(answer.body["data"]["result"].as_array().unwrap().len(), 2);
        let answer = get(&api, "/api/v1/series?match[]=up").await;
        assert_eq!(answer.body["data"], json!([{"__name__": "up", "job": "web"}]));
    }
}

#[tokio::test]
async fn forms_and_urls_mean_the_same_and_other_methods_are_refused() {
    let api = replicated(&["--query.replica-label=replica"]).await;
    for (path, query) in [
        ("/api/v1/query", "query=up&time=600&unknown=1"),
        ("/api/v1/query_range", "query=up&start=0&end=600&step=1m"),
        ("/api/v1/series", "match[]=up&limit=40000"),
        ("/api/v1/labels", "match[]=up&start=0&end=600"),
    ] {
        let got = get(&api, &format!("{path}?{query}")).await;
        let posted = ask(&api, Method::POST, path, query, "").await;
        assert_eq!((got.status, &got.body), (StatusCode::OK, &posted.body), "{path}");
        assert_eq!(ask(&api, Method::PUT, path, "", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    for path in ["/api/v1/label/job/values", "/api/v1/stores", "/api/v1/status/buildinfo"] {
        assert_eq!(get(&api, path).await.status, StatusCode::OK);
        assert_eq!(ask(&api, Method::POST, path, "", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    let unknown = get(&api, "/api/v1/nope").await;
    assert_eq!((unknown.status, unknown.body), (StatusCode::NOT_FOUND, json!("404 page not found\n")));
    assert_eq!(ask(&api, Method::OPTIONS, "/api/v1/nope", "", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(get(&api, "/rules/ns/group").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_grafana_asks_first_is_answered() {
    let api = replicated(&[]).await;
    let health = ask(&api, Method::POST, "/api/v1/query", "query=1%2B1&time=4", "").await;
    assert_eq!(health.body["data"]["result"], json!([4, "2"]));
    let build = get(&api, "/api/v1/status/buildinfo").await.body;
    assert_eq!(build["status"], "success");
    assert!(build["data"].get("features").is_none() && build["data"]["version"].is_string());
    let flags = get(&api, "/api/v1/status/flags").await.body;
    assert_eq!(flags["data"]["query.timeout"], "2m");
}

#[tokio::test]
async fn faults_of_requests_have_the_texts_of_thanos() {
    let api = replicated(&[]).await;
    for (path, text) in [
        (
            "query?query=up&time=abc",
            "Invalid time value for 'time': cannot parse \"abc\" to a valid timestamp",
        ),
        ("query?query=sum(", "1:5: parse error: unclosed left parenthesis"),
        ("query?query=up&engine=x", "'x' bad engine"),
        (
            "query?query=up&max_source_resolution=-5",
            "negative 'max_source_resolution' is not accepted. Try a positive integer",
        ),
        ("query?query=up&storeMatch[]={x", "1:3: parse error: unexpected end of input inside braces"),
        ("query_range?query=up", "cannot parse \"\" to a valid timestamp"),
        ("query_range?query=up&start=1&end=0&step=1", "end timestamp must not be before start time"),
        ("query_explain?query=up", "engine type must be 'thanos'"),
        ("series", "no match[] parameter provided"),
        ("labels?limit=-1", "limit must be non-negative"),
        ("labels?start=2&end=1", "bad_data: end timestamp must not be before start time"),
        (
            "parse_query?query=sum(",
            "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis",
        ),
    ] {
        let answer = get(&api, &format!("/api/v1/{path}")).await;
        let want = json!({"status": "error", "errorType": "bad_data", "error": text});
        assert_eq!((answer.status, answer.body), (StatusCode::BAD_REQUEST, want), "{path}");
        assert_eq!(answer.cache_control.as_deref(), Some("no-store"));
    }
    let slash = ask(&api, Method::GET, "/api/v1/query?query=1", "", "a/b").await;
    assert_eq!(slash.body["error"], "tenant name not valid");
}

#[tokio::test]
async fn r069_steps_and_points_are_limited_before_anything_else() {
    let api = replicated(&[]).await;
    let ask = async |query: &str| get(&api, &format!("/api/v1/query_range?query=1&{query}")).await;
    let zero = "zero or negative query resolution step widths are not accepted. Try a positive integer";
    for step in ["0", "-1", "NaN"] {
        assert_eq!(ask(&format!("start=0&end=10&step={step}")).await.body["error"], zero);
    }
    assert_eq!(ask("start=0&end=11000&step=1").await.status, StatusCode::OK);
    let many = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
    assert_eq!(ask("start=0&end=11001&step=1").await.body["error"], many);
    assert_eq!(ask("start=-9e18&end=9e18&step=1").await.body["error"], many);
    assert_eq!(ask("start=0&end=1&step=1e-9").await.body["error"], many);
    // Without a step the range decides: 250 points, at least a second apart.
    let answer = ask("start=0&end=2500").await.body;
    assert_eq!(answer["data"]["result"][0]["values"].as_array().unwrap().len(), 251);
}

#[tokio::test]
async fn r061_a_partial_answer_warns_and_is_not_to_be_cached() {
    let failing = store(vec![Step::Fail(Status::internal("disk gone"))]);
    let good = Fake { removes: false, ..Fake::holding(replicas()) };
    let api = testing::api(vec![Arc::new(good), Arc::new(failing)], &[], Budget::unlimited()).await;
    let want = "receive series from Addr: s2:1 MinTime: -9223372036854775808 MaxTime: 9223372036854775807: \
                rpc error: code = Internal desc = disk gone";
    for path in
        ["query?query=up&time=600", "query_range?query=up&start=0&end=600&step=60", "series?match[]=up"]
    {
        let answer = get(&api, &format!("/api/v1/{path}")).await;
        assert_eq!((answer.status, &answer.body["warnings"]), (StatusCode::OK, &json!([want])), "{path}");
        assert_eq!(answer.cache_control.as_deref(), Some("no-store"));
        let answer = get(&api, &format!("/api/v1/{path}&partial_response=false")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        let prefix = if path.starts_with("series") { "" } else { "expanding series: " };
        let text = format!("{prefix}proxy Series(): rpc error: code = Aborted desc = {want}");
        assert_eq!(answer.body, json!({"status": "error", "errorType": "execution", "error": text}));
    }
    let complete = replicated(&[]).await;
    assert_eq!(get(&complete, "/api/v1/query?query=up").await.cache_control, None);
}

#[tokio::test]
async fn r054_the_timeout_ends_a_query_whose_store_never_answers() {
    let hung = Arc::new(Fake::of(vec![Step::Send(replicas()), Step::Hang]));
    let api = testing::api(vec![hung.clone()], &["--query.timeout=200ms"], Budget::unlimited()).await;
    for path in
        ["query?query=up", "query?query=up&timeout=50ms", "query_range?query=sum(up)&start=0&end=9&step=1"]
    {
        let answer = get(&api, &format!("/api/v1/{path}")).await;
        let want = json!({
            "status": "error", "errorType": "timeout", "error": "query timed out in expression evaluation"
        });
        assert_eq!((answer.status, answer.body), (StatusCode::SERVICE_UNAVAILABLE, want), "{path}");
    }
    // Metadata has no evaluation to time out: the silent store is missing, with a warning.
    let answer = get(&api, "/api/v1/series?match[]=up").await;
    assert!(answer.body["warnings"][0].as_str().unwrap().ends_with("context deadline exceeded"));
    while hung.open.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(api.evaluator.budget().used(), 0);
}

#[tokio::test]
async fn r055_a_client_that_goes_ends_its_query() {
    let hung = Arc::new(Fake::of(vec![Step::Send(replicas()), Step::Hang]));
    let api = testing::api(vec![hung.clone()], &["--query.max-concurrent=1"], Budget::unlimited()).await;
    for _ in 0..5 {
        let request = get(&api, "/api/v1/query?query=up&time=600");
        tokio::select! {
            _ = request => panic!("answered"),
            () = async {
                while hung.open.load(Ordering::SeqCst) == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            } => {}
        }
        while hung.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    // The gate's only place is free again.
    assert_eq!(get(&api, "/api/v1/query?query=1").await.status, StatusCode::OK);
}

#[tokio::test]
async fn r056_without_stores_answers_are_empty_or_errors() {
    let api = testing::api(vec![], &[], Budget::unlimited()).await;
    let answer = get(&api, "/api/v1/query?query=up").await;
    assert_eq!(answer.body["data"]["result"], json!([]));
    let answer = get(&api, "/api/v1/query?query=up&partial_response=false").await;
    assert_eq!(answer.body["error"], "expanding series: proxy Series(): No StoreAPIs available");
    assert_eq!(get(&api, "/api/v1/labels").await.body["data"], json!([]));
}

#[tokio::test]
async fn r060_overlapping_stores_never_inflate() {
    let store = || Arc::new(Fake { removes: false, ..Fake::holding(replicas()) });
    let api = testing::api(
        vec![store(), store(), store()],
        &["--query.replica-label=replica"],
        Budget::unlimited(),
    )
    .await;
    for (query, dedup, want) in [
        ("sum(up)", "true", "21"),
        ("sum(up)", "false", "42"),
        ("count(up)", "true", "1"),
        ("sum(count_over_time(up[10m]))", "true", "20"),
        ("sum(count_over_time(up[10m]))", "false", "40"),
    ] {
        let answer = get(&api, &format!("/api/v1/query?query={query}&time=603&dedup={dedup}")).await;
        assert_eq!(answer.body["data"]["result"][0]["value"][1], want, "{query} {dedup}");
    }
}

#[tokio::test]
async fn memory_is_refused_by_limit_flag_and_selector_and_given_back() {
    let points: Vec<(Millis, f64)> = (0..100).map(|i| (i * 1000, (i as f64).sqrt())).collect();
    let many: Vec<Series> = (0..500).map(|i| series(&format!("__name__=up i={i:04}"), &[&points])).collect();
    let budget = Budget::new(16 << 10, "--memory.budget");
    let api = testing::api(vec![Arc::new(Fake::holding(many))], &[], budget.clone()).await;
    for path in ["query?query=up&time=60", "series?match[]=up"] {
        let answer = get(&api, &format!("/api/v1/{path}")).await;
        let error = answer.body["error"].as_str().unwrap_or_default();
        assert!(error.contains("16384") && error.contains("--memory.budget"), "{path}: {error}");
    }
    let post = async |form: &str| ask(&api, Method::POST, "/api/v1/query", form, "").await;
    let answer = post("query=up{i=~\"0.*\"}&time=60").await;
    let error = answer.body["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("widest matcher i=~\"0.*\""), "{error}");
    while budget.used() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(post("query=up{i=\"0001\"}&time=60").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_damaged_chunk_costs_its_samples_and_names_series_and_store() {
    let mut damaged = replicas();
    damaged[0].chunks[0].parts[0].chunk.data = bytes::Bytes::from_static(&[0, 9, 1]);
    let fake = Fake { sets: vec![labels("replica=a"), labels("replica=b")], ..Fake::holding(damaged) };
    let api = testing::api(vec![Arc::new(fake)], &[], Budget::unlimited()).await;
    let answer = get(&api, "/api/v1/query?query=up&time=600").await;
    assert_eq!(answer.body["data"]["result"].as_array().unwrap().len(), 1);
    let warning = answer.body["warnings"][0].as_str().unwrap();
    let start = "decoding series {__name__=\"up\", job=\"web\", replica=\"a\"} from s1:1: chunk of time range 0-600000: ";
    assert!(warning.starts_with(start), "{warning}");
    let answer = get(&api, "/api/v1/query?query=up&time=600&partial_response=0").await;
    assert!(answer.body["error"].as_str().unwrap().starts_with(&format!("expanding series: {start}")));
}

#[tokio::test]
async fn tenants_see_their_own_series_where_tenancy_is_enforced() {
    let own = |tenant: &str| series(&format!("__name__=up tenant_id={tenant}"), &[&[(1_000_000, 1.0)]]);
    let fake = Arc::new(Fake::holding(vec![own("a"), own("b")]));
    let api = testing::api(vec![fake], &["--query.enforce-tenancy"], Budget::unlimited()).await;
    for query in ["up", "up{tenant_id=\"b\"}", "up{tenant_id=~\".*\"}"] {
        let answer = ask(&api, Method::POST, "/api/v1/query", &format!("query={query}"), "a").await;
        let got = answer.body["data"]["result"].as_array().unwrap().clone();
        assert_eq!((got.len(), &got[0]["metric"]["tenant_id"]), (1, &json!("a")), "{query}");
        let answer = ask(&api, Method::POST, "/api/v1/series", &format!("match[]={query}"), "b").await;
        assert_eq!(answer.body["data"], json!([{"__name__": "up", "tenant_id": "b"}]));
    }
}

#[tokio::test]
async fn a_long_answer_is_streamed_and_is_the_same_json() {
    let points: Vec<(Millis, f64)> = (0..1000).map(|i| (i * 1000, 1.0 / (i + 1) as f64)).collect();
    let many: Vec<Series> = (0..200).map(|i| series(&format!("__name__=up i={i:04}"), &[&points])).collect();
    let api = testing::api(vec![Arc::new(Fake::holding(many))], &[], Budget::unlimited()).await;
    let answer = get(&api, "/api/v1/query_range?query=up&start=0&end=999&step=1").await;
    let result = answer.body["data"]["result"].as_array().unwrap();
    assert_eq!(result.len(), 200);
    assert_eq!(result[199]["values"][999], json!([999, "0.001"]));
    assert_eq!(answer.body["data"]["analysis"], json!({}));
    assert!(answer.body.to_string().len() > 2 * answer::HELD);
}

#[tokio::test]
async fn route_prefixes_move_the_api_and_redirect() {
    let api = replicated(&["--web.external-prefix=http://proxy.example/thanos/"]).await;
    assert_eq!(get(&api, "/thanos/api/v1/query?query=1").await.status, StatusCode::OK);
    assert_eq!(get(&api, "/api/v1/query?query=1").await.status, StatusCode::NOT_FOUND);
    for path in ["/", "/thanos"] {
        assert_eq!(get(&api, path).await.status, StatusCode::FOUND);
    }
}

#[tokio::test]
async fn stores_are_listed_by_component() {
    let fake = Fake { range: (0, 9), sets: vec![labels("a=b")], ..Fake::default() };
    let api = testing::api(vec![Arc::new(fake)], &[], Budget::unlimited()).await;
    let store = json!({
        "name": "s1:1", "lastCheck": "1970-01-01T00:00:01Z", "lastError": null,
        "labelSets": [{"a": "b"}], "minTime": 0, "maxTime": 9
    });
    assert_eq!(get(&api, "/api/v1/stores").await.body["data"], json!({ "store": [store] }));
}

#[tokio::test]
async fn r073_never_more_queries_run_than_the_gate_lets_in() {
    let hung = Arc::new(Fake::of(vec![Step::Send(replicas()), Step::Hang]));
    let words = ["--query.max-concurrent=2", "--query.timeout=300ms"];
    let api = testing::api(vec![hung.clone()], &words, Budget::unlimited()).await;
    let ask = || {
        let api = api.clone();
        tokio::spawn(async move { get(&api, "/api/v1/query?query=up").await.body["error"].clone() })
    };
    let waiting: Vec<_> = (0..8).map(|_| ask()).collect();
    let gone: Vec<_> = (0..8).map(|_| ask()).collect();
    let mut most = 0;
    while !waiting.iter().all(|w| w.is_finished()) {
        most = most.max(hung.open.load(Ordering::SeqCst));
        gone.iter().for_each(|g| g.abort());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(most, 2);
    // Waiting at the gate counts: everybody was told within the one timeout.
    for answer in waiting {
        let text = answer.await.unwrap();
        let text = text.as_str().unwrap().to_owned();
        assert!(text.starts_with("query timed out in "), "{text}");
    }
    while hung.open.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(get(&api, "/api/v1/query?query=1").await.status, StatusCode::OK);
}

/// R058: what two stores hold on either side of a moment is found once, also by looking back over it.
#[tokio::test]
async fn r058_samples_at_the_boundary_of_two_stores_come_once() {
    const T: Millis = 600_000;
    let old = Fake {
        range: (0, T - 1),
        ..Fake::holding(vec![series("__name__=up", &[&[(T - 60_000, 1.0), (T - 1, 2.0)]])])
    };
    let new = Fake {
        range: (T, Millis::MAX),
        ..Fake::holding(vec![series("__name__=up", &[&[(T, 3.0), (T + 1, 4.0), (T + 60_000, 5.0)]])])
    };
    let api = testing::api(vec![Arc::new(old), Arc::new(new)], &[], Budget::unlimited()).await;
    for (query, time, want) in [
        ("up", "599.998", "1"),
        ("up", "599.999", "2"),
        ("up", "600", "3"),
        ("up", "600.001", "4"),
        ("up offset 1ms", "600", "2"),
        ("up offset -1ms", "600", "4"),
        ("count_over_time(up[2m])", "660", "4"),
        ("sum_over_time(up[10m])", "660", "15"),
    ] {
        let answer =
            get(&api, &format!("/api/v1/query?query={}&time={time}", query.replace(' ', "%20"))).await;
        assert_eq!(answer.body["data"]["result"][0]["value"][1], want, "{query} at {time}");
    }
}
