//! A plan as it comes out of a file.

use serde::Deserialize;

use super::{JobPlan, PLAN_VERSION};

/// Why a text is no plan that this program can run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Of another release.
    #[error(
        "the plan has format {found}, this program knows {PLAN_VERSION}: run the worker of the operator's own release"
    )]
    Version {
        /// The format of the plan.
        found: u32,
    },
    /// Something else.
    #[error("this is no plan of a job: give the file that the operator writes")]
    Json(#[source] serde_json::Error),
}

impl JobPlan {
    /// Reads a plan as the operator writes it.
    pub fn from_json(text: &[u8]) -> Result<Self, PlanError> {
        /// What plans of all formats have: the rest of an unknown one may look like anything.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_slice(text).map_err(PlanError::Json)?;
        known(head.version)?;
        serde_json::from_slice(text).map_err(PlanError::Json)
    }

    /// Is the plan of a format that this program knows?
    pub fn check_version(&self) -> Result<(), PlanError> {
        known(self.version)
    }
}

fn known(version: u32) -> Result<(), PlanError> {
    if version == PLAN_VERSION { Ok(()) } else { Err(PlanError::Version { found: version }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_another_format_is_told_as_such_whatever_else_is_in_it() {
        let told = |text: &str| JobPlan::from_json(text.as_bytes()).expect_err("refused").to_string();
        let other = told(r#"{"version": 2, "job": 7}"#);
        assert!(other.contains("format 2") && other.contains("knows 1"), "{other}");
        for text in ["", "[]", r#"{"version": "1"}"#, r#"{"version": 1, "job": 7}"#] {
            assert!(told(text).contains("no plan"), "{text}");
        }
    }
}
