//! What can be wrong with transforms, in words that lead to the mend.

use std::fmt;

use datafusion::common::{DataFusionError, SchemaError, Span};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::TokenizerError;
use sluice_crds::condition::Reason;

use crate::error::Classified;

/// Messages of libraries may repeat whole expressions: what is longer is cut.
const LONGEST_MESSAGE: usize = 400;

/// Why the transforms of a plan cannot run, or why a window of an aggregating plan failed.
#[derive(Debug, thiserror::Error)]
pub enum TransformError {
    /// The text is not SQL.
    #[error("{step}: {message}{place}")]
    Syntax {
        /// `transforms[2].sql`
        step: String,
        /// The parser's words.
        message: String,
        /// Where in the text.
        place: Place,
    },
    /// The text is longer or deeper than what is planned.
    #[error("{step}: {message}; write it shorter")]
    TooLarge {
        /// `transforms[2].sql`
        step: String,
        /// The limit.
        message: String,
    },
    /// `${name}` without a value, or at a place where no value can stand.
    #[error("{step}: {message}{place}")]
    Parameter {
        /// `transforms[2].sql`
        step: String,
        /// What is wrong, and the mend.
        message: String,
        /// Where in the text.
        place: Place,
    },
    /// A column that the step's input does not have.
    #[error("{step}: there is no column `{column}`{hint}; the columns here are {columns}{place}")]
    UnknownColumn {
        /// `transforms[2].filter`
        step: String,
        /// The name as it was written.
        column: String,
        /// `, did you mean …?` or nothing.
        hint: String,
        /// The columns there are.
        columns: String,
        /// Where in the text.
        place: Place,
    },
    /// The text parses, and means nothing: a function that does not exist, types that do not fit.
    #[error("{step}: {message}{place}")]
    Meaning {
        /// `transforms[2].filter`
        step: String,
        /// The planner's words.
        message: String,
        /// Where in the text.
        place: Place,
    },
    /// SQL that would reach outside of the input, change something, or need more than one pass over it.
    #[error("{step}: {what} is not supported; {mend}")]
    NotSupported {
        /// `transforms[2].sql`
        step: String,
        /// What was found.
        what: String,
        /// What can be written instead.
        mend: String,
    },
    /// The step looks at more than one row at a time and does not say so.
    #[error(
        "{step}: {what} sees the rows of one batch only, so its results are partial; add `scope: Batch` to the step if that is what you want"
    )]
    NeedsBatchScope {
        /// `transforms[2].sql`
        step: String,
        /// What was found.
        what: String,
    },
    /// A function whose result changes from call to call.
    #[error(
        "{step}: `{function}()` gives another result for each call, so a file could not be made again; use a column of the record, or now(), which is the time of the window"
    )]
    Volatile {
        /// `transforms[2].sql`
        step: String,
        /// The function.
        function: String,
    },
    /// Columns that the sink declares and the transforms do not yield, or the other way round.
    #[error("the transforms do not fit the sink: {0}")]
    SinkColumns(String),
    /// Columns whose type cannot become the sink's.
    #[error("the transforms do not fit the sink: {0}")]
    SinkTypes(String),
    /// The steps are fine one by one, and cannot be planned together.
    #[error("the transforms cannot be planned")]
    Plan(#[source] Box<DataFusionError>),
    /// An expression above an aggregate failed: there is no single record to refuse.
    #[error("the batch part of the transforms failed: {message}")]
    BatchFailed {
        /// DataFusion's words.
        message: String,
    },
    /// Groups, sorts and distinct values of a window need more memory than there is.
    #[error(
        "the batch part of the transforms needs more than its memory of {limit} bytes: {message}; shorten spec.window.period, set spec.window.maxRecords, or give the workers more memory"
    )]
    OutOfMemory {
        /// Bytes there are.
        limit: usize,
        /// Who asked for how much.
        message: String,
    },
    /// A fault of the program: tasks that vanish, values of a type that the plan did not promise.
    #[error("internal fault of the transforms: {0}")]
    Internal(String),
}

impl Classified for TransformError {
    fn reason(&self) -> Reason {
        match self {
            Self::SinkColumns(_) | Self::SinkTypes(_) => Reason::SchemaMismatch,
            Self::OutOfMemory { .. } => Reason::ConfigInvalid,
            Self::Internal(_) => Reason::Internal,
            _ => Reason::TransformInvalid,
        }
    }

    fn retry(&self) -> bool {
        // Another window may have fewer groups, and the same one may find memory that others hold now.
        matches!(self, Self::OutOfMemory { .. } | Self::Internal(_))
    }
}

/// Where in a text something is wrong: empty when unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Line and column, from 1; `None` when unknown.
    pub at: Option<(usize, usize)>,
    line: String,
}

impl Place {
    pub(super) fn new(text: &str, line: u64, column: u64) -> Self {
        // Line 0 is the parser's word for "at the end".
        let (line, column) = if line == 0 {
            (text.lines().count().max(1), text.lines().last().unwrap_or_default().chars().count() + 1)
        } else {
            (line as usize, (column as usize).max(1))
        };
        let shown = text.lines().nth(line - 1).unwrap_or_default();
        Self { at: Some((line, column)), line: shown.to_owned() }
    }

    pub(super) fn of_span(text: &str, span: Option<Span>) -> Self {
        // Without a text there is nothing in which to show a place: a step of several texts.
        span.filter(|_| !text.is_empty())
            .map(|span| Self::new(text, span.start.line, span.start.column))
            .unwrap_or_default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AROUND: usize = 60;
        let Some((line, column)) = self.at else { return Ok(()) };
        write!(f, ", at line {line}, column {column}")?;
        // A window of the line, so that a text of thousands of characters does not fill a condition.
        let start = (column - 1).saturating_sub(AROUND);
        let shown: String =
            self.line.chars().skip(start).take(2 * AROUND).map(|c| if c == '\t' { ' ' } else { c }).collect();
        write!(f, "\n  {shown}\n  {:>width$}", "^", width = column - start)
    }
}

/// Errors of the parser, with the place taken out of their text.
pub(super) fn syntax(step: &str, text: &str, error: &ParserError) -> TransformError {
    let message = match error {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        ParserError::RecursionLimitExceeded => {
            let message = "parentheses and sub-selects nest too deep".to_owned();
            return TransformError::TooLarge { step: step.to_owned(), message };
        }
    };
    let (message, place) = match message.rsplit_once(" at Line: ").and_then(|(message, at)| {
        let (line, column) = at.split_once(", Column: ")?;
        Some((message, Place::new(text, line.parse().ok()?, column.parse().ok()?)))
    }) {
        Some((message, place)) => (message, place),
        // The parser leaves the place out where the text ends too early.
        None if message.contains("found: EOF") => (message.as_str(), Place::new(text, 0, 0)),
        None => (message.as_str(), Place::default()),
    };
    TransformError::Syntax { step: step.to_owned(), message: shortened(message), place }
}

/// Errors of the tokenizer.
pub(super) fn tokens(step: &str, text: &str, error: &TokenizerError) -> TransformError {
    let place = Place::new(text, error.location.line, error.location.column);
    TransformError::Syntax { step: step.to_owned(), message: shortened(&error.message), place }
}

/// Errors of DataFusion's planner about one text.
pub(super) fn planner(step: &str, text: &str, error: &DataFusionError) -> TransformError {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let step = step.to_owned();
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
                let place = Place::of_span(text, field.spans.first().or(span));
                unknown_column(step, &field.name, &names, place)
            }
            other => {
                let (message, place) = (shortened(&other.to_string()), Place::of_span(text, span));
                TransformError::Meaning { step, message, place }
            }
        },
        DataFusionError::SQL(error, _) => syntax(&step, text, error),
        root => TransformError::Meaning { step, message: words(root), place: Place::of_span(text, span) },
    }
}

/// A column that is not there, with the most likely one that is.
pub(super) fn unknown_column(step: String, column: &str, names: &[&str], place: Place) -> TransformError {
    let hint = did_you_mean(column, names).map(|name| format!(", did you mean `{name}`?")).unwrap_or_default();
    let columns = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let columns = if columns.is_empty() { "none".to_owned() } else { shortened(&columns) };
    TransformError::UnknownColumn { step, column: column.to_owned(), hint, columns, place }
}

/// The name that differs only in case or in underscores, which is nearly always the one that was meant.
pub(super) fn did_you_mean<'a>(wanted: &str, names: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let wanted = plain(wanted);
    names.iter().copied().find(|name| plain(name) == wanted)
}

/// DataFusion's words without its prefixes, backtraces and calls for bug reports.
pub(super) fn words(error: &DataFusionError) -> String {
    let message = match error {
        DataFusionError::External(inner) => inner.to_string(),
        DataFusionError::ArrowError(inner, _) => inner.to_string(),
        other => other.message().into_owned(),
    };
    let message = message.split("\n\nbacktrace:").next().unwrap_or_default();
    let message = message.split(".\nThis issue was likely caused").next().unwrap_or_default();
    shortened(message.trim().trim_end_matches('.'))
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}
