//! Why a record is refused: the stable codes, and the fault that carries one from a value up to its record.

use crate::batch::{RecordError, Stage};

/// What functions that read JSON return. The fault is boxed: the good case stays one register wide.
pub(super) type Outcome<T> = Result<T, Box<Fault>>;

/// Values are quoted up to this many characters.
const QUOTED_CHARS: usize = 60;

/// The codes of refused records in the stage `decode`. They are stable: dead letters and metrics are grouped by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The value is not JSON as RFC 8259 has it.
    InvalidJson,
    /// The value is not UTF-8.
    InvalidUtf8,
    /// A `\` escape in a string is unknown, or is half of a surrogate pair.
    InvalidEscape,
    /// Objects and arrays nest deeper than 128 levels.
    TooDeep,
    /// Something follows the object.
    TrailingData,
    /// The value is JSON, but not an object.
    NotAnObject,
    /// The record has no value (a tombstone).
    NullValue,
    /// The value has no bytes, or only white space.
    EmptyValue,
    /// A JSON value of another kind than the column's type takes.
    WrongType,
    /// A number with a fraction for a column of whole numbers.
    NotAnInteger,
    /// A number that the column's type cannot hold.
    OutOfRange,
    /// A string that is not a timestamp.
    InvalidTimestamp,
    /// A timestamp that is finer than microseconds.
    TimestampPrecision,
    /// A string that is not a date.
    InvalidDate,
    /// A string that is not a number, for a decimal column.
    InvalidDecimal,
    /// A number with more digits after the point than the decimal column has.
    DecimalScale,
    /// A string that is not base64.
    InvalidBase64,
    /// A column that is declared `nullable: false` is null or missing.
    NullInRequiredColumn,
    /// One column of one batch would hold more than 2 GiB.
    BatchTooLarge,
    /// A fault of the program itself.
    Internal,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 20] = [
        Self::InvalidJson,
        Self::InvalidUtf8,
        Self::InvalidEscape,
        Self::TooDeep,
        Self::TrailingData,
        Self::NotAnObject,
        Self::NullValue,
        Self::EmptyValue,
        Self::WrongType,
        Self::NotAnInteger,
        Self::OutOfRange,
        Self::InvalidTimestamp,
        Self::TimestampPrecision,
        Self::InvalidDate,
        Self::InvalidDecimal,
        Self::DecimalScale,
        Self::InvalidBase64,
        Self::NullInRequiredColumn,
        Self::BatchTooLarge,
        Self::Internal,
    ];

    /// The word as it stands in dead letters and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "InvalidJson",
            Self::InvalidUtf8 => "InvalidUtf8",
            Self::InvalidEscape => "InvalidEscape",
            Self::TooDeep => "TooDeep",
            Self::TrailingData => "TrailingData",
            Self::NotAnObject => "NotAnObject",
            Self::NullValue => "NullValue",
            Self::EmptyValue => "EmptyValue",
            Self::WrongType => "WrongType",
            Self::NotAnInteger => "NotAnInteger",
            Self::OutOfRange => "OutOfRange",
            Self::InvalidTimestamp => "InvalidTimestamp",
            Self::TimestampPrecision => "TimestampPrecision",
            Self::InvalidDate => "InvalidDate",
            Self::InvalidDecimal => "InvalidDecimal",
            Self::DecimalScale => "DecimalScale",
            Self::InvalidBase64 => "InvalidBase64",
            Self::NullInRequiredColumn => "NullInRequiredColumn",
            Self::BatchTooLarge => "BatchTooLarge",
            Self::Internal => "Internal",
        }
    }
}

/// One thing that is wrong with a record.
#[derive(Debug)]
pub(super) struct Fault {
    code: Code,
    message: String,
    /// Grows from the inside out, as the fault walks up through the columns.
    path: String,
}

impl Fault {
    #[cold]
    pub(super) fn new(code: Code, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { code, message: message.into(), path: String::new() })
    }

    /// Is the record lost, whatever follows? Otherwise only one value is bad, and its key may stand a second time.
    pub(super) fn spoils_record(&self) -> bool {
        matches!(
            self.code,
            Code::InvalidJson
                | Code::InvalidUtf8
                | Code::InvalidEscape
                | Code::TooDeep
                | Code::TrailingData
                | Code::BatchTooLarge
                | Code::Internal
        )
    }

    /// The fault is in this member of an object.
    pub(super) fn in_member(mut self: Box<Self>, name: &str) -> Box<Self> {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    /// The fault is in this element of an array. One that spoils the record has its place in the text instead of a path.
    pub(super) fn in_element(mut self: Box<Self>, index: usize) -> Box<Self> {
        if self.spoils_record() {
            return self;
        }
        self.path = format!("[{index}]{}", self.path_after_bracket());
        self
    }

    /// The fault is in the value of this key of a map.
    pub(super) fn in_entry(mut self: Box<Self>, key: &[u8]) -> Box<Self> {
        self.path = format!("[\"{}\"]{}", quote(key), self.path_after_bracket());
        self
    }

    fn path_after_bracket(&self) -> String {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        format!("{dot}{}", self.path)
    }

    pub(super) fn into_error(self) -> RecordError {
        let field = (!self.path.is_empty()).then_some(self.path);
        RecordError { stage: Stage::Decode, code: self.code.as_str(), message: self.message, field }
    }
}

/// The beginning of a text, for a message.
pub(super) fn quote(bytes: &[u8]) -> String {
    // A character has at most four bytes, so a character that this cuts in two is beyond those that are kept.
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * QUOTED_CHARS + 4)]);
    let mut quoted: String = start.chars().take(QUOTED_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if quoted.len() < bytes.len() {
        quoted.push('…');
    }
    quoted
}
