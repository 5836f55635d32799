//! PromQL text to syntax tree and back.
//!
//! Holds the lexer, the parser, the type check and the printers. It knows no data and evaluates
//! nothing. Invariant: no input makes it panic, recurse without bound or take more than linear time.
//! Read `ast` first: everything else produces or consumes it.

pub mod ast;
mod check;
pub mod error;
pub mod functions;
mod json;
mod lex;
mod literal;
mod parser;
mod pretty;
mod print;
mod resolve;
mod sequence;

use model::{Labels, Matcher};

pub use ast::{
    Aggregate, AggregateOp, Ast, At, Binary, BinaryOp, Cardinality, DurationArg, DurationOp, Expr, Extended,
    Node, NodeId, Span, Subquery, UnaryOp, ValueType, VectorMatching, VectorSelector,
};
pub use error::{ParseError, position};
pub use functions::Function;
pub(crate) use lex::string::unquote;
pub(crate) use literal::number;
pub use parser::{HistogramDescription, MAX_DEPTH, SequenceItem, SeriesDescription};
pub use pretty::TooLong;
pub use print::Shown;
pub use resolve::DurationError;
pub use sequence::{SequenceError, SequenceValue};

/// Which parts of the language a parser accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Functions and aggregations that Prometheus calls experimental.
    pub experimental_functions: bool,
    /// Arithmetic in ranges and offsets: `foo[5m + step()]`.
    pub duration_expressions: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left` and `fill_right`.
    pub fill_modifiers: bool,
    /// Quoted metric and label names; on by default.
    pub utf8_names: bool,
    /// Thanos' `xrate`, `xincrease` and `xdelta`.
    pub xfunctions: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            experimental_functions: false,
            duration_expressions: false,
            extended_range_selectors: false,
            fill_modifiers: false,
            utf8_names: true,
            xfunctions: false,
        }
    }
}

impl Options {
    /// Everything Prometheus can be made to accept, and Thanos' functions.
    pub fn all() -> Self {
        Options {
            experimental_functions: true,
            duration_expressions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
            utf8_names: true,
            xfunctions: true,
        }
    }

    /// Parses an expression and checks its types.
    ///
    /// # Errors
    /// The first error that Prometheus reports, or a refusal of brackets nested beyond [`MAX_DEPTH`].
    pub fn parse(&self, input: impl AsRef<[u8]>) -> Result<Ast, ParseError> {
        parser::parse_expr(input.as_ref(), self)
    }

    /// Parses a metric selector, `name{a="b", c=~"d|e"}`, as `match[]` parameters are written.
    ///
    /// # Errors
    /// As [`Options::parse`]. A selector that matches everything is not refused here.
    pub fn parse_metric_selector(&self, input: impl AsRef<[u8]>) -> Result<Vec<Matcher>, ParseError> {
        parser::parse_metric_selector(input.as_ref(), self)
    }

    /// Parses a metric, `name{a="b"}`.
    ///
    /// # Errors
    /// As [`Options::parse`].
    pub fn parse_metric(&self, input: impl AsRef<[u8]>) -> Result<Labels, ParseError> {
        parser::parse_metric(input.as_ref(), self)
    }

    /// Parses a series description, `name{a="b"} 1 2+3x4 _ {{schema:1}}`, as test scripts hold them.
    ///
    /// # Errors
    /// As [`Options::parse`].
    pub fn parse_series(&self, input: impl AsRef<[u8]>) -> Result<SeriesDescription, ParseError> {
        parser::parse_series(input.as_ref(), self)
    }
}
