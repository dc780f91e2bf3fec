//! The audit log of the API server, read as it grows.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use sluice_bench::audit::Requests;

/// See the module.
pub struct AuditLog {
    file: BufReader<File>,
}

impl AuditLog {
    /// A log that is there, if only empty.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("no audit log {}", path.display()))?;
        Ok(Self { file: BufReader::new(file) })
    }

    /// The requests that ended since the last look.
    pub fn look(&mut self) -> Result<Requests> {
        let (mut requests, mut line) = (Requests::default(), String::new());
        loop {
            line.clear();
            let read = self.file.read_line(&mut line)?;
            if !line.ends_with('\n') {
                // Nothing, or a line that is being written: the next look reads all of it.
                self.file.seek(SeekFrom::Current(-i64::try_from(read)?))?;
                return Ok(requests);
            }
            requests.count(&line).with_context(|| format!("no line of an audit log: {line}"))?;
        }
    }
}
