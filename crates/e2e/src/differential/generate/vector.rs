//! Vectors: selectors, functions, aggregations.
//!
//! Holds the grammar below the root, but for binary operations (see `binary`). It keeps account of the
//! labels that tell an expression's series apart. Invariant: a text marked as an atom can be
//! followed by a modifier or stand as an operand as it is.

use super::Generator;
use super::metrics::{METRICS, Metric, values};

/// What a vector holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::differential) enum Kind {
    /// Anything, as a wish.
    Any,
    /// Floats.
    Float,
    /// Floats that are buckets of classic histograms.
    Classic,
    /// Native histograms.
    Histogram,
    /// Floats and histograms.
    Mixed,
}

/// A vector (or matrix) expression.
#[derive(Clone, Debug)]
pub(in crate::differential) struct V {
    pub(in crate::differential) text: String,
    /// Labels that tell its series apart.
    pub(super) by: Vec<&'static str>,
    pub(super) kind: Kind,
    pub(super) atom: bool,
}

impl V {
    pub(super) fn new(text: String, by: &[&'static str], kind: Kind) -> V {
        // An offset in parentheses would take a following operator as its own.
        let atom = !text.ends_with("1m)");
        V { text, by: by.to_vec(), kind, atom }
    }

    /// The text as an operand.
    pub(super) fn atom(&self) -> String {
        if self.atom { self.text.clone() } else { format!("({})", self.text) }
    }
}

const RANGES: [&str; 12] = [
    "1m",
    "2m",
    "5m",
    "5m",
    "7m30s",
    "10m",
    "20m",
    "1h",
    "5m * 2",
    "max_of(step(), 2m)",
    "step() + 3m",
    "300",
];

/// Labels in a list, quoted where they need it.
pub(super) fn list(labels: &[&str]) -> String {
    let quoted = |l: &&str| if l.contains(' ') { format!("\"{l}\"") } else { (*l).to_owned() };
    labels.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

impl Generator {
    /// A vector expression.
    pub(super) fn vector(&mut self, depth: usize, kind: Kind) -> V {
        if depth == 0 {
            return self.selector(kind);
        }
        match (self.rng.below(100), kind) {
            (0..10, _) => self.selector(kind),
            (10..34, _) => self.range_function(depth - 1, kind),
            (34..46, _) => self.element_function(depth - 1, kind),
            (46..66, _) => self.aggregation(depth - 1, kind),
            (66..88, _) => self.binary(depth - 1, kind),
            (88..91, _) => self.label_function(depth - 1, kind),
            (91..94, Kind::Any | Kind::Float) => self.histogram_function(depth - 1),
            (94..95, Kind::Any | Kind::Float) => self.absent(depth - 1),
            (95..96, _) => {
                let v = self.vector(depth - 1, kind);
                let name = self.rng.word(&["sort", "sort_desc"]);
                V { text: format!("{name}({})", v.text), atom: true, ..v }
            }
            (96..97, Kind::Any | Kind::Float) => self.info(),
            (97..98, Kind::Any | Kind::Float) => {
                V::new(format!("vector({})", self.scalar(depth)), &[], Kind::Float)
            }
            _ => {
                let v = self.vector(depth - 1, kind);
                let sign = self.rng.word(&["-", "+", ""]);
                V { text: format!("{sign}({})", v.text), atom: sign.is_empty(), ..v }
            }
        }
    }

    pub(super) fn metric(&mut self, fits: impl Fn(&Metric) -> bool) -> Option<&'static Metric> {
        let total: usize = METRICS.iter().filter(|m| fits(m)).map(|m| m.weight).sum();
        let mut at = if total == 0 { return None } else { self.rng.below(total) };
        METRICS.iter().filter(|m| fits(m)).find(|m| {
            let found = at < m.weight;
            at = at.saturating_sub(m.weight);
            found
        })
    }

    fn any_metric(&mut self, kind: Kind) -> &'static Metric {
        let fits = |m: &Metric| match kind {
            Kind::Any => true,
            k => m.kind == k,
        };
        self.metric(fits).unwrap_or(&METRICS[0])
    }

    /// The metric's name with matchers, without modifiers.
    pub(super) fn matched(&mut self, metric: &Metric) -> String {
        let mut matchers = Vec::new();
        if self.rng.chance(24)
            && let Some(label) = metric.labels.get(self.rng.below(metric.labels.len().max(1)))
            && *label != "le"
        {
            let value = *self.rng.pick(values(label));
            let other = *self.rng.pick(values(label));
            let name = list(&[label]);
            matchers.push(match self.rng.below(5) {
                0 => format!("{name}=\"{value}\""),
                1 => format!("{name}!=\"{value}\""),
                2 => format!("{name}=~\"{value}|{other}\""),
                3 => format!("{name}!~\"{value}.+\""),
                _ => format!("{name}=~\".+\""),
            });
        }
        if metric.name.contains('.') || self.rng.chance(3) {
            matchers.insert(0, format!("\"{}\"", metric.name));
            return format!("{{{}}}", matchers.join(", "));
        }
        match matchers.is_empty() {
            true => metric.name.to_owned(),
            false => format!("{}{{{}}}", metric.name, matchers.join(", ")),
        }
    }

    /// ` offset 5m @ end()`, or nothing mostly.
    pub(super) fn modifiers(&mut self) -> String {
        let mut out = String::new();
        if !self.modifiers {
            return out;
        }
        if self.rng.chance(12) {
            let at = ["start()", "end()", "1792630800", "1792634400.5", "1792637000", "1792628000.001"];
            out.push_str(&format!(" @ {}", self.rng.pick(&at)));
        }
        if self.rng.chance(15) {
            let offset = ["5m", "1m", "-2m", "30s", "1h", "(step() + 1m)", "0.5", "-1h", "1ms", "17s3ms"];
            out.push_str(&format!(" offset {}", self.rng.pick(&offset)));
        }
        out
    }

    fn selector(&mut self, kind: Kind) -> V {
        if kind == Kind::Any && self.rng.chance(3) {
            // Several metrics at once are told apart by name.
            let text = format!(
                "{{__name__=~\"{}\"}}",
                self.rng.pick(&["temp|load", "req_total|bytes_.*", "h|temp"])
            );
            let text = format!("{text}{}", self.modifiers());
            let aggregated = format!("sum by (job, instance) ({text})");
            return match self.rng.below(2) {
                0 => V::new(aggregated, &["job", "instance"], Kind::Mixed),
                _ => V::new(format!("count by (__name__) ({text})"), &["__name__"], Kind::Float),
            };
        }
        let metric = self.any_metric(kind);
        let smoothed = self.rng.chance(2) && metric.kind == Kind::Float;
        let smoothed = if smoothed { " smoothed" } else { "" };
        let text = format!("{}{smoothed}{}", self.matched(metric), self.modifiers());
        V::new(text, metric.labels, metric.kind)
    }

    /// A matrix: a range selector or a subquery. `extended` follows the range.
    pub(super) fn matrix(&mut self, depth: usize, kind: Kind, extended: &str) -> V {
        if depth > 0 && extended.is_empty() && self.rng.chance(35) {
            let v = self.vector(depth - 1, kind);
            let range = self.rng.word(&["5m", "10m", "10m", "20m", "30m"]);
            let step = self.rng.word(&["", "30s", "1m", "1m", "2m", "47s", "3m"]);
            let text = format!("{}[{range}:{step}]{}", v.operand_of_subquery(), self.modifiers());
            return V { text, atom: true, ..v };
        }
        let metric = self.any_metric(kind);
        let range = *self.rng.pick(&RANGES);
        let text = format!("{}[{range}]{extended}{}", self.matched(metric), self.modifiers());
        V::new(text, metric.labels, metric.kind)
    }

    fn range_function(&mut self, depth: usize, kind: Kind) -> V {
        const ANY: [&str; 15] = [
            "rate",
            "rate",
            "increase",
            "irate",
            "delta",
            "idelta",
            "resets",
            "changes",
            "count_over_time",
            "last_over_time",
            "first_over_time",
            "present_over_time",
            "sum_over_time",
            "avg_over_time",
            "ts_of_last_over_time",
        ];
        const FLOAT: [&str; 12] = [
            "min_over_time",
            "max_over_time",
            "stddev_over_time",
            "stdvar_over_time",
            "quantile_over_time",
            "mad_over_time",
            "deriv",
            "predict_linear",
            "double_exponential_smoothing",
            "ts_of_min_over_time",
            "ts_of_max_over_time",
            "ts_of_first_over_time",
        ];
        let histograms =
            matches!(kind, Kind::Histogram | Kind::Mixed) || (kind == Kind::Any && self.rng.chance(30));
        let name = match histograms {
            true => *self.rng.pick(&ANY),
            false if self.rng.chance(45) => *self.rng.pick(&FLOAT),
            false => *self.rng.pick(&ANY),
        };
        let of = match kind {
            Kind::Any if histograms => *self.rng.pick(&[Kind::Histogram, Kind::Histogram, Kind::Mixed]),
            Kind::Any if self.rng.chance(85) => Kind::Float,
            k => k,
        };
        let extended = match name {
            "rate" | "increase" | "delta" if self.rng.chance(15) => {
                self.rng.word(&[" anchored", " smoothed"])
            }
            "changes" | "resets" if self.rng.chance(15) => " anchored",
            _ => "",
        };
        let m = self.matrix(depth, of, extended);
        let text = match name {
            "quantile_over_time" => format!("{name}({}, {})", self.quantile(), m.text),
            "predict_linear" => {
                format!("{name}({}, {})", m.text, self.rng.pick(&["60", "-600", "1h", "scalar(one)"]))
            }
            "double_exponential_smoothing" => {
                let factor = ["0.1", "0.5", "0.9", "0.3"];
                format!("{name}({}, {}, {})", m.text, self.rng.pick(&factor), self.rng.pick(&factor))
            }
            _ => format!("{name}({})", m.text),
        };
        let kind = match name {
            "rate" | "increase" | "irate" | "delta" | "idelta" | "last_over_time" | "first_over_time"
            | "sum_over_time" | "avg_over_time" => m.kind,
            _ => Kind::Float,
        };
        V { text, kind, by: m.by, atom: true }
    }

    fn element_function(&mut self, depth: usize, kind: Kind) -> V {
        if self.rng.chance(12) {
            let name = self.rng.word(&[
                "day_of_month",
                "day_of_week",
                "day_of_year",
                "days_in_month",
                "hour",
                "minute",
                "month",
                "year",
            ]);
            return match self.rng.below(3) {
                0 => V::new(format!("{name}()"), &[], Kind::Float),
                _ => V::new(format!("{name}(clock{})", self.modifiers()), &["zone"], Kind::Float),
            };
        }
        let of = if kind == Kind::Any && self.rng.chance(90) { Kind::Float } else { kind };
        let v = self.vector(depth, of);
        let text = match self.rng.below(11) {
            0 => format!("clamp({}, {}, {})", v.text, self.scalar(depth.min(1)), self.scalar(0)),
            1 => format!("clamp_min({}, {})", v.text, self.scalar(depth.min(1))),
            2 => format!("clamp_max({}, {})", v.text, self.scalar(depth.min(1))),
            3 => format!("round({})", v.text),
            4 => format!("round({}, {})", v.text, self.rng.pick(&["0.1", "5", "scalar(one)", "0.25"])),
            5 => format!("timestamp({})", v.text),
            _ => {
                let names = ["abs", "ceil", "floor", "sgn", "sqrt", "deg", "rad", "abs"];
                format!("{}({})", self.rng.pick(&names), v.text)
            }
        };
        V { text, kind: Kind::Float, by: v.by, atom: true }
    }

    /// Some of the labels, in their order.
    pub(super) fn some_of(&mut self, labels: &[&'static str]) -> Vec<&'static str> {
        labels.iter().copied().filter(|_| self.rng.chance(50)).collect()
    }

    fn aggregation(&mut self, depth: usize, kind: Kind) -> V {
        let v = self.vector(depth, kind);
        let keep = self.some_of(&v.by);
        self.aggregated(v, keep)
    }

    /// `op by (keep) (v)`.
    fn aggregated(&mut self, v: V, keep: Vec<&'static str>) -> V {
        const ANY: [&str; 9] =
            ["sum", "sum", "avg", "avg", "count", "group", "limitk", "limit_ratio", "count_values"];
        const FLOAT: [&str; 7] = ["min", "max", "stddev", "stdvar", "topk", "bottomk", "quantile"];
        let floats = matches!(v.kind, Kind::Float | Kind::Classic);
        let op = match self.rng.below(100) {
            0..50 => *self.rng.pick(&ANY),
            50..60 => *self.rng.pick(&FLOAT),
            _ if floats => *self.rng.pick(&FLOAT),
            _ => "sum",
        };
        // Of many, limitk takes the first, and behind most operators Prometheus' order is a map's.
        let plain = v.atom && v.text.matches('(').count() <= 1 && !v.text.contains(':');
        let op = match op {
            "limitk" if !plain => "limit_ratio",
            // Custom buckets divided by zero make Prometheus panic when they become text.
            "count_values" if !plain && !floats => "count",
            op => op,
        };
        let grouping = match self.rng.below(10) {
            0 | 1 if keep.is_empty() => String::new(),
            0..7 => format!(" by ({})", list(&keep)),
            _ => {
                let away: Vec<&str> = v.by.iter().copied().filter(|l| !keep.contains(l)).collect();
                format!(" without ({})", list(&away))
            }
        };
        let param = match op {
            "topk" | "bottomk" | "limitk" => match self.rng.below(8) {
                0 => "scalar(one), ".to_owned(),
                1 => "time() % 4, ".to_owned(),
                _ => format!("{}, ", self.rng.between(1, 5)),
            },
            "limit_ratio" => format!("{}, ", self.rng.pick(&["0.5", "0.8", "-0.5", "0.3", "1.1", "-0.9"])),
            "quantile" => format!("{}, ", self.quantile()),
            "count_values" => "\"value\", ".to_owned(),
            _ => String::new(),
        };
        let (kind, mut by) = match op {
            "sum" | "avg" => (v.kind, keep),
            "limitk" | "limit_ratio" | "topk" | "bottomk" => (v.kind, v.by.clone()),
            _ => (Kind::Float, keep),
        };
        if op == "count_values" {
            by.push("value");
        }
        let text = format!("{op}{grouping} ({param}{})", v.text);
        V { text, by, kind, atom: true }
    }

    fn label_function(&mut self, depth: usize, kind: Kind) -> V {
        let v = self.vector(depth, kind);
        let from = v.by.first().copied().unwrap_or("job");
        let text = match self.rng.below(5) {
            4 => format!("label_replace({}, \"{from}\", \"$1\", \"{from}\", \"(?i:(.*))\")", v.text),
            0 => format!("label_join({}, \"joined\", \"-\", \"{from}\", \"zone\")", v.text),
            1 => format!("label_replace({}, \"copy\", \"$1\", \"{from}\", \"(.).*\")", v.text),
            2 => format!("label_replace({}, \"new\", \"n-${{rest}}\", \"{from}\", \"(?P<rest>.+)\")", v.text),
            _ => format!("label_replace({}, \"__name__\", \"named\", \"{from}\", \".*\")", v.text),
        };
        V { text, ..v }
    }

    fn absent(&mut self, depth: usize) -> V {
        let text = match self.rng.below(3) {
            0 => format!("absent(none{{job=\"{}\", zone!=\"x\"}})", self.rng.pick(values("job"))),
            1 => format!("absent_over_time(none{{kind=\"a\"}}[{}])", self.rng.pick(&["5m", "1h"])),
            _ => format!("absent({} > 1e300)", self.vector(depth, Kind::Float).atom()),
        };
        V::new(text, &[], Kind::Float)
    }

    fn info(&mut self) -> V {
        let of = self.rng.word(&[
            "temp",
            "bytes_total",
            "rate(bytes_total[5m])",
            "h",
            "sum by (job, instance) (req_total)",
        ]);
        let labels = self.rng.word(&[
            "",
            ", {version=~\".+\"}",
            ", {host=\"h-a\"}",
            ", {__name__=\"build_info\"}",
            ", {__name__=~\"(target|build)_info\", rev!=\"\"}",
            ", {version=~\".*\"}",
        ]);
        V::new(format!("info({of}{labels})"), &["job", "instance"], Kind::Any)
    }

    pub(super) fn histogram_function(&mut self, depth: usize) -> V {
        let classic = self.rng.chance(35);
        let v = match classic {
            true => match self.rng.below(6) {
                0 if self.rng.chance(30) => V::new("both".to_owned(), &["instance", "le"], Kind::Mixed),
                0 | 1 => self.selector(Kind::Classic),
                2 | 3 => {
                    let text = format!("rate(lat_bucket[{}])", self.rng.pick(&RANGES));
                    V::new(text, &["job", "instance", "le"], Kind::Classic)
                }
                _ => V::new(
                    "sum by (job, le) (rate(lat_bucket[5m]))".to_owned(),
                    &["job", "le"],
                    Kind::Classic,
                ),
            },
            false if self.rng.chance(10) => self.vector(depth.min(2), Kind::Histogram),
            false => self.histograms(depth),
        };
        let by: Vec<&'static str> = v.by.iter().copied().filter(|l| *l != "le").collect();
        let text = match self.rng.below(if classic { 4 } else { 11 }) {
            0 | 1 => format!("histogram_quantile({}, {})", self.quantile(), v.text),
            2 => {
                let bounds = ["-Inf", "0", "0.3", "1", "2.5", "7", "+Inf"];
                let lower = self.rng.below(6);
                let upper = if self.rng.chance(95) { lower + 1 + self.rng.below(6 - lower) } else { 0 };
                format!("histogram_fraction({}, {}, {})", bounds[lower], bounds[upper], v.text)
            }
            3 => format!("histogram_quantiles({}, \"q\", {}, {})", v.text, self.quantile(), "0.9"),
            n => {
                let names = [
                    "histogram_avg",
                    "histogram_count",
                    "histogram_sum",
                    "histogram_stddev",
                    "histogram_stdvar",
                ];
                format!("{}({})", names[n % 5], v.text)
            }
        };
        V::new(text, &by, Kind::Float)
    }

    /// Native histograms, and hardly ever anything else.
    fn histograms(&mut self, depth: usize) -> V {
        if depth == 0 {
            return self.selector(Kind::Histogram);
        }
        match self.rng.below(6) {
            0 => self.selector(Kind::Histogram),
            1 | 2 => {
                let name = self.rng.word(&[
                    "rate",
                    "increase",
                    "sum_over_time",
                    "avg_over_time",
                    "last_over_time",
                    "delta",
                    "irate",
                    "idelta",
                ]);
                let m = self.matrix(0, Kind::Histogram, "");
                V { text: format!("{name}({})", m.text), ..m }
            }
            3 => {
                let v = self.histograms(depth - 1);
                let keep = self.some_of(&v.by);
                let op = self.rng.word(&["sum", "avg"]);
                V::new(format!("{op} by ({}) ({})", list(&keep), v.text), &keep, Kind::Histogram)
            }
            4 => {
                let lhs = self.histograms(depth - 1);
                let op = self.rng.word(&["+", "-"]);
                V { text: format!("{} {op} {}", lhs.atom(), lhs.atom()), atom: false, ..lhs }
            }
            _ => {
                let v = self.histograms(depth - 1);
                self.with_scalar(v, 0)
            }
        }
    }
}

impl V {
    /// The text as what a subquery is about: anything but a selector stands in parentheses, so that
    /// its own modifiers stay its own.
    fn operand_of_subquery(&self) -> String {
        let modified =
            self.text.contains(" offset ") || self.text.contains(" @ ") || self.text.ends_with(" smoothed");
        if self.atom && !modified { self.text.clone() } else { format!("({})", self.text) }
    }
}
