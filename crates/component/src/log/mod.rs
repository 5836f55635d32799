//! Logs as Thanos writes them: one line an entry, on stderr, in logfmt or JSON.
//!
//! A `tracing` layer: events become lines, fields of enclosing spans become context keys. It decides
//! no level for anyone's events. Invariant: key order `ts caller [name] level`, context, `msg`, the
//! entry's own keys; one `write` a line, so lines of many threads do not mix. The two line forms are in
//! `line`, lines about requests in `requests`.
//!
//! Write `tracing::info!(component = "block.Fetcher", cached = 3, "synchronized")`; errors go in a
//! field `err` as `%error`.

mod journald;
mod line;
pub mod requests;
#[cfg(test)]
mod tests;

use std::io::Write;

use parking_lot::Mutex;
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

pub use line::Value;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
    /// The systemd journal's socket.
    Journald,
}

/// Severity, least first to be silenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something failed and someone should look.
    Error,
    /// Something is odd and went on.
    Warn,
    /// The normal course.
    Info,
    /// Details.
    Debug,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
        }
    }
}

/// Libraries that log their inner life; only what they think is wrong is kept.
const QUIET: [&str; 12] = [
    "h2",
    "hyper",
    "hyper_util",
    "hickory_net",
    "hickory_proto",
    "hickory_resolver",
    "rustls",
    "tonic",
    "tower",
    "reqwest",
    "aws_config",
    "mio",
];

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--log.format=journald` where no journal listens.
    #[error("journald log format requested but systemd journal is not available")]
    NoJournal,
    /// Logging was started before in this process.
    #[error("logging was already started")]
    AlreadyStarted,
}

/// Starts logging for the whole process.
///
/// # Errors
/// [`Error`].
pub fn start(format: Format, level: Level, name: &str) -> Result<(), Error> {
    let sink: Box<dyn Sink> = match format {
        Format::Logfmt => Box::new(Lines::new(std::io::stderr(), false)),
        Format::Json => Box::new(Lines::new(std::io::stderr(), true)),
        Format::Journald => Box::new(journald::Journal::open().ok_or(Error::NoJournal)?),
    };
    let filter = QUIET.iter().fold(Targets::new().with_default(level.filter()), |filter, target| {
        filter.with_target(*target, LevelFilter::WARN.min(level.filter()))
    });
    let subscriber =
        tracing_subscriber::registry().with(EntryLayer { sink, name: name.to_owned() }.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::AlreadyStarted)
}

/// One entry, ready to be written.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Keys before the message, in order: `ts`, `caller`, `name`, `level`, context.
    head: Vec<(String, Value)>,
    message: Option<String>,
    /// The entry's own keys, in order.
    fields: Vec<(String, Value)>,
    level: &'static str,
}

trait Sink: Send + Sync {
    fn write(&self, entry: &Entry);
}

struct Lines<W> {
    to: Mutex<W>,
    json: bool,
}

impl<W: Write + Send> Lines<W> {
    fn new(to: W, json: bool) -> Self {
        Lines { to: Mutex::new(to), json }
    }
}

impl<W: Write + Send> Sink for Lines<W> {
    fn write(&self, entry: &Entry) {
        let mut text = if self.json { line::json(entry) } else { line::logfmt(entry) };
        text.push('\n');
        // A log that cannot be written has nowhere to complain.
        let _ = self.to.lock().write_all(text.as_bytes());
    }
}

struct EntryLayer {
    sink: Box<dyn Sink>,
    name: String,
}

/// Fields that are context wherever they stand: they come before the message.
const CONTEXT: [&str; 4] = ["protocol", "service", "component", "tenant"];

#[derive(Default)]
struct Fields {
    message: Option<String>,
    fields: Vec<(String, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = Some(value.text()),
            name => self.fields.push((name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::Float(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Int(value.into()));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Int(value.into()));
    }
    fn record_i128(&mut self, field: &Field, value: i128) {
        self.push(field, Value::Int(value));
    }
    fn record_u128(&mut self, field: &Field, value: u128) {
        self.push(field, i128::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Int));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Bool(value));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::Text(value.to_owned()));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.push(field, Value::Text(format!("{value:?}")));
    }
}

/// What a span adds to the entries inside it.
struct SpanFields(Vec<(String, Value)>);

impl<S> Layer<S> for EntryLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(span) = context.span(id)
            && let Some(known) = span.extensions_mut().get_mut::<SpanFields>()
        {
            known.0.retain(|(name, _)| !fields.fields.iter().any(|(new, _)| new == name));
            known.0.append(&mut fields.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let meta = event.metadata();
        let level = match *meta.level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            _ => "debug",
        };
        let file = meta.file().and_then(|f| f.rsplit('/').next()).unwrap_or("unknown");
        let mut head = vec![
            ("ts".to_owned(), Value::Text(timestamp(OffsetDateTime::now_utc()))),
            ("caller".to_owned(), Value::Text(format!("{file}:{}", meta.line().unwrap_or(0)))),
        ];
        if !self.name.is_empty() {
            head.push(("name".to_owned(), Value::Text(self.name.clone())));
        }
        head.push(("level".to_owned(), Value::Text(level.to_owned())));
        if let Some(scope) = context.event_scope(event) {
            for span in scope.from_root() {
                if let Some(SpanFields(fields)) = span.extensions().get::<SpanFields>() {
                    head.extend(fields.iter().cloned());
                }
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (before, after): (Vec<_>, Vec<_>) =
            fields.fields.into_iter().partition(|(name, _)| CONTEXT.contains(&name.as_str()));
        head.extend(before);
        self.sink.write(&Entry { head, message: fields.message, fields: after, level });
    }
}

/// RFC 3339 with nanoseconds, trailing zeros dropped, `Z`.
fn timestamp(now: OffsetDateTime) -> String {
    now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}
