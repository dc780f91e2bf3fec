//! Folders: urls, and the s3 connections that reach them.

use crate::connection::{AccessStyle, S3Connection};
use crate::plan::{Location, S3Plan};
use crate::reference::{LocalRef, ObjectKey, ObjectStoreLocation};

use super::{Place, ResolveContext, ResolveError, Resolver};

/// The region that servers other than AWS take when they are not told another.
const DEFAULT_REGION: &str = "us-east-1";
const URL_EXAMPLE: &str = "s3://lake/payments/transactions/";

impl Resolver<'_> {
    /// A folder, with its connection.
    pub(super) fn location(&mut self, spec: &ObjectStoreLocation, at: &Place) -> Option<Location> {
        let url_at = at.child("url");
        let url = match folder(&spec.url) {
            Ok(url) => url,
            Err(problem) => {
                let url = spec.url.clone();
                return self.push(ResolveError::UrlInvalid { at: url_at, url, problem, example: URL_EXAMPLE });
            }
        };
        if url.starts_with("file:") {
            return match self.context {
                ResolveContext::Local => Some(Location { url, s3: None }),
                ResolveContext::Cluster { .. } => self.push(ResolveError::FileUrlInCluster { at: url_at, url }),
            };
        }
        let Some(reference) = &spec.connection_ref else {
            return self.push(ResolveError::ConnectionRefMissing { at: at.child("connectionRef"), url });
        };
        let s3 = self.s3(reference, &at.child("connectionRef.name"))?;
        Some(Location { url, s3: Some(s3) })
    }

    /// The s3 connection of a name.
    pub(super) fn s3(&mut self, reference: &LocalRef, at: &Place) -> Option<S3Plan> {
        let key = ObjectKey::new(&self.key.namespace, &reference.name);
        let Some(connection) = self.connections.get(&key) else {
            return self.push(ResolveError::ConnectionNotFound { at: at.clone(), connection: key });
        };
        let Some(s3) = &connection.spec.s3 else {
            return self.push(ResolveError::WrongConnection { at: at.clone(), connection: key, wanted: "s3" });
        };
        let at = Place::new("Connection", key, "spec.s3");
        self.later(s3.encryption.is_some(), at.child("encryption"), "encryption by request", "set it on the bucket");
        let unverified = s3.tls.as_ref().is_some_and(|tls| tls.hostname_verification == Some(false));
        self.later(
            unverified,
            at.child("tls.hostnameVerification"),
            "an S3 endpoint without hostname verification",
            "remove it, and use a certificate with the endpoint's name",
        );
        let endpoint = self.endpoint(s3, &at)?;
        let region = match (&s3.region, &endpoint) {
            (Some(region), _) => region.clone(),
            (None, Some(_)) => DEFAULT_REGION.to_owned(),
            (None, None) => {
                return self.push(ResolveError::FieldMissing { at: at.child("region"), needed_by: "AWS" });
            }
        };
        let path_style = s3.access_style.map_or(endpoint.is_some(), |style| style == AccessStyle::Path);
        let trusted = s3.tls.as_ref().and_then(|tls| tls.trusted_certificates.as_deref());
        let trusted_certificates = self.certificates(trusted, &at.child("tls"));
        let credentials = s3.credentials.as_ref().map(|keys| self.credentials(keys, &at.child("credentials")));
        Some(S3Plan {
            connection: reference.name.clone(),
            endpoint,
            region,
            path_style,
            credentials,
            trusted_certificates,
        })
    }

    /// The endpoint without a slash at its end. The outer option is an error, the inner one is AWS.
    #[allow(clippy::option_option)]
    fn endpoint(&mut self, s3: &S3Connection, at: &Place) -> Option<Option<String>> {
        let Some(endpoint) = &s3.endpoint else { return Some(None) };
        let problem = match url::Url::parse(endpoint) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
                "must begin with http:// or https://"
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                return self.push(ResolveError::UrlInvalid {
                    at: at.child("endpoint"),
                    // The url is not repeated, because it holds a password.
                    url: format!("{}://…@{}", url.scheme(), url.host_str().unwrap_or_default()),
                    problem: "must not hold a user or a password: use credentials",
                    example: "http://minio.storage:9000",
                });
            }
            Ok(url) if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
                "must be the root of the server, without a path"
            }
            Ok(_) => return Some(Some(endpoint.trim_end_matches('/').to_owned())),
            Err(_) => "is not a url",
        };
        let (at, url) = (at.child("endpoint"), endpoint.clone());
        self.push(ResolveError::UrlInvalid { at, url, problem, example: "http://minio.storage:9000" })
    }
}

/// The url of a folder in its one spelling, with a slash at its end; or what is wrong with it.
fn folder(url: &str) -> Result<String, &'static str> {
    let path = if let Some(rest) = url.strip_prefix("s3://") {
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
        if bucket.is_empty() || !bucket.bytes().all(legal) {
            return Err("has no valid bucket after s3://");
        }
        path
    } else if let Some(rest) = url.strip_prefix("file://") {
        rest.strip_prefix('/').ok_or("must have an absolute path, with three slashes after file:")?
    } else {
        return Err("must begin with s3:// (or file:/// in local runs)");
    };
    if path.contains(['?', '#', '\\']) || path.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("must not hold spaces, control characters, ?, # or \\");
    }
    let segments = path.strip_suffix('/').unwrap_or(path);
    if !segments.is_empty() && segments.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("must not hold empty segments, . or ..");
    }
    Ok(if url.ends_with('/') { url.to_owned() } else { format!("{url}/") })
}

/// The parent of a folder, with a slash at its end; `None` for the root of a bucket or of a file system.
pub(super) fn beside(url: &str) -> Option<String> {
    let (scheme, path) = url.split_once("://")?;
    let path = path.strip_suffix('/')?;
    let (parent, _) = path.rsplit_once('/')?;
    Some(format!("{scheme}://{parent}/"))
}

/// Would a reader of the table at `sink` find the files of `other`? Names that begin with `_` or `.` are hidden from readers.
pub(super) fn readers_would_see(sink: &Location, other: &Location) -> bool {
    let server = |location: &Location| location.s3.as_ref().map(|s3| s3.endpoint.clone());
    let below = other.url.strip_prefix(&sink.url).filter(|_| server(sink) == server(other));
    below.is_some_and(|below| !below.split('/').any(|segment| segment.starts_with(['_', '.'])))
}
