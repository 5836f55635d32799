//! One Series call: what it costs the server, and a digest of its answer.
//!
//! For the cost frames are dropped as they come, so that the client takes little of the machine; the
//! digest decodes them in a call of its own, which is not timed. Knows Linux' `/proc`. Invariant: CPU and
//! peak are the server's alone, of a process that has answered nothing before.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Instant;

use anyhow::Context as _;
use storeapi_proto::thanos::{self, SeriesRequest, series_response, store_client::StoreClient};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};

use super::data::Case;
use crate::harness::Service;

/// What a call cost.
#[derive(Clone, Debug)]
pub(super) struct Cost {
    /// Seconds until the last frame.
    pub(super) wall: f64,
    /// Seconds of the server's CPU.
    pub(super) cpu: f64,
    /// MiB of the server's resident memory at its highest, since its start.
    pub(super) peak: f64,
    /// MiB of messages.
    pub(super) wire: f64,
}

impl Cost {
    /// The median of each figure.
    pub(super) fn median(all: &[Cost]) -> Cost {
        let middle = |of: fn(&Cost) -> f64| {
            let mut figures: Vec<f64> = all.iter().map(of).collect();
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Cost {
            wall: middle(|c| c.wall),
            cpu: middle(|c| c.cpu),
            peak: middle(|c| c.peak),
            wire: middle(|c| c.wire),
        }
    }
}

/// An answer in short: order, labels, chunk bytes and hashes are in the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) series: usize,
    chunks: usize,
    hash: u64,
}

const MIB: f64 = (1 << 20) as f64;

/// Everything of the case, in batches as Thanos' querier asks for them.
fn request(case: &Case) -> SeriesRequest {
    let range = case.range();
    SeriesRequest {
        min_time: range.start,
        max_time: range.end,
        matchers: vec![thanos::LabelMatcher {
            name: "foo".into(),
            value: "bar".into(),
            ..Default::default()
        }],
        partial_response_strategy: thanos::PartialResponseStrategy::Abort.into(),
        response_batch_size: 64,
        ..Default::default()
    }
}

async fn connect(service: &Service) -> anyhow::Result<Channel> {
    Ok(Endpoint::new(format!("http://{}", service.grpc))?.connect().await?)
}

/// Runs the call and drops its frames.
pub(super) async fn series(service: &Service, case: &Case) -> anyhow::Result<Cost> {
    let mut client = tonic::client::Grpc::new(connect(service).await?).max_decoding_message_size(usize::MAX);
    client.ready().await?;
    let path = "/thanos.Store/Series".parse()?;
    let (cpu, start) = (cpu(service)?, Instant::now());
    let request = tonic::Request::new(request(case));
    let mut stream = client.server_streaming(request, path, Sizes::default()).await?.into_inner();
    let mut bytes = 0;
    while let Some(frame) = stream.message().await? {
        bytes += frame;
    }
    let wall = start.elapsed().as_secs_f64();
    Ok(Cost { wall, cpu: self::cpu(service)? - cpu, peak: peak(service)?, wire: bytes as f64 / MIB })
}

/// Runs the call and reads its answer.
pub(super) async fn digest(service: &Service, case: &Case) -> anyhow::Result<Digest> {
    let mut client = StoreClient::new(connect(service).await?).max_decoding_message_size(usize::MAX);
    let mut stream = client.series(request(case)).await?.into_inner();
    let (mut series, mut chunks, mut hasher) = (0, 0, DefaultHasher::new());
    let mut add = |one: thanos::Series| {
        series += 1;
        for label in &one.labels {
            (&label.name, &label.value).hash(&mut hasher);
        }
        for chunk in &one.chunks {
            chunks += 1;
            (chunk.min_time, chunk.max_time).hash(&mut hasher);
            for part in [&chunk.raw, &chunk.count, &chunk.sum, &chunk.min, &chunk.max, &chunk.counter] {
                part.as_ref().map(|c| (c.r#type, &c.data[..], c.hash)).hash(&mut hasher);
            }
        }
    };
    while let Some(frame) = stream.message().await? {
        match frame.result {
            Some(series_response::Result::Series(one)) => add(one),
            Some(series_response::Result::Batch(batch)) => batch.series.into_iter().for_each(&mut add),
            Some(series_response::Result::Warning(text)) => anyhow::bail!("a warning: {text}"),
            Some(series_response::Result::Hints(_)) | None => {}
        }
    }
    Ok(Digest { series, chunks, hash: hasher.finish() })
}

/// Seconds of CPU a service has used.
fn cpu(service: &Service) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", service.process.id()))?;
    // The name, in brackets, may hold anything.
    let fields = stat.rsplit_once(')').context("stat")?.1;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// MiB a service has held at most.
fn peak(service: &Service) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.process.id()))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// A codec that sends a request and keeps only the sizes of what comes back.
#[derive(Debug, Default)]
struct Sizes(());

impl Codec for Sizes {
    type Encode = SeriesRequest;
    type Decode = usize;
    type Encoder = Sizes;
    type Decoder = Sizes;

    fn encoder(&mut self) -> Sizes {
        Sizes(())
    }

    fn decoder(&mut self) -> Sizes {
        Sizes(())
    }
}

impl Encoder for Sizes {
    type Item = SeriesRequest;
    type Error = tonic::Status;

    fn encode(&mut self, item: SeriesRequest, to: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        prost::Message::encode(&item, to).map_err(|e| tonic::Status::internal(e.to_string()))
    }
}

impl Decoder for Sizes {
    type Item = usize;
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<usize>, tonic::Status> {
        use bytes::Buf as _;
        let n = from.remaining();
        from.advance(n);
        Ok(Some(n))
    }
}
