//! The series that generated expressions are about.
//!
//! Holds their making: counters with resets, gauges, odd values, gaps, stale markers, classic and
//! native histograms of every kind, types that change, info metrics, start timestamps. It knows no
//! file (see `blocks`). Invariant: the data is the same on every machine; changing it voids recorded
//! answers.

use std::sync::Arc;

use model::{FloatHistogram, Histogram, Labels, Millis, STALE_NAN_BITS, Span};
use tsdb_block::chunkenc::Encoding;
use tsdb_block::chunkenc::lossless::{Sample, Value};

use super::rng::Rng;

/// The first sample's time: 2026-10-22T00:00Z.
pub const START: Millis = 1_792_627_200_000;
/// How long the data lasts.
pub const LENGTH: Millis = 4 * HOUR;
const HOUR: Millis = 3_600_000;
/// Distance of samples, more or less.
const SCRAPE: Millis = 30_000;

/// A series with its samples and the encodings its chunks take.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its samples, ascending by time.
    pub samples: Vec<Sample>,
    /// The encoding of its floats; histograms take the fitting one.
    pub floats: Encoding,
}

struct Maker {
    rng: Rng,
    out: Vec<Series>,
}

/// All series, in no particular order.
pub fn series() -> Vec<Series> {
    let mut m = Maker { rng: Rng::new(314), out: Vec::new() };
    m.counters();
    m.gauges();
    m.oddities();
    m.classic();
    m.native();
    m.mixtures();
    m.infos();
    m.out
}

/// The times of one series: a phase of its own, and jitter where wanted.
fn times(rng: &mut Rng, jitter: bool) -> Vec<Millis> {
    let phase = rng.between(0, SCRAPE);
    let shake = |rng: &mut Rng| if jitter { rng.between(-400, 400) } else { 0 };
    (0..LENGTH / SCRAPE).map(|i| START + phase + i * SCRAPE + shake(rng)).filter(|t| *t >= START).collect()
}

fn stale() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

impl Maker {
    fn push(&mut self, name: &str, labels: &[(&str, &str)], samples: Vec<Sample>) {
        let pairs = labels.iter().copied().chain([("__name__", name)]);
        let labels = Labels::from_pairs(pairs.filter(|p| !p.1.is_empty()));
        self.out.push(Series { labels, samples, floats: Encoding::Xor });
    }

    /// Floats at times; the value is made from the index. `None` leaves the sample out.
    fn floats(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        mut value: impl FnMut(&mut Rng, usize) -> Option<f64>,
    ) {
        let jitter = self.rng.chance(30);
        let times = times(&mut self.rng, jitter);
        let mut samples = Vec::with_capacity(times.len());
        for (i, t) in times.into_iter().enumerate() {
            if let Some(v) = value(&mut self.rng, i) {
                samples.push(Sample { t, st: 0, value: Value::Float(v) });
            }
        }
        self.push(name, labels, samples);
    }

    fn counters(&mut self) {
        for (j, job) in ["api", "db"].iter().enumerate() {
            for (k, instance) in ["a", "b", "c"].iter().enumerate() {
                for code in ["200", "500"] {
                    let (mut total, speed) = (0.0, 1 + 3 * j + 2 * k);
                    let labels = [("job", *job), ("instance", *instance), ("code", code)];
                    self.floats("req_total", &labels, |rng, i| {
                        total += rng.below(speed * 4 + 1) as f64;
                        if rng.chance(1) {
                            total = rng.below(3) as f64;
                        }
                        let gap = k == 2 && (100..140).contains(&i) || code == "500" && i < 60 * j;
                        let ends = *instance == "b" && code == "500" && i == 300;
                        if ends { Some(stale()) } else { Some(total).filter(|_| !gap) }
                    });
                }
                let mut total = 0.0;
                self.floats("bytes_total", &[("job", job), ("instance", instance)], |rng, i| {
                    total += rng.fraction() * 1e4 * (1 + k) as f64;
                    if i == 200 + 10 * k {
                        total = 0.0;
                    }
                    Some(total)
                });
            }
        }
        for (kind, instance) in [("counter", "a"), ("counter", "b"), ("gauge", "c"), ("histogram", "d")] {
            let mut total = 0.0;
            self.floats(
                "typed",
                &[("instance", instance), ("__type__", kind), ("__unit__", "bytes")],
                |rng, _| {
                    total += rng.below(7) as f64;
                    Some(total)
                },
            );
        }
        for instance in ["a", "b", "c"] {
            let mut total = 0.0;
            self.floats("st_total", &[("instance", instance)], |rng, i| {
                total = if i % 90 == 89 { rng.below(4) as f64 } else { total + rng.below(9) as f64 };
                Some(total)
            });
            if let Some(last) = self.out.last_mut() {
                last.floats = Encoding::Xor2;
                let mut begun = START - 5000;
                for (i, s) in last.samples.iter_mut().enumerate() {
                    begun = if i % 90 == 89 { s.t - 12_000 } else { begun };
                    s.st = if instance == "c" && i % 7 == 0 { 0 } else { begun };
                }
            }
        }
    }

    fn gauges(&mut self) {
        for job in ["api", "db"] {
            for instance in ["a", "b", "c"] {
                let mut at = self.rng.fraction() * 40.0 - 10.0;
                self.floats("temp", &[("job", job), ("instance", instance)], |rng, i| {
                    at += (rng.fraction() - 0.5) * 1.7;
                    let gap = job == "db" && instance == "c" && (200..260).contains(&i);
                    Some(at).filter(|_| !gap)
                });
                self.floats("load", &[("job", job), ("instance", instance)], |rng, _| {
                    Some(rng.below(4) as f64)
                });
            }
        }
        for i in 0..24 {
            let (index, zone) = (i.to_string(), ["x", "y", "z"][i % 3]);
            let step = (i * 7 % 5) as f64;
            self.floats("wide", &[("i", &index), ("zone", zone)], |_, n| {
                Some(step + (n / 40 * (i % 4)) as f64)
            });
        }
        for (i, zone) in ["x", "y", "z"].iter().enumerate() {
            let mut at = [-86_400.0 * 366.0, 951_782_400.0, 1_709_164_800.0][i];
            self.floats("clock", &[("zone", zone)], |rng, _| {
                at += rng.fraction() * 30_000.0;
                Some(at)
            });
        }
        self.floats("one", &[], |_, i| Some(2.5 + (i / 100) as f64));
    }

    fn oddities(&mut self) {
        type Made = fn(&mut Rng, usize) -> f64;
        let kinds: [(&str, Made); 9] = [
            ("nan", |_, _| f64::NAN),
            ("inf", |_, _| f64::INFINITY),
            ("neginf", |_, _| f64::NEG_INFINITY),
            ("zeros", |_, i| if i % 2 == 0 { 0.0 } else { -0.0 }),
            ("sometimes", |rng, i| if rng.chance(20) { f64::NAN } else { i as f64 }),
            ("huge", |rng, i| if i % 3 == 0 { -1e308 } else { 1e308 + rng.fraction() }),
            ("tiny", |rng, _| rng.fraction() * 1e-310),
            ("cancel", |rng, i| [1e16, 1.0, -1e16, rng.fraction()][i % 4]),
            ("flip", |rng, i| if rng.chance(5) { f64::INFINITY } else { -(i as f64) / 3.0 }),
        ];
        for (kind, value) in kinds {
            self.floats("odd", &[("kind", kind)], |rng, i| Some(value(rng, i)));
        }
        for instance in ["a", "b", "c", "d"] {
            let mut away = 0usize;
            self.floats("sparse", &[("instance", instance)], |rng, i| {
                if away > 0 {
                    away -= 1;
                    return None;
                }
                if rng.chance(6) {
                    away = rng.below(30);
                    return Some(stale()).filter(|_| instance != "a");
                }
                Some((i % 50) as f64 * 0.5)
            });
        }
        for (zone, odd) in [("x", "ü €"), ("y", "line\nbreak \"quoted\"")] {
            self.floats("my.metric", &[("strange label", odd), ("zone", zone)], |rng, i| {
                Some(i as f64 + rng.fraction())
            });
        }
        // A series comes and goes under two identities.
        for (version, from, to) in [("1", 0, 200), ("2", 190, 480)] {
            self.floats("moved", &[("version", version)], |_, i| {
                Some(i as f64).filter(|_| (from..to).contains(&i))
            });
        }
    }

    fn classic(&mut self) {
        let bounds = ["0.1", "0.5", "1", "5", "+Inf"];
        for job in ["api", "db"] {
            for instance in ["a", "b"] {
                let seed = self.rng.number();
                let labels = |le| [("job", job), ("instance", instance), ("le", le)];
                for (b, le) in bounds.iter().enumerate() {
                    // Every bucket of a histogram sees the same observations.
                    let (mut rng, mut total) = (Rng::new(seed), 0.0);
                    self.floats("lat_bucket", &labels(le), |_, i| {
                        for _ in 0..3 {
                            total += f64::from(u8::from(rng.below(bounds.len()) <= b));
                        }
                        total = if i % 250 == 249 { 0.0 } else { total };
                        Some(total)
                    });
                }
                let mut sum = 0.0;
                self.floats("lat_sum", &labels(""), |rng, _| {
                    sum += rng.fraction() * 3.0;
                    Some(sum)
                });
                self.floats("lat_count", &labels(""), |_, i| Some(3.0 * i as f64));
            }
        }
        // Falling counts, a bound that is none, no +Inf, and a single bucket.
        for (of, les) in [
            ("fall", &["1", "2", "4", "+Inf"][..]),
            ("noinf", &["1", "2"]),
            ("bad", &["x", "+Inf"]),
            ("odd", &["0x1", "2.0", "5e0", "inf"]),
        ] {
            for (b, le) in les.iter().enumerate() {
                self.floats("bad_bucket", &[("of", of), ("le", le)], |rng, i| {
                    Some((i * (b + 1)) as f64 - if b == 2 { rng.below(2 * i + 1) as f64 } else { 0.0 })
                });
            }
        }
    }

    /// Integer histograms, counters that are reset now and then.
    fn native(&mut self) {
        for (k, job) in ["api", "db"].iter().enumerate() {
            for (l, instance) in ["a", "b"].iter().enumerate() {
                let schema = [0, 1, 2, 0][2 * k + l];
                let times = times(&mut self.rng, false);
                let mut h = Counted::new(schema, if l == 0 { 0.001 } else { 0.1 }, 6, k == 1);
                let mut samples = Vec::new();
                for (i, t) in times.into_iter().enumerate() {
                    h.observe(&mut self.rng, i % 170 == 169);
                    let value = if i == 330 && l == 1 { stale_int() } else { Value::Histogram(h.int()) };
                    samples.push(Sample { t, st: 0, value });
                }
                self.push("h", &[("job", job), ("instance", instance)], samples);
            }
        }
        for (k, instance) in ["a", "b", "c"].iter().enumerate() {
            let mut samples = Vec::new();
            for (i, t) in times(&mut self.rng, true).into_iter().enumerate() {
                let mut h = Counted::new(k as i32, [0.01, 0.01, 0.05][k], 4, true);
                (0..3).for_each(|_| h.observe(&mut self.rng, false));
                let mut f = h.int().to_float();
                f.scale(0.25 + (i % 5) as f64);
                f.counter_reset_hint = model::CounterResetHint::Gauge;
                samples.push(Sample { t, st: 0, value: Value::FloatHistogram(f) });
            }
            self.push("hg", &[("instance", instance)], samples);
        }
        let bounds: [&[f64]; 3] = [&[1.0, 5.0, 10.0], &[1.0, 2.0, 10.0, 20.0], &[-1.0, 0.0, 5.0]];
        for (k, instance) in ["a", "b", "c", "d"].iter().enumerate() {
            let mut samples = Vec::new();
            let mut counts: Vec<f64> = Vec::new();
            let mut sum = 0.0;
            for (i, t) in times(&mut self.rng, false).into_iter().enumerate() {
                let custom = if k == 3 { bounds[i / 150 % 3] } else { bounds[k] };
                if counts.len() != custom.len() + 1 || i % 190 == 189 {
                    (counts, sum) = (vec![0.0; custom.len() + 1], 0.0);
                }
                for c in &mut counts {
                    *c += self.rng.below(4) as f64;
                }
                sum += self.rng.fraction() * 9.0;
                let f = FloatHistogram {
                    schema: -53,
                    count: counts.iter().sum(),
                    sum,
                    positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
                    positive_buckets: counts.clone(),
                    custom_values: Some(Arc::from(custom)),
                    ..FloatHistogram::default()
                };
                samples.push(Sample { t, st: 0, value: Value::FloatHistogram(f) });
            }
            self.push("hc", &[("instance", instance)], samples);
        }
        for instance in ["a", "b"] {
            let mut h = Counted::new(1, 0.1, 5, false);
            let (mut samples, mut begun) = (Vec::new(), START - 1000);
            for (i, t) in times(&mut self.rng, false).into_iter().enumerate() {
                let reset = i % 80 == 79;
                begun = if reset { t - 9000 } else { begun };
                h.observe(&mut self.rng, reset);
                samples.push(Sample { t, st: begun, value: Value::Histogram(h.int()) });
            }
            self.push("hst", &[("instance", instance)], samples);
        }
        // Observations that are not numbers are in no bucket.
        let mut h = Counted::new(0, 0.001, 4, false);
        let mut samples = Vec::new();
        for (i, t) in times(&mut self.rng, false).into_iter().enumerate() {
            h.observe(&mut self.rng, false);
            let mut with_nan = h.int();
            with_nan.count += (i / 3) as u64;
            with_nan.sum = f64::NAN;
            samples.push(Sample { t, st: 0, value: Value::Histogram(with_nan) });
        }
        self.push("hnan", &[("instance", "a")], samples);
    }

    /// Series that change between floats and histograms, and metrics that hold both.
    fn mixtures(&mut self) {
        for (k, instance) in ["a", "b", "c", "d"].iter().enumerate() {
            let mut h = Counted::new(0, 0.001, 4, false);
            let mut custom = FloatHistogram {
                schema: -53,
                positive_spans: vec![Span { offset: 0, length: 2 }],
                positive_buckets: vec![1.0, 2.0],
                custom_values: Some(Arc::from([1.0])),
                count: 3.0,
                sum: 2.0,
                ..FloatHistogram::default()
            };
            let mut samples = Vec::new();
            for (i, t) in times(&mut self.rng, false).into_iter().enumerate() {
                h.observe(&mut self.rng, i % 100 == 99);
                custom.scale(1.01);
                let value = match k {
                    0 => Value::Float(i as f64),
                    1 => Value::Histogram(h.int()),
                    2 if i / 60 % 2 == 0 => Value::Float(i as f64 / 2.0),
                    2 => Value::Histogram(h.int()),
                    _ if i % 10 < 4 => Value::Float((i % 17) as f64),
                    _ if i % 10 < 8 => Value::Histogram(h.int()),
                    _ => Value::FloatHistogram(custom.clone()),
                };
                samples.push(Sample { t, st: 0, value });
            }
            self.push("mixed", &[("instance", instance)], samples);
        }
        // A classic and a native histogram of one identity.
        let mut h = Counted::new(0, 0.001, 4, false);
        let mut samples = Vec::new();
        for t in times(&mut self.rng, false) {
            h.observe(&mut self.rng, false);
            samples.push(Sample { t, st: 0, value: Value::Histogram(h.int()) });
        }
        self.push("both", &[("instance", "a")], samples);
        for (b, le) in ["1", "4", "+Inf"].iter().enumerate() {
            self.floats("both", &[("instance", "a"), ("le", le)], |_, i| Some((i * (b + 1)) as f64));
        }
    }

    fn infos(&mut self) {
        for job in ["api", "db"] {
            for instance in ["a", "b", "c"] {
                for (version, from, to) in [("1.0", 0, 250), ("1.1", 250, 480)] {
                    let labels = [
                        ("job", job),
                        ("instance", instance),
                        ("version", version),
                        ("host", &*format!("h-{instance}")),
                    ];
                    self.floats("target_info", &labels, |_, i| Some(1.0).filter(|_| (from..to).contains(&i)));
                }
                let labels = [("job", job), ("instance", instance), ("rev", &*format!("{job}{instance}"))];
                self.floats("build_info", &labels, |_, _| Some(1.0));
            }
        }
    }
}

fn stale_int() -> Value {
    Value::Histogram(Histogram { sum: stale(), ..Histogram::default() })
}

/// A counter histogram that is being observed into.
struct Counted {
    h: Histogram,
    positive: Vec<u64>,
    negative: Vec<u64>,
}

impl Counted {
    fn new(schema: i32, zero_threshold: f64, buckets: usize, negative: bool) -> Self {
        let far = (buckets - buckets / 2) as u32;
        let spans = vec![Span { offset: -1, length: (buckets / 2) as u32 }, Span { offset: 2, length: far }];
        let h = Histogram { schema, zero_threshold, ..Histogram::default() };
        let mut counted = Counted { h, positive: vec![0; buckets], negative: Vec::new() };
        if negative {
            counted.negative = vec![0; buckets];
            counted.h.negative_spans.clone_from(&spans);
        }
        counted.h.positive_spans = spans;
        counted
    }

    fn observe(&mut self, rng: &mut Rng, reset: bool) {
        if reset {
            self.positive.iter_mut().chain(&mut self.negative).for_each(|c| *c = 0);
            (self.h.zero_count, self.h.sum) = (0, 0.0);
        }
        for c in self.positive.iter_mut().chain(&mut self.negative) {
            *c += [0, 0, 1, 2, 5][rng.below(5)];
        }
        self.h.zero_count += rng.below(2) as u64;
        self.h.sum += rng.fraction() * 10.0 - if self.negative.is_empty() { 0.0 } else { 4.0 };
        self.h.count = self.h.zero_count + self.positive.iter().chain(&self.negative).sum::<u64>();
    }

    fn int(&self) -> Histogram {
        let deltas = |counts: &[u64]| {
            let mut last = 0;
            let delta = |c: &u64| {
                let d = *c as i64 - last;
                last = *c as i64;
                d
            };
            counts.iter().map(delta).collect()
        };
        let mut h = self.h.clone();
        h.positive_buckets = deltas(&self.positive);
        h.negative_buckets = deltas(&self.negative);
        h
    }
}
