//! Of several operators one acts: the one that holds the Lease.
//!
//! Losing it ends the process, because a reconcile under way cannot be taken back; another start is cheap. Two that act at the same
//! time for a moment do no harm to data: they apply the same objects, and the ledger decides about records.

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::names::MANAGER;
use crate::settings::Settings;

/// Nobody leads for at most this long after a leader's sudden death, in seconds.
const DURATION: u64 = 15;
/// The leader renews this long before the end, which is also the difference of clocks that is tolerated.
const GRACE: u64 = 5;

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
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Leadership {
    /// Waits until the lease is ours.
    pub async fn acquire(client: Client, settings: &Settings) -> Result<Self, LeaderError> {
        let name = settings.lease_name.clone();
        let manager = LeaseManagerBuilder::new(client, &settings.lease_name)
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
        tracing::info!(lease = settings.lease_name, "the lease is held");
        Ok(Self { channel, task })
    }

    /// Returns when the lease is lost.
    pub async fn lost(&mut self) {
        // A closed channel means that nobody renews any more.
        let _ = self.channel.wait_for(|held| !*held).await;
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
