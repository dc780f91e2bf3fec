//! The slots of a ledger: numbered objects, each created once and never changed.
//!
//! A slot is claimed with a conditional create, and whose it is is decided by the id in it, never by the answer to the
//! request. The slots that hold a record are always 0, 1, 2, … without a hole: nobody claims a slot before having seen a
//! record in the one before it.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::error::LedgerError;
use super::objects::{Objects, Settled};
use super::record::{KINDS, RECORD_VERSION, Record};
use crate::error::Classified;

/// The folder.
const FOLDER: &str = "ledger";

/// Records that are read at once: enough to hide the round trips, few enough for any store.
const READERS: usize = 16;

/// Whose a slot is.
#[derive(Debug)]
pub enum Claim {
    /// It holds our record.
    Ours,
    /// It holds another one.
    Theirs(Box<Record>),
}

/// The slots below one checkpoint.
#[derive(Debug, Clone)]
pub struct Slots {
    objects: Objects,
}

impl Slots {
    /// The slots among these objects.
    pub fn new(objects: Objects) -> Self {
        Self { objects }
    }

    /// Puts the record into the slot, or finds out whose it is.
    ///
    /// An error means that the slot was not seen to hold a record: ours may still land in it.
    pub async fn claim(&self, seq: u64, record: &Record, bytes: &Bytes) -> Result<Claim, LedgerError> {
        let name = slot_name(seq);
        match self.objects.settle(&name, bytes, ["ledger.put.before", "ledger.put.after"]).await {
            Ok(Settled::Created) => Ok(Claim::Ours),
            Ok(Settled::Found(found)) => {
                let found = self.parse(&name, &found)?;
                Ok(if found.id == record.id { Claim::Ours } else { Claim::Theirs(Box::new(found)) })
            }
            Err(source) if source.retry() => {
                Err(LedgerError::Undecided { slot: self.objects.url(&name), id: record.id.clone(), source })
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Does the slot hold a record?
    pub async fn is_taken(&self, seq: u64) -> Result<bool, LedgerError> {
        Ok(self.objects.get_patiently(&slot_name(seq)).await?.is_some())
    }

    /// All records behind `tail`, in order; from the first one on when there is no tail.
    pub async fn after(&self, tail: Option<u64>) -> Result<Vec<(u64, Record)>, LedgerError> {
        let first = tail.map_or(0, |tail| tail + 1);
        let offset = tail.map(file_name);
        let names = self.objects.list(FOLDER, offset.as_deref()).await?;
        let Some(last) = names.iter().filter_map(|name| parse_name(name)).max().filter(|last| *last >= first) else {
            return Ok(Vec::new());
        };
        // Every slot up to the last is read, whether the listing has it or not: a listing is no picture of one moment.
        let reads = futures::stream::iter(first..=last).map(|seq| self.read(seq, last));
        reads.buffered(READERS).try_collect().await
    }

    /// Reads a slot that must hold a record, because `last` does.
    pub async fn read(&self, seq: u64, last: u64) -> Result<(u64, Record), LedgerError> {
        let name = slot_name(seq);
        let tuning = self.objects.tuning();
        let mut turn = 0;
        loop {
            turn += 1;
            if let Some(bytes) = self.objects.get_patiently(&name).await? {
                return Ok((seq, self.parse(&name, &bytes)?));
            }
            if turn >= tuning.tries {
                return Err(self.gap(seq, &slot_name(last)));
            }
            tuning.pause(turn).await;
        }
    }

    /// The error of a slot that is missing although `seen` exists.
    pub fn gap(&self, seq: u64, seen: &str) -> LedgerError {
        LedgerError::Gap { object: self.objects.url(&slot_name(seq)), seen: self.objects.url(seen) }
    }

    fn parse(&self, name: &str, bytes: &[u8]) -> Result<Record, LedgerError> {
        /// What every record has, of whatever version.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
            kind: String,
        }
        let corrupt = |source| LedgerError::Corrupt { object: self.objects.url(name), source };
        let head: Head = serde_json::from_slice(bytes).map_err(corrupt)?;
        let unknown = |what| LedgerError::UnknownFormat { object: self.objects.url(name), what };
        if head.version != RECORD_VERSION {
            return Err(unknown(format!("record version {}", head.version)));
        }
        if !KINDS.contains(&head.kind.as_str()) {
            return Err(unknown(format!("kind {:?}", head.kind)));
        }
        serde_json::from_slice(bytes).map_err(corrupt)
    }
}

/// `00000000000000000042.json`: sorted by name is sorted by number.
pub(super) fn file_name(seq: u64) -> String {
    format!("{seq:020}.json")
}

/// The number in a name of [`file_name`]'s form. Any other object is none of ours.
pub(super) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    let sound = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if sound { digits.parse().ok() } else { None }
}

/// The object of a slot.
pub(super) fn slot_name(seq: u64) -> String {
    format!("{FOLDER}/{}", file_name(seq))
}

#[cfg(test)]
mod tests;
