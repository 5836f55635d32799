//! Penalty deduplication: two replicas of one series become one.
//!
//! The walk follows one replica; the other must be more than twice the last interval ahead of it
//! before its sample counts, so that two scrapes of one target never interleave. Rows are merged
//! pairwise from the left. It knows only columns. Invariant: output equals that of Thanos'
//! `dedupSeriesIterator` (`pkg/dedup/iter.go`) for the same rows, floats bit by bit.
//! Behaviour worth knowing is tested against a per-sample reference in `tests`.

use model::{Millis, Samples};

use crate::row::{Cursor, Kind};

/// The penalty before any interval is known, in milliseconds.
const FIRST_PENALTY: Millis = 5000;

/// More rows than this are joined as counters pair by pair, each pair settled before the next,
/// instead of with Thanos' late corrections: nested walks need stack in proportion.
const MAX_NESTED: usize = 128;

/// Merges two or more rows into `out`; see [`crate::merge`].
pub fn merge(rows: &[Samples], counter: bool, out: &mut Samples) {
    out.clear();
    match rows {
        [] => {}
        [only] => out.clone_from(only),
        [a, b] => pair(a, b, counter, out),
        [first, rest @ ..] if counter && rows.len() <= MAX_NESTED => {
            let mut walk = Node::Leaf(Leaf::new(first, true));
            for row in rest {
                walk = Node::Pair(Box::new(Nested::new(walk, Leaf::new(row, true))));
            }
            walk.drain(out);
        }
        [first, second, rest @ ..] => {
            let mut left = Samples::default();
            pair(first, second, counter, out);
            for row in rest {
                std::mem::swap(&mut left, out);
                out.clear();
                pair(&left, row, counter, out);
            }
        }
    }
}

/// Two rows: the walk without indirection.
fn pair(a: &Samples, b: &Samples, counter: bool, out: &mut Samples) {
    out.ts.reserve(a.len().max(b.len()));
    out.values.reserve(a.len().max(b.len()));
    let mut walk = Walk::new(Leaf::new(a, counter), Leaf::new(b, counter), counter);
    while walk.next() {
        if walk.use_a { walk.a.copy_to(out) } else { walk.b.copy_to(out) }
    }
}

/// One side of a walk.
trait Side {
    fn kind(&self) -> Kind;
    fn t(&self) -> Millis;
    fn v(&self) -> f64;
    fn seek(&mut self, t: Millis);
    /// Raises this side so that it does not fall below `last`.
    fn adjust(&mut self, last: f64);
    fn copy_to(&self, out: &mut Samples);
}

/// A replica, with what was added to its counter so that it never falls behind another's.
#[derive(Debug)]
struct Leaf<'a> {
    at: Cursor<'a>,
    /// `None` for what is no counter: its values are handed on untouched.
    add: Option<f64>,
}

impl<'a> Leaf<'a> {
    fn new(samples: &'a Samples, counter: bool) -> Self {
        Leaf { at: Cursor::new(samples), add: counter.then_some(0.0) }
    }
}

impl Side for Leaf<'_> {
    #[inline]
    fn kind(&self) -> Kind {
        self.at.kind()
    }
    #[inline]
    fn t(&self) -> Millis {
        self.at.t()
    }
    #[inline]
    fn v(&self) -> f64 {
        self.add.map_or(self.at.v(), |add| self.at.v() + add)
    }
    #[inline]
    fn seek(&mut self, t: Millis) {
        self.at.seek(t);
    }
    #[inline]
    fn adjust(&mut self, last: f64) {
        let v = self.v();
        if let Some(add) = &mut self.add
            && last > v
        {
            *add += last - v;
        }
    }
    #[inline]
    fn copy_to(&self, out: &mut Samples) {
        match self.add {
            Some(add) => self.at.copy_raised(add, out),
            None => self.at.copy_to(out),
        }
    }
}

/// The walk over two sides.
#[derive(Debug)]
struct Walk<A, B> {
    a: A,
    b: B,
    counter: bool,
    a_kind: Kind,
    b_kind: Kind,
    last_t: Millis,
    a_penalty: Millis,
    b_penalty: Millis,
    /// Which side the last sample came from.
    use_a: bool,
}

impl<A: Side, B: Side> Walk<A, B> {
    fn new(a: A, b: B, counter: bool) -> Self {
        let (a_kind, b_kind) = (a.kind(), b.kind());
        Walk { a, b, counter, a_kind, b_kind, last_t: Millis::MIN, a_penalty: 0, b_penalty: 0, use_a: true }
    }

    /// Moves to the next sample; false when both sides have run out.
    #[inline]
    fn next(&mut self) -> bool {
        let before = (self.use_a, self.last_float());
        let found = self.choose();
        if let (was_a, Some(last)) = before
            && self.counter
            && was_a != self.use_a
        {
            self.adjust_sides(last);
        }
        found
    }

    /// The value last handed out, if it was a float. Before the first: that of `a`'s first sample,
    /// as upstream has it.
    #[inline]
    fn last_float(&self) -> Option<f64> {
        if !self.counter {
            return None;
        }
        let kind = if self.use_a { self.a_kind } else { self.b_kind };
        if kind != Kind::Float {
            return None;
        }
        Some(if self.use_a { self.a.v() } else { self.b.v() })
    }

    #[inline]
    fn choose(&mut self) -> bool {
        let from = self.last_t.saturating_add(1);
        if self.a_kind != Kind::None {
            self.a.seek(from.saturating_add(self.a_penalty));
            self.a_kind = self.a.kind();
        }
        if self.b_kind != Kind::None {
            self.b.seek(from.saturating_add(self.b_penalty));
            self.b_kind = self.b.kind();
        }
        match (self.a_kind, self.b_kind) {
            (Kind::None, Kind::None) => {
                self.use_a = false;
                false
            }
            (Kind::None, _) => {
                self.take(false, self.b.t());
                self.b_penalty = 0;
                true
            }
            (_, Kind::None) => {
                self.take(true, self.a.t());
                self.a_penalty = 0;
                true
            }
            _ => {
                let (ta, tb) = (self.a.t(), self.b.t());
                let use_a = ta <= tb;
                let t = if use_a { ta } else { tb };
                // The side not taken must stay clear of this one by twice the interval.
                let penalty = if self.last_t == Millis::MIN {
                    FIRST_PENALTY
                } else {
                    t.saturating_sub(self.last_t).saturating_mul(2)
                };
                (self.a_penalty, self.b_penalty) = if use_a { (0, penalty) } else { (penalty, 0) };
                self.take(use_a, t);
                true
            }
        }
    }

    #[inline]
    fn take(&mut self, use_a: bool, t: Millis) {
        self.use_a = use_a;
        self.last_t = t;
    }

    fn adjust_sides(&mut self, last: f64) {
        if self.a_kind == Kind::Float {
            self.a.adjust(last);
        }
        if self.b_kind == Kind::Float {
            self.b.adjust(last);
        }
    }
}

/// A walk as a side of another: counters of three and more replicas correct each other late.
#[derive(Debug)]
enum Node<'a> {
    Leaf(Leaf<'a>),
    Pair(Box<Nested<'a>>),
}

#[derive(Debug)]
struct Nested<'a> {
    walk: Walk<Node<'a>, Leaf<'a>>,
    ended: bool,
}

impl<'a> Nested<'a> {
    fn new(a: Node<'a>, b: Leaf<'a>) -> Self {
        let mut walk = Walk::new(a, b, true);
        let ended = !walk.next();
        Nested { walk, ended }
    }

    fn chosen_kind(&self) -> Kind {
        if self.walk.use_a { self.walk.a_kind } else { self.walk.b_kind }
    }
}

impl Node<'_> {
    /// Appends everything from here on to `out`.
    fn drain(mut self, out: &mut Samples) {
        while self.kind() != Kind::None {
            self.copy_to(out);
            let next = self.t().saturating_add(1);
            self.seek(next);
        }
    }
}

impl Side for Node<'_> {
    fn kind(&self) -> Kind {
        match self {
            Node::Leaf(l) => l.kind(),
            Node::Pair(p) if p.ended => Kind::None,
            Node::Pair(p) => p.chosen_kind(),
        }
    }

    fn t(&self) -> Millis {
        match self {
            Node::Leaf(l) => l.t(),
            Node::Pair(p) => p.walk.last_t,
        }
    }

    fn v(&self) -> f64 {
        match self {
            Node::Leaf(l) => l.v(),
            Node::Pair(p) if p.walk.use_a => p.walk.a.v(),
            Node::Pair(p) => p.walk.b.v(),
        }
    }

    fn seek(&mut self, t: Millis) {
        match self {
            Node::Leaf(l) => l.seek(t),
            Node::Pair(p) => {
                while !p.ended && p.walk.last_t < t {
                    p.ended = !p.walk.next();
                }
            }
        }
    }

    fn adjust(&mut self, last: f64) {
        match self {
            Node::Leaf(l) => l.adjust(last),
            Node::Pair(p) => p.walk.adjust_sides(last),
        }
    }

    fn copy_to(&self, out: &mut Samples) {
        match self {
            Node::Leaf(l) => l.copy_to(out),
            Node::Pair(p) if p.walk.use_a => p.walk.a.copy_to(out),
            Node::Pair(p) => p.walk.b.copy_to(out),
        }
    }
}

#[cfg(test)]
mod tests;
