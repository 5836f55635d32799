//! A walk over the series of one block, batch by batch.
//!
//! Holds the turn between reading pages, which waits, and decoding them, which computes on the pool. It
//! knows no chunk and no order beyond a batch. Invariant: one batch at a time; after a failure the walk
//! has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use storeapi::shard::ShardMatcher;
use storeapi_proto::thanos::ShardInfo;

use super::pages::Source;
use super::{Batch, Decoded, Decoder, Order, Wanted};
use crate::block::Block;
use crate::error::{Failure, Result};
use crate::index_header::{Reader, Symbols};
use crate::pool::CpuPool;
use crate::request::Request;
use crate::store::Tools;

/// So many series are decoded where the request is.
const SMALL: usize = 64;

/// The walk.
#[derive(Debug)]
pub(crate) struct Scan {
    source: Source,
    pool: CpuPool,
    decoder: Option<Decoder>,
    fetching: Duration,
}

impl Scan {
    pub(crate) fn new(
        tools: &Tools,
        block: &Arc<Block>,
        header: Reader,
        wanted: Arc<Wanted>,
        shard: Option<&ShardInfo>,
        request: &Arc<Request>,
    ) -> Self {
        let decoder = Decoder::new(
            Symbols::new(header),
            &block.labels,
            wanted,
            ShardMatcher::new(shard),
            block.index_key.clone(),
        );
        let source = Source { fetch: tools.fetch.clone(), block: block.clone(), request: request.clone() };
        Scan { source, pool: tools.pool.clone(), decoder: Some(decoder), fetching: Duration::ZERO }
    }

    /// Whether final labels keep the order of the index.
    pub(crate) fn order(&self) -> Order {
        self.decoder.as_ref().map_or(Order::Lost, Decoder::order)
    }

    /// Time spent waiting for pages.
    pub(crate) fn fetching(&self) -> Duration {
        self.fetching
    }

    /// Fetches and decodes the series with these references, which ascend.
    pub(crate) async fn batch(&mut self, references: &[u32]) -> Result<Batch> {
        let Some(mut decoder) = self.decoder.take() else {
            return Err(Failure::block("the walk over the block's series has ended"));
        };
        let began = Instant::now();
        let section = decoder.section();
        let offsets = references.iter().map(|r| decoder.offset(*r)).collect::<Result<Vec<u64>>>()?;
        let mut pages = self.source.pages(&offsets, section).await?;
        self.fetching += began.elapsed();
        let references: Arc<[u32]> = references.into();
        loop {
            let batch = references.clone();
            let (back, used, decoded) = self
                .pool
                .run_sized(references.len() <= SMALL, move || {
                    let decoded = decoder.decode(&batch, &pages)?;
                    Ok((decoder, pages, decoded))
                })
                .await?;
            (decoder, pages) = (back, used);
            match decoded {
                Decoded::Whole(batch) => {
                    self.decoder = Some(decoder);
                    return Ok(batch);
                }
                Decoded::More(range) => {
                    let bytes = self.source.more(range.clone()).await?;
                    pages.insert(range.start, bytes);
                }
            }
        }
    }
}
