//! Series descriptions: a metric and the values it takes.
//!
//! Holds the grammar of `metric{a="b"} 1 2+3x4 _x5 stale {{schema:1 sum:3}}x2`. Items are not expanded
//! here: a repetition may be asked for 2^64 times, and adding histograms is the reader's business.
//! Invariant: error texts are those of Prometheus' parser.

use model::{CounterResetHint, FloatHistogram, Labels, STALE_NAN_BITS, Span as Buckets};

use super::super::ast::{BinaryOp, Span};
use super::super::lex::token::{HistogramKey, Kind, ResetHint, Token};
use super::{Parsed, Parser, Stop};
use model::gofmt::quote;

/// A metric and its values.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesDescription {
    /// The labels, the metric's name among them.
    pub labels: Labels,
    /// The values in order.
    pub items: Vec<SequenceItem>,
}

/// One item of a sequence; it stands for one or more samples.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceItem {
    /// `_`, `_x3`: so many places without a sample.
    Omitted(u64),
    /// `1`, `1x3`, `1+2x3`: the first value and so many more, each larger by `step`.
    Value {
        /// The first value (the stale marker for `stale`).
        first: f64,
        /// What each further value adds.
        step: f64,
        /// How many further values there are.
        more: u64,
    },
    /// `{{…}}`, `{{…}}x3`, `{{…}}+{{…}}x3`
    Histogram {
        /// The first histogram.
        first: Box<HistogramDescription>,
        /// What each further histogram adds (or, if true, subtracts).
        step: Option<(Box<HistogramDescription>, bool)>,
        /// How many further histograms there are.
        more: u64,
    },
}

/// A histogram as written.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct HistogramDescription {
    /// The histogram, not validated.
    pub histogram: FloatHistogram,
    /// Whether the counter reset hint was written; else readers do not compare it.
    pub hint_written: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn whole_series(&mut self) -> Parsed<SeriesDescription> {
        let labels = self.metric()?;
        let mut items = Vec::new();
        if !matches!(self.peek()?.kind, Kind::Space | Kind::Eof) {
            return self.within(Err(Stop::Unexpected), "series values", "");
        }
        while self.eat(Kind::Space)?.is_some() {
            match self.peek()?.kind {
                Kind::Space | Kind::Eof => continue,
                Kind::Blank | Kind::Identifier | Kind::OpenHistogram | Kind::Number | Kind::Duration => {}
                Kind::Op(BinaryOp::Add | BinaryOp::Sub) => {}
                _ => return Err(Stop::Unexpected),
            }
            let item = self.sequence_item();
            items.push(self.within(item, "series values", "")?);
        }
        self.end()?;
        Ok(SeriesDescription { labels, items })
    }

    fn sequence_item(&mut self) -> Parsed<SequenceItem> {
        let token = self.peek()?;
        if self.eat(Kind::Blank)?.is_some() {
            return Ok(SequenceItem::Omitted(self.times()?.unwrap_or(1)));
        }
        if token.kind == Kind::OpenHistogram {
            return self.histogram_item();
        }
        let first = match token.kind {
            Kind::Identifier => {
                self.bump();
                if token.text != b"stale" {
                    let wanted = "number or \"stale\"";
                    return self.within(Err(Stop::Unexpected), "series values", wanted);
                }
                f64::from_bits(STALE_NAN_BITS)
            }
            _ => self.signed_number()?,
        };
        if matches!(self.peek()?.kind, Kind::Op(BinaryOp::Add | BinaryOp::Sub)) {
            let step = self.signed_number()?;
            let more = self.times()?.ok_or(Stop::Unexpected)?;
            return Ok(SequenceItem::Value { first, step, more });
        }
        let more = self.times()?.unwrap_or(0);
        // Adding -0 changes no value, not even -0.
        Ok(SequenceItem::Value { first, step: -0.0, more })
    }

    /// `x5`
    fn times(&mut self) -> Parsed<Option<u64>> {
        if self.eat(Kind::Times)?.is_none() {
            return Ok(None);
        }
        self.unsigned().map(Some)
    }

    fn unsigned(&mut self) -> Parsed<u64> {
        let token = self.expect(Kind::Number)?;
        let word = token.word();
        let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        word.parse().map_err(|_| {
            let why = if digits { "value out of range" } else { "invalid syntax" };
            let text = format!(
                "invalid repetition in series values: strconv.ParseUint: parsing {}: {why}",
                quote(word)
            );
            self.error(token.span(), text)
        })
    }

    fn integer(&mut self) -> Parsed<i64> {
        let minus = self.eat(Kind::Op(BinaryOp::Sub))?.is_some();
        let value = self.unsigned()? as i64;
        Ok(if minus { value.wrapping_neg() } else { value })
    }

    fn signed_number(&mut self) -> Parsed<f64> {
        let minus = self.eat(Kind::Op(BinaryOp::Sub))?.is_some();
        if !minus {
            self.eat(Kind::Op(BinaryOp::Add))?;
        }
        let value = self.unsigned_number()?;
        Ok(if minus { -value } else { value })
    }

    fn unsigned_number(&mut self) -> Parsed<f64> {
        let token = self.peek()?;
        if !matches!(token.kind, Kind::Number | Kind::Duration) {
            return Err(Stop::Unexpected);
        }
        self.bump();
        Ok(self.number_or_duration(token)?.0)
    }

    fn histogram_item(&mut self) -> Parsed<SequenceItem> {
        let first = Box::new(self.histogram_description()?);
        let minus = match self.peek()?.kind {
            Kind::Op(BinaryOp::Add) => false,
            Kind::Op(BinaryOp::Sub) => true,
            _ => {
                let more = self.times()?.unwrap_or(0);
                return Ok(SequenceItem::Histogram { first, step: None, more });
            }
        };
        self.bump();
        let step = self.histogram_description()?;
        let more = self.times()?.ok_or(Stop::Unexpected)?;
        let (from, to) = (step.histogram.schema, first.histogram.schema);
        if more > 0 && to > from {
            let text = format!("error combining histograms: cannot merge from schema {from} to {to}");
            return Err(self.error(self.last.span(), text));
        }
        if more > 0 {
            // Whether they add up at all is told here, with a position.
            let probe = first.histogram.clone().add(&step.histogram);
            probe.map_err(|e| self.error(self.last.span(), e.to_string()))?;
        }
        Ok(SequenceItem::Histogram { first, step: Some((Box::new(step), minus)), more })
    }

    /// `{{schema:1 sum:3 buckets:[1 2]}}`
    fn histogram_description(&mut self) -> Parsed<HistogramDescription> {
        self.expect(Kind::OpenHistogram)?;
        let mut map = Map::default();
        if self.eat(Kind::Space)?.is_some() {
            self.expect(Kind::CloseHistogram)?;
            return Ok(map.finish());
        }
        if self.eat(Kind::CloseHistogram)?.is_some() {
            return Ok(map.finish());
        }
        self.histogram_entry(&mut map)?;
        loop {
            let more = self.histogram_more(&mut map);
            let wanted = "histogram description key, e.g. buckets:[5 10 7]";
            if !self.within(more, "histogram description", wanted)? {
                return Ok(map.finish());
            }
        }
    }

    /// A further entry, or the end (false).
    fn histogram_more(&mut self, map: &mut Map) -> Parsed<bool> {
        if self.eat(Kind::Space)?.is_some() {
            if self.eat(Kind::CloseHistogram)?.is_some() {
                return Ok(false);
            }
            self.histogram_entry(map)?;
            return Ok(true);
        }
        self.expect(Kind::CloseHistogram)?;
        Ok(false)
    }

    fn histogram_entry(&mut self, map: &mut Map) -> Parsed<()> {
        let token = self.peek()?;
        let Kind::HistogramKey(key) = token.kind else {
            return Err(Stop::Unexpected);
        };
        self.bump();
        self.expect(Kind::Colon)?;
        let h = &mut map.histogram;
        match key {
            HistogramKey::Schema => h.schema = self.integer()? as i32,
            HistogramKey::Sum => h.sum = self.signed_number()?,
            HistogramKey::Count => h.count = self.signed_number()?,
            HistogramKey::ZeroBucket => h.zero_count = self.signed_number()?,
            HistogramKey::ZeroBucketWidth => h.zero_threshold = self.unsigned_number()?,
            HistogramKey::CustomValues => {
                let values = self.bucket_set()?;
                h.custom_values = Some(values.into());
            }
            HistogramKey::Buckets => h.positive_buckets = self.bucket_set()?,
            HistogramKey::NegativeBuckets => h.negative_buckets = self.bucket_set()?,
            HistogramKey::Offset => map.offset = self.integer()? as i32,
            HistogramKey::NegativeOffset => map.negative_offset = self.integer()? as i32,
            HistogramKey::CounterResetHint => {
                h.counter_reset_hint = self.reset_hint()?;
                map.hint_written = true;
            }
        }
        map.once(key, token).map_err(|text| self.error(Span::default(), text))
    }

    fn reset_hint(&mut self) -> Parsed<CounterResetHint> {
        let Kind::ResetHint(hint) = self.peek()?.kind else {
            return Err(Stop::Unexpected);
        };
        self.bump();
        Ok(match hint {
            ResetHint::Unknown => CounterResetHint::Unknown,
            ResetHint::Reset => CounterResetHint::Reset,
            ResetHint::NotReset => CounterResetHint::NotReset,
            ResetHint::Gauge => CounterResetHint::Gauge,
        })
    }

    /// `[1 2 -3]`
    fn bucket_set(&mut self) -> Parsed<Vec<f64>> {
        self.expect(Kind::LeftBracket)?;
        let mut set = vec![self.signed_number()?];
        loop {
            if self.eat(Kind::RightBracket)?.is_some() {
                return Ok(set);
            }
            self.expect(Kind::Space)?;
            if self.eat(Kind::RightBracket)?.is_some() {
                return Ok(set);
            }
            set.push(self.signed_number()?);
        }
    }
}

/// A histogram under construction.
#[derive(Default)]
struct Map {
    histogram: FloatHistogram,
    offset: i32,
    negative_offset: i32,
    hint_written: bool,
    seen: Vec<HistogramKey>,
}

impl Map {
    fn once(&mut self, key: HistogramKey, token: Token<'_>) -> Result<(), String> {
        if self.seen.contains(&key) {
            return Err(format!("duplicate key \"{}\" in histogram", token.word().to_ascii_lowercase()));
        }
        self.seen.push(key);
        Ok(())
    }

    fn finish(self) -> HistogramDescription {
        let mut histogram = self.histogram;
        histogram.positive_spans = run(self.offset, &histogram.positive_buckets);
        histogram.negative_spans = run(self.negative_offset, &histogram.negative_buckets);
        HistogramDescription { histogram, hint_written: self.hint_written }
    }
}

fn run(offset: i32, buckets: &[f64]) -> Vec<Buckets> {
    match u32::try_from(buckets.len()) {
        Ok(length) if length > 0 => vec![Buckets { offset, length }],
        _ => Vec::new(),
    }
}
