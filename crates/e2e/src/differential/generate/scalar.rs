//! Scalars.
//!
//! Knows no vector but through `scalar()`. Invariant: what it makes can stand wherever a scalar can,
//! without parentheses around it unless it is an operand.

use super::{Generator, Kind};

impl Generator {
    /// A scalar expression.
    pub(super) fn scalar(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.number();
        }
        match self.rng.below(12) {
            0..3 => self.number(),
            3 => "time()".to_owned(),
            4 => "pi()".to_owned(),
            5 => format!(
                "scalar({})",
                self.rng.pick(&["one", "sum(load)", "temp{job=\"api\",instance=\"a\"}", "h"])
            ),
            6 => format!("scalar({})", self.vector(depth - 1, Kind::Float).text),
            7 => self.rng.word(&["start()", "end()", "step()", "range()"]).to_owned(),
            8 => {
                let name = self.rng.word(&["min_of", "max_of"]);
                format!("{name}({}, {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            9 => {
                let op = self.rng.word(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({} {op} bool {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            10 => format!("-({})", self.scalar(depth - 1)),
            _ => {
                let op = self.rng.word(&["+", "-", "*", "/", "%"]);
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
        }
    }

    /// A number.
    pub(super) fn number(&mut self) -> String {
        let fixed =
            ["0", "1", "2", "3", "-1", "0.5", "10", "1e3", "-0.25", "0x1f", "1_000", "5m", "Inf", "NaN"];
        match self.rng.below(4) {
            0 => self.rng.between(-20, 40).to_string(),
            1 => format!("{}.{}", self.rng.between(0, 30), self.rng.between(1, 999)),
            _ => {
                let usual = if self.rng.chance(90) { fixed.len() - 2 } else { fixed.len() };
                (*self.rng.pick(&fixed[..usual])).to_owned()
            }
        }
    }

    /// A quantile.
    pub(super) fn quantile(&mut self) -> String {
        match self.rng.below(12) {
            0 => "-0.5".to_owned(),
            1 => "1.5".to_owned(),
            2 => "NaN".to_owned(),
            3 => "0".to_owned(),
            4 => "1".to_owned(),
            5 => "scalar(one) / 5".to_owned(),
            _ => format!("0.{}", self.rng.between(1, 999)),
        }
    }
}
