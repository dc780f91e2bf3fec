//! Looks whether a bucket's lifecycle rules suit what lies there, and says so when they do not.
//!
//! Uploads that no record names stay behind when a worker is killed, and nothing but a rule of the bucket ever removes
//! them. A rule that is too hasty removes uploads that *are* named, and one that expires objects can remove the ledger.
//!
//! It asks once, for five seconds at most, and whatever comes back the start goes on: who may write objects is often not
//! allowed to read the bucket's settings, and not every server has such rules.

mod rules;

use std::fmt;
use std::time::Duration;

use object_store::ClientOptions;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpConnector, HttpError, HttpRequest, HttpRequestBody, HttpResponse, ReqwestConnector};
use object_store::path::Path;
use url::Url;

use self::rules::Rule;
use super::error::{Answer, element};
use super::{Place, Store};

/// How long the bucket may take: nothing waits for the answer but a line in the log.
const PATIENCE: Duration = Duration::from_secs(5);
/// A decided upload must survive the longest outage of all workers: a long weekend and then some.
const FEWEST_DAYS: u32 = 7;

/// What a location holds that a rule can spoil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Files that are staged as uploads.
    Uploads,
    /// Records that must never be deleted.
    Ledger,
}

/// What a person should know of a bucket's rules. The text names the bucket and says how to mend it.
#[derive(Debug)]
pub enum Finding {
    /// Nothing ever removes the uploads that are left behind.
    NeverAborted {
        /// The bucket.
        bucket: String,
        /// Where uploads are staged.
        prefix: String,
    },
    /// Uploads are removed while they may still be needed.
    AbortedEarly {
        /// The bucket.
        bucket: String,
        /// Where uploads are staged.
        prefix: String,
        /// The rule's name.
        rule: String,
        /// After so many days.
        days: u32,
    },
    /// Records of the ledger are deleted.
    LedgerExpires {
        /// The bucket.
        bucket: String,
        /// Where the ledger lies.
        prefix: String,
        /// The rule's name.
        rule: String,
    },
    /// `MinIO` has a setting of the whole server instead of a rule, and tells it to its administrators only.
    ServerAborts {
        /// The bucket.
        bucket: String,
    },
    /// The rules could not be read.
    Unknown {
        /// The bucket.
        bucket: String,
        /// Why.
        why: Unknown,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverAborted { bucket, prefix } => {
                let rule = serde_json::json!({
                    "ID": "sluice-incomplete-uploads",
                    "Filter": {"Prefix": prefix},
                    "Status": "Enabled",
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": FEWEST_DAYS},
                });
                write!(
                    f,
                    "no lifecycle rule of bucket `{bucket}` aborts incomplete uploads below `{prefix}`: what killed workers \
                     leave behind costs storage for ever; add this rule to those of the bucket (docs/operations.md says \
                     how): {rule}"
                )
            }
            Self::AbortedEarly { bucket, prefix, rule, days } => write!(
                f,
                "lifecycle rule `{rule}` of bucket `{bucket}` aborts incomplete uploads below `{prefix}` after {days} days: \
                 a commit that is decided and not yet visible lives in such an upload, and an outage of that length loses \
                 it; set DaysAfterInitiation to {FEWEST_DAYS} or more"
            ),
            Self::LedgerExpires { bucket, prefix, rule } => write!(
                f,
                "lifecycle rule `{rule}` of bucket `{bucket}` deletes objects of the ledger below `{prefix}`: without its \
                 records the job stops and cannot be continued; give the rule a prefix that leaves this folder out"
            ),
            Self::ServerAborts { bucket } => write!(
                f,
                "the server of bucket `{bucket}` is MinIO, which has no lifecycle rule for incomplete uploads: it removes them \
                 after its setting `api stale_uploads_expiry`, 24 hours unless somebody changed it, and an outage of that \
                 length loses commits that are decided and not yet visible; let an administrator set it to {}h or more",
                FEWEST_DAYS * 24
            ),
            Self::Unknown { bucket, why } => write!(
                f,
                "the lifecycle rules of bucket `{bucket}` are not known ({why}): see for yourself that incomplete uploads are \
                 aborted after {FEWEST_DAYS} days or more and that nothing expires the ledger, or allow \
                 s3:GetLifecycleConfiguration"
            ),
        }
    }
}

/// Why the rules of a bucket could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The server does not tell.
    #[error("the answer was {status} {code}")]
    Refused {
        /// The status.
        status: u16,
        /// The code of the error, when the answer has one.
        code: String,
    },
    /// The answer is not what it should be.
    #[error("the answer cannot be understood")]
    Unreadable(#[source] quick_xml::DeError),
    /// The request could not be sent, or broke off.
    #[error("the request failed")]
    Failed(#[source] HttpError),
    /// Credentials or the client could not be had.
    #[error("the request could not be made")]
    Unmade(#[source] Answer),
    /// Nothing came back.
    #[error("no answer came within {PATIENCE:?}")]
    Silent,
}

impl Store {
    /// What a person should know of the bucket's lifecycle rules, as far as they concern this location. A folder has none.
    pub async fn lifecycle(&self, holds: Holds) -> Vec<Finding> {
        let Place::Bucket(place) = &self.place else { return Vec::new() };
        let Some(lifecycle) = &place.lifecycle else { return Vec::new() };
        let bucket = lifecycle.bucket.clone();
        match tokio::time::timeout(PATIENCE, lifecycle.ask()).await.unwrap_or(Err(Unknown::Silent)) {
            Ok(told) => told.judge(&bucket, &folder(&place.prefix), holds),
            Err(why) => vec![Finding::Unknown { bucket, why }],
        }
    }
}

/// The beginning of all keys below a prefix.
fn folder(prefix: &Path) -> String {
    if prefix.is_root() { String::new() } else { format!("{prefix}/") }
}

/// The access to a bucket's settings: the same as to its objects, which `object_store` does not lend.
pub(super) struct Lifecycle {
    pub(super) bucket: String,
    /// The bucket's own address, as its objects have it in front of their keys.
    pub(super) address: Url,
    pub(super) region: String,
    pub(super) credentials: AwsCredentialProvider,
    /// False: requests carry no signature.
    pub(super) signed: bool,
    pub(super) options: ClientOptions,
}

/// What a server told.
struct Told {
    rules: Vec<Rule>,
    minio: bool,
}

impl Lifecycle {
    async fn ask(&self) -> Result<Told, Unknown> {
        let mut address = self.address.clone();
        // With the sign, as it is signed: not every server takes one for the other.
        address.set_query(Some("lifecycle="));
        let response = self.get(&address).await?;
        let minio = response.headers().get("server").is_some_and(|server| server.as_bytes().starts_with(b"MinIO"));
        let status = response.status().as_u16();
        let body = response.into_body().bytes().await.map_err(Unknown::Failed)?;
        let rules = rules_of(status, &String::from_utf8_lossy(&body))?;
        Ok(Told { rules, minio })
    }

    /// Asks the server something that `object_store` has no question for.
    pub(super) async fn get(&self, address: &Url) -> Result<HttpResponse, Unknown> {
        let unmade = |error| Unknown::Unmade(Answer::from_store(&error));
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = address.as_str().parse().map_err(|_| Unknown::Unmade(Answer::new("its url is wrong")))?;
        if self.signed {
            let credential = self.credentials.get_credential().await.map_err(unmade)?;
            AwsAuthorizer::new(&credential, "s3", &self.region).authorize(&mut request, None);
        }
        let client = ReqwestConnector::default().connect(&self.options).map_err(unmade)?;
        client.execute(request).await.map_err(Unknown::Failed)
    }
}

/// The rules in an answer. A bucket without a configuration has none.
fn rules_of(status: u16, body: &str) -> Result<Vec<Rule>, Unknown> {
    match (status, element(body, "Code").unwrap_or_default()) {
        (200, _) => rules::parse(body).map_err(Unknown::Unreadable),
        (404, "NoSuchLifecycleConfiguration") => Ok(Vec::new()),
        (status, code) => Err(Unknown::Refused { status, code: code.chars().take(100).collect() }),
    }
}

impl Told {
    fn judge(&self, bucket: &str, folder: &str, holds: Holds) -> Vec<Finding> {
        let (bucket, prefix) = (bucket.to_string(), folder.to_string());
        match holds {
            Holds::Uploads if self.minio => vec![Finding::ServerAborts { bucket }],
            Holds::Uploads => {
                let early = rules::first_abort(&self.rules, folder).filter(|(_, days)| *days < FEWEST_DAYS);
                let early = early.map(|(rule, days)| Finding::AbortedEarly {
                    bucket: bucket.clone(),
                    prefix: prefix.clone(),
                    rule: rule.to_string(),
                    days,
                });
                let never =
                    (!rules::aborts_all(&self.rules, folder)).then_some(Finding::NeverAborted { bucket, prefix });
                early.into_iter().chain(never).collect()
            }
            Holds::Ledger => {
                // Snapshots and probes may go.
                let kept = ["ledger/", "plans/", "job.json"].map(|name| format!("{folder}{name}"));
                let expiring = rules::expiring(&self.rules, &kept);
                expiring
                    .map(|rule| Finding::LedgerExpires {
                        bucket: bucket.clone(),
                        prefix: prefix.clone(),
                        rule: rule.to_string(),
                    })
                    .collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
