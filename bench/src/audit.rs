//! Requests, counted from lines of an API server's audit log.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// How many requests there were, by what was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Verb and resource, such as `patch streamingjobs/status`.
    pub by_kind: BTreeMap<String, u64>,
    /// Those of them that were answered with 429: the API server wanted to be left alone.
    pub throttled: u64,
}

impl Requests {
    /// Counts one line. What is no request of an object, such as `/version`, counts by its path.
    pub fn count(&mut self, line: &str) -> serde_json::Result<()> {
        let event: Value = serde_json::from_str(line)?;
        let text = |at: &str| event.pointer(at).and_then(Value::as_str);
        let resource = match (text("/objectRef/resource"), text("/objectRef/subresource")) {
            (Some(resource), Some(part)) => format!("{resource}/{part}"),
            (Some(resource), None) => resource.to_owned(),
            _ => text("/requestURI").unwrap_or("?").to_owned(),
        };
        let kind = format!("{} {resource}", text("/verb").unwrap_or("?"));
        *self.by_kind.entry(kind).or_default() += 1;
        self.throttled += u64::from(event.pointer("/responseStatus/code").and_then(Value::as_u64) == Some(429));
        Ok(())
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_verb_and_resource() -> serde_json::Result<()> {
        let mut requests = Requests::default();
        for line in [
            r#"{"verb": "patch", "objectRef": {"resource": "streamingjobs", "subresource": "status"}, "responseStatus": {"code": 200}}"#,
            r#"{"verb": "patch", "objectRef": {"resource": "streamingjobs", "subresource": "status"}, "responseStatus": {"code": 429}}"#,
            r#"{"verb": "get", "objectRef": {"resource": "configmaps", "name": "a"}, "responseStatus": {"code": 404}}"#,
            r#"{"verb": "get", "requestURI": "/version"}"#,
        ] {
            requests.count(line)?;
        }
        let expected = [("get /version", 1), ("get configmaps", 1), ("patch streamingjobs/status", 2)];
        assert_eq!(requests.by_kind, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
        assert_eq!((requests.total(), requests.throttled), (4, 1));
        assert!(requests.count("{half of a li").is_err());
        Ok(())
    }
}
