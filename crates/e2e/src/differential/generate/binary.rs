//! Binary operations.
//!
//! Holds the choice of operator, matching and other operand by the labels that tell an operand's series
//! apart, so that most operations have a non-empty result. It knows no selector's text. Invariant: what
//! it makes is no atom.

use super::Generator;
use super::metrics::Metric;
use super::vector::{Kind, V, list};

impl Generator {
    pub(super) fn binary(&mut self, depth: usize, kind: Kind) -> V {
        let lhs = self.vector(depth, kind);
        match self.rng.below(100) {
            0..30 => self.with_scalar(lhs, depth),
            30..60 => self.one_to_one(lhs, depth),
            60..80 => self.grouped(lhs),
            80..96 => self.set_operation(lhs, depth),
            _ => {
                // Whatever comes of it.
                let rhs = self.vector(depth, kind);
                let op = self.operator(lhs.kind);
                V { text: format!("{} {op} {}", lhs.atom(), rhs.atom()), atom: false, ..lhs }
            }
        }
    }

    fn operator(&mut self, kind: Kind) -> &'static str {
        match kind {
            Kind::Histogram | Kind::Mixed => self.rng.word(&["+", "-", "+", "-", "==", "!=", "*"]),
            _ => self.rng.word(&[
                "+", "-", "*", "/", "%", "+", "-", "*", "/", "!=", "<=", ">=", ">", "> bool", "< bool",
                "== bool", "<= bool", "!= bool", ">= bool",
            ]),
        }
    }

    pub(super) fn with_scalar(&mut self, lhs: V, depth: usize) -> V {
        let histograms = matches!(lhs.kind, Kind::Histogram | Kind::Mixed);
        if histograms && self.rng.chance(60) {
            let text = match self.rng.below(5) {
                0 => format!("{} * {}", lhs.atom(), self.number()),
                1 => format!("{} * {}", self.rng.between(-2, 5), lhs.atom()),
                2 => format!("{} </ {}", lhs.atom(), self.rng.pick(&["1", "0.3", "5", "-1"])),
                3 => format!("{} >/ {}", lhs.atom(), self.rng.pick(&["1", "0.3", "2", "-1"])),
                _ => format!("{} / {}", lhs.atom(), self.rng.pick(&["2", "0", "-4", "1.5"])),
            };
            return V { text, atom: false, ..lhs };
        }
        let op = self.rng.word(&[
            "+", "-", "*", "/", "%", "*", "+", "!=", "> bool", "< bool", "== bool", "<= bool", ">=", "<",
        ]);
        let scalar = match op {
            ">=" | "<" => "scalar(avg(temp))".to_owned(),
            _ => self.scalar(depth.min(1)),
        };
        let text = match self.rng.below(3) {
            0 => format!("{scalar} {op} {}", lhs.atom()),
            _ => format!("{} {op} {scalar}", lhs.atom()),
        };
        V { text, atom: false, ..lhs }
    }

    /// Another vector whose series the same labels tell apart.
    fn partner(&mut self, by: &[&'static str], histograms: bool) -> V {
        let fits = |m: &Metric| {
            by.iter().all(|l| m.labels.contains(l))
                && matches!(m.kind, Kind::Histogram | Kind::Mixed) == histograms
                && m.kind != Kind::Classic
        };
        let Some(metric) = self.metric(fits) else {
            return V::new("vector(1)".to_owned(), &[], Kind::Float);
        };
        let base =
            V::new(format!("{}{}", self.matched(metric), self.modifiers()), metric.labels, metric.kind);
        if metric.labels.len() == by.len() && self.rng.chance(70) {
            return base;
        }
        let op = self.rng.word(&["sum", "avg", "max", "sum"]);
        let op = if histograms { "sum" } else { op };
        V::new(format!("{op} by ({}) ({})", list(by), base.text), by, metric.kind)
    }

    fn one_to_one(&mut self, lhs: V, depth: usize) -> V {
        let histograms = lhs.kind == Kind::Histogram;
        // The same expression again fits for certain.
        let rhs = match self.rng.below(3) {
            0 => V { by: lhs.by.clone(), ..self.element_of(&lhs, depth) },
            _ => self.partner(&lhs.by.clone(), histograms),
        };
        let on = if self.rng.chance(60) || rhs.by != lhs.by {
            format!(" on ({})", list(&rhs.by))
        } else {
            self.rng.pick(&["", " ignoring ()", " ignoring (other)"]).to_string()
        };
        if rhs.by != lhs.by {
            let lhs = self.aggregated_plainly(lhs, &rhs.by);
            let op = self.operator(lhs.kind);
            return V { text: format!("{} {op}{on} {}", lhs.atom(), rhs.atom()), atom: false, ..lhs };
        }
        let fill = match self.rng.below(8) {
            0 => " fill(0)",
            1 => " fill_left(1)",
            2 => " fill_right(-2) fill_left(NaN)",
            _ => "",
        };
        let fill = if on.is_empty() || histograms { "" } else { fill };
        let op = self.operator(lhs.kind);
        V { text: format!("{} {op}{on}{fill} {}", lhs.atom(), rhs.atom()), atom: false, ..lhs }
    }

    fn element_of(&mut self, v: &V, depth: usize) -> V {
        let _ = depth;
        let text = match v.kind {
            Kind::Histogram | Kind::Mixed => v.text.clone(),
            _ => format!("{}({})", self.rng.pick(&["abs", "sgn", "floor", "ceil"]), v.text),
        };
        V { text, ..v.clone() }
    }

    fn aggregated_plainly(&mut self, v: V, by: &[&'static str]) -> V {
        let op = if v.kind == Kind::Float { self.rng.word(&["sum", "min", "avg"]) } else { "sum" };
        V::new(format!("{op} by ({}) ({})", list(by), v.text), by, v.kind)
    }

    /// Many to one, or one to many.
    fn grouped(&mut self, lhs: V) -> V {
        let on = self.some_of(&lhs.by.clone());
        let histograms = lhs.kind == Kind::Histogram && self.rng.chance(70);
        let one = self.partner(&on, histograms);
        let one =
            if one.by == on && one.text.contains(" by (") { one } else { self.aggregated_plainly(one, &on) };
        let include = match self.rng.below(4) {
            0 if !on.is_empty() => on[0],
            1 => "absent_label",
            _ => "",
        };
        let op = self.operator(lhs.kind);
        let on_text = list(&on);
        let fill = if self.rng.chance(8) && !histograms { " fill(3)" } else { "" };
        let (by, kind) = (lhs.by.clone(), lhs.kind);
        let include = if on.contains(&include) || include == "absent_label" { "" } else { include };
        if self.rng.chance(15) && ["job", "instance"].iter().all(|l| lhs.by.contains(l)) {
            let (one, label) = *self.rng.pick(&[
                ("build_info", "rev"),
                ("build_info", "rev, other"),
                ("max by (job, instance, host) (target_info)", "host"),
            ]);
            let text = format!("{} {op} on (job, instance) group_left ({label}) {one}", lhs.atom());
            return V { text, by, kind, atom: false };
        }
        let text = if self.rng.chance(50) {
            format!("{} {op} on ({on_text}) group_left ({include}){fill} {}", lhs.atom(), one.atom())
        } else {
            format!("{} {op} on ({on_text}) group_right ({include}){fill} {}", one.atom(), lhs.atom())
        };
        V { text, by, kind, atom: false }
    }

    fn set_operation(&mut self, lhs: V, depth: usize) -> V {
        let op = self.rng.word(&["and", "or", "unless", "or", "and"]);
        let rhs = match self.rng.below(3) {
            0 => self.vector(depth, Kind::Any),
            _ => self.partner(&lhs.by.clone(), false),
        };
        let on = match self.rng.below(3) {
            0 if !lhs.by.is_empty() => format!(" on ({})", list(&self.some_of(&lhs.by.clone()))),
            1 if op != "unless" => format!(" ignoring ({})", list(&self.some_of(&rhs.by.clone()))),
            _ => String::new(),
        };
        let rhs = if op == "unless" { format!("({} > 1e6)", rhs.atom()) } else { rhs.atom() };
        V { text: format!("{} {op}{on} {rhs}", lhs.atom()), atom: false, ..lhs }
    }
}
