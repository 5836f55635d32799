//! Ours beside Thanos': one sidecar of each on two Prometheus replicas, asked through either querier.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use e2e::golden::judge;
use e2e::harness::{self, Fleet, wait};
use model::Labels;
use serde_json::Value;

const HOUR: i64 = 3_600_000;

/// Twenty expressions, each asked in five ways.
const EXPRESSIONS: &[&str] = &[
    "load",
    "jobs_total",
    "load{machine=~\"m[0-4]\"}",
    "rate(jobs_total[5m])",
    "irate(jobs_total[2m])",
    "increase(jobs_total[17m])",
    "delta(load[10m])",
    "resets(jobs_total[1h])",
    "changes(load[30m])",
    "sum by (zone) (rate(jobs_total[5m]))",
    "avg(load)",
    "max by (zone) (load)",
    "topk(3, load)",
    "quantile(0.9, load)",
    "count_over_time(load[11m])",
    "avg_over_time(load[10m])",
    "stddev_over_time(load[10m])",
    "load > 0.5",
    "load / rate(jobs_total[5m])",
    "absent(load{machine=\"none\"})",
];

/// What one replica scraped: at its own offset with jitter, some scrapes lost, counters with resets.
fn write(tsdb: &Path, replica: i64, end: i64) {
    for start in [end - 4 * HOUR, end - 2 * HOUR] {
        let series = |metric: &'static str, value: fn(i64, i64) -> f64| {
            (0..12i64).map(move |m| {
                let (machine, zone) = (format!("m{m}"), format!("z{}", m % 3));
                let labels = Labels::from_pairs([
                    ("__name__", metric),
                    ("job", "farm"),
                    ("machine", &machine),
                    ("zone", &zone),
                ]);
                let scrapes = (0..2 * HOUR / 15_000).filter(move |n| (n * 7 + m + replica * 3) % 41 > 1);
                let samples = scrapes.map(move |n| {
                    let t = start + 500 + replica * 4_000 + n * 15_000 + (n * 37 + m * 11) % 90;
                    (t, value(m, t / 1000))
                });
                (labels, samples)
            })
        };
        let counter = |m: i64, t: i64| (t % (1_700 + m * 100)) as f64 * 0.25;
        let gauge = |m: i64, t: i64| (t as f64 / (60.0 + m as f64)).sin();
        // In label order: machine m10 and m11 come before m2.
        let mut all: Vec<_> = series("jobs_total", counter).chain(series("load", gauge)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        e2e::blocks::write(tsdb, None, start..start + 2 * HOUR, all).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_of_ours_and_one_of_thanos_give_equal_answers_under_either_querier() {
    let (Some(prometheus), Some(thanos)) =
        (harness::outside("ATHANOR_PROMETHEUS", "prometheus"), harness::outside("ATHANOR_THANOS", "thanos"))
    else {
        return harness::not_run("ours beside Thanos': there is no prometheus, or no thanos");
    };
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::new(dir.path()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let end = now - now.rem_euclid(2 * HOUR) - 2 * HOUR;
    let blocks = ["--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h"];
    let (mut servers, mut sidecars) = (Vec::new(), Vec::new());
    let programs = [("a", harness::build("sidecar").unwrap()), ("b", thanos.clone())];
    for (n, (replica, program)) in programs.iter().enumerate() {
        std::fs::create_dir_all(fleet.tsdb(replica)).unwrap();
        write(&fleet.tsdb(replica), n as i64, end);
        let labels = format!("global: {{external_labels: {{cluster: test, replica: {replica}}}}}\n");
        let server = fleet.prometheus(replica, &prometheus, &labels, &blocks).await.unwrap();
        sidecars.push(fleet.sidecar(replica, program, &server, &[]).await.unwrap());
        servers.push(server);
    }
    let stores = [sidecars[0].grpc.as_str(), sidecars[1].grpc.as_str()];
    let ours = fleet.querier("ours", &harness::build("querier").unwrap(), &stores, &[]).await.unwrap();
    let theirs = fleet.querier("theirs", &thanos, &stores, &[]).await.unwrap();

    let seconds = |ms: i64| (ms / 1000).to_string();
    let range = |from: i64, to: i64, step: &str| {
        vec![("start", seconds(from)), ("end", seconds(to)), ("step", step.to_owned())]
    };
    let dedup = |params: Vec<(&'static str, String)>, on: &str| [params, vec![("dedup", on.into())]].concat();
    let ways = [
        ("/api/v1/query", vec![("time", seconds(end - HOUR))]),
        ("/api/v1/query", dedup(vec![("time", seconds(end - 3 * HOUR + 77_000))], "false")),
        ("/api/v1/query_range", range(end - 4 * HOUR, end, "60")),
        ("/api/v1/query_range", range(end - 130 * 60_000, end - 100 * 60_000, "13")),
        ("/api/v1/query_range", dedup(range(end - 2 * HOUR, end - HOUR, "97"), "false")),
    ];
    let (mut asked, mut differences) = (0, Vec::new());
    for query in EXPRESSIONS {
        for (path, params) in &ways {
            let mut params: Vec<_> = params.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
            params.push(("query".to_owned(), (*query).to_owned()));
            let mut bodies = Vec::new();
            for querier in [&theirs, &ours] {
                let answer = fleet.client().send("GET", &querier.url(path), &params).await.unwrap();
                assert_eq!(answer.0, 200, "{params:?}: {}", answer.1);
                bodies.push(serde_json::from_str::<Value>(&answer.1).unwrap());
            }
            let got = bodies.pop().unwrap();
            assert!(bodies[0]["data"]["result"].as_array().is_some_and(|r| !r.is_empty()), "{query}");
            let found = judge(query, &bodies[0], got);
            if !found.is_empty() {
                differences.push(format!("{params:?}\n  {}", found.join("\n  ")));
            }
            asked += 1;
        }
    }
    assert_eq!(asked, 100);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // Nobody fell out meanwhile.
    for store in stores {
        wait("both sidecars", || fleet.knows(&ours, store)).await.unwrap();
    }
}
