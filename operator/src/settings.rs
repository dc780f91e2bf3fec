//! The flags, each also an environment variable, which is how the chart sets them.

use std::net::SocketAddr;

use clap::{ArgAction, Parser, ValueEnum};

/// The operator of Sluice: runs StreamingJobs on a cluster and tells how they are.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "sluice-operator",
    version,
    max_term_width = 100,
    after_help = "`sluice-operator check URL` asks an operator once whether it is ready."
)]
pub struct Settings {
    /// The namespaces to look after, separated by commas. Empty: all.
    #[arg(long, env = "SLUICE_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// What the pods of workers and agents run.
    #[command(flatten)]
    pub pods: PodSettings,
    /// Take the lease before doing anything, so that of several operators one acts.
    #[arg(long, env = "SLUICE_LEADER_ELECTION", default_value_t = true, action = ArgAction::Set)]
    pub leader_election: bool,
    /// Name of the Lease, in the operator's own namespace.
    #[arg(long, env = "SLUICE_LEASE_NAME", default_value = "sluice-operator")]
    pub lease_name: String,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "SLUICE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// How logs are written.
    #[arg(long, env = "SLUICE_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// Name of this pod, by the downward API.
    #[arg(long, env = "POD_NAME", default_value = "sluice-operator")]
    pub pod_name: String,
    /// Namespace of this pod, by the downward API.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub pod_namespace: String,
    /// The identity of this cluster in ledgers. Default: the UID of the namespace kube-system.
    #[arg(long, env = "SLUICE_CLUSTER_UID")]
    pub cluster_uid: Option<String>,
}

/// What the pods of workers and agents run.
#[derive(Debug, Clone, Parser)]
pub struct PodSettings {
    /// The image of workers and agents. Workers keep theirs until their job changes.
    #[arg(long, env = "SLUICE_IMAGE")]
    pub image: String,
    /// Always, IfNotPresent or Never.
    #[arg(long, env = "SLUICE_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub image_pull_policy: String,
    /// Secrets of the image's registry, separated by commas. They must exist in each namespace with a job.
    #[arg(long, env = "SLUICE_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Settings {
    /// The namespaces to look after; none: all. An empty variable is one empty text for clap.
    pub fn namespaces(&self) -> Vec<String> {
        without_blanks(&self.watch_namespaces)
    }
}

impl PodSettings {
    /// The names of the pull secrets.
    pub fn pull_secrets(&self) -> Vec<String> {
        without_blanks(&self.image_pull_secrets)
    }
}

fn without_blanks(words: &[String]) -> Vec<String> {
    words.iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_means_all_namespaces() {
        let settings = Settings::parse_from(["sluice-operator", "--image", "i", "--watch-namespaces", ""]);
        assert!(settings.namespaces().is_empty() && settings.leader_election);
        let settings = Settings::parse_from([
            "sluice-operator",
            "--image=i",
            "--watch-namespaces=a, b",
            "--leader-election=false",
            "--image-pull-secrets=x,y",
        ]);
        assert_eq!(settings.namespaces(), ["a", "b"]);
        assert_eq!(settings.pods.pull_secrets(), ["x", "y"]);
        assert!(!settings.leader_election);
    }
}
