//! Duration expressions, given the query's step and range.
//!
//! Holds their evaluation: `[5m + step()]` becomes a constant. It knows no query beyond those two
//! numbers. Invariant: afterwards no selector or subquery refers to a duration expression; the first
//! error is Prometheus' first. Reference: Prometheus `promql/durations.go`.

use std::fmt;
use std::sync::Arc;

use super::ast::{Ast, DurationArg, DurationOp, Expr, NodeId, Span};
use super::literal::{out_of_range, seconds};

/// A duration expression that stands for no usable length of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError {
    /// Prometheus' text, without position.
    pub text: &'static str,
    /// Where the expression stands.
    pub span: Span,
}

/// `4:9: division by zero`: the two numbers are the bytes of the span.
impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.span.start, self.span.end, self.text)
    }
}

impl std::error::Error for DurationError {}

/// An offset of nothing is none.
const ZERO: DurationArg = DurationArg::Nanos(0);

/// What a duration node is worth, in seconds.
type Worth = Result<f64, DurationError>;

impl Ast {
    /// Whether any range, offset or step is an expression.
    pub fn has_duration_expressions(&self) -> bool {
        self.nodes.iter().any(|n| matches!(n.expr, Expr::Duration { .. }))
    }

    /// Replaces every duration expression by its value for a query with this step and range, both in
    /// nanoseconds (0 for instant queries). The printed text changes accordingly.
    ///
    /// # Errors
    /// [`DurationError`] for a division by zero, a range or step that is not above zero, or a value
    /// beyond 292 years.
    pub fn resolve_durations(&mut self, step: i64, range: i64) -> Result<(), DurationError> {
        if !self.has_duration_expressions() {
            return Ok(());
        }
        let worth = self.duration_worths(step, range);
        let mut todo = vec![self.root];
        while let Some(id) = todo.pop() {
            let at = todo.len();
            self.for_each_child(id, |child| todo.push(child));
            todo[at..].reverse();
            match &mut self.nodes[id.index()].expr {
                Expr::Vector(selector) => {
                    if let Some(DurationArg::Expr(of)) = selector.offset {
                        let value = constant(&worth, of, true)?;
                        Arc::make_mut(selector).offset = Some(value).filter(|v| *v != ZERO);
                    }
                }
                Expr::Matrix { range, .. } => replace(&worth, range, false)?,
                Expr::Subquery(s) => {
                    for (arg, negative) in [(&mut s.offset, true), (&mut s.step, false)] {
                        if let Some(arg) = arg {
                            replace(&worth, arg, negative)?;
                        }
                    }
                    replace(&worth, &mut s.range, false)?;
                    s.offset = s.offset.filter(|v| *v != ZERO);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The worth of every node: children come before parents. Nodes that are no durations are 0.
    fn duration_worths(&self, step: i64, range: i64) -> Vec<(Worth, Span)> {
        let mut worths: Vec<(Worth, Span)> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let worth = match &node.expr {
                Expr::Number { value, .. } => Ok(*value),
                Expr::Duration { op: DurationOp::Step, .. } => Ok(seconds(step)),
                Expr::Duration { op: DurationOp::Range, .. } => Ok(seconds(range)),
                Expr::Duration { op, lhs, rhs, .. } => {
                    let of = |id: &Option<NodeId>| id.map_or(Ok(0.0), |id| worths[id.index()].0.clone());
                    of(lhs).and_then(|l| {
                        let r = of(rhs)?;
                        compute(*op, lhs.is_some(), l, r)
                            .map_err(|text| DurationError { text, span: node.span })
                    })
                }
                _ => Ok(0.0),
            };
            worths.push((worth, node.span));
        }
        worths
    }
}

fn replace(worths: &[(Worth, Span)], arg: &mut DurationArg, negative: bool) -> Result<(), DurationError> {
    if let DurationArg::Expr(id) = *arg {
        *arg = constant(worths, id, negative)?;
    }
    Ok(())
}

fn constant(worths: &[(Worth, Span)], id: NodeId, negative: bool) -> Result<DurationArg, DurationError> {
    let (worth, span) = &worths[id.index()];
    let value = worth.clone()?;
    let fail = |text| Err(DurationError { text, span: *span });
    if !value.is_finite() {
        return fail("duration is NaN or infinite");
    }
    if value <= 0.0 && !negative {
        return fail("duration must be greater than 0");
    }
    if out_of_range(value) {
        return fail("duration is out of range");
    }
    // Whole milliseconds, towards zero.
    Ok(DurationArg::Nanos(((value * 1000.0) as i64).saturating_mul(1_000_000)))
}

fn compute(op: DurationOp, binary: bool, l: f64, r: f64) -> Result<f64, &'static str> {
    Ok(match op {
        DurationOp::Add if binary => l + r,
        DurationOp::Add => r,
        DurationOp::Sub if binary => l - r,
        DurationOp::Sub => -r,
        DurationOp::Mul => l * r,
        DurationOp::Div if r == 0.0 => return Err("division by zero"),
        DurationOp::Div => l / r,
        DurationOp::Mod if r == 0.0 => return Err("modulo by zero"),
        DurationOp::Mod => l % r,
        DurationOp::Pow => l.powf(r),
        DurationOp::MinOf => extremum(l, r, f64::NEG_INFINITY, l < r),
        DurationOp::MaxOf => extremum(l, r, f64::INFINITY, l > r),
        DurationOp::Step | DurationOp::Range => 0.0,
    })
}

/// Go's `math.Min` and `math.Max`: the extreme infinity wins over NaN, NaN over the rest.
fn extremum(l: f64, r: f64, extreme: f64, left: bool) -> f64 {
    if l == extreme || r == extreme {
        extreme
    } else if l.is_nan() || r.is_nan() {
        f64::NAN
    } else if left {
        l
    } else {
        r
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::Options;

    fn resolved(text: &str, step: i64, range: i64) -> String {
        let mut ast = Options::all().parse(text).unwrap();
        match ast.resolve_durations(step * 1_000_000_000, range * 1_000_000_000) {
            Ok(()) => ast.to_string(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn expressions_become_constants() {
        let rows = [
            ("rate(a[5m + step()])", "rate(a[5m30s])"),
            ("a offset -(range() / 2)", "a offset -5m"),
            ("a[max_of(step(), 1m):min_of(30s, 2 * step())]", "a[1m:30s]"),
            ("a[2 ^ 3 % 5]", "a[3s]"),
            ("a offset (1m - 1m)", "a"),
            ("a[step() - 30s]", "2:14: duration must be greater than 0"),
            ("a[1m:1s / (step() - 30)]", "5:22: division by zero"),
            ("a offset (5 % (step() - 30))", "10:26: modulo by zero"),
            ("a[1e9 ^ 1e9]", "2:11: duration is NaN or infinite"),
            ("a[1e9 * 1e9]", "2:11: duration is out of range"),
        ];
        for (text, want) in rows {
            assert_eq!(resolved(text, 30, 600), want, "{text}");
        }
        assert_eq!(
            resolved("rate(b[0 - 1s]) + rate(a[0 - 2s])", 30, 600),
            "7:13: duration must be greater than 0"
        );
    }
}
