//! What can be wrong with a manifest, and where.

use std::fmt;

use super::node::Mark;

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// The file's name, as it was given.
    pub file: String,
    /// The document in the file, from 1, empty ones not counted; `None` when the file could not be read as YAML.
    pub document: Option<usize>,
    /// The place in the file, when it is known.
    pub mark: Option<Mark>,
    /// `Kind namespace/name`, when it is known.
    pub object: Option<String>,
    /// The field, as a path from the root of the object; empty for the object as a whole.
    pub path: String,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(mark) = self.mark {
            write!(f, ":{}:{}", mark.line, mark.column)?;
        }
        match (&self.object, self.document) {
            (Some(object), _) => write!(f, ": {object}")?,
            (None, Some(document)) => write!(f, ": document {document}")?,
            (None, None) => {}
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for ManifestError {}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not YAML.
    #[error("this is not YAML: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// A document is not an object.
    #[error("a Kubernetes object is expected, with apiVersion, kind and metadata")]
    NotAnObject,
    /// A kind of ours that does not exist.
    #[error(
        "there is no {api_version} {kind}; expected sluice.dev/v1alpha1 with Connection, DataCatalogTable or StreamingJob"
    )]
    KindUnknown {
        /// The version that is named.
        api_version: String,
        /// The kind that is named.
        kind: String,
    },
    /// A field that is needed.
    #[error("this field is missing")]
    FieldMissing,
    /// A field that does not exist.
    #[error("unknown field `{field}`{}, expected one of: {expected}", meant(.suggestion.as_ref()))]
    UnknownField {
        /// The field.
        field: String,
        /// The field that was probably meant.
        suggestion: Option<String>,
        /// The fields that there are.
        expected: String,
    },
    /// A value of another type.
    #[error("{expected} is expected here, and this is {found}")]
    WrongType {
        /// What belongs here.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A word that is none of those that are possible.
    #[error("unknown word `{word}`{}, expected one of: {expected}", meant(.suggestion.as_ref()))]
    WordUnknown {
        /// The word.
        word: String,
        /// The word that was probably meant.
        suggestion: Option<String>,
        /// The words that are possible.
        expected: String,
    },
    /// Too many, too few, too large, too small.
    #[error("{bound} expected")]
    OutOfBounds {
        /// The bound.
        bound: String,
    },
    /// Two elements of a list have the same key.
    #[error("another element of this list has the same {key}: `{value}`")]
    ElementTwice {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A value that its type refuses.
    #[error("{message}")]
    Value {
        /// What the type says.
        message: String,
    },
    /// A validation rule of the resource is broken.
    #[error("{message}")]
    Rule {
        /// The message of the rule.
        message: String,
    },
    /// An object stands twice.
    #[error("this object is also in {other}: remove one of them")]
    ObjectTwice {
        /// Where the other one is.
        other: String,
    },
    /// A value of a Secret is not base64.
    #[error("this value is not base64: encode it, or write it as it is under stringData")]
    NotBase64,
}

fn meant(suggestion: Option<&String>) -> String {
    suggestion.map(|word| format!(" (did you mean `{word}`?)")).unwrap_or_default()
}

/// Everything that is wrong with some manifests; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestErrors(pub Vec<ManifestError>);

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestErrors {}
