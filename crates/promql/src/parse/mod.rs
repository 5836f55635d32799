//! PromQL text to syntax tree and back.
//!
//! Holds the lexer, the parser, the type check and the printers. It knows no data and evaluates
//! nothing. Invariant: no input makes it panic, recurse without bound or take more than linear time.
//! Read `ast` first: everything else produces or consumes it.

pub mod ast;
pub mod functions;

pub use ast::{
    Aggregate, AggregateOp, Ast, At, Binary, BinaryOp, Cardinality, DurationArg, DurationOp, Expr, Extended,
    Node, NodeId, Span, Subquery, UnaryOp, ValueType, VectorMatching, VectorSelector,
};
pub use functions::Function;
