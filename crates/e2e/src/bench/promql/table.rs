//! The table: a line a query, and what all of them say together.
//!
//! Knows figures only. Invariant: a ratio is how many times less ours needs than the better of Thanos'
//! two engines; an engine whose answer differs is the better one only where both differ.

use std::fmt::Write as _;

use super::cost::Cost;

/// A query's costs and differences, by side: ours, Thanos' with either engine, Prometheus.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) costs: [Cost; 4],
    /// From Prometheus' answer; ours, only if it is not Thanos' either.
    pub(super) differences: [Option<String>; 4],
}

const SIDES: [&str; 4] = ["ours", "thanos/prometheus", "thanos/thanos", "prometheus"];

/// No query should need more CPU than this many times the better one's, short ones excepted.
const SLOWER: f64 = 1.05;
const SHORT_MS: f64 = 5.0;

impl Row {
    pub(super) fn ours_is_right(&self) -> bool {
        self.differences[0].is_none()
    }

    /// The better of Thanos' engines over ours.
    fn ratio(&self, of: fn(&Cost) -> f64) -> f64 {
        let right = |side: &usize| self.differences[*side].is_none();
        let any = [1, 2].iter().any(right);
        let thanos = [1, 2].into_iter().filter(|side| !any || right(side));
        let better = thanos.map(|side| of(&self.costs[side])).fold(f64::NAN, f64::min);
        better / of(&self.costs[0])
    }

    fn cpu(&self) -> f64 {
        self.ratio(Cost::cpu)
    }

    fn is_slower(&self) -> bool {
        self.cpu() < 1.0 / SLOWER && self.costs[0].cpu >= SHORT_MS
    }
}

/// What has been measured so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Vec<Row>);

impl Table {
    pub(super) fn head(&self) -> String {
        format!(
            "{:<40}|{:>9}{:>9}{:>9}{:>9}{:>8} |{:>9}{:>9}{:>9}{:>9}{:>8}\n{:<40}|{:>9}{:>9}{:>9}{:>9}{:>8} |{:>9}{:>9}{:>9}{:>9}{:>8}",
            "ms of CPU and MB allocated a request",
            "ours",
            "thanos",
            "thanos",
            "prom",
            "ratio",
            "ours",
            "thanos",
            "thanos",
            "prom",
            "ratio",
            "",
            "ms",
            "=prom",
            "=thanos",
            "ms",
            "",
            "MB",
            "=prom",
            "=thanos",
            "MB",
            ""
        )
    }

    /// Adds a row; its line.
    pub(super) fn add(&mut self, row: Row) -> String {
        let mut line = format!("{:<40}|", row.name);
        for (of, ratio) in
            [(Cost::cpu as fn(&Cost) -> f64, row.cpu()), (Cost::allocated, row.ratio(Cost::allocated))]
        {
            for cost in &row.costs {
                write!(line, "{:>9.2}", of(cost)).ok();
            }
            write!(line, "{ratio:>8.2} |").ok();
        }
        line.pop();
        for (side, difference) in SIDES.iter().zip(&row.differences) {
            if let Some(text) = difference {
                write!(line, "\n    {side} differs: {text}").ok();
            }
        }
        self.0.push(row);
        line
    }

    /// Means, the worst, and what is slower.
    pub(super) fn summary(&self) -> String {
        let mean = |of: &dyn Fn(&Row) -> f64| {
            let logs: Vec<f64> = self.0.iter().map(|r| of(r).ln()).filter(|l| l.is_finite()).collect();
            (logs.iter().sum::<f64>() / logs.len() as f64).exp()
        };
        let against =
            |side: usize, of: fn(&Cost) -> f64| mean(&move |r: &Row| of(&r.costs[side]) / of(&r.costs[0]));
        let mut out = String::from("geometric means, times less than\n");
        let cpu = [mean(&Row::cpu), against(1, Cost::cpu), against(2, Cost::cpu), against(3, Cost::cpu)];
        let bytes = [
            mean(&|r| r.ratio(Cost::allocated)),
            against(1, Cost::allocated),
            against(2, Cost::allocated),
            against(3, Cost::allocated),
        ];
        let names = ["the better thanos", "thanos/prometheus", "thanos/thanos", "prometheus"];
        for (name, (cpu, bytes)) in names.iter().zip(cpu.iter().zip(&bytes)) {
            writeln!(out, "  {name:<20} CPU {cpu:>7.2}   bytes {bytes:>7.2}").ok();
        }
        let mut worst: Vec<&Row> = self.0.iter().collect();
        worst.sort_by(|a, b| a.cpu().total_cmp(&b.cpu()));
        let list = |rows: &[&Row]| {
            let names: Vec<String> = rows.iter().map(|r| format!("{} {:.2}", r.name, r.cpu())).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        writeln!(out, "worst by CPU: {}", list(&worst[..worst.len().min(5)])).ok();
        let slower: Vec<&Row> = worst.iter().copied().filter(|r| r.is_slower()).collect();
        writeln!(out, "above {SLOWER} times the better thanos: {}", list(&slower)).ok();
        out
    }
}

impl Cost {
    fn cpu(&self) -> f64 {
        self.cpu
    }

    fn allocated(&self) -> f64 {
        self.allocated
    }
}

/// The middle one.
pub(super) fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
