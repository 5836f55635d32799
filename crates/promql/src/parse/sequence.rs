//! The values that a series description stands for.
//!
//! Holds the expansion of `1+2x3` and `{{…}}+{{…}}x3`. Invariant: no more values are made than the
//! caller allows, whatever the repetition says.
//! Reference: Prometheus `promql/parser/generated_parser.y` (`series_item`), `parse.go`.

use std::sync::Arc;

use model::FloatHistogram;

use super::parser::{HistogramDescription, SequenceItem, SeriesDescription};

/// One place in a sequence.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceValue {
    /// No sample.
    Omitted,
    /// A float; the stale marker for `stale`.
    Float(f64),
    /// A histogram.
    Histogram {
        /// The histogram, not validated.
        histogram: Arc<FloatHistogram>,
        /// Whether its counter reset hint was written.
        hint_written: bool,
    },
}

/// Why a sequence has no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// There would be more than the limit.
    #[error("series has more than {0} values")]
    TooLong(usize),
    /// Two histograms cannot be added.
    #[error("{0}")]
    Histogram(String),
}

impl SeriesDescription {
    /// Every value in order, one for each interval of the script.
    ///
    /// # Errors
    /// [`SequenceError`] for more than `limit` values and for histograms that do not add up.
    pub fn values(&self, limit: usize) -> Result<Vec<SequenceValue>, SequenceError> {
        let mut out = Vec::new();
        for item in &self.items {
            let count = match item {
                SequenceItem::Omitted(count) => *count,
                SequenceItem::Value { more, .. } | SequenceItem::Histogram { more, .. } => {
                    more.saturating_add(1)
                }
            };
            let fits = usize::try_from(count).is_ok_and(|n| n <= limit - out.len());
            if !fits {
                return Err(SequenceError::TooLong(limit));
            }
            expand(item, &mut out)?;
        }
        Ok(out)
    }
}

fn expand(item: &SequenceItem, out: &mut Vec<SequenceValue>) -> Result<(), SequenceError> {
    match item {
        SequenceItem::Omitted(count) => out.extend((0..*count).map(|_| SequenceValue::Omitted)),
        SequenceItem::Value { first, step, more } => {
            let mut value = *first;
            for i in 0..=*more {
                if i > 0 {
                    value += step;
                }
                out.push(SequenceValue::Float(value));
            }
        }
        SequenceItem::Histogram { first, step, more } => histograms(first, step.as_ref(), *more, out)?,
    }
    Ok(())
}

fn histograms(
    first: &HistogramDescription,
    step: Option<&(Box<HistogramDescription>, bool)>,
    more: u64,
    out: &mut Vec<SequenceValue>,
) -> Result<(), SequenceError> {
    // Prometheus takes the flag of the histogram written last.
    let hint_written = step.map_or(first.hint_written, |(s, _)| s.hint_written);
    let mut current = Arc::new(first.histogram.clone());
    for i in 0..=more {
        if let (true, Some((step, minus))) = (i > 0, step) {
            let mut next = (*current).clone();
            let joined = if *minus { next.sub(&step.histogram) } else { next.add(&step.histogram) };
            joined.map_err(|e| SequenceError::Histogram(e.to_string()))?;
            current = Arc::new(next);
        }
        out.push(SequenceValue::Histogram { histogram: current.clone(), hint_written });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Options;

    fn values(text: &str) -> Result<Vec<SequenceValue>, SequenceError> {
        Options::default().parse_series(text).unwrap().values(1000)
    }

    fn floats(text: &str) -> Vec<Option<f64>> {
        let value = |v: SequenceValue| match v {
            SequenceValue::Float(f) => Some(f),
            _ => None,
        };
        values(text).unwrap().into_iter().map(value).collect()
    }

    #[test]
    fn sequences_are_expanded() {
        assert_eq!(floats("m 1 -2 _ 3.5"), [Some(1.0), Some(-2.0), None, Some(3.5)]);
        assert_eq!(
            floats("m{a=\"b\"} 1+2x2 _x2 5x1"),
            [1.0, 3.0, 5.0]
                .map(Some)
                .into_iter()
                .chain([None, None, Some(5.0), Some(5.0)])
                .collect::<Vec<_>>()
        );
        assert_eq!(floats("m -1-0.5x1 6e1"), [-1.0, -1.5, 60.0].map(Some));
        assert!(floats("m stale")[0].is_some_and(model::is_stale_nan));
        assert_eq!(floats("m"), []);
        assert_eq!(values("m 1x18446744073709551615"), Err(SequenceError::TooLong(1000)));
    }

    #[test]
    fn histograms_are_added_up() {
        let got =
            values("m {{schema:1 sum:1 count:2 buckets:[1 1]}}+{{schema:1 sum:3 count:1 buckets:[0 1]}}x2")
                .unwrap();
        let SequenceValue::Histogram { histogram, hint_written } = &got[2] else { panic!("no histogram") };
        assert_eq!((histogram.sum, histogram.count, *hint_written), (7.0, 4.0, false));
        assert_eq!(histogram.positive_buckets, [1.0, 3.0]);
        let mixed = "m {{schema:-53 custom_values:[1 2] buckets:[1]}}+{{schema:0 buckets:[1]}}x1";
        let error = Options::default().parse_series(mixed).unwrap_err();
        assert!(error.text.starts_with("cannot apply this operation on histograms with a mix"), "{error}");
    }
}
