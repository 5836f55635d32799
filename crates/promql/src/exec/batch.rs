//! Series in parallel: batches are read by one thread while the others evaluate the batch before.
//!
//! Holds the batches and which operators they pass in parallel. It knows no operator. Invariant: rows leave
//! in series order with the bits a single thread would give them, for only operators that look at one row
//! run in parallel; a batch's size is bounded by samples and steps, not by series alone.

use std::ops::Range;
use std::sync::Arc;

use model::Samples;

use crate::annotations::Annotations;
use crate::column::Steps;
use crate::error::QueryError;
use crate::exec::counts::{Reading, strip_buckets};
use crate::exec::driver::Driver;
use crate::exec::op::{Cx, Env, Map, Row};
use crate::exec::pipe::{End, Pipe};
use crate::exec::shared::Reader;
use crate::plan::Select;

/// Most series of a batch.
const SERIES: usize = 64;
/// A batch is full with so many samples, or steps of rows.
const SAMPLES: usize = 256 << 10;
/// Less work than this is not worth waking threads for.
const WORTH: usize = 16 << 10;

/// A series on its way.
#[derive(Default)]
struct Item {
    samples: Samples,
    row: Row,
    /// Whether the row goes on.
    alive: bool,
    error: Option<QueryError>,
    notes: Annotations,
    /// Notes of operators, by their position.
    later: Vec<(usize, Annotations)>,
}

/// A batch; its items keep their memory.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    used: usize,
    samples: usize,
}

impl Batch {
    /// Reads as many series as fit. Returns whether there are more.
    fn fill(&mut self, set: &mut Reader<'_>, steps: Steps, env: &Env) -> Result<bool, QueryError> {
        (self.used, self.samples) = (0, 0);
        let most = (4 * SAMPLES / steps.count.max(1)).clamp(1, SERIES);
        while self.used < most && self.samples < SAMPLES {
            env.interrupt.check()?;
            if self.items.len() == self.used {
                self.items.push(Item::default());
            }
            let item = &mut self.items[self.used];
            let Some(labels) = set.next(&mut item.samples)? else { return Ok(false) };
            item.row.labels = labels;
            self.samples += item.samples.len() + 64 * item.samples.hists.len();
            self.used += 1;
        }
        Ok(true)
    }

    fn items(&mut self) -> &mut [Item] {
        &mut self.items[..self.used]
    }
}

/// What every series of a selection passes first.
struct Front<'f> {
    select: &'f Select,
    reading: Option<&'f Reading>,
    steps: Steps,
    env: &'f Env,
}

impl Front<'_> {
    fn lift(&self, item: &mut Item) -> Result<bool, QueryError> {
        self.env.interrupt.check()?;
        if let Some(reading) = self.reading {
            strip_buckets(&mut item.samples, reading);
        }
        let labels = std::mem::take(&mut item.row.labels);
        let Item { samples, row, notes, .. } = item;
        self.select.lift.lift(labels, samples, self.steps, row, self.env, notes)
    }
}

/// Takes an item through operators of one row.
fn through(item: &mut Item, maps: &[(usize, &dyn Map)], env: &Env) {
    for (at, map) in maps {
        if !item.alive {
            return;
        }
        let mut notes = Annotations::default();
        match map.map(&mut item.row, env, &mut notes) {
            Ok(goes_on) => item.alive = goes_on,
            Err(e) => (item.alive, item.error) = (false, Some(e)),
        }
        if !notes.is_empty() {
            item.later.push((*at, notes));
        }
    }
}

/// How far a pipe's operators can be passed batch by batch: runs of operators of one row, with nothing but
/// gates between them; only the first and those with heavy work are worth it.
fn stages(pipe: &Pipe) -> (Vec<Range<usize>>, usize) {
    let is_map = |at: usize| pipe.ops[at].op.as_map().is_some();
    let mut stages = Vec::new();
    let mut at = 0;
    loop {
        let from = at;
        while at < pipe.ops.len() && is_map(at) {
            at += 1;
        }
        let heavy = (from..at).any(|i| pipe.ops[i].op.as_map().is_some_and(Map::is_heavy));
        if stages.is_empty() || heavy {
            stages.push(from..at);
        }
        while at < pipe.ops.len() && pipe.ops[at].op.is_gate() {
            at += 1;
        }
        if at >= pipe.ops.len() || !is_map(at) {
            break;
        }
    }
    let end = stages.last().map_or(0, |s| s.end);
    (stages, end)
}

/// Reads a selection in batches, on the threads of `pool`.
pub(crate) fn run(
    driver: &mut Driver<'_>,
    pool: &Arc<rayon::ThreadPool>,
    set: &mut Reader<'_>,
    (select, reading, steps): (&Select, Option<&Reading>, Steps),
    pipe: &mut Pipe,
    end: End<'_>,
    notes: &mut Annotations,
) -> Result<(), QueryError> {
    let env = driver.env;
    let front = Front { select, reading, steps, env };
    let (stages, done) = stages(pipe);
    let (mut current, mut next) = (Batch::default(), Batch::default());
    let mut more = current.fill(set, steps, env)?;
    while current.used > 0 {
        let first = maps_of(pipe, stages[0].clone());
        let work = |item: &mut Item| {
            item.alive = true;
            match front.lift(item) {
                Ok(any) => item.alive = any,
                Err(e) => (item.alive, item.error) = (false, Some(e)),
            }
            through(item, &first, env);
        };
        let read = overlapped(pool, &mut current, &work, more, || next.fill(set, steps, env));
        let cx = &mut Cx { env, slots: &mut driver.slots, notes, ledger: None };
        for stage in 1..=stages.len() {
            let from = stages[stage - 1].end;
            let Some(to) = stages.get(stage).map(|s| s.start) else { break };
            gates(pipe, from..to, current.items(), cx)?;
            let maps = maps_of(pipe, stages[stage].clone());
            overlapped(pool, &mut current, &|item: &mut Item| through(item, &maps, env), false, || {
                Ok(false)
            })?;
        }
        for item in current.items() {
            settle(item, pipe, cx)?;
            if item.alive {
                pipe.push(done, &mut item.row, cx, end)?;
            }
        }
        more = read?;
        std::mem::swap(&mut current, &mut next);
        next.used = 0;
    }
    Ok(())
}

fn maps_of(pipe: &Pipe, range: Range<usize>) -> Vec<(usize, &dyn Map)> {
    range.filter_map(|at| pipe.ops[at].op.as_map().map(|map| (at, map))).collect()
}

/// Does `work` on every item while `meanwhile` runs in this thread (if `wanted`).
fn overlapped(
    pool: &rayon::ThreadPool,
    batch: &mut Batch,
    work: &(dyn Fn(&mut Item) + Sync),
    wanted: bool,
    meanwhile: impl FnOnce() -> Result<bool, QueryError>,
) -> Result<bool, QueryError> {
    let small = batch.samples < WORTH && !wanted;
    if small || batch.used == 1 && !wanted {
        batch.items().iter_mut().for_each(work);
        return if wanted { meanwhile() } else { Ok(false) };
    }
    let share = batch.used.div_ceil(4 * pool.current_num_threads()).max(1);
    pool.in_place_scope(|scope| {
        for part in batch.items().chunks_mut(share) {
            scope.spawn(move |_| part.iter_mut().for_each(work));
        }
        if wanted { meanwhile() } else { Ok(false) }
    })
}

/// Takes the items through operators that look at rows in order.
fn gates(
    pipe: &mut Pipe,
    range: Range<usize>,
    items: &mut [Item],
    cx: &mut Cx<'_>,
) -> Result<(), QueryError> {
    let mut none = Vec::new();
    for item in items {
        settle(item, pipe, cx)?;
        for at in range.clone() {
            if item.alive {
                let mut own = cx.with(&mut pipe.notes[at]);
                item.alive = pipe.ops[at].op.apply(&mut item.row, &mut none, &mut own)?;
            }
        }
    }
    Ok(())
}

/// Hands on an item's notes, or its error.
fn settle(item: &mut Item, pipe: &mut Pipe, cx: &mut Cx<'_>) -> Result<(), QueryError> {
    if !item.notes.is_empty() {
        cx.notes.merge(std::mem::take(&mut item.notes));
    }
    for (at, notes) in item.later.drain(..) {
        pipe.notes[at].merge(notes);
    }
    item.error.take().map_or(Ok(()), Err)
}
