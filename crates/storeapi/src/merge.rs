//! Merging sorted series streams into one.
//!
//! Holds a tournament tree over the heads of the streams, joins the chunks of equal series and
//! drops identical chunks the way Thanos' response deduplicator does (`pkg/store/proxy_merge.go`).
//! It does not know where streams come from and never decodes a chunk. Invariant: the output is
//! sorted, every label set appears once, and a series waits only for the streams that could still
//! add to it. Read `sort` for streams that are not sorted yet.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use tonic::Status;

use crate::series::{Aggr, AggrChunk, Series};
use crate::store::{Item, SeriesStream};

/// Series handed out in one go, at most. Fewer come where waiting for a stream would hold them up.
pub const MERGE_BATCH: usize = 256;

/// A merge of sorted streams, itself a stream of items.
///
/// Warnings and hints pass through as they come, ahead of the series that are still being put
/// together. The first error of any stream ends the merge.
pub struct Merge {
    sources: Vec<Source>,
    /// Inner nodes of the tree hold losers; `tree[0]` is the overall winner.
    tree: Vec<usize>,
    /// The source whose head must be replaced before the tree says anything.
    starved: Option<usize>,
    /// Sources that have not shown a head yet.
    unborn: Vec<usize>,
    built: bool,
    group: Vec<Series>,
    out: Vec<Series>,
    notes: Vec<Item>,
    seen: HashSet<u64>,
    failed: bool,
}

struct Source {
    stream: SeriesStream,
    head: Option<Series>,
    rest: std::vec::IntoIter<Series>,
    done: bool,
}

impl std::fmt::Debug for Merge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Merge({} sources)", self.sources.len())
    }
}

impl Merge {
    /// A merge of `streams`, each of them sorted by labels.
    pub fn new(streams: Vec<SeriesStream>) -> Self {
        let sources: Vec<Source> = streams
            .into_iter()
            .map(|stream| Source { stream, head: None, rest: Vec::new().into_iter(), done: false })
            .collect();
        Merge {
            tree: Vec::new(),
            starved: None,
            unborn: (0..sources.len()).collect(),
            built: false,
            group: Vec::new(),
            out: Vec::new(),
            notes: Vec::new(),
            seen: HashSet::new(),
            failed: false,
            sources,
        }
    }

    /// Whether `a` stands before `b`; finished sources stand last, ties go to the lower index so
    /// that the output does not depend on timing.
    fn before(&self, a: usize, b: usize) -> bool {
        match (&self.sources[a].head, &self.sources[b].head) {
            (Some(x), Some(y)) => match x.labels.cmp(&y.labels) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Equal => a < b,
                std::cmp::Ordering::Greater => false,
            },
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => a < b,
        }
    }

    /// Plays all matches once. Node `i` has children `2i` and `2i+1`; leaves are `n..2n`.
    fn build(&mut self) {
        let n = self.sources.len();
        self.built = true;
        self.tree = vec![0; n.max(1)];
        if n < 2 {
            return;
        }
        let mut winners = vec![0; 2 * n];
        for (i, w) in winners[n..].iter_mut().enumerate() {
            *w = i;
        }
        for node in (1..n).rev() {
            let (a, b) = (winners[2 * node], winners[2 * node + 1]);
            let (win, lose) = if self.before(a, b) { (a, b) } else { (b, a) };
            winners[node] = win;
            self.tree[node] = lose;
        }
        self.tree[0] = winners[1];
    }

    /// Replays the matches of `leaf` after its head changed.
    fn replay(&mut self, leaf: usize) {
        let n = self.sources.len();
        let (mut win, mut node) = (leaf, (leaf + n) / 2);
        while node > 0 {
            let other = self.tree[node];
            if self.before(other, win) {
                self.tree[node] = win;
                win = other;
            }
            node /= 2;
        }
        self.tree[0] = win;
    }

    /// Gives source `i` a head, or marks it done.
    fn poll_head(&mut self, i: usize, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let source = &mut self.sources[i];
        loop {
            if let Some(next) = source.rest.next() {
                source.head = Some(next);
                return Poll::Ready(Ok(()));
            }
            if source.done {
                return Poll::Ready(Ok(()));
            }
            match ready!(source.stream.as_mut().poll_next(cx)) {
                Some(Ok(Item::Series(all))) => source.rest = all.into_iter(),
                Some(Ok(note)) => self.notes.push(note),
                Some(Err(e)) => return Poll::Ready(Err(e)),
                None => {
                    source.done = true;
                    // What the stream holds (buffers, a connection) is not needed any more.
                    source.stream = Box::pin(futures::stream::empty());
                }
            }
        }
    }

    /// Moves the finished group to the output.
    fn close_group(&mut self) {
        if let Some(series) = join(&mut self.group, &mut self.seen) {
            if self.out.is_empty() {
                let ready: usize = self.sources.iter().map(|s| s.rest.len()).sum();
                self.out.reserve(MERGE_BATCH.min(ready + 1));
            }
            self.out.push(series);
        }
    }

    /// Works until `out` is full, the input ends (`Ready`) or a stream must be waited for.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        if !self.built {
            let mut waiting = Vec::new();
            for i in std::mem::take(&mut self.unborn) {
                match self.poll_head(i, cx) {
                    Poll::Ready(r) => r?,
                    Poll::Pending => waiting.push(i),
                }
            }
            self.unborn = waiting;
            if !self.unborn.is_empty() {
                return Poll::Pending;
            }
            self.build();
        }
        while self.out.len() < MERGE_BATCH {
            if let Some(i) = self.starved {
                ready!(self.poll_head(i, cx))?;
                self.starved = None;
                self.replay(i);
            }
            let Some(&win) = self.tree.first().filter(|_| !self.sources.is_empty()) else {
                return Poll::Ready(Ok(()));
            };
            let Some(head) = self.sources[win].head.take() else {
                self.close_group();
                return Poll::Ready(Ok(()));
            };
            if self.group.first().is_some_and(|g| g.labels != head.labels) {
                self.close_group();
            }
            self.group.push(head);
            self.starved = Some(win);
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for Merge {
    type Item = Result<Item, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let filled = self.poll_fill(cx);
        if let Poll::Ready(Err(e)) = filled {
            self.failed = true;
            return Poll::Ready(Some(Err(e)));
        }
        if !self.notes.is_empty() {
            return Poll::Ready(Some(Ok(self.notes.remove(0))));
        }
        if !self.out.is_empty() {
            return Poll::Ready(Some(Ok(Item::Series(std::mem::take(&mut self.out)))));
        }
        match filled {
            Poll::Pending => Poll::Pending,
            _ => Poll::Ready(None),
        }
    }
}

/// Joins the parts of one series: all chunks, ordered, identical ones once.
///
/// A chunk stays if one of its parts has a hash not seen before in this series, looked at in
/// Thanos' order (raw, count, max, min, sum, counter); the first such part counts as seen.
fn join(group: &mut Vec<Series>, seen: &mut HashSet<u64>) -> Option<Series> {
    const ORDER: [Aggr; 6] = [Aggr::Raw, Aggr::Count, Aggr::Max, Aggr::Min, Aggr::Sum, Aggr::Counter];
    let mut all = group.drain(..);
    let mut series = all.next()?;
    let of_first = series.chunks.len();
    for more in all {
        series.chunks.extend(more.chunks);
    }
    if series.chunks.iter().all(|c| c.parts.is_empty()) {
        // Chunks were not asked for, or none of the asked aggregates: the times are all there is.
        series.chunks.truncate(of_first);
        return Some(series);
    }
    series.chunks.retain(|c| !c.parts.is_empty());
    let ascending = series.chunks.windows(2).all(|w| w[0].min_time < w[1].min_time);
    if ascending {
        // Chunks that start at different times hold different samples.
        return Some(series);
    }
    seen.clear();
    series
        .chunks
        .retain(|c| ORDER.iter().filter_map(|a| c.get(*a)).any(|part| seen.insert(part.hash_or_compute())));
    series.chunks.sort_by(AggrChunk::order);
    Some(series)
}

#[cfg(test)]
mod tests;
