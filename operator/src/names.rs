//! Names and labels of what the operator makes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Who writes, for server-side apply, and the value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "sluice-operator";
/// On everything that belongs to a job.
pub const JOB_LABEL: &str = "sluice.dev/job";
/// Selects everything that the operator made.
pub const OURS: &str = "app.kubernetes.io/managed-by=sluice-operator";
/// `plan_hash` of the plan: workers with different ones never run side by side.
pub const PLAN_HASH: &str = "sluice.dev/plan-hash";
/// The generation of the plan in the ledger.
pub const PLAN_GENERATION: &str = "sluice.dev/plan-generation";
/// `plan_hash` of the plan that the workers leave for: it was let through, and is not asked about again. Empty: they stay.
pub const NEXT_PLAN: &str = "sluice.dev/next-plan";
/// Hash of everything that a user can change about the pods: while it stays, so do image and template.
pub const INPUTS: &str = "sluice.dev/inputs";
/// Hash of the pod template as the operator made it.
pub const TEMPLATE_HASH: &str = "sluice.dev/template-hash";

/// Room for the ordinal of a pod and the revision hash in the label of a StatefulSet.
const LONGEST: usize = 52;

/// `<job>`, `<job>-<suffix>`: a DNS label of at most 52 characters that begins with a letter. What does not fit is cut and gets a
/// hash of the whole, so that two long names stay two names.
pub fn child(job: &str, suffix: &str) -> String {
    let wanted = if suffix.is_empty() { job.to_owned() } else { format!("{job}-{suffix}") };
    let legal =
        wanted.len() <= LONGEST && !wanted.contains('.') && wanted.starts_with(|c: char| c.is_ascii_lowercase());
    if legal {
        return wanted;
    }
    let hash = short_hash(wanted.as_bytes());
    let mut name = job.replace('.', "-");
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert_str(0, "sj-");
    }
    let tail = if suffix.is_empty() { hash } else { format!("{hash}-{suffix}") };
    name.truncate(LONGEST.saturating_sub(tail.len() + 1));
    format!("{}-{tail}", name.trim_end_matches('-'))
}

/// The first eight hexadecimal digits of a SHA-256.
pub fn short_hash(bytes: &[u8]) -> String {
    let mut hash = hash(bytes);
    hash.truncate(8);
    hash
}

/// The first 32 hexadecimal digits of a SHA-256.
pub fn hash(bytes: &[u8]) -> String {
    let mut hash = format!("{:x}", Sha256::digest(bytes));
    hash.truncate(32);
    hash
}

/// What a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// Of a job.
    Worker,
    /// Of a namespace.
    Agent,
}

impl Component {
    /// As the label spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Agent => "agent",
        }
    }
}

/// The labels of everything that belongs to a job, or to the agent.
pub fn labels(component: Component, instance: &str) -> BTreeMap<String, String> {
    let mut labels = selector(component, instance);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
    labels.insert("app.kubernetes.io/part-of".to_owned(), "sluice".to_owned());
    labels
}

/// The labels by which pods are selected. They never change, because a StatefulSet's selector cannot.
pub fn selector(component: Component, instance: &str) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = [
        ("app.kubernetes.io/name", "sluice"),
        ("app.kubernetes.io/instance", instance),
        ("app.kubernetes.io/component", component.as_str()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    if component == Component::Worker {
        labels.insert(JOB_LABEL.to_owned(), instance.to_owned());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_is_kept() {
        assert_eq!(child("transactions", ""), "transactions");
        assert_eq!(child("transactions", "plan"), "transactions-plan");
        let longest = "a".repeat(52);
        assert_eq!(child(&longest, ""), longest);
    }

    #[test]
    fn a_name_that_does_not_fit_is_shortened_with_a_hash_and_stays_its_own() {
        let (a, b) = (format!("{}-a", "x".repeat(50)), format!("{}-b", "x".repeat(50)));
        let names = [child(&a, "plan"), child(&b, "plan"), child(&a, "worker"), child(&b, "worker")];
        for (index, name) in names.iter().enumerate() {
            assert!(name.len() <= 52, "{name}");
            assert!(!names[..index].contains(name), "{name} stands twice");
        }
        assert!(names[0].ends_with("-plan") && names[2].ends_with("-worker"), "{names:?}");
    }

    #[test]
    fn a_name_that_no_service_may_have_becomes_one_that_it_may() {
        for job in ["a.b", "2024-orders", "9", "a.b.c-d", &format!("1.{}", "y".repeat(50))] {
            let name = child(job, "");
            assert!(name.len() <= 52 && name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        }
        assert_ne!(child("a.b", ""), child("a-b", ""));
    }
}
