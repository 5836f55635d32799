//! The engine: options, queries, and what a run gives back.
//!
//! Holds the public face of evaluation. It knows no operator: `plan` turns a query into pipelines,
//! `exec` runs them. Invariant: a [`Query`] is immutable and may be run any number of times, by any
//! thread, each time against another [`Queryable`]. Reference: Prometheus `promql/engine.go`.

use std::fmt;
use std::sync::Arc;

use model::{Account, Millis};

use crate::annotations::Annotations;
use crate::error::QueryError;
use crate::explain::Explanation;
use crate::interrupt::Interrupt;
use crate::parse::{Ast, Options, ValueType};
use crate::sink::Sink;
use crate::stats::{Statistics, StatsLevel};
use crate::storage::Queryable;

/// The default of `--query.lookback-delta`.
pub const DEFAULT_LOOKBACK: Millis = 5 * 60 * 1000;

/// Step of a subquery that states none, given its range, both in milliseconds.
pub type DefaultStep = Arc<dyn Fn(Millis) -> Millis + Send + Sync>;

/// What an engine is made of.
#[derive(Clone)]
pub struct EngineOptions {
    /// How old a selected sample may be.
    pub lookback: Millis,
    /// Most samples in memory at a time, as Prometheus counts them; 0 for no limit.
    pub max_samples: usize,
    /// What the parser accepts.
    pub parser: Options,
    /// Whether metric names are dropped at the end of evaluation (Prometheus'
    /// `promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Whether `rate` and its family look at start timestamps (`use-start-timestamps`).
    pub use_start_timestamps: bool,
    /// Whether `__type__` decides what a counter is (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Whether `limit_ratio` takes the series that a Prometheus built with `slicelabels` takes, as Thanos
    /// does, instead of those that the default build takes.
    pub slicelabels_hash: bool,
    /// Step of subqueries that state none.
    pub default_step: DefaultStep,
    /// Threads that evaluate one query; results do not depend on it. At least 1.
    pub threads: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            lookback: DEFAULT_LOOKBACK,
            max_samples: 0,
            parser: Options::default(),
            delayed_name_removal: false,
            use_start_timestamps: false,
            type_and_unit_labels: false,
            slicelabels_hash: false,
            default_step: Arc::new(|_| 60_000),
            threads: 1,
        }
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("lookback", &self.lookback)
            .field("max_samples", &self.max_samples)
            .field("parser", &self.parser)
            .field("delayed_name_removal", &self.delayed_name_removal)
            .field("use_start_timestamps", &self.use_start_timestamps)
            .field("type_and_unit_labels", &self.type_and_unit_labels)
            .field("slicelabels_hash", &self.slicelabels_hash)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// What differs from query to query.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Instead of the engine's lookback, where above zero.
    pub lookback: Millis,
    /// What is to be counted.
    pub stats: StatsLevel,
    /// Deadline and cancellation.
    pub interrupt: Interrupt,
    /// What memory is charged to; nothing is charged without one.
    pub account: Option<Arc<Account>>,
    /// Whether operators are measured.
    pub analyze: bool,
}

/// Turns texts into queries.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    options: Arc<EngineOptions>,
    pool: Option<Arc<rayon::ThreadPool>>,
}

/// The times a query is evaluated at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Once.
    Instant(Millis),
    /// At `start`, `start + step`, … up to `end`.
    Range {
        /// First evaluation time.
        start: Millis,
        /// No evaluation time is later.
        end: Millis,
        /// Distance, above zero.
        step: Millis,
    },
}

/// An expression ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Query {
    pub(crate) engine: Arc<EngineOptions>,
    pub(crate) pool: Option<Arc<rayon::ThreadPool>>,
    pub(crate) options: QueryOptions,
    pub(crate) text: Arc<[u8]>,
    /// Durations are resolved; positions are those of `text`.
    pub(crate) ast: Arc<Ast>,
    pub(crate) times: Times,
}

/// What a run gives besides the result.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Warnings and infos, those of the store included; render them with [`Query::text`].
    pub annotations: Annotations,
    /// Times and samples.
    pub stats: Statistics,
    /// The operators with what each took: with [`QueryOptions::analyze`], where the result is an instant
    /// vector or a scalar at each time.
    pub analysis: Option<Explanation>,
}

impl Engine {
    /// An engine. Where its threads cannot be started it does with the caller's.
    pub fn new(options: EngineOptions) -> Self {
        let pool = (options.threads > 1).then(|| {
            let name = |i| format!("promql-{i}");
            rayon::ThreadPoolBuilder::new().num_threads(options.threads).thread_name(name).build()
        });
        let pool = pool.and_then(Result::ok).map(Arc::new);
        Engine { options: Arc::new(options), pool }
    }

    /// Its options.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// A query evaluated once.
    ///
    /// # Errors
    /// [`QueryError::Parse`], or [`QueryError::Invalid`] for a duration expression worth nothing.
    pub fn instant(
        &self,
        text: impl AsRef<[u8]>,
        at: Millis,
        options: QueryOptions,
    ) -> Result<Query, QueryError> {
        let ast = self.options.parser.parse(text.as_ref())?;
        self.query(text.as_ref(), ast, Times::Instant(at), options)
    }

    /// A query evaluated at `start`, `start + step`, … up to `end`. The caller has checked that `step`
    /// is above zero and `end` not before `start`, for the API has texts of its own for these.
    ///
    /// # Errors
    /// [`QueryError::Parse`], or [`QueryError::Invalid`] for an expression that is neither a scalar nor
    /// an instant vector, or a duration expression worth nothing.
    pub fn range(
        &self,
        text: impl AsRef<[u8]>,
        start: Millis,
        end: Millis,
        step: Millis,
        options: QueryOptions,
    ) -> Result<Query, QueryError> {
        let ast = self.options.parser.parse(text.as_ref())?;
        let of = ast.value_type();
        if !matches!(of, ValueType::Scalar | ValueType::Vector) {
            return Err(QueryError::Invalid(format!(
                "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
                of.documented()
            )));
        }
        let step = step.max(1);
        self.query(text.as_ref(), ast, Times::Range { start, end, step }, options)
    }

    fn query(
        &self,
        text: &[u8],
        mut ast: Ast,
        times: Times,
        options: QueryOptions,
    ) -> Result<Query, QueryError> {
        let nanos = |ms: Millis| ms.saturating_mul(1_000_000);
        match times {
            Times::Instant(_) => ast.resolve_durations(0, 0)?,
            Times::Range { start, end, step } => {
                ast.resolve_durations(nanos(step), nanos(end.saturating_sub(start)))?;
            }
        }
        Ok(Query {
            engine: self.options.clone(),
            pool: self.pool.clone(),
            options,
            text: Arc::from(text),
            ast: Arc::new(ast),
            times,
        })
    }
}

impl Query {
    /// The text it was made of.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    /// The syntax tree, durations resolved.
    pub fn ast(&self) -> &Ast {
        &self.ast
    }

    /// The times it is evaluated at.
    pub fn times(&self) -> Times {
        self.times
    }

    /// The type of the result: the expression's own, and always a matrix for a range query.
    pub fn result_type(&self) -> ValueType {
        match self.times {
            Times::Instant(_) => self.ast.value_type(),
            Times::Range { .. } => ValueType::Matrix,
        }
    }

    /// The operators of the query as a tree, its figures all zero; `None` for strings and for range
    /// vectors as results. Nothing is read.
    ///
    /// # Errors
    /// What is refused before anything is read: labels that are none, too many steps.
    pub fn explain(&self) -> Result<Option<Explanation>, QueryError> {
        let program = crate::plan::compile(self, self.lookback(), true)?;
        Ok(program.outline.map(|outline| outline.tree))
    }

    /// How old a selected sample may be.
    pub(crate) fn lookback(&self) -> Millis {
        match self.options.lookback {
            own if own > 0 => own,
            _ => self.engine.lookback,
        }
    }

    /// Whether samples are counted.
    pub(crate) fn is_counting(&self) -> bool {
        self.engine.max_samples > 0 || self.options.stats != StatsLevel::None || self.options.analyze
    }

    /// Evaluates the query and hands the result to `sink`. Blocks the calling thread. What was handed
    /// over before an error is void.
    ///
    /// # Errors
    /// Any [`QueryError`] but [`QueryError::Parse`] and [`QueryError::Invalid`].
    pub fn run(&self, store: &dyn Queryable, sink: &mut dyn Sink) -> Result<Outcome, QueryError> {
        crate::exec::run(self, store, sink)
    }
}
