//! Series, label names and label values.
//!
//! Holds the three metadata endpoints over the fan-out. It decodes no chunk. Invariant: what several
//! selectors find comes once and sorted, and a list that was cut says so.

use std::sync::Arc;

use bytes::Bytes;
use component::http::Response;
use futures::StreamExt;
use model::{Labels, Matcher, Millis};
use storeapi::{Call, Item, Merge, Store};
use storeapi_proto::{convert, thanos};

use super::{Api, Asked, Failure, is_incomplete, json, no_store, success};
use crate::queryable::{self, store_error_text};

const CUT: &str = "results truncated due to limit";

/// Bytes of JSON handed on at once.
const PIECE: usize = 64 << 10;

/// What the three endpoints have in common.
struct Metadata {
    start: Millis,
    end: Millis,
    partial: bool,
    limit: usize,
    selectors: Vec<Vec<Matcher>>,
    call: Call,
}

impl Metadata {
    fn of(api: &Api, asked: &Asked) -> Result<Self, Failure> {
        let params = &asked.params;
        let config = &api.config;
        let (start, end) = params.metadata_range(api.clock.now_millis(), config.metadata_range)?;
        let partial = params.bool("partial_response", config.partial_response)?;
        let store_matchers = params.selectors("storeMatch[]", &config.syntax)?;
        let limit = params.limit()?;
        let tenant = asked.tenant.clone()?;
        let mut selectors = params.selectors("match[]", &config.syntax)?;
        if let Some(label) = &config.tenancy.enforced_label {
            let own = Matcher::equal(label.as_ref(), tenant.clone());
            if selectors.is_empty() {
                selectors.push(Vec::new());
            }
            for matchers in &mut selectors {
                matchers.retain(|m| m.name != own.name);
                matchers.push(own.clone());
            }
        }
        let deadline = std::time::Instant::now().checked_add(config.timeout);
        let call = Call { store_matchers: store_matchers.into(), deadline, ..Call::internal(tenant) };
        Ok(Metadata { start, end, partial, limit, selectors, call })
    }

    /// The limit for stores: one more, so that a cut is noticed.
    fn hint(&self) -> i64 {
        match self.limit {
            0 => 0,
            limit => i64::try_from(limit).map_or(i64::MAX, |l| l.saturating_add(1)),
        }
    }

    /// The matcher sets to ask with: one without matchers where none was given.
    fn sets(&self) -> Vec<Vec<thanos::LabelMatcher>> {
        match self.selectors.is_empty() {
            true => vec![Vec::new()],
            false => self.selectors.iter().map(|m| convert::to_matchers(m)).collect(),
        }
    }

    /// Sorted words of all sets, cut to the limit.
    fn finish(&self, lists: Vec<(Vec<String>, Vec<String>)>) -> Response {
        let (words, warnings): (Vec<_>, Vec<_>) = lists.into_iter().unzip();
        let (mut words, mut warnings) = (words.concat(), warnings.concat());
        words.sort_unstable();
        words.dedup();
        if self.limit > 0 && words.len() > self.limit {
            words.truncate(self.limit);
            warnings.push(CUT.to_owned());
        }
        warnings.sort_unstable();
        warnings.dedup();
        success(&words, &warnings)
    }
}

pub(super) async fn names(api: Arc<Api>, asked: Asked) -> Result<Response, Failure> {
    let metadata = Metadata::of(&api, &asked)?;
    let asked = metadata.sets().into_iter().map(|matchers| {
        api.evaluator.store().label_names(
            thanos::LabelNamesRequest {
                partial_response_strategy: queryable::strategy(metadata.partial),
                start: metadata.start,
                end: metadata.end,
                matchers,
                limit: metadata.hint(),
                ..Default::default()
            },
            metadata.call.clone(),
        )
    });
    let answers = futures::future::try_join_all(asked).await;
    let answers = answers.map_err(|e| Failure::execution(store_error_text("LabelNames()", &e)))?;
    Ok(metadata.finish(answers.into_iter().map(|a| (a.names, a.warnings)).collect()))
}

pub(super) async fn values(api: Arc<Api>, asked: Asked) -> Result<Response, Failure> {
    let name = unescape_name(&asked.name);
    if name.is_empty() {
        return Err(Failure::bad_data("invalid label name: \"\""));
    }
    let metadata = Metadata::of(&api, &asked)?;
    let asked = metadata.sets().into_iter().map(|matchers| {
        api.evaluator.store().label_values(
            thanos::LabelValuesRequest {
                label: name.clone(),
                partial_response_strategy: queryable::strategy(metadata.partial),
                start: metadata.start,
                end: metadata.end,
                matchers,
                limit: metadata.hint(),
                ..Default::default()
            },
            metadata.call.clone(),
        )
    });
    let answers = futures::future::try_join_all(asked).await;
    let answers = answers.map_err(|e| Failure::execution(store_error_text("LabelValues()", &e)))?;
    Ok(metadata.finish(answers.into_iter().map(|a| (a.values, a.warnings)).collect()))
}

/// A label name as clients write it in paths: `U__` begins an escaped one, in which `_2E_` stands for a
/// code point and `__` for an underscore. What is not well formed stays as it is.
fn unescape_name(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::new();
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let code = rest.split_once('_').filter(|(hex, _)| (1..=6).contains(&hex.len()));
        let code =
            code.and_then(|(hex, after)| Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, after)));
        let Some((c, after)) = code else { return name.to_owned() };
        out.push(c);
        rest = after;
    }
    out.push_str(rest);
    out
}

pub(super) async fn series(api: Arc<Api>, asked: Asked) -> Result<Response, Failure> {
    if asked.params.all("match[]").next().is_none() {
        return Err(Failure::bad_data("no match[] parameter provided"));
    }
    let metadata = Metadata::of(&api, &asked)?;
    let replica_labels = super::query::replica_labels(&api.config, &asked.params)?;
    let asked = metadata.sets().into_iter().map(|matchers| {
        let request = thanos::SeriesRequest {
            min_time: metadata.start,
            max_time: metadata.end,
            limit: metadata.hint(),
            matchers,
            max_resolution_window: i64::MAX,
            aggregates: vec![thanos::Aggr::Count as i32, thanos::Aggr::Sum as i32],
            partial_response_strategy: queryable::strategy(metadata.partial),
            skip_chunks: true,
            response_batch_size: storeapi::batch::DEFAULT_RESPONSE_BATCH_SIZE,
            without_replica_labels: replica_labels.clone(),
            ..Default::default()
        };
        api.evaluator.store().series(request, metadata.call.clone())
    });
    let failed = |e: &tonic::Status| Failure::execution(store_error_text("Series()", e));
    let streams = futures::future::try_join_all(asked).await.map_err(|e| failed(&e))?;
    let mut merged = Merge::new(streams);
    let account = api.evaluator.budget().account();
    let (mut found, mut warnings): (Vec<Labels>, Vec<String>) = (Vec::new(), Vec::new());
    'all: while let Some(item) = merged.next().await {
        match item.map_err(|e| failed(&e))? {
            Item::Series(all) => {
                for series in all {
                    if metadata.limit > 0 && found.len() == metadata.limit {
                        warnings.push(CUT.to_owned());
                        break 'all;
                    }
                    let bytes = (series.labels.byte_len() + size_of::<Labels>()) as u64;
                    let charged = account.charge(bytes, &"label sets of a series request");
                    charged.map_err(|e| Failure::execution(e.to_string()))?;
                    found.push(series.labels);
                }
            }
            Item::Warning(text) => warnings.push(text),
            Item::Hints(_) => {}
        }
    }
    warnings.sort_unstable();
    warnings.dedup();
    let incomplete = warnings.iter().any(|w| is_incomplete(w));
    let mut response = streamed(found, account, warnings);
    if incomplete {
        no_store(&mut response);
    }
    Ok(response)
}

/// The answer, written as the client reads.
fn streamed(found: Vec<Labels>, account: model::Account, warnings: Vec<String>) -> Response {
    let pieces = futures::stream::unfold(
        (found.into_iter(), true, false, account),
        |(mut rest, first, ended, account)| async move {
            if ended {
                return None;
            }
            let mut out = Vec::with_capacity(PIECE + 4096);
            let (mut comma, mut ended) = (!first, false);
            if first {
                out.push(b'[');
            }
            while out.len() < PIECE {
                let Some(labels) = rest.next() else {
                    out.push(b']');
                    ended = true;
                    break;
                };
                if comma {
                    out.push(b',');
                }
                comma = true;
                json::labels(&mut out, &labels);
            }
            Some((Ok(Bytes::from(out)), (rest, false, ended, account)))
        },
    );
    component::api::stream_success(pieces, || component::api::Tail { warnings, infos: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_unescaped() {
        assert_eq!(unescape_name("U__my_2E_name__x"), "my.name_x");
        for kept in ["plain_name", "U__a_zz_", "U__a_", "U__a_D800_"] {
            assert_eq!(unescape_name(kept), kept);
        }
    }
}
