//! An object store in memory that fails as real ones do, when a test says so or at random from a seed.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Put,
    Get,
    List,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 500 before any effect.
    Before,
    /// The effect is there, the reply is a 500.
    After,
    /// The effect is there, and the client's own retry turns it into "exists".
    ExistsAfter,
    /// The reply is an error at once; the effect comes with [`FailingStore::land`].
    Late,
    /// No reply, ever, and no effect.
    Hang,
    /// No such object, although there is one; in a listing, the first one is missing.
    NotYet,
    /// 403.
    Denied,
    /// 400 with a credential code in the body.
    ExpiredToken,
    /// 404 because there is no bucket.
    NoBucket,
    /// 501.
    Unsupported,
}

#[derive(Debug)]
struct Rule {
    op: Op,
    part: String,
    fault: Fault,
}

/// Random faults: a generator, and the chance of a fault for each request.
type Dice = (StdRng, f64);

#[derive(Debug, Default)]
pub(crate) struct FailingStore {
    inner: InMemory,
    rules: Mutex<VecDeque<Rule>>,
    late: Mutex<VecDeque<(Path, PutPayload, PutOptions)>>,
    dice: Mutex<Option<Dice>>,
    ignores_conditions: AtomicBool,
    lists_backwards: AtomicBool,
    /// Objects that were hidden at random once: more often would look like a deleted one.
    hidden: Mutex<HashSet<Path>>,
    puts: AtomicU64,
}

impl FailingStore {
    /// The next request of this kind for an object whose path contains `part` fails like this, once.
    pub(crate) fn fail(&self, op: Op, part: &str, fault: Fault) {
        self.rules.lock().unwrap().push_back(Rule { op, part: part.to_owned(), fault });
    }

    /// Requests below `ledger/` fail with this chance from now on.
    pub(crate) fn fail_at_random(&self, seed: u64, chance: f64) {
        *self.dice.lock().unwrap() = Some((StdRng::seed_from_u64(seed), chance));
    }

    /// No random faults any more.
    pub(crate) fn calm(&self) {
        *self.dice.lock().unwrap() = None;
    }

    /// Overwrites whatever a condition says.
    pub(crate) fn ignore_conditions(&self) {
        self.ignores_conditions.store(true, Ordering::Relaxed);
    }

    /// Lists in no useful order.
    pub(crate) fn list_backwards(&self) {
        self.lists_backwards.store(true, Ordering::Relaxed);
    }

    /// Late requests take effect now, in order; yields what each would have been answered.
    pub(crate) async fn land(&self) -> Vec<Result<PutResult>> {
        let late: Vec<_> = self.late.lock().unwrap().drain(..).collect();
        let mut answers = Vec::new();
        for (path, payload, options) in late {
            answers.push(self.inner.put_opts(&path, payload, options).await);
        }
        answers
    }

    /// Put requests that came in, whatever became of them.
    pub(crate) fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }

    fn fault(&self, op: Op, path: &Path) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        if let Some(index) = rules.iter().position(|rule| rule.op == op && path.as_ref().contains(&rule.part)) {
            return rules.remove(index).map(|rule| rule.fault);
        }
        let mut dice = self.dice.lock().unwrap();
        let (rng, chance) = dice.as_mut()?;
        if !path.as_ref().contains("ledger") || !rng.random_bool(*chance) {
            return None;
        }
        let choices: &[Fault] = match op {
            Op::Put => &[Fault::Before, Fault::After, Fault::ExistsAfter, Fault::Late],
            Op::Get if self.hidden.lock().unwrap().insert(path.clone()) => &[Fault::NotYet],
            Op::Get | Op::List => &[Fault::Before],
        };
        Some(choices[rng.random_range(0..choices.len())])
    }

    /// Lets one late request land, now and then.
    async fn maybe_land(&self) {
        let lands = self.dice.lock().unwrap().as_mut().is_some_and(|(rng, _)| rng.random_bool(0.3));
        let late = if lands { self.late.lock().unwrap().pop_front() } else { None };
        if let Some((path, payload, options)) = late {
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
    }

    fn listed(
        &self,
        prefix: Option<&Path>,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let fault = self.fault(Op::List, prefix.unwrap_or(&Path::default()));
        if let Some(fault) = fault.filter(|fault| *fault != Fault::NotYet) {
            return futures::stream::once(async move { Err(error(fault, "list")) }).boxed();
        }
        let mut all: Vec<_> = listing.collect().now_or_never().expect("memory answers at once");
        if fault.is_some() && !all.is_empty() {
            drop(all.remove(0));
        }
        if self.lists_backwards.load(Ordering::Relaxed) {
            all.reverse();
        }
        futures::stream::iter(all).boxed()
    }
}

fn error(fault: Fault, path: &str) -> Error {
    let path = path.to_owned();
    match fault {
        Fault::ExistsAfter => Error::AlreadyExists { path, source: "412".into() },
        Fault::NotYet => Error::NotFound { path, source: "404".into() },
        Fault::Denied => Error::PermissionDenied { path, source: "403, signed with secret-things".into() },
        Fault::NoBucket => Error::NotFound { path, source: "<Code>NoSuchBucket</Code>".into() },
        Fault::ExpiredToken => Error::Generic { store: "S3", source: "400: <Code>ExpiredToken</Code>".into() },
        Fault::Unsupported => Error::Generic { store: "S3", source: "501: <Code>NotImplemented</Code>".into() },
        Fault::Before | Fault::After | Fault::Late | Fault::Hang => {
            Error::Generic { store: "S3", source: "500 Internal Server Error".into() }
        }
    }
}

impl fmt::Display for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailingStore")
    }
}

#[async_trait]
impl ObjectStore for FailingStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        if self.ignores_conditions.load(Ordering::Relaxed) {
            options.mode = PutMode::Overwrite;
        }
        self.maybe_land().await;
        // Others get their turn in the midst of a request, as they do with a real one.
        tokio::task::yield_now().await;
        match self.fault(Op::Put, path) {
            None => self.inner.put_opts(path, payload, options).await,
            Some(Fault::Hang) => std::future::pending().await,
            Some(fault @ Fault::Late) => {
                self.late.lock().unwrap().push_back((path.clone(), payload, options));
                Err(error(fault, path.as_ref()))
            }
            Some(fault @ (Fault::After | Fault::ExistsAfter)) => {
                self.inner.put_opts(path, payload, options).await?;
                Err(error(fault, path.as_ref()))
            }
            Some(fault) => Err(error(fault, path.as_ref())),
        }
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        tokio::task::yield_now().await;
        match self.fault(Op::Get, path) {
            None => self.inner.get_opts(path, options).await,
            Some(Fault::Hang) => std::future::pending().await,
            Some(fault) => Err(error(fault, path.as_ref())),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
