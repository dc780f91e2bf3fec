//! `sluice-operator check URL`: asks an operator once whether it is ready.
//!
//! The image has no shell and no other program to ask with, and the chart's test runs this.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use clap::Parser;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// An operator answers from memory. A Service without a ready pod may not answer at all.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is told of an answer.
const LONGEST: usize = 1024;

/// Asks an operator once; succeeds when the answer is 200.
#[derive(Debug, Clone, Parser)]
#[command(name = "sluice-operator check")]
pub struct Check {
    /// Where: `http://sluice-operator.sluice-system:8080/readyz`.
    pub url: Uri,
}

/// Why it is not ready.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Nothing came back.
    #[error("{url} does not answer within {}s: is a pod of the operator ready, and do network policies let this one ask?", PATIENCE.as_secs())]
    Silent {
        /// Where.
        url: Uri,
    },
    /// There is nobody.
    #[error("{url} cannot be reached: is a pod of the operator ready, and is the name right?")]
    Unreachable {
        /// Where.
        url: Uri,
        /// What the connection met.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// Another answer than 200.
    #[error("{url} answers {status}: {words}")]
    NotReady {
        /// Where.
        url: Uri,
        /// The answer.
        status: StatusCode,
        /// Its body.
        words: String,
    },
}

impl Check {
    /// Asks.
    pub async fn run(&self) -> Result<(), CheckError> {
        let url = self.url.clone();
        tokio::time::timeout(PATIENCE, self.ask()).await.unwrap_or(Err(CheckError::Silent { url }))
    }

    async fn ask(&self) -> Result<(), CheckError> {
        let url = self.url.clone();
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let answer = match client.get(url.clone()).await {
            Ok(answer) => answer,
            Err(source) => return Err(CheckError::Unreachable { url, source }),
        };
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(());
        }
        let words = Limited::new(answer.into_body(), LONGEST).collect().await;
        let words = words.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
        Err(CheckError::NotReady { url, status, words })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::{Health, serve};

    #[tokio::test]
    async fn an_operator_is_ready_when_it_says_so() {
        let health = Arc::new(Health::default());
        let address = serve(([127, 0, 0, 1], 0).into(), Arc::clone(&health)).await.expect("a port");
        let check = Check::parse_from(["check", &format!("http://{address}/readyz")]);
        let not_yet = check.run().await.expect_err("the caches are empty").to_string();
        assert!(not_yet.contains("503") && not_yet.contains("the caches are not filled yet"), "{not_yet}");
        health.ready(true);
        check.run().await.expect("it is ready");
    }

    #[tokio::test]
    async fn nobody_is_not_ready() {
        // A port that was free a moment ago.
        let address = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            listener.local_addr().expect("an address")
        };
        let nobody = Check::parse_from(["check", &format!("http://{address}/readyz")]).run().await;
        assert!(matches!(nobody, Err(CheckError::Unreachable { .. })), "{nobody:?}");
    }
}
