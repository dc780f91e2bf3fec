//! Manifests: the YAML text that `kubectl apply` takes, as typed objects.
//!
//! A file may hold any mix of our kinds, Secrets and foreign objects; the latter are passed over with a note. Everything is
//! checked that the API server would check (types, bounds, validation rules), and unknown fields besides. All errors of all
//! files are told at once, with file, line and column. Values of Secrets never appear in an error or a `Debug` output.

mod error;
mod node;
mod schema;
#[cfg(test)]
mod tests;

pub use error::{ManifestError, ManifestErrors, Problem};
pub use node::Mark;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::core::cel::Validator;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::connection::Connection;
use crate::crd::{API_VERSION, Kind};
use crate::data_catalog_table::DataCatalogTable;
use crate::reference::ObjectKey;
use crate::streaming_job::StreamingJob;

use node::{Node, NodeKind};
use schema::Finding;

/// The objects of some manifests.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The jobs.
    pub jobs: BTreeMap<ObjectKey, StreamingJob>,
    /// The tables.
    pub tables: BTreeMap<ObjectKey, DataCatalogTable>,
    /// The connections.
    pub connections: BTreeMap<ObjectKey, Connection>,
    /// The secrets.
    pub secrets: BTreeMap<ObjectKey, SecretData>,
    /// What was passed over, as sentences for people.
    pub notes: Vec<String>,
}

/// The values of a Secret. `Debug` shows the names of its keys only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretData(BTreeMap<String, Vec<u8>>);

impl SecretData {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Reads and checks manifests: pairs of a file's name (for messages) and its text.
pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Manifests, ManifestErrors> {
    let mut parser = Parser::default();
    for (file, text) in files {
        parser.file(file, text);
    }
    if parser.errors.is_empty() { Ok(parser.manifests) } else { Err(ManifestErrors(parser.errors)) }
}

/// Only checks manifests.
pub fn validate<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), ManifestErrors> {
    parse(files).map(drop)
}

#[derive(Default)]
struct Parser {
    manifests: Manifests,
    errors: Vec<ManifestError>,
    /// Where each object was found: `Kind namespace/name` to `file:line`.
    seen: BTreeMap<String, String>,
}

/// The document at hand.
struct Document<'a> {
    file: &'a str,
    number: usize,
    root: &'a Node,
    /// `Kind namespace/name`
    title: String,
    key: ObjectKey,
}

impl Parser {
    fn file(&mut self, file: &str, text: &str) {
        // A snippet of the text could show a secret.
        let options = serde_saphyr::options! { with_snippet: false };
        match serde_saphyr::from_multiple_with_options::<Node>(text, options) {
            Ok(documents) => {
                for (index, document) in documents.iter().enumerate() {
                    self.document(file, index + 1, document);
                }
            }
            Err(error) => self.errors.push(ManifestError {
                file: file.to_owned(),
                document: None,
                mark: error.location().map(Mark::new),
                object: None,
                path: String::new(),
                problem: Problem::Syntax { message: error.to_string() },
            }),
        }
    }

    fn document(&mut self, file: &str, number: usize, root: &Node) {
        let word = |name| root.get(name).and_then(Node::text);
        let (Some(api_version), Some(kind)) = (word("apiVersion"), word("kind")) else {
            return self.bare_error(file, number, root.mark, Problem::NotAnObject);
        };
        if (api_version, kind) == ("v1", "List") {
            for item in root.get("items").map(Node::elements).unwrap_or_default() {
                self.document(file, number, item);
            }
            return;
        }
        let ours = Kind::ALL.into_iter().find(|it| api_version == API_VERSION && it.as_str() == kind);
        let foreign = ours.is_none() && (api_version, kind) != ("v1", "Secret");
        if foreign && api_version.split('/').next() == Some("sluice.dev") {
            let problem = Problem::KindUnknown { api_version: api_version.to_owned(), kind: kind.to_owned() };
            return self.bare_error(file, number, root.mark, problem);
        }
        let Some(key) = object_key(root) else {
            let metadata = root.get("metadata").unwrap_or(root);
            return self.errors.push(ManifestError {
                file: file.to_owned(),
                document: Some(number),
                mark: Some(metadata.mark),
                object: Some(kind.to_owned()),
                path: "metadata.name".to_owned(),
                problem: Problem::FieldMissing,
            });
        };
        let document = Document { file, number, root, title: format!("{kind} {key}"), key };
        if foreign {
            let note = format!("{file}: {api_version} {} is not used", document.title);
            return self.manifests.notes.push(note);
        }
        let here = format!("{file}:{}", root.mark.line);
        if let Some(other) = self.seen.insert(document.title.clone(), here) {
            self.error(&document, root.mark, String::new(), Problem::ObjectTwice { other });
        }
        match ours {
            Some(Kind::StreamingJob) => self.object(&document, Kind::StreamingJob, |all| &mut all.jobs),
            Some(Kind::DataCatalogTable) => self.object(&document, Kind::DataCatalogTable, |all| &mut all.tables),
            Some(Kind::Connection) => self.object(&document, Kind::Connection, |all| &mut all.connections),
            None => self.secret(&document),
        }
    }

    fn bare_error(&mut self, file: &str, number: usize, mark: Mark, problem: Problem) {
        self.errors.push(ManifestError {
            file: file.to_owned(),
            document: Some(number),
            mark: Some(mark),
            object: None,
            path: String::new(),
            problem,
        });
    }

    fn error(&mut self, document: &Document<'_>, mark: Mark, path: String, problem: Problem) {
        self.errors.push(ManifestError {
            file: document.file.to_owned(),
            document: Some(document.number),
            mark: Some(mark),
            object: Some(document.title.clone()),
            path,
            problem,
        });
    }

    /// Checks a document of one of our kinds, step by step: what one step refuses, the next one need not see.
    fn object<K>(
        &mut self,
        document: &Document<'_>,
        kind: Kind,
        map: impl Fn(&mut Manifests) -> &mut BTreeMap<ObjectKey, K>,
    ) where
        K: DeserializeOwned + Serialize,
    {
        let findings = schema::check(document.root, kind.schema());
        let result = if findings.is_empty() { typed::<K>(document.root, kind) } else { Err(findings) };
        match result {
            Ok(object) => {
                map(&mut self.manifests).insert(document.key.clone(), object);
            }
            Err(findings) => {
                for Finding { path, mark, problem } in findings {
                    self.error(document, mark, path, problem);
                }
            }
        }
    }

    fn secret(&mut self, document: &Document<'_>) {
        let mut data = BTreeMap::new();
        for (field, encoded) in [("data", true), ("stringData", false)] {
            for (name, _, node) in document.root.get(field).map(Node::members).unwrap_or_default() {
                let path = schema::below(field, name);
                let Some(text) = node.text() else {
                    let problem = Problem::WrongType { expected: "a text (write it in quotes)", found: node.what() };
                    self.error(document, node.mark, path, problem);
                    continue;
                };
                // kubectl wraps long values in folded texts, so white space inside of base64 is passed over.
                let compact = || text.bytes().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<u8>>();
                let value = if encoded { STANDARD.decode(compact()).ok() } else { Some(text.as_bytes().to_vec()) };
                match value {
                    Some(value) => {
                        data.insert(name.clone(), value);
                    }
                    None => self.error(document, node.mark, path, Problem::NotBase64),
                }
            }
        }
        self.manifests.secrets.insert(document.key.clone(), SecretData(data));
    }
}

/// Namespace and name; `None` without a name.
fn object_key(root: &Node) -> Option<ObjectKey> {
    let metadata = root.get("metadata")?;
    let name = metadata.get("name").and_then(Node::text).filter(|name| !name.is_empty())?;
    let namespace = metadata.get("namespace").and_then(Node::text).unwrap_or("default");
    Some(ObjectKey::new(namespace, name))
}

/// The typed object, if its types and its rules take the document.
fn typed<K: DeserializeOwned + Serialize>(root: &Node, kind: Kind) -> Result<K, Vec<Finding>> {
    let object: K = serde_path_to_error::deserialize(root.value()).map_err(|error| {
        let (path, mark) = place(root, error.path());
        vec![Finding { path, mark, problem: Problem::Value { message: error.inner().to_string() } }]
    })?;
    // Rules see what was understood: nulls are gone, as they are in the API server.
    let value = serde_json::to_value(&object).map_err(|error| {
        let problem = Problem::Value { message: error.to_string() };
        vec![Finding { path: String::new(), mark: root.mark, problem }]
    })?;
    match Validator::new().validate(kind.schema(), &value, None) {
        Ok(()) => Ok(object),
        Err(errors) => Err(errors
            .into_iter()
            .map(|error| {
                let mark = mark_of(root, &error.field_path);
                Finding { path: error.field_path, mark, problem: Problem::Rule { message: error.message } }
            })
            .collect()),
    }
}

/// The path that serde reports, as text, and the mark of the innermost node on it that exists.
fn place(root: &Node, path: &serde_path_to_error::Path) -> (String, Mark) {
    let (mut text, mut node) = (String::new(), Some(root));
    let mut mark = root.mark;
    for segment in path {
        match segment {
            Segment::Map { key } => {
                text = schema::below(&text, key);
                node = node.and_then(|node| node.get(key));
            }
            Segment::Seq { index } => {
                text = format!("{text}[{index}]");
                node = node.and_then(|node| node.elements().get(*index));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
        mark = node.map_or(mark, |node| node.mark);
    }
    (text, mark)
}

/// The mark of the innermost node that exists on a path such as `spec.transforms[2].filter`.
fn mark_of(root: &Node, path: &str) -> Mark {
    let mut node = root;
    for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
        let part = part.trim_end_matches(']');
        let next = match (&node.kind, part.parse::<usize>()) {
            (NodeKind::List(elements), Ok(index)) => elements.get(index),
            _ => node.get(part),
        };
        let Some(next) = next else { break };
        node = next;
    }
    node.mark
}
