//! Penalty deduplication against a per-sample reference and by hand-computed cases.

use std::sync::Arc;

use model::{FloatHistogram, Millis, Samples};
use proptest::prelude::*;

use super::*;

/// A sample of the reference: `hist` marks a histogram, whose count stands in for its identity.
#[derive(Clone, Copy, Debug)]
struct Point {
    t: Millis,
    v: f64,
    hist: bool,
}

/// The reference: iterators nested one sample at a time, as a reader of the upstream text would
/// build them, with no thought for speed.
trait Reference {
    fn next(&mut self) -> Option<Point>;
    fn seek(&mut self, t: Millis) -> Option<Point>;
    fn at(&self) -> Point;
    fn adjust(&mut self, last: f64);
}

struct One {
    points: Vec<Point>,
    at: Option<usize>,
    counter: bool,
    add: f64,
}

impl One {
    fn current(&self) -> Option<Point> {
        let p = *self.points.get(self.at?)?;
        Some(Point { v: if p.hist { p.v } else { p.v + self.add }, ..p })
    }
}

impl Reference for One {
    fn next(&mut self) -> Option<Point> {
        self.at = Some(self.at.map_or(0, |i| i + 1));
        self.current()
    }
    fn seek(&mut self, t: Millis) -> Option<Point> {
        while self.current().is_some_and(|p| p.t < t) {
            self.next();
        }
        self.current()
    }
    fn at(&self) -> Point {
        self.current().unwrap()
    }
    fn adjust(&mut self, last: f64) {
        let v = self.at().v;
        if self.counter && last > v {
            self.add += last - v;
        }
    }
}

struct Two {
    a: Box<dyn Reference>,
    b: Box<dyn Reference>,
    av: Option<Point>,
    bv: Option<Point>,
    last_t: Millis,
    pen: (Millis, Millis),
    use_a: bool,
}

impl Two {
    fn new(mut a: Box<dyn Reference>, mut b: Box<dyn Reference>) -> Two {
        let (av, bv) = (a.next(), b.next());
        Two { a, b, av, bv, last_t: Millis::MIN, pen: (0, 0), use_a: true }
    }

    fn choose(&mut self) -> Option<Point> {
        if self.av.is_some() {
            self.av = self.a.seek(self.last_t + 1 + self.pen.0);
        }
        if self.bv.is_some() {
            self.bv = self.b.seek(self.last_t + 1 + self.pen.1);
        }
        let Some(a) = self.av else {
            self.use_a = false;
            if let Some(b) = self.bv {
                self.last_t = b.t;
                self.pen.1 = 0;
            }
            return self.bv;
        };
        let Some(b) = self.bv else {
            self.use_a = true;
            self.last_t = a.t;
            self.pen.0 = 0;
            return self.av;
        };
        self.use_a = a.t <= b.t;
        let t = a.t.min(b.t);
        let penalty = if self.last_t == Millis::MIN { 5000 } else { 2 * (t - self.last_t) };
        self.pen = if self.use_a { (0, penalty) } else { (penalty, 0) };
        self.last_t = t;
        if self.use_a { self.av } else { self.bv }
    }
}

impl Reference for Two {
    fn next(&mut self) -> Option<Point> {
        let side = if self.use_a { self.av } else { self.bv };
        let last = side.filter(|p| !p.hist).map(|_| self.at().v);
        let was = self.use_a;
        let got = self.choose();
        if let Some(last) = last
            && was != self.use_a
        {
            self.adjust(last);
        }
        got.map(|_| self.at())
    }
    fn seek(&mut self, t: Millis) -> Option<Point> {
        loop {
            let p = self.at();
            if p.t >= t {
                return Some(p);
            }
            self.next()?;
        }
    }
    fn at(&self) -> Point {
        if self.use_a { self.a.at() } else { self.b.at() }
    }
    fn adjust(&mut self, last: f64) {
        if self.av.is_some_and(|p| !p.hist) {
            self.a.adjust(last);
        }
        if self.bv.is_some_and(|p| !p.hist) {
            self.b.adjust(last);
        }
    }
}

fn reference(rows: &[Vec<Point>], counter: bool) -> Vec<Point> {
    let one = |points: &Vec<Point>| -> Box<dyn Reference> {
        Box::new(One { points: points.clone(), at: None, counter, add: 0.0 })
    };
    let mut it = one(&rows[0]);
    for row in &rows[1..] {
        it = Box::new(Two::new(it, one(row)));
    }
    let mut out = Vec::new();
    while let Some(p) = it.next() {
        out.push(p);
    }
    out
}

fn columns(points: &[Point]) -> Samples {
    let mut s = Samples::default();
    for p in points {
        if p.hist {
            s.push_histogram(p.t, Arc::new(FloatHistogram { count: p.v, sum: p.v, ..Default::default() }));
        } else {
            s.push(p.t, p.v);
        }
    }
    s
}

fn ours(rows: &[Vec<Point>], counter: bool) -> Vec<Point> {
    let rows: Vec<Samples> = rows.iter().map(|r| columns(r)).collect();
    let mut out = Samples::default();
    merge(&rows, counter, &mut out);
    (0..out.len())
        .map(|i| Point { t: out.ts[i], v: out.values[i], hist: out.histogram(i).is_some() })
        .collect()
}

fn bits(points: &[Point]) -> Vec<(Millis, u64, bool)> {
    points.iter().map(|p| (p.t, p.v.to_bits(), p.hist)).collect()
}

fn floats(points: &[(Millis, f64)]) -> Vec<Point> {
    points.iter().map(|(t, v)| Point { t: *t, v: *v, hist: false }).collect()
}

#[test]
fn a_gap_in_the_first_replica_is_filled_by_the_second() {
    let a = floats(&[(10_000, 1.0), (20_000, 2.0), (90_000, 9.0), (100_000, 10.0)]);
    let b: Vec<Point> = (1..=10).map(|i| Point { t: i * 10_000 + 500, v: i as f64, hist: false }).collect();
    let got = ours(&[a, b], false);
    let times: Vec<Millis> = got.iter().map(|p| p.t).collect();
    // Up to 20 s the first; then, two intervals late, the second; the first again when it is ahead.
    assert_eq!(times, [10_000, 20_000, 40_500, 50_500, 60_500, 70_500, 80_500, 90_500, 100_500]);
}

#[test]
fn r064_a_counter_never_falls_when_replicas_are_switched() {
    let a = floats(&[(10_000, 40.0), (20_000, 50.0), (30_000, 60.0)]);
    let b = floats(&[(10_100, 20.0), (60_100, 22.0), (70_100, 25.0)]);
    let got = ours(&[a, b], true);
    let values: Vec<f64> = got.iter().map(|p| p.v).collect();
    assert_eq!(values, [40.0, 50.0, 60.0, 60.0, 63.0]);
}

#[test]
fn one_side_may_be_empty() {
    let a = floats(&[(1, 1.0), (2, 2.0)]);
    for rows in [[a.clone(), vec![]], [vec![], a.clone()]] {
        assert_eq!(bits(&ours(&rows, true)), bits(&a));
    }
    assert!(ours(&[vec![], vec![]], false).is_empty());
}

#[test]
fn many_counter_rows_need_no_deep_stack() {
    let row = floats(&[(1, 1.0), (40_000, 2.0)]);
    let rows = vec![row; 20_000];
    assert_eq!(ours(&rows, true).len(), 2);
}

#[test]
fn start_timestamps_follow_their_samples() {
    let mut a = columns(&floats(&[(10_000, 1.0), (20_000, 2.0)]));
    a.start_ts = vec![5, 6];
    let b = columns(&floats(&[(80_000, 3.0)]));
    let mut out = Samples::default();
    merge(&[a, b], false, &mut out);
    assert_eq!((out.ts, out.start_ts), (vec![10_000, 20_000, 80_000], vec![5, 6, 0]));
}

/// Rows of one series as replicas see them: offset, jitter, gaps, resets, now and then a histogram.
fn rows() -> impl Strategy<Value = Vec<Vec<Point>>> {
    let row = (0..20_000i64, prop::collection::vec((1..70_000i64, 0..100u32, 0..40u8), 0..60)).prop_map(
        |(start, steps)| {
            let (mut t, mut v) = (start, 0.0);
            steps
                .into_iter()
                .map(|(step, add, kind)| {
                    t += step;
                    v = if kind == 0 { f64::from(add) } else { v + f64::from(add) };
                    Point { t, v, hist: kind == 1 }
                })
                .collect::<Vec<_>>()
        },
    );
    prop::collection::vec(row, 2..6)
}

proptest! {
    #[test]
    fn r063_equals_the_reference(rows in rows(), counter: bool) {
        prop_assert_eq!(bits(&ours(&rows, counter)), bits(&reference(&rows, counter)));
    }
}

/// R067: a stale marker is a NaN with a meaning, and minus zero is not zero.
#[test]
fn r067_values_of_what_is_no_counter_pass_bit_by_bit() {
    let stale = f64::from_bits(model::STALE_NAN_BITS);
    let row = |offset: i64| {
        let mut s = Samples::default();
        [1.0, -0.0, stale, 2.0].iter().enumerate().for_each(|(i, v)| s.push(i as i64 * 30_000 + offset, *v));
        s
    };
    let bits = |s: &Samples| s.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for rows in [vec![row(0), row(1000)], vec![row(0), row(1000), row(2000)]] {
        let mut out = Samples::default();
        merge(&rows, false, &mut out);
        assert_eq!(bits(&out), bits(&rows[0]));
        crate::chain::merge(&rows, &mut out);
        let stale = out.values.iter().filter(|v| model::is_stale_nan(**v)).count();
        assert_eq!((out.len(), stale), (4 * rows.len(), rows.len()));
    }
}

/// R062, R064: upstream's own vectors, its real data of a false reset among them.
#[test]
fn r062_vectors_of_upstream() {
    let row = |line: &str| -> Vec<Point> {
        let pair = |word: &str| -> Option<(Millis, f64)> {
            let (t, v) = word.split_once('=')?;
            Some((t.parse().ok()?, v.parse().ok()?))
        };
        floats(&line.split(' ').filter_map(pair).collect::<Vec<_>>())
    };
    let text = include_str!("../../testdata/penalty.txt");
    let cases: Vec<&str> = text.split("\n\n").map(str::trim).filter(|c| !c.is_empty()).collect();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let mut lines = case.lines().filter(|l| !l.starts_with('#'));
        let counter = lines.next() == Some("counter");
        let mut rows: Vec<Vec<Point>> = lines.map(row).collect();
        let want = rows.pop().unwrap();
        assert_eq!(bits(&ours(&rows, counter)), bits(&want));
    }
}
