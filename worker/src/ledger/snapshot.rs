//! Snapshots: the folded state up to a record. They only make opening a ledger short; nothing is ever lost with them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::LedgerError;
use super::objects::Objects;
use super::slots::{file_name, parse_name};
use super::state::State;

/// The format of a snapshot. It rises whenever [`State`] or the rules change, and snapshots of other versions are ignored.
const VERSION: u32 = 1;

const FOLDER: &str = "snapshots";

#[derive(Serialize, Deserialize)]
struct Snapshot<S> {
    version: u32,
    state: S,
}

/// The object of the snapshot up to this record.
pub(super) fn name(seq: u64) -> String {
    format!("{FOLDER}/{}", file_name(seq))
}

/// Writes a snapshot. A failure is only logged, since a ledger needs none; "exists" is no failure.
pub(super) async fn save(objects: &Objects, state: &State) {
    let Some(tail) = state.tail else { return };
    let Ok(bytes) = serde_json::to_vec(&Snapshot { version: VERSION, state }) else { return };
    match objects.create(&name(tail), Bytes::from(bytes)).await {
        Ok(()) => tracing::debug!(seq = tail, "snapshot written"),
        Err(error) if error.says_exists() => {}
        Err(error) => tracing::debug!(seq = tail, error = crate::error::chain(&error), "no snapshot was written"),
    }
}

/// The latest snapshot that can be read.
pub(super) async fn load(objects: &Objects) -> Result<Option<State>, LedgerError> {
    let mut seqs: Vec<u64> = objects.list(FOLDER, None).await?.iter().filter_map(|name| parse_name(name)).collect();
    seqs.sort_unstable();
    for seq in seqs.into_iter().rev() {
        let Some(bytes) = objects.get_patiently(&name(seq)).await? else { continue };
        if let Some(state) = parse(seq, &bytes) {
            return Ok(Some(state));
        }
        tracing::warn!(snapshot = objects.url(&name(seq)), "the snapshot cannot be read and is ignored");
    }
    Ok(None)
}

fn parse(seq: u64, bytes: &[u8]) -> Option<State> {
    let Snapshot { version, state } = serde_json::from_slice::<Snapshot<State>>(bytes).ok()?;
    (version == VERSION && state.tail == Some(seq)).then_some(state)
}
