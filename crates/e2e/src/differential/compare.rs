//! Whether two answers are the same.
//!
//! Holds the tolerance: floats are equal to the bit, any NaN being every NaN, save where the
//! expression goes through functions whose last bits differ from one mathematical library to the
//! next. It knows no engine. Invariant: kinds, labels, order, times and texts are never tolerated.

use super::answer::{Answer, Data, Point};

/// Distance of floats that is let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// None.
    Bits,
    /// Four units in the last place.
    Ulps,
    /// The same, or 1e-9 of the value: such a function's result has been computed with further.
    Derived,
}

/// Functions and operators whose last bits depend on the mathematical library, or which interpolate
/// within histograms.
const INEXACT: [&str; 24] = [
    "^",
    "exp(",
    "ln(",
    "log2(",
    "log10(",
    "sin(",
    "cos(",
    "tan(",
    "asin(",
    "acos(",
    "atan(",
    "sinh(",
    "cosh(",
    "tanh(",
    "asinh(",
    "acosh(",
    "atanh(",
    "atan2",
    "histogram_quantile",
    "histogram_fraction",
    "histogram_stddev",
    "histogram_stdvar",
    "</",
    ">/",
];

/// What an expression may differ by.
pub fn tolerance(expr: &str) -> Tolerance {
    match INEXACT.iter().map(|f| expr.matches(f).count()).sum::<usize>() {
        0 => Tolerance::Bits,
        1 if INEXACT.iter().any(|f| expr.starts_with(f)) => Tolerance::Ulps,
        _ => Tolerance::Derived,
    }
}

/// The first difference, in words.
pub fn difference(expr: &str, wanted: &Answer, got: &Answer) -> Option<String> {
    let tolerance = tolerance(expr);
    match (&wanted.outcome, &got.outcome) {
        (Ok(w), Ok(g)) => {
            if let Some(text) = data(w, g, tolerance) {
                return Some(text);
            }
        }
        (w, g) if w != g => return Some(format!("wanted {}\n  got    {}", outcome(w), outcome(g))),
        _ => return None,
    }
    for (class, w, g) in [("warnings", &wanted.warnings, &got.warnings), ("infos", &wanted.infos, &got.infos)]
    {
        // Beyond ten, Prometheus shows any ten.
        let cut = w.iter().any(|t| t.contains("annotations omitted"));
        if w != g && !(cut && w.len() == g.len()) {
            return Some(format!("wanted {class} {w:?}\n  got    {class} {g:?}"));
        }
    }
    if wanted.stats != got.stats {
        return Some(format!("wanted {:?}\n  got    {:?}", wanted.stats, got.stats));
    }
    None
}

fn outcome(of: &Result<Data, (String, String)>) -> String {
    match of {
        Ok(data) => format!("{} of {} series", data.kind, data.series.len()),
        Err((kind, text)) => format!("{kind}: {text}"),
    }
}

fn data(wanted: &Data, got: &Data, tolerance: Tolerance) -> Option<String> {
    if (&wanted.kind, &wanted.text) != (&got.kind, &got.text) {
        return Some(format!(
            "wanted {} {:?}\n  got    {} {:?}",
            wanted.kind, wanted.text, got.kind, got.text
        ));
    }
    let labels = |of: &Data| of.series.iter().map(|s| s.0.clone()).collect::<Vec<_>>();
    let (w, g) = (labels(wanted), labels(got));
    if w != g {
        let place = w.iter().zip(&g).position(|(w, g)| w != g).unwrap_or(w.len().min(g.len()));
        let sizes = format!("{} and {} series, apart from place {place} on", w.len(), g.len());
        return Some(format!("{sizes}: wanted {:?}\n  got    {:?}", w.get(place), g.get(place)));
    }
    for (w, g) in wanted.series.iter().zip(&got.series) {
        for (i, point) in w.1.iter().enumerate() {
            if !g.1.get(i).is_some_and(|g| g.0 == point.0 && same(&point.1, &g.1, tolerance)) {
                return Some(format!("{:?}: wanted {point:?}\n  got    {:?}", w.0, g.1.get(i)));
            }
        }
        if let Some(more) = g.1.get(w.1.len()) {
            return Some(format!("{:?}: wanted no more points\n  got    {more:?}", w.0));
        }
    }
    None
}

fn same(wanted: &Point, got: &Point, tolerance: Tolerance) -> bool {
    match (wanted, got) {
        (Point::Float(w), Point::Float(g)) => close(*w, *g, tolerance),
        (Point::Histogram { totals: w, buckets: wb }, Point::Histogram { totals: g, buckets: gb }) => {
            wb.len() == gb.len()
                && w.iter().zip(g).all(|(w, g)| close(*w, *g, tolerance))
                && wb
                    .iter()
                    .zip(gb)
                    .all(|(w, g)| w.0 == g.0 && w.1.iter().zip(&g.1).all(|(w, g)| close(*w, *g, tolerance)))
        }
        _ => false,
    }
}

fn close(wanted: f64, got: f64, tolerance: Tolerance) -> bool {
    if wanted.to_bits() == got.to_bits() || (wanted.is_nan() && got.is_nan()) {
        return true;
    }
    let near = || {
        let line = |v: f64| {
            let bits = v.to_bits() as i64;
            if bits < 0 { i64::MIN - bits } else { bits }
        };
        line(wanted).abs_diff(line(got)) <= 4
    };
    match tolerance {
        Tolerance::Bits => false,
        Tolerance::Ulps => near(),
        Tolerance::Derived => {
            near()
                || (wanted - got).abs() <= 1e-9 * wanted.abs().max(got.abs())
                || (wanted - got).abs() < 1e-12
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inexact_functions_are_tolerated() {
        let next = f64::from_bits(1.5f64.to_bits() + 3);
        assert!(close(1.5, 1.5, Tolerance::Bits) && !close(1.5, next, Tolerance::Bits));
        assert!(close(1.5, next, Tolerance::Ulps) && !close(1.5, 1.5000001, Tolerance::Derived));
        assert!(!close(0.0, -0.0, Tolerance::Bits) && close(f64::NAN, -f64::NAN, Tolerance::Bits));
        assert_eq!(tolerance("sum(rate(a[5m]))"), Tolerance::Bits);
        assert_eq!(tolerance("exp(a)"), Tolerance::Ulps);
        assert_eq!(tolerance("sum(a ^ 2)"), Tolerance::Derived);
    }
}
