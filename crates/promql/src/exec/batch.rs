//! Series in parallel: batches are read by one thread while the others evaluate the batch before.
//!
//! Holds the batches and which operators they pass in parallel. It knows no operator. Invariant: rows leave
//! in series order with the bits a single thread would give them, for only operators that look at one row
//! run in parallel, and counts and errors are those of a single thread, for each series' are looked at when
//! its turn comes; a batch's size is bounded by samples and steps, not by series alone.

use std::ops::Range;
use std::sync::Arc;

use model::Samples;

use crate::annotations::Annotations;
use crate::column::Steps;
use crate::error::QueryError;
use crate::exec::counts::{Reading, strip_buckets};
use crate::exec::driver::Driver;
use crate::exec::ledger::Ledger;
use crate::exec::op::{Cx, Env, Local, Map, Row};
use crate::exec::pipe::{End, Pipe};
use crate::exec::profile::{self, measured};
use crate::exec::shared::Reader;
use crate::exec::tally::{Mark, Tally};
use crate::parse::NodeId;
use crate::plan::{Select, Staged};

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
    /// What is counted of it in series order.
    marks: Vec<Mark>,
}

impl Item {
    /// Keeps an error for when the item's turn comes; the row does not go on.
    fn fails(&mut self, error: QueryError) -> bool {
        self.error = Some(error);
        false
    }

    /// Takes over what was marked of it.
    fn keep_marks(&mut self, tally: Option<&mut Tally>) {
        if let Some(tally) = tally {
            self.marks.append(&mut tally.marks);
        }
    }
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
    /// Makes the row of an item.
    fn lift(&self, item: &mut Item, tally: Option<&mut Tally>) {
        item.alive = match self.try_lift(item, tally) {
            Ok(any) => any,
            Err(e) => item.fails(e),
        };
    }

    fn try_lift(&self, item: &mut Item, tally: Option<&mut Tally>) -> Result<bool, QueryError> {
        self.env.interrupt.check()?;
        if let Some(reading) = self.reading {
            strip_buckets(&mut item.samples, reading);
        }
        let labels = std::mem::take(&mut item.row.labels);
        let Item { samples, row, notes, .. } = item;
        let any = self.select.lift.lift(labels, samples, self.steps, row, self.env, notes)?;
        if let Some(tally) = tally {
            self.select.count(tally, samples, &row.column, (self.steps, self.env.lookback));
        }
        Ok(any)
    }
}

/// An operator of one row: its position, its node, and itself.
type Stage<'p> = (usize, NodeId, &'p dyn Map);

/// Takes an item through operators of one row.
fn through(item: &mut Item, maps: &[Stage<'_>], env: &Env, mut tally: Option<&mut Tally>) {
    for (at, node, map) in maps {
        if !item.alive {
            return;
        }
        let mut notes = Annotations::default();
        let began = tally.as_ref().and_then(|t| t.clock());
        let mut local = Local { env, notes: &mut notes, tally: tally.as_deref_mut() };
        item.alive = match map.map(&mut item.row, &mut local) {
            Ok(goes_on) => goes_on,
            Err(e) => item.fails(e),
        };
        if let Some(tally) = tally.as_deref_mut() {
            tally.spent(*node, began);
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
    let mut shares = Shares::new(pool, driver.ledger.as_mut());
    let mut fill = |batch: &mut Batch, ledger: &mut Option<Ledger>| {
        let began = profile::begin(ledger.as_ref(), &env.meter);
        let more = batch.fill(set, steps, env);
        profile::end(ledger.as_mut(), &env.meter, select.node, began);
        more
    };
    let (mut current, mut next) = (Batch::default(), Batch::default());
    let mut more = fill(&mut current, &mut driver.ledger)?;
    while current.used > 0 {
        let first = maps_of(pipe, stages[0].clone());
        let work = |item: &mut Item, mut tally: Option<&mut Tally>| {
            let began = tally.as_ref().and_then(|t| t.clock());
            front.lift(item, tally.as_deref_mut());
            if let Some(tally) = tally.as_deref_mut() {
                tally.spent(select.node, began);
            }
            through(item, &first, env, tally.as_deref_mut());
            item.keep_marks(tally);
        };
        let read = shares.overlapped(&mut current, &work, more, || fill(&mut next, &mut driver.ledger));
        let mut cx = Cx { env, slots: &mut driver.slots, notes, ledger: driver.ledger.as_mut() };
        for stage in 1..stages.len() {
            gates(pipe, stages[stage - 1].end..stages[stage].start, current.items(), &mut cx);
            let maps = maps_of(pipe, stages[stage].clone());
            let work = |item: &mut Item, mut tally: Option<&mut Tally>| {
                through(item, &maps, env, tally.as_deref_mut());
                item.keep_marks(tally);
            };
            shares.overlapped(&mut current, &work, false, || Ok(false))?;
        }
        for item in current.items() {
            settle(item, pipe, &mut cx)?;
            if item.alive {
                pipe.push(done, &mut item.row, &mut cx, end)?;
            }
        }
        more = read?;
        std::mem::swap(&mut current, &mut next);
        next.used = 0;
    }
    if let Some(ledger) = &mut driver.ledger {
        ledger.put_together(shares.tallies);
    }
    Ok(())
}

fn maps_of(pipe: &Pipe, range: Range<usize>) -> Vec<Stage<'_>> {
    let staged = range.map(|at| (at, &pipe.ops[at]));
    staged.filter_map(|(at, staged)| Some((at, staged.node, staged.op.as_map()?))).collect()
}

/// The threads among which the items of a batch are shared, with what each share counts.
struct Shares<'p> {
    pool: &'p rayon::ThreadPool,
    /// One a share, where samples are counted.
    tallies: Vec<Tally>,
}

impl<'p> Shares<'p> {
    fn new(pool: &'p rayon::ThreadPool, ledger: Option<&mut Ledger>) -> Self {
        let tallies = ledger.map(|ledger| ledger.share(Self::most(pool))).unwrap_or_default();
        Shares { pool, tallies }
    }

    /// More shares than threads, for some take longer than others.
    fn most(pool: &rayon::ThreadPool) -> usize {
        4 * pool.current_num_threads()
    }

    /// Does `work` on every item while `meanwhile` runs in this thread (if `wanted`).
    fn overlapped(
        &mut self,
        batch: &mut Batch,
        work: &(dyn Fn(&mut Item, Option<&mut Tally>) + Sync),
        wanted: bool,
        meanwhile: impl FnOnce() -> Result<bool, QueryError>,
    ) -> Result<bool, QueryError> {
        let small = batch.samples < WORTH && !wanted;
        if small || batch.used == 1 && !wanted {
            let mut tally = self.tallies.first_mut();
            batch.items().iter_mut().for_each(|item| work(item, tally.as_deref_mut()));
            return Ok(false);
        }
        let share = batch.used.div_ceil(Self::most(self.pool)).max(1);
        let mut tallies = self.tallies.iter_mut();
        self.pool.in_place_scope(|scope| {
            for part in batch.items().chunks_mut(share) {
                let mut tally = tallies.next();
                scope.spawn(move |_| {
                    part.iter_mut().for_each(|item| work(item, tally.as_deref_mut()));
                });
            }
            if wanted { meanwhile() } else { Ok(false) }
        })
    }
}

/// Takes the items through operators that look at rows in order, up to the first that fails.
fn gates(pipe: &mut Pipe, range: Range<usize>, items: &mut [Item], cx: &mut Cx<'_>) {
    let mut none = Vec::new();
    for item in items {
        for at in range.clone() {
            if item.alive {
                let Staged { op, node } = &mut pipe.ops[at];
                let mut own = cx.with(&mut pipe.notes[at]);
                let goes_on = measured(&mut own, *node, |cx| op.apply(&mut item.row, &mut none, cx));
                item.alive = match goes_on {
                    Ok(goes_on) => goes_on,
                    Err(e) => item.fails(e),
                };
            }
        }
        if item.error.is_some() {
            return;
        }
    }
}

/// Hands on an item's notes and counts, or its error.
fn settle(item: &mut Item, pipe: &mut Pipe, cx: &mut Cx<'_>) -> Result<(), QueryError> {
    if !item.notes.is_empty() {
        cx.notes.merge(std::mem::take(&mut item.notes));
    }
    for (at, notes) in item.later.drain(..) {
        pipe.notes[at].merge(notes);
    }
    if let Some(ledger) = &mut cx.ledger {
        ledger.enter(&mut item.marks)?;
    }
    item.error.take().map_or(Ok(()), Err)
}
