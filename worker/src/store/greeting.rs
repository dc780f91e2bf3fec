//! Says hello to an S3 endpoint, of which no bucket need be known: can it be reached, does it know the key, what time is it there?

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use sluice_crds::plan::S3Plan;
use url::Url;

use super::error::{Answer, StoreError, element};
use super::in_time;
use super::lifecycle::Unknown;
use super::open::build;

/// What is tried, for messages.
const ASKED: &str = "list the buckets of";

/// Asks for the list of buckets. Who may not see it is known all the same, and that is enough. The answer is how far the endpoint's clock
/// is from ours; nothing where it does not tell its time.
pub async fn greet(plan: &S3Plan, secrets: &Path) -> Result<Option<Duration>, StoreError> {
    let url = plan.endpoint.clone().unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", plan.region));
    let address =
        Url::parse(&url).map_err(|error| StoreError::Location { url: url.clone(), problem: error.to_string() })?;
    // The client is one for a bucket; its name is in no request.
    let (_, access) = build(&url, "sluice", plan, secrets)?;
    let greeting = async {
        let failed = |why: Unknown| StoreError::refused(ASKED, &url, None, words(&why));
        let sent = Timestamp::now();
        let response = access.get(&address).await.map_err(failed)?;
        let skew = response.headers().get("date").and_then(|date| skew(date.to_str().ok()?, sent, Timestamp::now()));
        let status = response.status().as_u16();
        let body = response.into_body().bytes().await.map_err(|error| failed(Unknown::Failed(error)))?;
        judge(&url, status, &String::from_utf8_lossy(&body)).map(|()| skew)
    };
    in_time(&url, greeting).await
}

/// How far a clock is from ours, which showed these two times before and after. It tells whole seconds, so that less than one is nothing.
fn skew(date: &str, before: Timestamp, after: Timestamp) -> Option<Duration> {
    let theirs = rfc2822::parse(date).ok()?.timestamp();
    let late = before.duration_since(theirs);
    let early = theirs.duration_since(after);
    let apart = late.max(early);
    if apart.as_secs() < 1 { Some(Duration::ZERO) } else { Duration::try_from(apart).ok() }
}

fn judge(url: &str, status: u16, body: &str) -> Result<(), StoreError> {
    let code = element(body, "Code");
    // Keys for one bucket may not list all of them. That they may not says that they are known.
    let known = status == 403 && matches!(code, Some("AccessDenied" | "AllAccessDisabled"));
    if known || (200..300).contains(&status) {
        return Ok(());
    }
    let words = [code, element(body, "Message")].into_iter().flatten();
    let words = words.fold(format!("HTTP status {status}"), |all, word| format!("{all}: {word}"));
    Err(StoreError::refused(ASKED, url, code, Answer::new(&words)))
}

/// The words of a request that got no answer, with all that is behind them: the innermost error names a certificate.
fn words(why: &Unknown) -> Answer {
    Answer::new(&crate::error::chain(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Classified;
    use sluice_crds::condition::Reason;

    fn reason(status: u16, code: &str) -> Option<Reason> {
        let body = format!(
            "<Error><Code>{code}</Code><Message>words</Message><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>"
        );
        let error = judge("http://s3:9000", status, &body).err()?;
        let text = crate::error::chain(&error);
        assert!(text.contains("words") && !text.contains("AKIASECRET"), "{text}");
        Some(error.reason())
    }

    #[test]
    fn a_key_that_may_not_list_is_known_and_one_that_is_unknown_is_not() {
        assert_eq!(reason(200, ""), None);
        assert_eq!(reason(403, "AccessDenied"), None);
        assert_eq!(reason(403, "InvalidAccessKeyId"), Some(Reason::AuthenticationFailed));
        assert_eq!(reason(403, "SignatureDoesNotMatch"), Some(Reason::AuthenticationFailed));
        assert_eq!(reason(503, "SlowDown"), Some(Reason::SinkUnavailable));
    }

    #[test]
    fn the_distance_of_a_clock_has_no_direction_and_counts_from_a_second_on() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (before, after) = (at("2026-01-31T10:00:00.9Z"), at("2026-01-31T10:00:01.1Z"));
        let of = |time: &str| skew(&format!("Sat, 31 Jan 2026 {time} GMT"), before, after);
        assert_eq!(of("10:00:00"), Some(Duration::ZERO));
        assert_eq!(of("10:00:01"), Some(Duration::ZERO));
        assert_eq!(of("09:59:59"), Some(Duration::from_millis(1900)));
        assert_eq!(of("10:20:01"), Some(Duration::from_millis(1_199_900)));
        assert_eq!(skew("yesterday", before, after), None);
    }
}
