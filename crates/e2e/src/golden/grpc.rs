//! One recorded StoreAPI row asked again.
//!
//! Builds the message from the recorded fields, flattens the answer into the record's shape and leaves
//! the judgement to `compare`. Batches are flattened, order is kept; the label sets of Info are sets.
//! Invariant: every byte of a chunk and its hash is compared.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use storeapi_proto::info::info_client::InfoClient;
use storeapi_proto::thanos::{self, AggrChunk, Chunk, Series, series_response, store_client::StoreClient};
use tonic::Status;

use super::compare::{Numbers, differences};
use super::fleet::Target;
use super::rows::GrpcRow;

/// Asks; the differences.
///
/// # Errors
/// When the recorded request cannot be made a message.
pub(super) async fn ask(target: &Target, want: &GrpcRow) -> anyhow::Result<Vec<String>> {
    let mut store = StoreClient::new(target.store.clone()).max_decoding_message_size(usize::MAX);
    let request = &want.request;
    let answer = match want.method.as_str() {
        "Series" => {
            let request = series_request(request)?;
            series(&mut store, request).await
        }
        "LabelNames" => {
            let request = thanos::LabelNamesRequest {
                start: int(request, "start")?,
                end: int(request, "end")?,
                matchers: matchers(request)?,
                without_replica_labels: texts(request, "without_replica_labels")?,
                limit: int(request, "limit")?,
                ..Default::default()
            };
            let answer = store.label_names(request).await.map(tonic::Response::into_inner);
            answer.map(|a| json!({"values": a.names, "warnings": a.warnings}))
        }
        "LabelValues" => {
            let request = thanos::LabelValuesRequest {
                label: request["label"].as_str().context("label")?.to_owned(),
                start: int(request, "start")?,
                end: int(request, "end")?,
                matchers: matchers(request)?,
                without_replica_labels: texts(request, "without_replica_labels")?,
                limit: int(request, "limit")?,
                ..Default::default()
            };
            let answer = store.label_values(request).await.map(tonic::Response::into_inner);
            answer.map(|a| json!({"values": a.values, "warnings": a.warnings}))
        }
        "Info" => {
            let mut client = InfoClient::new(target.store.clone());
            client.info(storeapi_proto::info::InfoRequest {}).await.map(|a| info(a.into_inner()))
        }
        other => bail!("unknown method {other:?}"),
    };
    let mut wanted = tidy(&want.answer);
    let mut got = tidy(&match answer {
        Ok(mut value) => {
            value["code"] = json!("OK");
            value
        }
        Err(status) => json!({"code": format!("{:?}", status.code()), "error": status.message()}),
    });
    sort_info(&mut wanted);
    sort_info(&mut got);
    let mut out = Vec::new();
    differences(&wanted, &got, Numbers::Exact, &mut out);
    Ok(out)
}

/// A record without what was asked, and without fields that say nothing.
fn tidy(answer: &Value) -> Value {
    let mut out: Map<String, Value> = answer.as_object().cloned().unwrap_or_default();
    out.retain(|key, value| {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        !empty && key != "method" && key != "request"
    });
    Value::Object(out)
}

async fn series(
    store: &mut StoreClient<tonic::transport::Channel>,
    request: thanos::SeriesRequest,
) -> Result<Value, Status> {
    let mut stream = store.series(request).await?.into_inner();
    let (mut all, mut warnings) = (Vec::new(), Vec::new());
    while let Some(frame) = stream.message().await? {
        match frame.result {
            Some(series_response::Result::Series(one)) => all.push(one_series(one)),
            Some(series_response::Result::Batch(batch)) => {
                all.extend(batch.series.into_iter().map(one_series))
            }
            Some(series_response::Result::Warning(text)) => warnings.push(text),
            Some(series_response::Result::Hints(_)) | None => {}
        }
    }
    Ok(json!({"series": all, "warnings": warnings}))
}

fn one_series(series: Series) -> Value {
    let labels: Vec<[String; 2]> = series.labels.into_iter().map(|l| [l.name, l.value]).collect();
    let chunks: Vec<Value> = series.chunks.into_iter().map(one_chunk).collect();
    // As the record has it: a series without chunks has no list of them.
    if chunks.is_empty() { json!({"labels": labels}) } else { json!({"labels": labels, "chunks": chunks}) }
}

fn one_chunk(chunk: AggrChunk) -> Value {
    let parts = [
        ("raw", chunk.raw),
        ("count", chunk.count),
        ("sum", chunk.sum),
        ("min", chunk.min),
        ("max", chunk.max),
        ("counter", chunk.counter),
    ];
    let part = |c: Chunk| {
        let kind = c.r#type().as_str_name();
        json!({"type": kind, "data": BASE64_STANDARD.encode(&c.data), "hash": c.hash})
    };
    let aggregates: Map<String, Value> =
        parts.into_iter().filter_map(|(name, c)| Some((name.to_owned(), part(c?)))).collect();
    json!({"mint": chunk.min_time, "maxt": chunk.max_time, "aggr": aggregates})
}

fn info(answer: storeapi_proto::info::InfoResponse) -> Value {
    let set = |set: thanos::ZLabelSet| -> Value {
        set.labels.into_iter().map(|l| (l.name, Value::String(l.value))).collect::<Map<_, _>>().into()
    };
    let mut out = json!({
        "label_sets": answer.label_sets.into_iter().map(set).collect::<Vec<_>>(),
        "ComponentType": answer.component_type,
    });
    if let Some(store) = answer.store {
        let blocks = store
            .tsdb_infos
            .into_iter()
            .map(|t| json!({"labels": t.labels.map(set), "min_time": t.min_time, "max_time": t.max_time}));
        out["store"] = json!({
            "min_time": store.min_time,
            "max_time": store.max_time,
            "supports_sharding": store.supports_sharding,
            "supports_without_replica_labels": store.supports_without_replica_labels,
            "tsdb_infos": blocks.collect::<Vec<_>>(),
        });
    }
    json!({"info": out})
}

/// Puts the sets of an Info answer in one order.
fn sort_info(answer: &mut Value) {
    for pointer in ["/info/label_sets", "/info/store/tsdb_infos"] {
        if let Some(Value::Array(list)) = answer.pointer_mut(pointer) {
            list.sort_by_key(Value::to_string);
        }
    }
}

fn series_request(from: &Value) -> anyhow::Result<thanos::SeriesRequest> {
    let aggregates = from["aggregates"].as_array().map_or(&[][..], Vec::as_slice);
    let strategy = from["partial_response_strategy"].as_str().unwrap_or("WARN");
    let strategy = thanos::PartialResponseStrategy::from_str_name(strategy).context("strategy")?;
    Ok(thanos::SeriesRequest {
        min_time: int(from, "min_time")?,
        max_time: int(from, "max_time")?,
        matchers: matchers(from)?,
        max_resolution_window: int(from, "max_resolution_window")?,
        aggregates: aggregates.iter().map(number).collect::<anyhow::Result<_>>()?,
        partial_response_strategy: strategy.into(),
        skip_chunks: from["skip_chunks"].as_bool().unwrap_or_default(),
        without_replica_labels: texts(from, "without_replica_labels")?,
        limit: int(from, "limit")?,
        ..Default::default()
    })
}

fn int(from: &Value, field: &str) -> anyhow::Result<i64> {
    match from.get(field) {
        None => Ok(0),
        Some(value) => value.as_i64().with_context(|| field.to_owned()),
    }
}

fn number(value: &Value) -> anyhow::Result<i32> {
    value.as_i64().and_then(|n| i32::try_from(n).ok()).context("a number")
}

fn texts(from: &Value, field: &str) -> anyhow::Result<Vec<String>> {
    let list = from[field].as_array().map_or(&[][..], Vec::as_slice);
    list.iter().map(|v| v.as_str().map(str::to_owned).with_context(|| field.to_owned())).collect()
}

fn matchers(from: &Value) -> anyhow::Result<Vec<thanos::LabelMatcher>> {
    let list = from["matchers"].as_array().map_or(&[][..], Vec::as_slice);
    list.iter()
        .map(|m| {
            Ok(thanos::LabelMatcher {
                r#type: m.get("type").map_or(Ok(0), number)?,
                name: m["name"].as_str().context("name")?.to_owned(),
                value: m["value"].as_str().unwrap_or_default().to_owned(),
            })
        })
        .collect()
}
