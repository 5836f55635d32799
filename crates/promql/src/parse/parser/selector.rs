//! Selectors, label sets and lists of label names.
//!
//! Holds the grammar between braces and of `by (…)`, with its own words for what was expected.
//! Invariant: matchers keep the order written; the one made of the metric's name comes last.

use std::sync::Arc;

use model::labels::{METRIC_NAME, is_legacy_label_name};
use model::{LabelsBuilder, MatchType, Matcher};

use super::super::ast::{BinaryOp, Expr, Extended, NodeId, ValueType, VectorSelector};
use super::super::lex::string::unquote;
use super::super::lex::token::{Keyword, Kind, Token};
use super::expr::names_metric;
use super::{Parsed, Parser, Stop};
use model::gofmt::quote_bytes;

impl<'a> Parser<'a> {
    /// The bytes a string token stands for.
    pub(super) fn unquote(&self, token: Token<'a>) -> Parsed<Vec<u8>> {
        unquote(token.text).ok_or_else(|| {
            let text = format!("error unquoting string {}: invalid syntax", quote_bytes(token.text));
            self.error(self.last.span(), text)
        })
    }

    /// A selector, its metric name (if any) having been taken.
    pub(super) fn selector(&mut self, name: Option<Token<'a>>) -> Parsed<NodeId> {
        let open = self.eat(Kind::LeftBrace)?;
        let text = name.map(|n| n.text).unwrap_or_default();
        if let (None, Some(name)) = (open, name) {
            let shared = self.bare.entry(text).or_insert_with(|| Arc::new(assemble(name.word(), Vec::new())));
            let selector = Expr::Vector(shared.clone());
            return Ok(self.push(selector, name.span(), ValueType::Vector));
        }
        let first = name.or(open).ok_or(Stop::Unexpected)?;
        let mut matchers = Vec::new();
        let close = self.label_matchers(&mut matchers)?;
        let word = name.map(|n| n.word()).unwrap_or_default();
        let selector = Expr::Vector(Arc::new(assemble(word, matchers)));
        Ok(self.push(selector, first.span().to(close.span()), ValueType::Vector))
    }

    /// Matchers up to the closing brace, which is taken.
    fn label_matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<Token<'a>> {
        if let Some(close) = self.eat(Kind::RightBrace)? {
            return Ok(close);
        }
        loop {
            matchers.push(self.label_matcher()?);
            if let Some(close) = self.eat(Kind::RightBrace)? {
                return Ok(close);
            }
            let comma = self.expect(Kind::Comma);
            self.within(comma, "label matching", "\",\" or \"}\"")?;
            if let Some(close) = self.eat(Kind::RightBrace)? {
                return Ok(close);
            }
        }
    }

    fn label_matcher(&mut self) -> Parsed<Matcher> {
        let label = self.peek()?;
        let name = match label.kind {
            Kind::Identifier => label.text.to_vec(),
            Kind::String if self.options.utf8_names => self.unquote(label)?,
            _ => return self.within(Err(Stop::Unexpected), "label matching", "identifier or \"}\""),
        };
        self.bump();
        let kind = match self.peek()?.kind {
            Kind::Equal => MatchType::Equal,
            Kind::Op(BinaryOp::Neq) => MatchType::NotEqual,
            Kind::EqualRegex => MatchType::Regexp,
            Kind::NotEqualRegex => MatchType::NotRegexp,
            _ if label.kind == Kind::String => {
                return self.matcher(label, label, MatchType::Equal, METRIC_NAME.as_bytes(), &name);
            }
            _ => return self.within(Err(Stop::Unexpected), "label matching", "label matching operator"),
        };
        self.bump();
        let value = self.expect(Kind::String);
        let value = self.within(value, "label matching", "string")?;
        let text = self.unquote(value)?;
        self.matcher(label, value, kind, &name, &text)
    }

    fn matcher(
        &self,
        first: Token<'a>,
        last: Token<'a>,
        kind: MatchType,
        name: &[u8],
        value: &[u8],
    ) -> Parsed<Matcher> {
        Matcher::from_bytes(kind, name, value)
            .map_err(|e| self.error(first.span().to(last.span()), e.to_string()))
    }

    /// `(a, b, "c d")`
    pub(super) fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        let open = self.expect(Kind::LeftParen);
        self.within(open, "grouping opts", "\"(\"")?;
        let mut labels = Vec::new();
        if self.eat(Kind::RightParen)?.is_some() {
            return Ok(labels);
        }
        loop {
            let label = self.grouping_label();
            labels.push(self.within(label, "grouping opts", "label")?);
            if self.eat(Kind::RightParen)?.is_some() {
                return Ok(labels);
            }
            let comma = self.expect(Kind::Comma);
            self.within(comma, "grouping opts", "\",\" or \")\"")?;
            if self.eat(Kind::RightParen)?.is_some() {
                return Ok(labels);
            }
        }
    }

    fn grouping_label(&mut self) -> Parsed<String> {
        let token = self.peek()?;
        let bytes = match token.kind {
            Kind::String if self.options.utf8_names => self.unquote(token)?,
            kind if is_label_word(kind) => token.text.to_vec(),
            _ => return Err(Stop::Unexpected),
        };
        self.bump();
        let refuse = || {
            let text = format!("invalid label name for grouping: {}", quote_bytes(&bytes));
            self.error(token.span(), text)
        };
        let name = String::from_utf8(bytes.clone()).map_err(|_| refuse())?;
        let valid = if self.options.utf8_names { !name.is_empty() } else { is_legacy_label_name(&name) };
        if valid { Ok(name) } else { Err(refuse()) }
    }

    pub(super) fn whole_selector(&mut self) -> Parsed<NodeId> {
        let token = self.peek()?;
        let name = names_metric(token.kind).then_some(token);
        if name.is_some() {
            self.bump();
        } else if token.kind != Kind::LeftBrace {
            return Err(Stop::Unexpected);
        }
        let id = self.selector(name)?;
        self.end()?;
        Ok(id)
    }

    pub(super) fn whole_metric(&mut self) -> Parsed<model::Labels> {
        let labels = self.metric()?;
        self.end()?;
        Ok(labels)
    }

    /// `name{a="b"}`, either part optional.
    pub(super) fn metric(&mut self) -> Parsed<model::Labels> {
        let token = self.peek()?;
        let mut labels = LabelsBuilder::default();
        let name = names_metric(token.kind).then(|| token.word());
        if name.is_some() {
            self.bump();
        }
        if self.eat(Kind::LeftBrace)?.is_some() {
            self.label_set(&mut labels)?;
        }
        if let Some(name) = name {
            labels.set(METRIC_NAME, name);
        }
        Ok(labels.labels())
    }

    fn label_set(&mut self, labels: &mut LabelsBuilder) -> Parsed<()> {
        if self.eat(Kind::RightBrace)?.is_some() {
            return Ok(());
        }
        loop {
            self.label_set_item(labels)?;
            if self.eat(Kind::RightBrace)?.is_some() {
                return Ok(());
            }
            let comma = self.expect(Kind::Comma);
            self.within(comma, "label set", "\",\" or \"}\"")?;
            if self.eat(Kind::RightBrace)?.is_some() {
                return Ok(());
            }
        }
    }

    fn label_set_item(&mut self, labels: &mut LabelsBuilder) -> Parsed<()> {
        let label = self.peek()?;
        let name = match label.kind {
            Kind::Identifier => label.text.to_vec(),
            Kind::String => self.unquote(label)?,
            _ => return self.within(Err(Stop::Unexpected), "label set", "identifier or \"}\""),
        };
        self.bump();
        let name = String::from_utf8_lossy(&name).into_owned();
        if self.eat(Kind::Equal)?.is_none() {
            if label.kind == Kind::String {
                labels.set(METRIC_NAME, &name);
                return Ok(());
            }
            return self.within(Err(Stop::Unexpected), "label set", "\"=\"");
        }
        let value = self.expect(Kind::String);
        let value = self.within(value, "label set", "string")?;
        let value = self.unquote(value)?;
        labels.set(&name, &String::from_utf8_lossy(&value));
        Ok(())
    }
}

/// A selector without modifiers; a name adds its matcher.
fn assemble(name: &str, mut matchers: Vec<Matcher>) -> VectorSelector {
    if !name.is_empty() {
        matchers.reserve_exact(1);
        matchers.push(Matcher::equal(METRIC_NAME, name));
    }
    VectorSelector {
        name: name.into(),
        matchers,
        offset: None,
        at: None,
        extended: Extended::None,
        info_labels: false,
    }
}

/// Words that may be a label's name in a list: every word but `without`.
fn is_label_word(kind: Kind) -> bool {
    match kind {
        Kind::Keyword(word) => word != Keyword::Without,
        Kind::Op(op) => matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2),
        Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregate(_) | Kind::Preprocessor(_) => true,
        _ => false,
    }
}
