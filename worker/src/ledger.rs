//! The ledger: the only source of truth for how far a job is.
//!
//! ```text
//! <checkpoint url>/
//!   job.json                  whose ledger it is; created once
//!   ledger/<20 digits>.json   one record each, created once, never changed, never deleted
//!   snapshots/<20 digits>.json   the folded state up to there; only shortens the start
//!   plans/<hash>.json         the plans that commits name
//! ```
//!
//! It promises: a record is decided by exactly one conditional create; it is never in two slots; every reader folds the
//! same records into the same [`State`]; a batch is only called void once every slot to which it was sent is seen to hold
//! another record. It must not look at Kafka, make files visible, or guess: what it does not know, it says.
//!
//! ```text
//! decide ─► rules::check (pure) ─► slots::claim (I/O) ─► state::apply (pure)
//!              ▲ illegal: read to the tail, then void        │ somebody else's: apply it, try the next slot
//!              └─────────────────────────────────────────────┘
//! ```

mod error;
mod job;
mod objects;
pub mod position;
pub mod record;
mod rules;
mod sent;
mod slots;
mod snapshot;
pub mod state;
pub mod verify;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::path::Path;
use sluice_crds::plan::plan_hash;

pub use self::error::LedgerError;
pub use self::job::Owner;
pub use self::objects::{ObjectError, Tuning};
pub use self::rules::Illegal;
pub use self::state::State;

use self::objects::{Objects, Settled};
use self::record::{Body, Commit, RECORD_VERSION, Record};
use self::sent::Sent;
use self::slots::{Claim, Slots, slot_name};

/// One record of the whole history: its number, what it says, and whether it is legal.
pub type Entry = (u64, Record, Result<(), Illegal>);

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is in the ledger, legally, for ever.
    Decided {
        /// Its number.
        seq: u64,
    },
    /// It says nothing to anybody and never will: it is in no slot, and none to which it was sent is still free.
    Void(Illegal),
}

/// An open ledger and its state as of the last look.
///
/// All methods may be dropped half-way (a time-out around [`decide`](Self::decide), say): the ledger stays sound, and
/// deciding the same record again finds out what became of it.
#[derive(Debug)]
pub struct Ledger {
    objects: Objects,
    slots: Slots,
    owner: Owner,
    read_only: bool,
    state: State,
    sent: Sent,
    /// A state that is worth a snapshot and not yet written.
    snapshot: Option<State>,
}

impl Ledger {
    /// Opens the ledger of this owner, or begins it.
    ///
    /// `url` is how people know `prefix`. Creates or checks `job.json`, proves that the store creates only once, and reads
    /// to the tail. Errors: the checkpoint is somebody else's; the store ignores conditions; a record is missing, damaged
    /// or of a newer program; the store does not answer.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        prefix: Path,
        url: &str,
        owner: &Owner,
    ) -> Result<Self, LedgerError> {
        Self::open_with(store, prefix, url, owner, Tuning::default()).await
    }

    /// [`open`](Self::open) with another patience.
    pub async fn open_with(
        store: Arc<dyn ObjectStore>,
        prefix: Path,
        url: &str,
        owner: &Owner,
        tuning: Tuning,
    ) -> Result<Self, LedgerError> {
        let objects = Objects::new(store, prefix, url, tuning);
        job::claim(&objects, owner).await?;
        job::probe(&objects).await?;
        Self::load(objects, owner.clone(), false).await
    }

    /// Opens a ledger that exists, to look at it: nothing is created, and nothing can be decided.
    pub async fn open_existing(store: Arc<dyn ObjectStore>, prefix: Path, url: &str) -> Result<Self, LedgerError> {
        let objects = Objects::new(store, prefix, url, Tuning::default());
        let owner = job::read(&objects).await?.ok_or_else(|| LedgerError::NoLedger { url: url.to_owned() })?;
        Self::load(objects, owner, true).await
    }

    async fn load(objects: Objects, owner: Owner, read_only: bool) -> Result<Self, LedgerError> {
        let slots = Slots::new(objects.clone());
        let state = snapshot::load(&objects).await?.unwrap_or_default();
        // A slot that was emptied could be claimed again by a writer that was away for long.
        if let Some(tail) = state.tail
            && !slots.is_taken(tail).await?
        {
            return Err(slots.gap(tail, &snapshot::name(tail)));
        }
        let mut ledger = Self { objects, slots, owner, read_only, state, sent: Sent::default(), snapshot: None };
        ledger.sync().await?;
        Ok(ledger)
    }

    /// The state as of the last look.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whose ledger it is.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Reads to the tail. With an error the state is as before.
    pub async fn sync(&mut self) -> Result<(), LedgerError> {
        for (seq, record) in self.slots.after(self.state.tail).await? {
            self.absorb(seq, &record);
        }
        self.save_snapshot().await;
        Ok(())
    }

    /// A record of this program with a fresh id and the time of now.
    pub fn record(&self, body: Body) -> Record {
        Record { version: RECORD_VERSION, id: random_id(), time: Timestamp::now(), body }
    }

    /// Decides a record: it goes into the first free slot if it is legal there.
    ///
    /// After an error that says retry, decide the same record again, with this ledger: it is never put into two slots,
    /// and what was sent before is found. After any error it may be in force at any moment: only [`Decision::Void`] allows
    /// to abort what it names.
    pub async fn decide(&mut self, record: &Record) -> Result<Decision, LedgerError> {
        if self.read_only {
            return Err(LedgerError::ReadOnly { url: self.objects.url("") });
        }
        let bytes = self.encode(record)?;
        let mut at_tail = false;
        let mut losses = 0;
        loop {
            if let Some(decision) = self.known(record) {
                return Ok(decision);
            }
            match self.state.check(record) {
                // The slots that this record was sent to are all behind the tail, hence seen to be others'.
                Err(illegal) if at_tail => return Ok(self.void(record, illegal)),
                Err(_) => {
                    self.sync().await?;
                    at_tail = true;
                    continue;
                }
                Ok(()) => {}
            }
            let seq = self.state.next_seq();
            self.sent.expect(&record.id);
            match self.slots.claim(seq, record, &bytes).await? {
                Claim::Ours => self.absorb(seq, record),
                Claim::Theirs(other) => {
                    self.absorb(seq, &other);
                    // A lost race means that others are busy, not that the store is: the wait stays short.
                    self.objects.tuning().pause(losses).await;
                    losses = (losses + 1).min(2);
                    self.sync().await?;
                    at_tail = true;
                }
            }
            self.save_snapshot().await;
        }
    }

    /// Stores the plan that commits will name. A plan of the same hash may be there already: it makes the same rows.
    pub async fn put_plan(&self, hash: &str, json: &[u8]) -> Result<(), LedgerError> {
        let name = plan_name(hash);
        let bytes = Bytes::copy_from_slice(json);
        match self.objects.settle(&name, &bytes, ["plan.put.before", "plan.put.after"]).await? {
            Settled::Created => Ok(()),
            // What the hash leaves out, as the mode, may differ.
            Settled::Found(found) if found == json || has_hash(&found, hash) => Ok(()),
            Settled::Found(_) => Err(LedgerError::PlanDiffers { object: self.objects.url(&name) }),
        }
    }

    /// The plan that a commit names.
    pub async fn plan(&self, hash: &str) -> Result<Bytes, LedgerError> {
        let name = plan_name(hash);
        let found = self.objects.get_patiently(&name).await?;
        found.ok_or_else(|| LedgerError::PlanMissing { object: self.objects.url(&name) })
    }

    /// A commit as it was decided, by its number; nothing when that is a record of another kind.
    pub async fn commit(&self, seq: u64) -> Result<Option<Commit>, LedgerError> {
        let (_, record) = self.slots.read(seq, seq).await?;
        Ok(if let Body::Commit(commit) = record.body { Some(commit) } else { None })
    }

    /// The whole ledger from its first record, folded anew: snapshots and this ledger's state are not used.
    pub async fn history(&self) -> Result<Vec<Entry>, LedgerError> {
        let mut state = State::default();
        let records = self.slots.after(None).await?;
        Ok(records
            .into_iter()
            .map(|(seq, record)| {
                let verdict = state::apply(&mut state, seq, &record);
                (seq, record, verdict)
            })
            .collect())
    }

    /// Folds a record in and remembers what became of it, if it is one of ours.
    fn absorb(&mut self, seq: u64, record: &Record) {
        let verdict = state::apply(&mut self.state, seq, record);
        self.sent.answer(&record.id, verdict.map_or_else(Decision::Void, |()| Decision::Decided { seq }));
        if !self.read_only && (seq + 1).is_multiple_of(self.objects.tuning().snapshot_every.max(1)) {
            self.snapshot = Some(self.state.clone());
        }
    }

    /// What became of a record that was sent before.
    ///
    /// An unpublished commit is recognised even if another ledger of this process sent it: called void, its uploads would
    /// be aborted although a live record names them.
    fn known(&self, record: &Record) -> Option<Decision> {
        let unpublished = || self.state.marks.iter().find(|(_, mark)| mark.record == record.id);
        self.sent.decision(&record.id).or_else(|| unpublished().map(|(&seq, _)| Decision::Decided { seq }))
    }

    /// Void is for ever: the same record is not legal later, whatever becomes of the state.
    fn void(&mut self, record: &Record, illegal: Illegal) -> Decision {
        let decision = Decision::Void(illegal);
        self.sent.expect(&record.id);
        self.sent.answer(&record.id, decision.clone());
        decision
    }

    async fn save_snapshot(&mut self) {
        if let Some(state) = &self.snapshot {
            snapshot::save(&self.objects, state).await;
            self.snapshot = None;
        }
    }

    fn encode(&self, record: &Record) -> Result<Bytes, LedgerError> {
        let object = || self.objects.url(&slot_name(self.state.next_seq()));
        let bytes = serde_json::to_vec(record).map_err(|source| LedgerError::Encode { object: object(), source })?;
        Ok(bytes.into())
    }
}

/// 128 random bits in hex.
fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn has_hash(json: &[u8], hash: &str) -> bool {
    serde_json::from_slice(json).is_ok_and(|plan| plan_hash(&plan) == hash)
}

fn plan_name(hash: &str) -> String {
    format!("plans/{hash}.json")
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
