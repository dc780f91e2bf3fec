//! The kinds of objects that tests look at.

use kube::core::{ApiResource, GroupVersionKind};

/// A kind, by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its group; empty: the core.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its name.
    pub kind: &'static str,
    /// Its name in paths.
    pub plural: &'static str,
}

impl Kind {
    const fn new(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self { group, version, kind, plural }
    }

    /// As the client wants it.
    pub fn resource(self) -> ApiResource {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(self.group, self.version, self.kind), self.plural)
    }

    /// As `kubectl` wants it, when it must not be mistaken: Services are not the only services of a cluster.
    pub fn full(self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// A job of ours.
pub const STREAMING_JOB: Kind = Kind::new("sluice.dev", "v1alpha1", "StreamingJob", "streamingjobs");
/// A table.
pub const TABLE: Kind = Kind::new("sluice.dev", "v1alpha1", "DataCatalogTable", "datacatalogtables");
/// A connection.
pub const CONNECTION: Kind = Kind::new("sluice.dev", "v1alpha1", "Connection", "connections");
/// A pod.
pub const POD: Kind = Kind::new("", "v1", "Pod", "pods");
/// A secret.
pub const SECRET: Kind = Kind::new("", "v1", "Secret", "secrets");
/// A service.
pub const SERVICE: Kind = Kind::new("", "v1", "Service", "services");
/// Some files.
pub const CONFIG_MAP: Kind = Kind::new("", "v1", "ConfigMap", "configmaps");
/// An identity.
pub const SERVICE_ACCOUNT: Kind = Kind::new("", "v1", "ServiceAccount", "serviceaccounts");
/// Workers.
pub const STATEFUL_SET: Kind = Kind::new("apps", "v1", "StatefulSet", "statefulsets");
/// The operator, an agent.
pub const DEPLOYMENT: Kind = Kind::new("apps", "v1", "Deployment", "deployments");
/// A bounded run.
pub const JOB: Kind = Kind::new("batch", "v1", "Job", "jobs");
/// Who may go.
pub const DISRUPTION_BUDGET: Kind = Kind::new("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets");
/// Who may come in.
pub const NETWORK_POLICY: Kind = Kind::new("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies");
/// Rights in a namespace.
pub const ROLE: Kind = Kind::new("rbac.authorization.k8s.io", "v1", "Role", "roles");
/// Who has them.
pub const ROLE_BINDING: Kind = Kind::new("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings");
/// What happened.
pub const EVENT: Kind = Kind::new("events.k8s.io", "v1", "Event", "events");
/// Which operator acts.
pub const LEASE: Kind = Kind::new("coordination.k8s.io", "v1", "Lease", "leases");

/// Everything that the operator makes in a namespace, pods aside.
pub const MADE: [Kind; 10] = [
    STATEFUL_SET,
    DEPLOYMENT,
    JOB,
    SERVICE,
    CONFIG_MAP,
    SERVICE_ACCOUNT,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    ROLE,
    ROLE_BINDING,
];
