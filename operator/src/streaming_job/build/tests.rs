//! Every object of a job, as it is applied. Whoever changes one sees it in a snapshot.

use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_crds::reference::ObjectKey;

use super::*;
use crate::testing::{self, parse_all, pod_settings};

struct World {
    key: ObjectKey,
    job: StreamingJob,
    valid: Validated,
    plan: JobPlan,
    pods: PodSettings,
}

impl World {
    fn of(text: &str) -> Self {
        let manifests = parse_all(text);
        let job = testing::job(&manifests);
        let valid =
            super::super::validate::validate(&job, &testing::world(&manifests), testing::CLUSTER).expect("valid");
        let plan = valid.sealed(None, Timestamp::from_second(1_800_000_000).expect("a time"));
        Self { key: ObjectKey::of(&job.metadata), job, valid, plan, pods: pod_settings() }
    }

    fn blueprint(&self) -> Blueprint<'_> {
        Blueprint { key: &self.key, job: &self.job, valid: &self.valid, plan: &self.plan, pods: &self.pods }
    }
}

fn set(object: &Object) -> SetView {
    serde_json::from_value(object.body.clone()).expect("a StatefulSet")
}

#[test]
fn the_surroundings_of_the_workers() {
    let world = World::of(testing::BASE);
    let mut bodies: Vec<Value> = world.blueprint().surroundings().into_iter().map(|object| object.body).collect();
    let plan: JobPlan = serde_json::from_str(bodies[0]["data"]["plan.json"].as_str().expect("a text")).expect("a plan");
    assert_eq!(plan, world.plan, "a worker reads what the operator wrote");
    bodies[0]["data"]["plan.json"] = json!("…");
    insta::assert_yaml_snapshot!(bodies);
}

#[test]
fn the_workers_of_a_continuous_job() {
    insta::assert_yaml_snapshot!(World::of(testing::BASE).blueprint().stateful_set(2, None).body);
}

#[test]
fn the_workers_of_a_bounded_run() {
    let text = testing::BASE.replacen("mode: Continuous", "mode: UntilCaughtUp", 1);
    insta::assert_yaml_snapshot!(World::of(&text).blueprint().run(false).body);
}

#[test]
fn a_plan_holds_names_of_secrets_and_pods_mount_them_all() {
    let world = World::of(testing::BASE);
    let set = world.blueprint().stateful_set(2, None);
    let sources =
        set.body["spec"]["template"]["spec"]["volumes"][1]["projected"]["sources"].as_array().expect("sources").clone();
    let names: Vec<&str> = sources.iter().filter_map(|source| source["secret"]["name"].as_str()).collect();
    assert_eq!(names, ["corp-ca", "etl-user", "lake"]);
    assert!(
        sources.iter().all(|source| source["secret"]["optional"] == json!(false)),
        "a worker without its secret must not start"
    );
    for object in world.blueprint().surroundings().iter().chain([&set]) {
        assert_ne!(object.address.kind, "Secret");
        let text = object.body.to_string();
        assert!(!text.contains("secretKeyRef"), "{text}");
    }
}

#[test]
fn every_pod_is_admitted_by_the_restricted_level() {
    let bounded = testing::BASE.replacen("mode: Continuous", "mode: UntilCaughtUp", 1);
    for object in
        [World::of(testing::BASE).blueprint().stateful_set(1, None), World::of(&bounded).blueprint().run(false)]
    {
        let pod = &object.body["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["automountServiceAccountToken"], false);
        for container in pod["containers"].as_array().expect("containers") {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        }
        for volume in pod["volumes"].as_array().expect("volumes") {
            assert!(volume["hostPath"].is_null());
        }
    }
}

#[test]
fn a_new_image_waits_for_the_next_rollout() {
    let mut world = World::of(testing::BASE);
    let first = world.blueprint().stateful_set(2, None);
    let recorded = Recorded::of(&set(&first)).expect("recorded");
    world.pods.image = "sluice:2".to_owned();
    let upgraded = world.blueprint().stateful_set(2, Some(&recorded));
    assert_eq!(upgraded.body, first.body, "nothing moves");
    let mut changed = World::of(&testing::BASE.replacen("restartNonce: 0", "restartNonce: 1", 1));
    changed.pods.image = "sluice:2".to_owned();
    let restarted = changed.blueprint().stateful_set(2, Some(&recorded));
    assert_eq!(restarted.body["spec"]["template"]["spec"]["containers"][0]["image"], "sluice:2");
}

#[test]
fn a_template_that_another_release_made_stays_as_it_is() {
    let world = World::of(testing::BASE);
    let mut old = world.blueprint().stateful_set(2, None).body;
    old["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["worker", "--as-it-was"]);
    old["metadata"]["annotations"][names::TEMPLATE_HASH] = json!("of-another-release");
    let recorded = Recorded::of(&serde_json::from_value(old.clone()).expect("a set")).expect("recorded");
    let applied = world.blueprint().stateful_set(3, Some(&recorded));
    assert_eq!(applied.body["spec"]["template"]["spec"]["containers"][0]["args"], json!(["worker", "--as-it-was"]));
    assert_eq!(applied.body["spec"]["replicas"], 3);
    assert_eq!(applied.body["metadata"]["annotations"][names::TEMPLATE_HASH], "of-another-release");
}

#[test]
fn a_service_account_of_the_user_is_used_and_none_is_made() {
    let text = testing::BASE.replacen("workers: {", "workers: {template: {spec: {serviceAccountName: irsa}}, ", 1);
    let world = World::of(&text);
    assert!(world.blueprint().surroundings().iter().all(|object| object.address.kind != "ServiceAccount"));
    let set = world.blueprint().stateful_set(1, None);
    assert_eq!(set.body["spec"]["template"]["spec"]["serviceAccountName"], "irsa");
}

#[test]
fn a_long_name_is_shortened_in_every_object() {
    let long = "a".repeat(52);
    let world = World::of(&testing::BASE.replacen(
        "name: orders, namespace: etl, uid: job-uid",
        &format!("name: {long}, namespace: etl, uid: j"),
        1,
    ));
    let blueprint = world.blueprint();
    let mut objects = blueprint.surroundings();
    objects.extend([blueprint.stateful_set(1, None), blueprint.run(false)]);
    for object in objects {
        assert!(object.address.key.name.len() <= 52, "{:?}", object.address);
        assert_eq!(object.body["metadata"]["labels"][names::JOB_LABEL], json!(long));
    }
}

#[test]
fn everything_that_is_made_has_an_owner_and_our_labels() {
    let world = World::of(testing::BASE);
    let blueprint = world.blueprint();
    let mut objects = blueprint.surroundings();
    objects.extend([blueprint.stateful_set(1, None), blueprint.run(false)]);
    for object in objects {
        let metadata = &object.body["metadata"];
        assert_eq!(metadata["ownerReferences"][0]["uid"], "job-uid", "{:?}", object.address);
        assert_eq!(metadata["ownerReferences"][0]["controller"], true);
        for name in ["name", "instance", "component", "managed-by", "part-of"] {
            assert!(
                metadata["labels"][format!("app.kubernetes.io/{name}")].is_string(),
                "{name}: {:?}",
                object.address
            );
        }
    }
}
