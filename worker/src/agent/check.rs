//! The check of a plan: its transforms, planned against the schemas of source and sink, as a worker does it at its start.

use sluice_crds::condition::{Reason, StateReason};
use sluice_crds::report::PlanCheck;

use super::finding::{bad, good};
use super::world::JobFacts;
use crate::pipeline::start::plan_transforms;

/// Checks a plan. Planning computes and never waits, so that it has a thread of its own.
pub async fn check(facts: &JobFacts) -> PlanCheck {
    let (plan, runtime) = (facts.plan.clone(), tokio::runtime::Handle::current());
    let planned = tokio::task::spawn_blocking(move || runtime.block_on(plan_transforms(&plan)).map(drop));
    let finding = match planned.await {
        Ok(Ok(())) => {
            good(StateReason::Valid, "references are resolved, transforms are planned, the sink's schema fits")
        }
        Ok(Err(stop)) => bad(stop.reason, stop.message),
        Err(error) => bad(Reason::Internal, format!("planning the transforms broke off: {error}")),
    };
    PlanCheck { plan_hash: facts.hash.clone(), finding }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    async fn checked(from: &str, to: &str) -> PlanCheck {
        assert!(testing::CLUSTER.contains(from), "{from}");
        let world = testing::world(&testing::CLUSTER.replacen(from, to, 1));
        check(&world.jobs["orders"]).await
    }

    #[tokio::test]
    async fn a_check_names_its_plan_and_what_is_wrong_with_it() {
        let good = checked("amount > 0", "amount > 0").await;
        assert!(good.finding.ok && good.finding.reason == "Valid", "{good:?}");
        assert_eq!(good.plan_hash, testing::world(testing::CLUSTER).jobs["orders"].hash);
        let unknown = checked("amount > 0", "amont > 0").await;
        assert_eq!((unknown.finding.ok, unknown.finding.reason.as_str()), (false, "TransformInvalid"));
        assert!(unknown.finding.message.contains("line 1, column 1"), "{}", unknown.finding.message);
        assert_ne!(good.plan_hash, unknown.plan_hash);
        let columns = "format: {parquet: {}}\n  columns: [{name: other, type: int}]";
        let mismatch = checked("format: {parquet: {}}", columns).await;
        assert_eq!((mismatch.finding.ok, mismatch.finding.reason.as_str()), (false, "SchemaMismatch"));
    }
}
