//! Which requests are spoilt, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use hyper::Method;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio::sync::watch;

/// What a request of the S3 API asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// `GetObject`
    Get,
    /// `HeadObject`
    Head,
    /// `ListObjectsV2`
    List,
    /// `PutObject`
    Put,
    /// `CreateMultipartUpload`
    CreateUpload,
    /// `UploadPart`
    UploadPart,
    /// `CompleteMultipartUpload`
    Complete,
    /// `AbortMultipartUpload`
    Abort,
    /// `DeleteObject`
    Delete,
    /// Anything else.
    Other,
}

impl Operation {
    /// Reads it from the request line, as a server does.
    pub fn of(method: &Method, query: &str) -> Self {
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        match (method.as_str(), has("uploadId"), has("uploads")) {
            ("POST", true, _) => Self::Complete,
            ("POST", _, true) => Self::CreateUpload,
            ("PUT", true, _) => Self::UploadPart,
            ("DELETE", true, _) => Self::Abort,
            ("PUT", ..) => Self::Put,
            ("DELETE", ..) => Self::Delete,
            ("HEAD", ..) => Self::Head,
            ("GET", false, false) if has("list-type") => Self::List,
            ("GET", false, false) => Self::Get,
            _ => Self::Other,
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// 500; nothing happens in the store.
    Error,
    /// 503 `SlowDown`; nothing happens in the store.
    SlowDown,
    /// 409, as real S3 answers the loser of two conditional PUTs at once; nothing happens in the store.
    Conflict,
    /// 412, after it happened in the store: the client's own second try found the work of its first one.
    ExistsAfterEffect,
    /// 500, after it happened in the store.
    ErrorAfterEffect,
    /// The connection is closed; nothing happens in the store.
    LostRequest,
    /// The connection is closed, after it happened in the store.
    LostReply,
    /// 200 with an error in the body, as real S3 answers a Complete that failed late.
    ErrorBody {
        /// Did it happen all the same?
        effect: bool,
    },
    /// 504 now; it happens in the store this much later.
    Late(Duration),
    /// A refused condition (412) is answered with 200, as if the store did not know conditions.
    NoConditions,
    /// The request waits at a gate.
    Hold(Gate),
}

impl Fault {
    /// A name for counts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::SlowDown => "slow-down",
            Self::Conflict => "conflict",
            Self::ExistsAfterEffect => "exists-after-effect",
            Self::ErrorAfterEffect => "error-after-effect",
            Self::LostRequest => "lost-request",
            Self::LostReply => "lost-reply",
            Self::ErrorBody { effect: false } => "error-body",
            Self::ErrorBody { effect: true } => "error-body-after-effect",
            Self::Late(_) => "late",
            Self::NoConditions => "no-conditions",
            Self::Hold(_) => "hold",
        }
    }
}

/// Spoils some requests.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Of this kind,
    pub operation: Operation,
    /// whose path contains this text,
    pub key: String,
    /// after letting this many pass,
    pub skip: u32,
    /// this many,
    pub times: u32,
    /// in this way.
    pub fault: Fault,
}

impl Rule {
    /// Spoils the next such request.
    pub fn once(operation: Operation, key: &str, fault: Fault) -> Self {
        Self { operation, key: key.to_owned(), skip: 0, times: 1, fault }
    }

    /// Spoils every such request.
    pub fn always(operation: Operation, key: &str, fault: Fault) -> Self {
        Self { times: u32::MAX, ..Self::once(operation, key, fault) }
    }
}

/// Where the request at a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Expected,
    Waiting,
    Let,
    Dropped,
}

/// Holds a request until the test lets it go, before or after it has its effect in the store.
#[derive(Clone)]
pub struct Gate {
    after_effect: bool,
    passage: Arc<watch::Sender<Passage>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({:?})", *self.passage.borrow())
    }
}

impl Gate {
    /// Holds the request before the store hears of it.
    pub fn before_effect() -> Self {
        Self { after_effect: false, passage: Arc::new(watch::Sender::new(Passage::Expected)) }
    }

    /// Lets the request have its effect, and holds the reply.
    pub fn after_effect() -> Self {
        Self { after_effect: true, ..Self::before_effect() }
    }

    /// Is it the reply that is held?
    pub fn holds_reply(&self) -> bool {
        self.after_effect
    }

    /// Waits until a request is held.
    pub async fn reached(&self, limit: Duration) -> Result<()> {
        let mut passage = self.passage.subscribe();
        let reached = passage.wait_for(|passage| *passage != Passage::Expected);
        match tokio::time::timeout(limit, reached).await {
            Ok(_) => Ok(()),
            Err(_) => bail!("no request came to the gate within {limit:?}"),
        }
    }

    /// Lets the request (or its reply) go on.
    pub fn open(&self) {
        self.passage.send_replace(Passage::Let);
    }

    /// Closes the connection of the request: it (or its reply) is lost.
    pub fn drop_it(&self) {
        self.passage.send_replace(Passage::Dropped);
    }

    /// The request's side: waits, and answers whether it may go on.
    pub(super) async fn pass(&self) -> bool {
        self.passage.send_if_modified(|passage| {
            let first = *passage == Passage::Expected;
            if first {
                *passage = Passage::Waiting;
            }
            first
        });
        let mut passage = self.passage.subscribe();
        let decided = passage.wait_for(|passage| matches!(passage, Passage::Let | Passage::Dropped)).await;
        // The gate itself keeps the channel open.
        decided.is_ok_and(|passage| *passage == Passage::Let)
    }
}

/// Spoils requests at random.
#[derive(Debug)]
pub struct Mixture {
    /// The source of chance.
    pub random: StdRng,
    /// How likely a request is spoilt, 0 to 1.
    pub probability: f64,
}

impl Mixture {
    fn draw(&mut self, operation: Operation) -> Option<Fault> {
        if !self.random.random_bool(self.probability) {
            return None;
        }
        let mut faults = vec![Fault::Error, Fault::SlowDown, Fault::LostRequest, Fault::LostReply];
        if !matches!(operation, Operation::Get | Operation::Head | Operation::List) {
            faults.push(Fault::ErrorAfterEffect);
        }
        if matches!(operation, Operation::Put | Operation::Complete) {
            faults.push(Fault::Late(Duration::from_millis(self.random.random_range(100..3000))));
        }
        if operation == Operation::Complete {
            faults.extend([Fault::ErrorBody { effect: false }, Fault::ErrorBody { effect: true }]);
        }
        faults.choose(&mut self.random).cloned()
    }
}

/// What is spoilt now, and what was so far.
#[derive(Debug, Default)]
pub struct Script {
    /// The first rule that fits a request counts it.
    pub rules: Vec<Rule>,
    /// Asked when no rule spoils a request.
    pub mixture: Option<Mixture>,
    /// How often each fault was injected.
    pub injected: BTreeMap<(Operation, &'static str), u64>,
}

impl Script {
    /// What happens to this request.
    pub fn decide(&mut self, operation: Operation, path: &str) -> Option<Fault> {
        let fault = self.by_rule(operation, path).or_else(|| self.mixture.as_mut()?.draw(operation))?;
        *self.injected.entry((operation, fault.name())).or_default() += 1;
        Some(fault)
    }

    fn by_rule(&mut self, operation: Operation, path: &str) -> Option<Fault> {
        let fits = |rule: &&mut Rule| rule.times > 0 && rule.operation == operation && path.contains(&rule.key);
        let rule = self.rules.iter_mut().find(fits)?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times = rule.times.saturating_sub(u32::from(rule.times != u32::MAX));
        Some(rule.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn requests_are_told_apart_as_a_server_does() {
        for (method, query, operation) in [
            (Method::GET, "", Operation::Get),
            (Method::GET, "list-type=2&prefix=a", Operation::List),
            (Method::GET, "uploadId=1", Operation::Other),
            (Method::HEAD, "", Operation::Head),
            (Method::PUT, "", Operation::Put),
            (Method::PUT, "partNumber=1&uploadId=x", Operation::UploadPart),
            (Method::POST, "uploads", Operation::CreateUpload),
            (Method::POST, "uploads=", Operation::CreateUpload),
            (Method::POST, "uploadId=x", Operation::Complete),
            (Method::DELETE, "uploadId=x", Operation::Abort),
            (Method::DELETE, "", Operation::Delete),
        ] {
            assert_eq!(Operation::of(&method, query), operation, "{method} {query}");
        }
    }

    #[test]
    fn a_rule_lets_some_pass_and_spoils_as_many_as_it_says() {
        let mut script = Script::default();
        script.rules.push(Rule { skip: 1, times: 2, ..Rule::once(Operation::Put, "ledger/", Fault::Error) });
        let spoilt: Vec<bool> = (0..5).map(|_| script.decide(Operation::Put, "/b/ledger/1").is_some()).collect();
        assert_eq!(spoilt, [false, true, true, false, false]);
        assert!(script.decide(Operation::Get, "/b/ledger/1").is_none());
        assert_eq!(script.injected[&(Operation::Put, "error")], 2);
    }

    #[test]
    fn the_mixture_is_the_same_for_the_same_seed() {
        let draws = |seed| {
            let mut mixture = Mixture { random: StdRng::seed_from_u64(seed), probability: 0.5 };
            (0..200).map(|_| mixture.draw(Operation::Complete).map(|f| f.name())).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }
}
