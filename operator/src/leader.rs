//! Of several operators one acts: the one that holds the Lease.
//!
//! Losing it ends the process, because a reconcile under way cannot be taken back; another start is cheap. Two that act at the same
//! time for a moment do no harm to data: they apply the same objects, and the ledger decides about records.
//!
//! An operator that cannot renew the lease, because nobody answers, does not hear that it lost it. So it counts for itself how long ago it
//! renewed it last, by a clock that nobody sets, and leaves before another one can have the lease.

use std::time::Duration;

use axum::http::Request;
use kube::Client;
use kube::client::Body;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::names::MANAGER;
use crate::settings::Settings;

/// Nobody leads for at most this long after a leader's sudden death, in seconds.
const DURATION: u64 = 15;
/// The leader renews this long before the end, which is also the difference of clocks that is tolerated.
const GRACE: u64 = 8;
/// A leader that has not renewed for this long leaves: what it sent last gets these two seconds before another one may act.
const DEADLINE: Duration = Duration::from_secs(DURATION - 2);

/// Why the lease is not held.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// The API server did not let us.
    #[error("the lease {name} cannot be read or written: allow leases get, create, update and patch")]
    Lease {
        /// Its name.
        name: String,
        /// What it answered.
        #[source]
        source: LeaseManagerError,
    },
    /// The task that renews it has ended.
    #[error("nobody looks after the lease {name} any more")]
    Ended {
        /// Its name.
        name: String,
    },
}

/// The lease is held. Dropping it gives the lease back at some time; [`Leadership::leave`] waits for it.
pub struct Leadership {
    channel: watch::Receiver<bool>,
    renewed: watch::Receiver<Instant>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Leadership {
    /// Waits until the lease is ours.
    pub async fn acquire(client: Client, settings: &Settings) -> Result<Self, LeaderError> {
        let name = settings.lease_name.clone();
        let (renews, mut renewed) = watch::channel(Instant::now());
        let manager = LeaseManagerBuilder::new(noting(client, renews), &settings.lease_name)
            .with_namespace(&settings.pod_namespace)
            .with_identity(&settings.pod_name)
            // One field manager for each pod: the conflict between two is what keeps the second out.
            .with_field_manager(format!("{MANAGER}-{}", settings.pod_name))
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await
            .map_err(|source| LeaderError::Lease { name: name.clone(), source })?;
        let (mut channel, task) = manager.watch().await;
        tracing::info!(lease = settings.lease_name, identity = settings.pod_name, "waiting for the lease");
        channel.wait_for(|held| *held).await.map_err(|_| LeaderError::Ended { name })?;
        // A container that was started again in its pod finds the lease to be its own, however old: it counts from its first renewal.
        let _ = renewed.changed().await;
        tracing::info!(lease = settings.lease_name, "the lease is held");
        Ok(Self { channel, renewed, task })
    }

    /// Returns when the lease is lost, or may be lost soon.
    pub async fn lost(&mut self) {
        tokio::select! {
            // A closed channel means that nobody renews any more.
            _ = self.channel.wait_for(|held| !*held) => {}
            () = unrenewed(&mut self.renewed) => {
                tracing::error!(seconds = DEADLINE.as_secs(), "the lease could not be renewed for this long");
            }
        }
    }

    /// Gives the lease back. The next operator takes it when it looks again, at the latest at the end of the lease as it knew it.
    pub async fn leave(self) {
        drop(self.channel);
        match self.task.await {
            Ok(Ok(_)) => tracing::info!("the lease is given back"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease was not given back; it runs out by itself"),
            Err(error) => tracing::warn!(%error, "the lease was not given back; it runs out by itself"),
        }
    }
}

/// A client for the lease alone, which notes when a write began that went well. The library tells only whether the lease is held, as far as
/// it knows, and not when it was renewed.
fn noting(client: Client, renews: watch::Sender<Instant>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, renews) = (client.clone(), renews.clone());
        async move {
            let (began, writes) = (Instant::now(), request.method().as_str() == "PATCH");
            let answer = client.send(request).await?;
            if writes && answer.status().is_success() {
                renews.send_replace(began);
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    Client::new(service, namespace)
}

/// Returns when the last renewal is too long ago.
async fn unrenewed(renewed: &mut watch::Receiver<Instant>) {
    loop {
        let deadline = *renewed.borrow_and_update() + DEADLINE;
        tokio::select! {
            biased;
            changed = renewed.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(deadline) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use axum::http::Response;
    use k8s_openapi::api::coordination::v1::Lease;
    use kube::Api;
    use kube::api::{Patch, PatchParams};
    use serde_json::json;

    use super::*;

    /// An API server that answers with this code.
    fn server(code: &Arc<AtomicU16>) -> Client {
        let code = Arc::clone(code);
        let service = tower::service_fn(move |_: Request<Body>| {
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}});
            let body = Body::from(lease.to_string().into_bytes());
            let answer = Response::builder().status(code.load(Ordering::Relaxed)).body(body).expect("an answer");
            std::future::ready(Ok::<_, std::convert::Infallible>(answer))
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_renew_leaves_before_another_one_may_lead() {
        let (code, (renews, mut renewed)) = (Arc::new(AtomicU16::new(200)), watch::channel(Instant::now()));
        let leases: Api<Lease> = Api::default_namespaced(noting(server(&code), renews));
        let start = Instant::now();
        let renewals = async {
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_secs(DURATION - GRACE)).await;
                let renewal = Patch::Merge(json!({}));
                let _ = leases.patch("a", &PatchParams::default(), &renewal).await;
                // Reading it is not renewing it; and from the fourth time on the server answers with errors.
                let _ = leases.get("a").await;
                if start.elapsed() >= Duration::from_secs(3 * (DURATION - GRACE)) {
                    code.store(500, Ordering::Relaxed);
                }
            }
        };
        tokio::select! {
            biased;
            () = unrenewed(&mut renewed) => {}
            () = renewals => panic!("it led on"),
        }
        let since = start.elapsed().saturating_sub(Duration::from_secs(3 * (DURATION - GRACE)));
        assert!(since >= DEADLINE && since < Duration::from_secs(DURATION), "{since:?}");
    }
}
