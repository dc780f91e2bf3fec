//! Tests of single rooms of the worker that need a real server. They are the worker's own, and `make test` leaves them out.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sluice_e2e::broker::cache;
use sluice_e2e::bucket::Bucket;
use sluice_e2e::s3::{Kind, S3Server};
use sluice_e2e::world::{World, promise, promise_on};

const STORE: &str = "a_file_on_a_real_server_is_invisible_until_it_is_published_and_publishing_is_idempotent";
const SOURCE: &str = "transactions_are_read_committed_and_a_refused_login_is_named";

/// Runs one test of the worker's library that is marked as ignored. `make e2e` says which program holds it; Cargo would
/// compile everything again when it is asked from in here, for another environment.
async fn run(world: &World, test: &str, variables: Vec<(&'static str, String)>) -> Result<()> {
    let program = std::env::var_os("SLUICE_WORKER_TESTS").context("SLUICE_WORKER_TESTS is not set: run `make e2e`")?;
    let mut program = Command::new(program);
    program.args(["--ignored", "--nocapture", test]);
    program.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../worker")).envs(variables);
    let output = tokio::task::spawn_blocking(move || program.output()).await?.context("cannot start the program")?;
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n");
    fs::write(world.folder().join("test.log"), &text)?;
    // A name that fits no test is no failure for the test program.
    let ran = text.matches("test result: ok. 1 passed").count();
    ensure!(output.status.success() && ran == 1, "{test}: {ran} passed\n{text}");
    Ok(())
}

#[test]
fn the_store_keeps_its_promises_on_versitygw() -> Result<()> {
    promise("room_store", store)
}

#[test]
fn the_store_keeps_its_promises_on_minio() -> Result<()> {
    promise_on("room_store_minio", Kind::Minio, store)
}

async fn store(world: World) -> Result<()> {
    Bucket::create(world.endpoint(), "lake").await?;
    run(&world, STORE, vec![("SLUICE_TEST_S3", world.endpoint().to_owned())]).await
}

#[test]
fn the_store_keeps_its_promises_behind_a_certificate_of_a_private_authority() -> Result<()> {
    promise("room_store_tls", async |world| {
        let folder = world.folder().join("store");
        // A bucket of this server is a folder.
        fs::create_dir_all(folder.join("data/lake"))?;
        let server = S3Server::start_with_tls(&folder).await?;
        let ca = cache()?.join("kafka/tls/ca.crt").display().to_string();
        run(&world, STORE, vec![("SLUICE_TEST_S3", server.endpoint()), ("SLUICE_TEST_S3_CA", ca)]).await
    })
}

#[test]
fn the_source_reads_committed_transactions_and_names_a_refused_login() -> Result<()> {
    promise("room_source", async |world| {
        let broker = world.cluster().broker();
        let variables = vec![
            ("SLUICE_TEST_KAFKA", broker.plaintext()),
            ("SLUICE_TEST_KAFKA_SASL", broker.sasl()),
            ("SLUICE_TEST_KAFKA_CA", cache()?.join("kafka/tls").display().to_string()),
        ];
        run(&world, SOURCE, variables).await
    })
}
