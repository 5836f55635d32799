//! Expressions, made up.
//!
//! Holds the request (when, how often, with which lookback) and the choice of the outermost form;
//! `vector` makes what is below. It knows no engine. Invariant: the same seed gives the same
//! requests; nearly every expression has an answer and a non-empty one, because operands are chosen
//! to fit each other. Read `metrics` for what there is to select.

mod binary;
mod metrics;
mod scalar;
mod vector;

use model::Millis;

use super::Rng;
use super::answer::Request;
use super::data::{LENGTH, START};

pub(super) use vector::Kind;

/// Makes requests.
#[derive(Clone, Debug)]
pub struct Generator {
    rng: Rng,
    /// Whether the expression being made is for a range query.
    range: bool,
    /// Whether selectors may carry modifiers that fix or shift their time.
    modifiers: bool,
}

impl Generator {
    /// A generator for a seed.
    pub fn new(seed: u64) -> Self {
        Generator { rng: Rng::new(seed), range: false, modifiers: true }
    }

    /// The next request.
    pub fn request(&mut self) -> Request {
        self.range = self.rng.chance(50);
        self.modifiers = self.rng.chance(80);
        let start = self.time();
        let range = self.range.then(|| {
            let step = *self.rng.pick(&[7_000, 15_000, 30_000, 60_000, 60_000, 180_000, 600_000]);
            let more = if self.rng.chance(80) { 0 } else { self.rng.between(0, step) };
            // Now and then more than fit one word of bits.
            let (step, steps) = match self.rng.below(40) {
                0 => (7_000, self.rng.between(60, 200)),
                1 => (500, self.rng.between(1, 140)),
                _ => (step, self.rng.between(0, 16)),
            };
            (start + step * steps + more, step)
        });
        let lookback = self.rng.chance(5).then(|| *self.rng.pick(&[1000, 60_000, 900_000]));
        let mut expr = self.root();
        if self.rng.chance(6) {
            expr = self.spread(&expr);
        }
        Request { expr, start, range, lookback, stats: false }
    }

    /// The same over several lines, for the positions of annotations.
    fn spread(&mut self, expr: &str) -> String {
        let mut out = String::new();
        for (i, part) in expr.split(' ').enumerate() {
            let quoted = out.matches('"').count() % 2 == 1;
            out.push_str(match self.rng.below(6) {
                _ if i == 0 => "",
                _ if quoted => " ",
                0 => "\n",
                1 => "  ",
                2 => " # as is \n\t",
                _ => " ",
            });
            out.push_str(part);
        }
        out
    }

    fn time(&mut self) -> Millis {
        let within = match self.rng.below(20) {
            0 if self.rng.chance(30) => self.rng.between(0, 6 * 60_000),
            1 if self.rng.chance(30) => self.rng.between(LENGTH - 300_000, LENGTH + 300_000),
            _ => self.rng.between(10 * 60_000, LENGTH - 60_000),
        };
        let unit = *self.rng.pick(&[1, 1000, 1000, 30_000, 60_000]);
        START + within / unit * unit
    }

    fn root(&mut self) -> String {
        let depth = if self.rng.chance(4) { 4 + self.rng.below(3) } else { self.rng.below(4) };
        match self.rng.below(100) {
            0..8 => self.scalar(depth),
            8 if !self.range => format!("\"{}\"", self.rng.pick(&["text", "ü", "a\\\"b\\n"])),
            9..14 if !self.range => self.matrix(depth.min(2), Kind::Any, "").text,
            14..16 => self.mistake(),
            16..24 => self.sorted(depth),
            24..36 => self.inexact(depth),
            36..44 => self.histogram_function(depth).text,
            _ => self.vector(depth.max(1), Kind::Any).text,
        }
    }

    /// An expression that is refused or fails, mostly.
    fn mistake(&mut self) -> String {
        const MISTAKES: [&str; 47] = [
            "temp + on (job) load",
            "temp + on (job) group_left () load",
            "temp + on (job) group_right () load",
            "temp == on (instance) bytes_total",
            "temp * ignoring (instance) bytes_total",
            "rate({__name__=~\"temp|load\"}[5m])",
            "abs({__name__=~\"temp|load\"})",
            "-{__name__=~\"temp|load\"}",
            "label_replace(temp, \"instance\", \"x\", \"job\", \".*\")",
            "label_replace(temp, \"dst\", \"$1\", \"job\", \"(.*\")",
            "label_replace(temp, \"\", \"$1\", \"job\", \"(.*)\")",
            "label_replace(temp, \"\\xff\", \"$1\", \"job\", \"(.*)\")",
            "label_join(temp, \"\", \"-\", \"job\")",
            "label_join(temp, \"instance\", \"-\", \"job\")",
            "label_join(temp, \"dst\", \"-\", \"\\xff\")",
            "double_exponential_smoothing(temp[5m], 2, 0.5)",
            "double_exponential_smoothing(temp[5m], 0.5, 0)",
            "topk(NaN, temp)",
            "bottomk(Inf, temp)",
            "topk(-1, temp)",
            "limitk(1e300, temp)",
            "limitk(NaN, temp)",
            "limit_ratio(NaN, temp)",
            "limit_ratio(5, temp)",
            "limit_ratio(-5, temp)",
            "count_values(\"\", temp)",
            "count_values(\"\\xff\", temp)",
            "count_values(\"a b\", temp)",
            "quantile(scalar(none), temp)",
            "histogram_quantiles(h, \"\\xff\", 0.5)",
            "histogram_quantiles(h, \"instance\", 0.5, 0.9)",
            "histogram_fraction(5, 1, h)",
            "clamp(temp, 5, 1)",
            "clamp(temp, NaN, 1)",
            "clamp_max(temp, NaN)",
            "round(temp, 0)",
            "temp[step()]",
            "temp[5m:step() - 1m]",
            "temp[(1m - 2m)]",
            "sum(",
            "rate(temp)",
            "temp and 1",
            "info(temp, {host=~\"h-.\", __name__=~\".*_info\"})",
            "temp offset (1m / 0)",
            "start_timestamp(st_total)",
            "start_timestamp(hst offset 1m)",
            "start_timestamp(temp + 1)",
        ];
        let mistake = *self.rng.pick(&MISTAKES);
        match self.rng.below(4) {
            0 => format!("sum by (job) ({mistake})"),
            1 => format!("(temp * 0) or ({mistake})"),
            _ => mistake.to_owned(),
        }
    }

    /// A sort, whose order shows in instant queries.
    fn sorted(&mut self, depth: usize) -> String {
        let v = self.vector(depth, Kind::Float);
        match self.rng.below(4) {
            0 => format!("sort({})", v.text),
            1 => format!("sort_desc({})", v.text),
            n => {
                let mut labels = v.by.clone();
                labels.truncate(self.rng.below(3).max(1));
                let labels: Vec<String> = labels.iter().map(|l| format!(", \"{l}\"")).collect();
                let labels = if labels.is_empty() { ", \"job\"".to_owned() } else { labels.concat() };
                format!("sort_by_label{}({}{labels})", if n == 2 { "" } else { "_desc" }, v.text)
            }
        }
    }

    /// A function whose last bits differ between mathematical libraries, outermost or just below an
    /// aggregation that picks.
    fn inexact(&mut self, depth: usize) -> String {
        let v = self.vector(depth, Kind::Float);
        let one = match self.rng.below(3) {
            0 => {
                let exponent = self.rng.word(&["2", "0.5", "-1", "3.7", "0"]);
                format!("{} ^ {exponent}", v.atom())
            }
            1 => format!("{} atan2 {}", v.atom(), self.rng.pick(&["1", "-2", "0"])),
            _ => {
                let name = self.rng.word(&[
                    "exp", "ln", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
                    "cosh", "tanh", "asinh", "acosh", "atanh",
                ]);
                format!("{name}({})", v.text)
            }
        };
        match self.rng.below(4) {
            0 => format!("max({one})"),
            1 => format!("count({one})"),
            _ => one,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use promql::parse::functions::{FUNCTIONS, Gate};
    use promql::parse::{AggregateOp, Expr, Options};

    use super::*;

    #[test]
    fn every_expression_parses_and_every_function_occurs() {
        let mut generator = Generator::new(1);
        let (mut functions, mut aggregations) = (BTreeSet::new(), BTreeSet::new());
        let mut refused = 0;
        for _ in 0..20_000 {
            let request = generator.request();
            let ast = match Options::all().parse(&request.expr) {
                Ok(ast) => ast,
                Err(_) => {
                    refused += 1;
                    continue;
                }
            };
            for node in ast.nodes() {
                match &node.expr {
                    Expr::Call { func, .. } => {
                        functions.insert(func.name);
                    }
                    Expr::Aggregate(a) => {
                        let op: AggregateOp = a.op;
                        aggregations.insert((op.as_str(), a.without, a.grouping.is_empty()));
                    }
                    _ => {}
                }
            }
        }
        assert!(refused < 200, "{refused} do not parse");
        let missing: Vec<_> = FUNCTIONS
            .iter()
            .filter(|f| {
                f.gate != Gate::Extended && f.name != "start_timestamp" && !functions.contains(f.name)
            })
            .map(|f| f.name)
            .collect();
        assert!(missing.is_empty(), "never made: {missing:?}");
        assert!(aggregations.len() >= 14 * 3, "{aggregations:?}");
    }

    #[test]
    fn a_seed_stands_for_one_list() {
        let list = |seed| {
            let mut generator = Generator::new(seed);
            (0..50).map(|_| generator.request()).collect::<Vec<_>>()
        };
        assert_eq!(list(7), list(7));
        assert_ne!(list(7), list(8));
    }
}
