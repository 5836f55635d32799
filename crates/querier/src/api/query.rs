//! PromQL over HTTP.
//!
//! Holds the reading of Thanos' parameters for instant and range queries, in Thanos' order, so that of
//! several faults the same one is reported. It evaluates nothing. Invariant: limits on times and steps
//! are checked before anything is allocated for them.

use std::sync::Arc;
use std::time::Duration;

use component::http::Response;
use model::{Matcher, Millis};
use promql::StatsLevel;
use serde::Deserialize;
use storeapi_proto::thanos::ShardInfo;
use tokio::sync::oneshot;

use super::answer::{Answer, Rest};
use super::evaluate::{Evaluator, Job, Running, Times, warnings};
use super::params::{Nanos, Params, millis, parse_time};
use super::{Api, Asked, Failure};
use crate::args::EngineName;
use crate::config::Config;

/// Most points of a series.
const MAX_POINTS: i128 = 11_000;

/// The replica labels that are merged over; none without deduplication.
pub(super) fn replica_labels(config: &Config, params: &Params) -> Result<Vec<String>, Failure> {
    let dedup = params.bool("dedup", true)?;
    let given: Vec<String> = params.all("replicaLabels[]").map(str::to_owned).collect();
    Ok(match (dedup, given.is_empty()) {
        (false, _) => Vec::new(),
        (true, true) => config.replica_labels.clone(),
        (true, false) => given,
    })
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Shard {
    shard_index: i64,
    total_shards: i64,
    by: bool,
    labels: Vec<String>,
}

fn shard(params: &Params) -> Result<Option<ShardInfo>, Failure> {
    let text = params.get("shard_info");
    if text.is_empty() {
        return Ok(None);
    }
    let shard: Option<Shard> = serde_json::from_str(text)
        .map_err(|e| Failure::bad_data(format!("could not unmarshal parameter shard_info: {e}")))?;
    let Shard { shard_index, total_shards, by, labels } = shard.unwrap_or_default();
    Ok(Some(ShardInfo { shard_index, total_shards, by, labels }))
}

pub(super) fn engine(config: &Config, params: &Params) -> Result<EngineName, Failure> {
    match params.get("engine") {
        "" => Ok(config.engine),
        "prometheus" => Ok(EngineName::Prometheus),
        "thanos" => Ok(EngineName::Thanos),
        other => Err(Failure::bad_data(format!("'{other}' bad engine"))),
    }
}

/// The coarsest data, in milliseconds; `automatic` where the request or the flag leaves it to us.
fn max_resolution(config: &Config, params: &Params, automatic: i64) -> Result<Millis, Failure> {
    const NAME: &str = "max_source_resolution";
    let text = params.get(NAME);
    let nanos = match text {
        "" | "auto" if config.auto_downsampling || text == "auto" => automatic,
        "" => 0,
        _ => params.duration(NAME)?.unwrap_or(0),
    };
    if nanos < 0 {
        return Err(Failure::bad_data(format!("negative '{NAME}' is not accepted. Try a positive integer")));
    }
    Ok(nanos / 1_000_000)
}

fn timeout(params: &Params) -> Result<Option<Duration>, Failure> {
    match params.get("timeout") {
        "" => Ok(None),
        text => super::params::parse_duration(text)
            .map(|nanos| Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))),
    }
}

/// Everything behind the times.
fn job(api: &Api, asked: &Asked, times: Times, automatic: i64) -> Result<Job, Failure> {
    let (config, params) = (&api.config, &asked.params);
    let timeout = timeout(params)?;
    let replica_labels = replica_labels(config, params)?;
    let store_matchers = params.selectors("storeMatch[]", &config.syntax)?;
    let partial = params.bool("partial_response", config.partial_response)?;
    let max_resolution = max_resolution(config, params, automatic)?;
    let shard = shard(params)?;
    let engine = engine(config, params)?;
    let lookback = match params.duration("lookback_delta")? {
        // What is under a millisecond still is a lookback.
        Some(nanos @ 1..) => (nanos / 1_000_000).max(1),
        _ => config.lookbacks.of(max_resolution),
    };
    let tenant = asked.tenant.clone()?;
    let enforced = config.tenancy.enforced_label.as_ref();
    let enforced = enforced.map(|label| Matcher::equal(label.as_ref(), tenant.clone()));
    Ok(Job {
        text: params.get("query").to_owned(),
        times,
        engine,
        lookback,
        stats: match params.get("stats") {
            "" => StatsLevel::None,
            "all" => StatsLevel::PerStep,
            _ => StatsLevel::Totals,
        },
        analyze: engine == EngineName::Thanos && wants_analysis(params),
        timeout,
        replica_labels,
        store_matchers,
        max_resolution,
        partial,
        shard,
        tenant,
        enforced,
    })
}

pub(super) fn instant_job(api: &Api, asked: &Asked) -> Result<Job, Failure> {
    let now = Nanos::from(api.clock.now_millis()) * 1_000_000;
    let at = asked.params.time_or("time", now)?;
    let automatic = api.config.instant_resolution.saturating_mul(1_000_000);
    job(api, asked, Times::At(millis(at)), automatic)
}

pub(super) fn range_job(api: &Api, asked: &Asked) -> Result<Job, Failure> {
    let params = &asked.params;
    let start = parse_time(params.get("start"))?;
    let end = parse_time(params.get("end"))?;
    if end < start {
        return Err(Failure::bad_data("end timestamp must not be before start time"));
    }
    // Go's differences of times end at 292 years.
    let length = (end - start).min(Nanos::from(i64::MAX));
    let step = match params.duration("step")? {
        Some(step) => Nanos::from(step),
        None => {
            let seconds = (length / 1_000_000_000 / 250).max(i128::from(api.config.default_step.as_secs()));
            seconds * 1_000_000_000
        }
    };
    if step <= 0 {
        return Err(Failure::bad_data(
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if length / step > MAX_POINTS {
        return Err(Failure::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let times = Times::Range { start: millis(start), end: millis(end), step: millis(step).max(1) };
    let automatic = i64::try_from(step / 5).unwrap_or(i64::MAX);
    job(api, asked, times, automatic)
}

pub(super) async fn instant(api: Arc<Api>, asked: Asked) -> Result<Response, Failure> {
    let job = instant_job(&api, &asked)?;
    answer(&api.evaluator, job, wants_analysis(&asked.params)).await
}

pub(super) async fn range(api: Arc<Api>, asked: Asked) -> Result<Response, Failure> {
    let job = range_job(&api, &asked)?;
    answer(&api.evaluator, job, wants_analysis(&asked.params)).await
}

/// Whether an analysis is asked for.
fn wants_analysis(params: &Params) -> bool {
    matches!(params.get("analyze"), "true" | "1")
}

async fn answer(evaluator: &Evaluator, job: Job, analyze: bool) -> Result<Response, Failure> {
    let (engine, stats) = (job.engine, job.stats != StatsLevel::None);
    let accepted = evaluator.accept(job)?;
    let guard = accepted.guard();
    let (head, answered) = oneshot::channel();
    let write = move |running: Running| {
        let complete = running.store.completeness();
        let result_type = running.result_type();
        let mut answer =
            Answer::new(result_type, head, running.account.clone(), running.lease.clone(), complete);
        match running.run(&mut answer) {
            Ok(outcome) => {
                let mut warnings = warnings(&outcome);
                let analysis = outcome.analysis.as_ref().map(|tree| {
                    // What an endpoint sent is noted before its stream ends.
                    super::explain::analysis(tree, &running.store.fanout())
                });
                if analyze && analysis.is_none() {
                    warnings.push(match engine {
                        EngineName::Thanos => {
                            "Query fallback to prometheus engine; not analyzable.".to_owned()
                        }
                        EngineName::Prometheus => {
                            "Query not analyzable; change engine to 'thanos'.".to_owned()
                        }
                    });
                }
                let stats = stats.then(|| super::evaluate::stats_json(&outcome.stats));
                answer.finish(Rest { stats, analysis, warnings });
            }
            Err(failure) => answer.fail(failure),
        }
    };
    evaluator.start(accepted, write).await?;
    let response = answered.await.map_err(|_| Failure {
        kind: component::api::ErrorType::Internal,
        text: "evaluating the query broke off".to_owned(),
    })??;
    // The query ends with the body that it may still be writing.
    Ok(response.map(|body| super::answer::guarded(body, guard)))
}
