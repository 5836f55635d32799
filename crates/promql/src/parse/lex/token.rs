//! Tokens: their kinds, keywords, and how error texts name them.
//!
//! Holds the vocabulary between lexer and parser. It knows no grammar. Invariant: [`describe`] gives
//! Prometheus' wording (`promql/parser/lex.go`, `Item.desc`), down to the numbers under which it
//! names histogram keys.

use model::gofmt::quote_bytes;

use crate::parse::ast::{AggregateOp, BinaryOp, Span};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::parse) enum Kind {
    Eof,
    Comment,
    Identifier,
    MetricIdentifier,
    Number,
    Duration,
    String,
    Equal,
    Blank,
    Colon,
    Comma,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    LeftParen,
    RightParen,
    OpenHistogram,
    CloseHistogram,
    Space,
    Times,
    At,
    EqualRegex,
    NotEqualRegex,
    Op(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    Preprocessor(Preprocessor),
    HistogramKey(HistogramKey),
    ResetHint(ResetHint),
}

/// Words that modify an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::parse) enum Keyword {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Ignoring,
    Offset,
    Smoothed,
    Anchored,
    On,
    Without,
}

/// Words that stand for properties of the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::parse) enum Preprocessor {
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// Keys of a histogram in a series description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::parse) enum HistogramKey {
    Sum,
    Count,
    Schema,
    Offset,
    NegativeOffset,
    Buckets,
    NegativeBuckets,
    ZeroBucket,
    ZeroBucketWidth,
    CustomValues,
    CounterResetHint,
}

/// Values of the key `counter_reset_hint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::parse) enum ResetHint {
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

/// A token: its kind and its bytes in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::parse) struct Token<'a> {
    pub(in crate::parse) kind: Kind,
    pub(in crate::parse) start: usize,
    pub(in crate::parse) text: &'a [u8],
}

impl<'a> Token<'a> {
    /// One past the token's last byte.
    pub(in crate::parse) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// The token's bytes in the input.
    pub(in crate::parse) fn span(&self) -> Span {
        Span::new(self.start, self.end())
    }

    /// The text of a token that is known to be ASCII (words, numbers, durations).
    pub(in crate::parse) fn word(&self) -> &'a str {
        std::str::from_utf8(self.text).unwrap_or_default()
    }
}

/// The keyword that `word` is, whatever its case.
pub(in crate::parse) fn keyword(word: &[u8]) -> Option<Kind> {
    const LONGEST: usize = 12;
    if word.len() > LONGEST {
        return None;
    }
    let mut lower = [0u8; LONGEST];
    let lower = &mut lower[..word.len()];
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    let kind = match &*lower {
        b"and" => Kind::Op(BinaryOp::And),
        b"or" => Kind::Op(BinaryOp::Or),
        b"unless" => Kind::Op(BinaryOp::Unless),
        b"atan2" => Kind::Op(BinaryOp::Atan2),
        b"sum" => Kind::Aggregate(AggregateOp::Sum),
        b"avg" => Kind::Aggregate(AggregateOp::Avg),
        b"count" => Kind::Aggregate(AggregateOp::Count),
        b"min" => Kind::Aggregate(AggregateOp::Min),
        b"max" => Kind::Aggregate(AggregateOp::Max),
        b"group" => Kind::Aggregate(AggregateOp::Group),
        b"stddev" => Kind::Aggregate(AggregateOp::Stddev),
        b"stdvar" => Kind::Aggregate(AggregateOp::Stdvar),
        b"topk" => Kind::Aggregate(AggregateOp::Topk),
        b"bottomk" => Kind::Aggregate(AggregateOp::Bottomk),
        b"count_values" => Kind::Aggregate(AggregateOp::CountValues),
        b"quantile" => Kind::Aggregate(AggregateOp::Quantile),
        b"limitk" => Kind::Aggregate(AggregateOp::Limitk),
        b"limit_ratio" => Kind::Aggregate(AggregateOp::LimitRatio),
        b"offset" => Kind::Keyword(Keyword::Offset),
        b"smoothed" => Kind::Keyword(Keyword::Smoothed),
        b"anchored" => Kind::Keyword(Keyword::Anchored),
        b"by" => Kind::Keyword(Keyword::By),
        b"without" => Kind::Keyword(Keyword::Without),
        b"on" => Kind::Keyword(Keyword::On),
        b"ignoring" => Kind::Keyword(Keyword::Ignoring),
        b"group_left" => Kind::Keyword(Keyword::GroupLeft),
        b"group_right" => Kind::Keyword(Keyword::GroupRight),
        b"fill" => Kind::Keyword(Keyword::Fill),
        b"fill_left" => Kind::Keyword(Keyword::FillLeft),
        b"fill_right" => Kind::Keyword(Keyword::FillRight),
        b"bool" => Kind::Keyword(Keyword::Bool),
        b"start" => Kind::Preprocessor(Preprocessor::Start),
        b"end" => Kind::Preprocessor(Preprocessor::End),
        b"inf" | b"nan" => Kind::Number,
        other => return duration_keyword(other).map(Kind::Preprocessor),
    };
    Some(kind)
}

/// The word of a duration expression that `lower` is.
pub(super) fn duration_keyword(lower: &[u8]) -> Option<Preprocessor> {
    match lower {
        b"step" => Some(Preprocessor::Step),
        b"range" => Some(Preprocessor::Range),
        b"max_of" => Some(Preprocessor::MaxOf),
        b"min_of" => Some(Preprocessor::MinOf),
        _ => None,
    }
}

/// The histogram key that `lower` is.
pub(super) fn histogram_key(lower: &[u8]) -> Option<HistogramKey> {
    Some(match lower {
        b"sum" => HistogramKey::Sum,
        b"count" => HistogramKey::Count,
        b"schema" => HistogramKey::Schema,
        b"offset" => HistogramKey::Offset,
        b"n_offset" => HistogramKey::NegativeOffset,
        b"buckets" => HistogramKey::Buckets,
        b"n_buckets" => HistogramKey::NegativeBuckets,
        b"z_bucket" => HistogramKey::ZeroBucket,
        b"z_bucket_w" => HistogramKey::ZeroBucketWidth,
        b"custom_values" => HistogramKey::CustomValues,
        b"counter_reset_hint" => HistogramKey::CounterResetHint,
        _ => return None,
    })
}

/// The counter reset hint that `lower` is.
pub(super) fn reset_hint(lower: &[u8]) -> Option<ResetHint> {
    Some(match lower {
        b"unknown" => ResetHint::Unknown,
        b"reset" => ResetHint::Reset,
        b"not_reset" => ResetHint::NotReset,
        b"gauge" => ResetHint::Gauge,
        _ => return None,
    })
}

/// How an error text names an unexpected token.
pub(in crate::parse) fn describe(token: &Token<'_>) -> String {
    let shown = show(token);
    let class = match token.kind {
        Kind::Eof => return "end of input".to_owned(),
        Kind::Comment => "comment",
        Kind::Identifier => "identifier",
        Kind::MetricIdentifier => "metric identifier",
        Kind::String => "string",
        Kind::Number => "number",
        Kind::Duration => "duration",
        Kind::HistogramKey(key) => return format!("\"<Item {}>\" {shown}", key_number(key)),
        Kind::ResetHint(hint) => return format!("\"<Item {}>\" {shown}", hint_number(hint)),
        _ => return shown,
    };
    format!("{class} {shown}")
}

fn show(token: &Token<'_>) -> String {
    let text = String::from_utf8_lossy(token.text);
    match token.kind {
        Kind::Eof => "EOF".to_owned(),
        Kind::Identifier | Kind::MetricIdentifier => quote_bytes(token.text),
        Kind::Keyword(_) => format!("<{text}>"),
        Kind::Op(_) | Kind::At | Kind::EqualRegex | Kind::NotEqualRegex => format!("<op:{text}>"),
        Kind::Aggregate(_) => format!("<aggr:{text}>"),
        _ if token.text.len() > 10 => {
            let start: String = text.chars().take(10).collect();
            format!("{}...", quote_bytes(start.as_bytes()))
        }
        _ => quote_bytes(token.text),
    }
}

/// Prometheus prints these tokens by the number its parser generator gave them.
fn key_number(key: HistogramKey) -> u32 {
    match key {
        HistogramKey::Sum => 57370,
        HistogramKey::Count => 57371,
        HistogramKey::Schema => 57372,
        HistogramKey::Offset => 57373,
        HistogramKey::NegativeOffset => 57374,
        HistogramKey::Buckets => 57375,
        HistogramKey::NegativeBuckets => 57376,
        HistogramKey::ZeroBucket => 57377,
        HistogramKey::ZeroBucketWidth => 57378,
        HistogramKey::CustomValues => 57379,
        HistogramKey::CounterResetHint => 57380,
    }
}

fn hint_number(hint: ResetHint) -> u32 {
    match hint {
        ResetHint::Unknown => 57445,
        ResetHint::Reset => 57446,
        ResetHint::NotReset => 57447,
        ResetHint::Gauge => 57448,
    }
}
