//! Somebody aborts the upload of a file that is decided and not yet visible, as a careless lifecycle rule does.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path as Key;
use sluice_e2e::bucket::{Bucket, client};
use sluice_e2e::cluster::fresh_folder;
use sluice_e2e::job::Job;
use sluice_e2e::ledger::File;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::s3::{Kind, S3Server};
use sluice_e2e::worker::Run;
use sluice_e2e::world::{World, promise};

/// A missing upload counts as lost after a minute, which this test has to wait for: on both servers at once.
#[test]
fn an_upload_that_was_aborted_after_the_commit_is_made_again_under_the_same_key() -> Result<()> {
    promise("lost_upload", async |world| {
        let minio = S3Server::start(Kind::Minio, &fresh_folder("lost_upload-store")?).await?;
        let bucket = Bucket::create(&minio.endpoint(), "lost-upload").await?;
        let other = world.with_files_in(bucket, &minio.endpoint());
        tokio::try_join!(lose(&world, "Table", "versitygw"), lose(&other, "DeadLetter", "minio"))?;
        Ok(())
    })
}

/// Aborts the upload of one file of this role.
async fn lose(world: &World, role: &str, name: &str) -> Result<()> {
    let topic = world.topic(name, 2).await?;
    let job = world.job(&topic);
    let job = Job { name: format!("{}-{name}", job.name), ..job };
    let book = Sender::new(&world.kafka(), &topic, 2, Recipe::new(world.seed()))?.send(4000)?;
    let watcher = world.watch(&job);
    let killed = Run::new(&format!("{name}-killed"), &job.write(world.folder())?)
        .until_caught_up()
        .environment("FAILPOINTS", "commit.after=return")
        .start(world.folder())?;
    ensure!(killed.dies(Duration::from_mins(1)).await?, "it lives on:\n{}", killed.tail()?);

    let ledger = world.ledger(&job).await?;
    ensure!(ledger.unpublished.len() == 1, "{:?} are decided and not published", ledger.unpublished);
    let mut files = ledger.commits.values().flatten();
    let File { url, upload, .. } = files.find(|file| file.role == role).context("no such file was decided")?;
    let key = Key::parse(url.strip_prefix(&format!("{}/", job.root)).context("a file elsewhere")?)?;
    let upload = upload.as_ref().context("a file without an upload")?;
    client(world.endpoint(), world.bucket().name())?.abort_multipart(&key, upload).await?;

    world.catch_up(&format!("{name}-repairs"), &job).await?;
    watcher.finish().await?;
    world.bucket().get(&key).await.context("there is no file under the key that was decided")?;
    let repairs = world.ledger(&job).await?.repairs;
    ensure!(repairs == 1, "{repairs} repairs");
    world.judge(&job, &book).await
}
