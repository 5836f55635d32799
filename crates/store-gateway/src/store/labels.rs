//! Label names and values over all blocks.
//!
//! Holds both calls: from the index headers where nothing but external labels is asked for, else from
//! the matching series. It sends no chunk. Invariant: answers are sorted and hold each text once.
//! Upstream: `BucketStore.LabelNames`, `LabelValues`; what looks odd here (which path drops replica
//! labels, where the limit cuts) is theirs.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use model::{MatchType, Matcher};
use storeapi::Call;
use storeapi_proto::{convert, hintspb, thanos};
use tonic::{Code, Status};

use super::{BucketStore, EXPANDING, block_matchers, hints, queried, to_any};
use crate::block::Block;
use crate::error::{Context as _, Failure, Kind, Result};
use crate::request::{Hold, Request};
use crate::series::{Found, Scan, Wanted};

/// Series read at once.
const BATCH: usize = 10_000;
/// Bytes a text takes besides its own.
const TEXT_OVERHEAD: u64 = 48;

/// A block with the matchers that are left for its series.
type Chosen = (Arc<Block>, Vec<Matcher>);

/// What is wanted of matching series.
struct Lookup {
    mint: i64,
    maxt: i64,
    removed: Vec<String>,
}

/// Texts with the charge for them.
type Charged = (Vec<String>, Hold);

/// Texts of one block, each once, charged as they come.
struct Texts {
    all: BTreeSet<String>,
    hold: Hold,
}

impl Texts {
    fn new(request: &Arc<Request>) -> Result<Self> {
        Ok(Texts { all: BTreeSet::new(), hold: request.hold(0, &"label values")? })
    }

    fn add(&mut self, text: &str) -> Result<()> {
        if !text.is_empty() && !self.all.contains(text) {
            self.hold.grow(text.len() as u64 + TEXT_OVERHEAD, &"label values")?;
            self.all.insert(text.to_owned());
        }
        Ok(())
    }

    fn done(self) -> Charged {
        (self.all.into_iter().collect(), self.hold)
    }
}

/// Texts of all blocks, and what went wrong with some.
#[derive(Default)]
struct Answer {
    texts: Vec<String>,
    warnings: Vec<String>,
}

impl BucketStore {
    pub(super) async fn names(
        &self,
        wire: thanos::LabelNamesRequest,
        call: Call,
    ) -> std::result::Result<thanos::LabelNamesResponse, Status> {
        let matchers = series_matchers(&wire.matchers)?;
        let asked: hintspb::LabelNamesRequestHints = hints(wire.hints.as_ref(), "label names")?;
        let chosen = self.choose(&matchers, &block_matchers(&asked.block_matchers)?, wire.start, wire.end);
        let blocks: Vec<Arc<Block>> = chosen.iter().map(|(b, _)| b.clone()).collect();
        let limit = usize::try_from(wire.limit).unwrap_or(0);
        let strategy = strategy(wire.partial_response_disabled, wire.partial_response_strategy);
        let lookup = &Lookup { mint: wire.start, maxt: wire.end, removed: wire.without_replica_labels };
        let request = &self.request(&call);
        let of_block = |(block, matchers): Chosen| async move {
            if matchers.is_empty() {
                return self.names_of_header(&block, lookup, limit, request).await;
            }
            let mut names = Texts::new(request)?;
            self.visit(&block, &matchers, lookup, request, |found| {
                found.labels.iter().try_for_each(|(name, _)| names.add(name))
            })
            .await?;
            Ok(names.done())
        };
        let answer = gather(chosen, of_block, limit, strategy).await?;
        let queried = hintspb::LabelNamesResponseHints { queried_blocks: queried(&blocks) };
        Ok(thanos::LabelNamesResponse {
            names: answer.texts,
            warnings: answer.warnings,
            hints: Some(to_any(&queried, "LabelNamesResponseHints")),
        })
    }

    pub(super) async fn values(
        &self,
        wire: thanos::LabelValuesRequest,
        call: Call,
    ) -> std::result::Result<thanos::LabelValuesResponse, Status> {
        let matchers = series_matchers(&wire.matchers)?;
        if wire.without_replica_labels.contains(&wire.label) {
            return Ok(thanos::LabelValuesResponse::default());
        }
        let asked: hintspb::LabelValuesRequestHints = hints(wire.hints.as_ref(), "label values")?;
        let mut chosen =
            self.choose(&matchers, &block_matchers(&asked.block_matchers)?, wire.start, wire.end);
        let by_name = |m: &Matcher| m.kind == MatchType::Equal && m.name == model::labels::METRIC_NAME;
        if !matchers.iter().any(by_name) {
            // Series without the label say nothing about its values.
            let has = Matcher::new(MatchType::NotEqual, wire.label.clone(), "");
            let has = has.map_err(|e| Status::invalid_argument(e.to_string()))?;
            for (block, rest) in &mut chosen {
                if !rest.is_empty() && !block.labels.has(&wire.label) {
                    rest.push(has.clone());
                }
            }
        }
        let blocks: Vec<Arc<Block>> = chosen.iter().map(|(b, _)| b.clone()).collect();
        let limit = usize::try_from(wire.limit).unwrap_or(0);
        let strategy = strategy(wire.partial_response_disabled, wire.partial_response_strategy);
        // Upstream leaves replica labels in here: the one asked for is none of them.
        let lookup = &Lookup { mint: wire.start, maxt: wire.end, removed: Vec::new() };
        let request = &self.request(&call);
        let label = wire.label.as_str();
        let of_block = |(block, matchers): Chosen| async move {
            if matchers.is_empty() {
                return self.values_of_header(&block, label, limit, request).await;
            }
            let mut values = Texts::new(request)?;
            self.visit(&block, &matchers, lookup, request, |found| values.add(found.labels.value(label)))
                .await?;
            Ok(values.done())
        };
        let answer = gather(chosen, of_block, limit, strategy).await?;
        let queried = hintspb::LabelValuesResponseHints { queried_blocks: queried(&blocks) };
        Ok(thanos::LabelValuesResponse {
            values: answer.texts,
            warnings: answer.warnings,
            hints: Some(to_any(&queried, "LabelValuesResponseHints")),
        })
    }

    /// Blocks that meet the range and the matchers on external labels.
    fn choose(&self, matchers: &[Matcher], selectors: &[Matcher], start: i64, end: i64) -> Vec<Chosen> {
        let view = self.view();
        let blocks = view.blocks.values().filter(|b| b.overlaps(start, end) && b.is_selected_by(selectors));
        blocks
            .filter_map(|b| Some((b.clone(), storeapi::external_labels::remaining(matchers, &b.labels)?)))
            .collect()
    }

    async fn names_of_header(
        &self,
        block: &Arc<Block>,
        lookup: &Lookup,
        limit: usize,
        request: &Arc<Request>,
    ) -> Result<Charged> {
        let header = block.header.open().await.context(format!("label names for block {}", block.id))?;
        let own: Vec<String> = header.label_names().map(str::to_owned).collect();
        let size = own.iter().map(|n| n.len() as u64 + TEXT_OVERHEAD).sum();
        let hold = request.hold(size, &format_args!("label names of block {}", block.id))?;
        let external = block.labels.without(&lookup.removed);
        Ok((merge(vec![own, external.iter().map(|(n, _)| n.to_owned()).collect()], limit), hold))
    }

    async fn values_of_header(
        &self,
        block: &Arc<Block>,
        label: &str,
        limit: usize,
        request: &Arc<Request>,
    ) -> Result<Charged> {
        let what = || format!("index header label values for block {}", block.id);
        let read = |header: crate::index_header::Reader| {
            let label = label.to_owned();
            self.tools.pool.run(move || {
                let mut own = Vec::new();
                header.values(&label, |value, _| own.push(value.to_owned()))?;
                Ok(own)
            })
        };
        let header = block.header.open().await.context(what())?;
        let size = header.values_size(label);
        let hold = request.hold(size, &format_args!("values of label {label} of block {}", block.id))?;
        let generation = header.generation();
        let own = match read(header).await {
            Err(e) if e.kind() == Kind::Header => {
                read(block.header.reopen(generation, &e).await.context(what())?).await
            }
            other => other,
        };
        let own = own.context(what())?;
        match block.labels.value(label) {
            "" => Ok((own, hold)),
            external => Ok((merge(vec![own, vec![external.to_owned()]], limit), hold)),
        }
    }

    /// Shows each matching series with data in range.
    async fn visit(
        &self,
        block: &Arc<Block>,
        matchers: &[Matcher],
        lookup: &Lookup,
        request: &Arc<Request>,
        mut each: impl FnMut(&Found) -> Result<()>,
    ) -> Result<()> {
        let (header, expanded) =
            self.expand(block, matchers, request).await.context("expanded matching posting")?;
        let reserve = |n: u64| {
            let limited = request.limits.series.reserve(n);
            limited.map_err(|e| Failure::limit(format!("exceeded series limit: {e}")))
        };
        if expanded.lazy.is_empty() {
            reserve(expanded.references.len() as u64)?;
        }
        let wanted = Arc::new(Wanted {
            mint: lookup.mint,
            maxt: lookup.maxt,
            skip_chunks: true,
            removed: lookup.removed.clone(),
            lazy: expanded.lazy.clone(),
        });
        let mut scan = Scan::new(&self.tools, block, header, wanted, None, request);
        for references in expanded.references.chunks(BATCH) {
            let bytes = references.len() as u64 * crate::stream::SERIES_CHARGE;
            let _hold = request.hold(bytes, &format_args!("series of block {}", block.id))?;
            let batch = scan.batch(references).await;
            let batch = batch.context(format!("iterate series for block {}", block.id))?;
            if !expanded.lazy.is_empty() {
                reserve(batch.series.len() as u64)?;
            }
            batch.series.iter().try_for_each(&mut each)?;
        }
        Ok(())
    }
}

fn series_matchers(wire: &[thanos::LabelMatcher]) -> std::result::Result<Vec<Matcher>, Status> {
    convert::matchers(wire)
        .map_err(|e| Status::invalid_argument(format!("translate request labels matchers: {e}")))
}

fn strategy(disabled: bool, strategy: i32) -> i32 {
    if disabled { thanos::PartialResponseStrategy::Abort as i32 } else { strategy }
}

/// Asks all blocks and merges what they say.
async fn gather<F, A>(
    chosen: Vec<Chosen>,
    of_block: F,
    limit: usize,
    strategy: i32,
) -> std::result::Result<Answer, Status>
where
    F: Fn(Chosen) -> A,
    A: Future<Output = Result<Charged>>,
{
    let mut answer = Answer::default();
    let (mut sets, mut holds) = (Vec::new(), Vec::new());
    let mut asked = std::pin::pin!(
        stream::iter(chosen)
            .map(|chosen| {
                let id = chosen.0.id;
                let texts = of_block(chosen);
                async move { (id, texts.await) }
            })
            .buffer_unordered(EXPANDING)
    );
    while let Some((id, texts)) = asked.next().await {
        match texts {
            Ok((texts, hold)) => {
                sets.push(texts);
                holds.push(hold);
            }
            Err(e) if e.is_partial(strategy) => {
                tracing::warn!(block = %id, err = %e, "block left out of an answer");
                answer.warnings.push(format!("block {id}: {e}"));
            }
            Err(e) => return Err(e.status(Code::Internal)),
        }
    }
    answer.texts = merge(sets, limit);
    Ok(answer)
}

/// Merges sorted texts, keeping the first `limit` of all; 0 keeps all.
fn merge(sets: Vec<Vec<String>>, limit: usize) -> Vec<String> {
    let mut all: Vec<String> = sets.into_iter().flatten().collect();
    all.sort_unstable();
    all.dedup();
    if limit > 0 {
        all.truncate(limit);
    }
    all
}
