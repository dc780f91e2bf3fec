//! A file system without room: the job says so, ends as documented, and goes on where it was when there is room again.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::bucket::Bucket;
use sluice_e2e::job::Job;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::world::promise;

const STORE: i32 = 4;
const RETRIES_EXHAUSTED: i32 = 6;

/// A small file system in memory. Dropping it takes it away.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// `None` on a machine where this process may not mount anything, as in a container without privileges.
    fn mount() -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "sluice-e2e"]).arg(folder.path()).output()?;
        if mount.status.success() {
            return Ok(Some(Self { folder }));
        }
        let why = String::from_utf8_lossy(&mount.stderr).trim().to_owned();
        ensure!(std::env::var_os("SLUICE_NO_MOUNT").is_some(), "{why}; SLUICE_NO_MOUNT=1 leaves this test out");
        eprintln!("disk_full: SKIPPED: {why}");
        Ok(None)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no room.
    fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.path().join("ballast"))?;
        // Large pieces first: less than a page is left in the end.
        for size in [64 << 10, 4 << 10, 1] {
            loop {
                match ballast.write_all(&vec![1_u8; size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.path().join("ballast"))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What stays mounted after a failure here is a few megabytes of memory, until the machine restarts.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_named_and_nothing_is_lost_or_doubled() -> Result<()> {
    promise("disk_full", async |world| {
        let Some(disk) = Disk::mount()? else { return Ok(()) };
        let world = world.with_files_in(Bucket::folder(disk.path())?, world.endpoint());
        let topic = world.topic("events", 2).await?;
        let job = Job { retries: 1, ..world.job(&topic) };
        let load = Load::start(Sender::new(&world.kafka(), &topic, 2, Recipe::new(world.seed()))?, 1000);
        let watcher = world.watch(&job);

        let surprised = world.start("surprised", &job)?;
        world.until("two commits", &job, Duration::from_mins(1), |ledger| ledger.commits.len() >= 2).await?;
        disk.fill()?;
        let code = surprised.code(Duration::from_mins(1)).await?;
        let output = surprised.output()?;
        // The ledger's own folder is full too: what comes first decides.
        let ends = [(RETRIES_EXHAUSTED, "RetriesExhausted"), (STORE, "SinkUnavailable")];
        ensure!(
            ends.iter().any(|(end, name)| code == *end && output.contains(name)),
            "it ended with {code}:\n{output}"
        );
        ensure!(output.contains("no space is left; free some"), "the cause is not named:\n{output}");
        ensure!(!output.contains("panicked"), "a panic:\n{output}");

        let refused = world.start("refused", &job)?;
        refused.expect(STORE, Duration::from_mins(1)).await?;
        ensure!(refused.output()?.contains("No space left on device"), "the cause is not named:\n{}", refused.tail()?);

        disk.make_room()?;
        let (_, book) = load.stop().await?;
        world.catch_up("last", &job).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}
