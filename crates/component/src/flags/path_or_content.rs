//! Pairs of flags that give a document by path or inline.
//!
//! Holds `--NAME-file` and `--NAME` and the rules between them; it does not know what the document
//! means. Invariant: the file is read when [`PathOrContent::content`] is called, each time anew, so
//! that a reload sees the file's present state. See config-files rules in `flags`' head.

use std::path::PathBuf;

use super::{DeclareRef, Item};

/// A document given by path or inline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathOrContent {
    name: String,
    path: String,
    inline: String,
    required: bool,
    expand: bool,
}

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Both flags of the pair are set.
    #[error("both {0}-file and {0} flags set.")]
    Both(String),
    /// Neither is set, or the document is empty, and the service cannot do without it.
    #[error("flag {0}-file or {0} is required for running this command and content cannot be empty.")]
    Required(String),
    /// The file cannot be read.
    #[error("loading file {path} for {flag}-file: {source}")]
    File {
        /// The path as given.
        path: String,
        /// The pair's name.
        flag: String,
        /// Why.
        source: std::io::Error,
    },
    /// `$(NAME)` names a variable that is not set.
    #[error("found reference to unset environment variable {0:?}")]
    Unset(String),
}

impl PathOrContent {
    /// A pair whose document is given inline, for tests and embedding.
    pub fn inline(name: &str, content: &str) -> Self {
        PathOrContent { name: name.to_owned(), inline: content.to_owned(), ..PathOrContent::default() }
    }

    /// The pair's name without dashes and without `-file`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path, when the document is given by path: what to watch for a reload.
    pub fn path(&self) -> Option<PathBuf> {
        (!self.path.is_empty()).then(|| PathBuf::from(&self.path))
    }

    /// The document with `$(NAME)` replaced from the environment where the pair does so; `None` when
    /// nothing is configured.
    ///
    /// # Errors
    /// As [`ContentError`] lists.
    pub fn content(&self) -> Result<Option<String>, ContentError> {
        self.content_with(|name| std::env::var(name).ok())
    }

    /// As [`PathOrContent::content`], with `variable` in place of the environment.
    ///
    /// # Errors
    /// As [`ContentError`] lists.
    pub fn content_with(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, ContentError> {
        if !self.path.is_empty() && !self.inline.is_empty() {
            return Err(ContentError::Both(self.name.clone()));
        }
        let text = if self.path.is_empty() {
            self.inline.clone()
        } else {
            std::fs::read_to_string(&self.path).map_err(|source| ContentError::File {
                path: self.path.clone(),
                flag: self.name.clone(),
                source,
            })?
        };
        if text.is_empty() {
            return if self.required { Err(ContentError::Required(self.name.clone())) } else { Ok(None) };
        }
        if self.expand { expand(&text, variable).map(Some) } else { Ok(Some(text)) }
    }
}

/// Replaces each `$(NAME)`, NAME of letters, digits and underscores.
fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, ContentError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("$(") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let name_end = after[2..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .map_or(after.len(), |n| n + 2);
        if name_end > 2 && after[name_end..].starts_with(')') {
            let name = &after[2..name_end];
            out.push_str(&variable(name).ok_or_else(|| ContentError::Unset(name.to_owned()))?);
            rest = &after[name_end + 1..];
        } else {
            out.push_str("$(");
            rest = &after[2..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// A pair under construction.
#[derive(Debug)]
pub struct PathOrContentItem<'d> {
    declare: DeclareRef<'d>,
    pair: PathOrContent,
    help: String,
    hidden: bool,
    secret: bool,
}

impl<'d> PathOrContentItem<'d> {
    pub(super) fn new(declare: DeclareRef<'d>, name: &str, help: &str) -> Self {
        let pair = PathOrContent { name: name.to_owned(), ..PathOrContent::default() };
        PathOrContentItem { declare, pair, help: help.to_owned(), hidden: false, secret: false }
    }

    /// Replaces `$(NAME)` in the document from the environment.
    pub fn expand(mut self) -> Self {
        self.pair.expand = true;
        self
    }

    /// An empty document is an error.
    pub fn required(mut self) -> Self {
        self.pair.required = true;
        self
    }

    /// Leaves both flags out of `--help`.
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Hides both values from `/api/v1/status/flags`.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Ends the item.
    pub fn done(mut self) -> PathOrContent {
        let (hidden, secret) = (self.hidden, self.secret);
        let finish = |item: Item<'_>, placeholder| {
            let item = item.placeholder(placeholder).hidden_if(hidden);
            if secret { item.secret() } else { item }.string()
        };
        let (name, help) = (&self.pair.name, &self.help);
        self.pair.path =
            finish(self.declare.flag(format!("{name}-file"), format!("File with {help}")), "<file-path>");
        self.pair.inline = finish(
            self.declare.flag(name.clone(), format!("In place of --{name}-file: {help}")),
            "<content>",
        );
        self.pair
    }
}
