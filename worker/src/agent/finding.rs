//! What a failure is called in a report: a word of the one vocabulary. Pure.

use sluice_crds::condition::{Reason, StateReason};
use sluice_crds::report::Finding;
use sluice_crds::resolve::ResolveError;

use crate::error::Stop;

/// The longest message of a condition is 32768 bytes; nobody reads a tenth of that.
const LONGEST: usize = 2048;

/// What rustls, OpenSSL and librdkafka say of a server's certificate that they do not believe.
const DISBELIEF: [&str; 5] = [
    "certificate verify failed",
    "invalid peer certificate",
    "broker certificate could not be verified",
    "does not hold certificates in PEM",
    "ssl.ca.pem",
];

/// All is well.
pub fn good(reason: StateReason, message: impl Into<String>) -> Finding {
    Finding { ok: true, reason: reason.into(), message: message.into() }
}

/// Something is wrong.
pub fn bad(reason: impl Into<String>, message: impl Into<String>) -> Finding {
    let mut message: String = message.into();
    if message.len() > LONGEST {
        message.truncate(message.floor_char_boundary(LONGEST));
        message.push('…');
    }
    Finding { ok: false, reason: reason.into(), message }
}

/// A connection or a table that cannot be used, in the words of connections.
pub fn of_stop(stop: &Stop) -> Finding {
    let names = |words: &[&str]| words.iter().any(|words| stop.message.contains(words));
    match stop.reason {
        Reason::SourceUnavailable
        | Reason::SinkUnavailable
        | Reason::AuthenticationFailed
        | Reason::ReferenceNotFound
        | Reason::ConfigInvalid
            if names(&DISBELIEF) =>
        {
            bad(StateReason::CertificateInvalid, &stop.message)
        }
        // It was reached, and has no room.
        Reason::SinkUnavailable if names(&["no space is left"]) => bad(Reason::SinkUnavailable, &stop.message),
        Reason::SourceUnavailable | Reason::SinkUnavailable => bad(StateReason::Unreachable, &stop.message),
        reason => bad(reason, &stop.message),
    }
}

/// Objects that cannot be understood. A reference that is missing counts only when nothing else is wrong, because it heals by itself.
pub fn of_errors(errors: &[ResolveError]) -> Finding {
    let reasons = || errors.iter().map(ResolveError::reason);
    let reason = reasons().find(|reason| *reason != Reason::ReferenceNotFound).or_else(|| reasons().next());
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    bad(reason.unwrap_or(Reason::ConfigInvalid), lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_called_by_the_words_of_connections() {
        use Reason::{
            AuthenticationFailed, AuthorizationFailed, ConfigInvalid, Internal, SinkUnavailable, SourceUnavailable,
        };
        for (reason, message, word) in [
            (SourceUnavailable, "connection refused", "Unreachable"),
            (SinkUnavailable, "did not answer within 10s", "Unreachable"),
            (SinkUnavailable, "cannot write: no space is left; free some", "SinkUnavailable"),
            (SinkUnavailable, "error sending request: invalid peer certificate: Expired", "CertificateInvalid"),
            (
                AuthenticationFailed,
                "SSL handshake failed: certificate verify failed: hostname mismatch",
                "CertificateInvalid",
            ),
            // The server does not believe *our* certificate: that is a login that failed.
            (AuthenticationFailed, "ssl/tls alert bad certificate", "AuthenticationFailed"),
            (AuthenticationFailed, "SASL authentication error", "AuthenticationFailed"),
            (AuthorizationFailed, "not allowed", "AuthorizationFailed"),
            (Reason::ReferenceNotFound, "topic `t` does not exist", "ReferenceNotFound"),
            (
                Reason::ReferenceNotFound,
                "the secret file `ca.crt` does not hold certificates in PEM",
                "CertificateInvalid",
            ),
            (ConfigInvalid, "there is no such bucket", "ConfigInvalid"),
            (Internal, "broke off", "Internal"),
        ] {
            let finding = of_stop(&Stop::new(reason, message));
            assert_eq!((finding.ok, finding.reason.as_str(), finding.message.as_str()), (false, word, message));
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let finding = bad(Reason::Internal, "ä".repeat(2000));
        assert!(finding.message.len() < 2100 && finding.message.ends_with("ä…"), "{}", finding.message.len());
    }
}
