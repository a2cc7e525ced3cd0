//! The commit loop: one thread owns the state; everybody else sends it rules.
//!
//! A rule is a function of the snapshot. The loop takes what has queued up, applies one rule after the other to a
//! growing copy, stores all their writes in one durable batch, publishes the copy and only then answers. A refused
//! rule leaves no trace and disturbs no other. When the store fails, nothing is published and every rule of the group
//! is answered with the fault: also the refused ones, because they may have been decided on what was not stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use berth_domain::state::{Undecodable, Write};
use berth_domain::{Change, Env, Record, Refusal, Snapshot};
use berth_store::{Op, Store, StoreFault, StoredRecord};
use berth_types::{FaultPoints, steps};
use tokio::sync::{mpsc, oneshot};

use crate::publish::Published;

/// Rules waiting to be decided; more are answered with "throttled".
pub const QUEUE_MAX: usize = 8192;
/// Rules decided for one durable write. Bounds how long the first one waits for the last one.
pub const GROUP_MAX: usize = 1024;

steps! {
    /// How far a group with writes is, for a test that kills the server there (`tests/crashes.rs`).
    pub enum CommitStep {
        /// It is decided; nothing is stored.
        Decided,
        /// It is durable; nobody can read it yet.
        Stored,
        /// Readers see it; nobody is answered yet.
        Published,
        /// Everybody is answered.
        Answered,
    }
}

/// Why a rule changed nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CommitFault {
    /// The rule said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many rules are waiting.
    #[error("{QUEUE_MAX} changes are waiting already")]
    Overloaded,
    /// The store failed; the log says why.
    #[error("the change could not be stored")]
    Store,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopped,
}

/// Counters of the loop.
#[derive(Debug, Default)]
pub struct CommitStats {
    /// Durable writes.
    pub groups: AtomicU64,
    /// Rules that were stored.
    pub changes: AtomicU64,
    /// Rules that were refused.
    pub refused: AtomicU64,
    /// Rules turned away because the queue was full.
    pub overloaded: AtomicU64,
    /// Durable writes that failed.
    pub failed: AtomicU64,
    /// The last durable write failed.
    pub is_failing: AtomicBool,
}

/// Sends rules to the loop. The loop ends when the last one is dropped.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<Box<dyn Command>>,
    stats: Arc<CommitStats>,
}

impl Committer {
    /// Has the rule decided and stored; refuses at once when the queue is full. For callers that can try again.
    pub async fn commit<T: Send + 'static>(&self, env: Env, rule: impl Rule<T>) -> Result<T, CommitFault> {
        let (command, answer) = Pending::queued(env, rule);
        self.queue.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.stats.overloaded.fetch_add(1, Ordering::Relaxed);
                CommitFault::Overloaded
            }
            mpsc::error::TrySendError::Closed(_) => CommitFault::Stopped,
        })?;
        answer.await.unwrap_or(Err(CommitFault::Stopped))
    }

    /// Waits for room in the queue and gives back the answer to come. For callers whose news must not be lost.
    /// Rules sent one after the other are decided in that order.
    pub async fn send<T: Send + 'static>(&self, env: Env, rule: impl Rule<T>) -> Result<Answer<T>, CommitFault> {
        let (command, answer) = Pending::queued(env, rule);
        self.queue.send(command).await.map_err(|_| CommitFault::Stopped)?;
        Ok(answer)
    }

    /// Counters of the loop.
    pub fn stats(&self) -> &CommitStats {
        &self.stats
    }
}

/// Where a rule's answer arrives; an error means that the loop ended.
pub type Answer<T> = oneshot::Receiver<Result<T, CommitFault>>;

/// What the loop decides: a rule with everything it needs except snapshot and environment.
pub trait Rule<T>: FnOnce(&Snapshot, &Env) -> Result<Change<T>, Refusal> + Send + 'static {}

impl<T, F: FnOnce(&Snapshot, &Env) -> Result<Change<T>, Refusal> + Send + 'static> Rule<T> for F {}

/// A rule in the queue, its type of answer hidden.
trait Command: Send {
    /// Decides and gives the writes with their form in the store.
    fn decide(&mut self, snapshot: &Snapshot) -> Decided;
    /// Hands out the answer, or the fault of the group.
    fn answer(self: Box<Self>, fault: Option<CommitFault>);
}

#[derive(Default)]
struct Decided {
    writes: Vec<Write>,
    ops: Vec<Op>,
    is_refused: bool,
}

struct Pending<T, R> {
    env: Env,
    rule: Option<R>,
    outcome: Result<T, CommitFault>,
    answer: oneshot::Sender<Result<T, CommitFault>>,
}

impl<T: Send + 'static, R: Rule<T>> Pending<T, R> {
    fn queued(env: Env, rule: R) -> (Box<dyn Command>, Answer<T>) {
        let (sender, receiver) = oneshot::channel();
        let pending = Self { env, rule: Some(rule), outcome: Err(CommitFault::Stopped), answer: sender };
        (Box::new(pending), receiver)
    }
}

impl<T: Send + 'static, R: Rule<T>> Command for Pending<T, R> {
    fn decide(&mut self, snapshot: &Snapshot) -> Decided {
        let Some(rule) = self.rule.take() else { return Decided::default() };
        match rule(snapshot, &self.env) {
            Ok(change) => match change.writes.iter().map(op).collect::<Result<Vec<Op>, _>>() {
                Ok(ops) => {
                    self.outcome = Ok(change.reply);
                    Decided { writes: change.writes, ops, is_refused: false }
                }
                Err(cause) => {
                    tracing::error!(%cause, "a record could not be encoded; its change was dropped");
                    self.outcome = Err(CommitFault::Store);
                    Decided { is_refused: true, ..Decided::default() }
                }
            },
            Err(refusal) => {
                self.outcome = Err(refusal.into());
                Decided { is_refused: true, ..Decided::default() }
            }
        }
    }

    fn answer(self: Box<Self>, fault: Option<CommitFault>) {
        // Nobody listens any more when the caller went away; the change stands.
        let _ = self.answer.send(fault.map_or(self.outcome, Err));
    }
}

fn op(write: &Write) -> Result<Op, serde_json::Error> {
    Ok(match write {
        Write::Put(record) => Op::Put(StoredRecord {
            kind: record.kind().to_owned(),
            key: record.key().text(),
            version: record.version(),
            body: record.encode()?,
        }),
        Write::Delete(key) => Op::Delete { kind: key.kind().to_owned(), key: key.text() },
    })
}

/// Reads everything stored into a snapshot.
pub fn load(store: &dyn Store) -> Result<Snapshot, LoadFault> {
    let (revision, records) = store.load()?;
    let mut snapshot = Snapshot::default();
    snapshot.revision = revision;
    for stored in records {
        let record = Record::decode(&stored.kind, &stored.key, stored.version, &stored.body)?;
        snapshot.apply(&Write::Put(record));
    }
    Ok(snapshot)
}

/// The state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A record could not be understood.
    #[error(transparent)]
    Record(#[from] Undecodable),
}

/// Starts the loop on a thread of its own; `published` holds what `store` holds.
pub(crate) fn start(
    store: Box<dyn Store>,
    published: Published,
    fault_points: FaultPoints<CommitStep>,
) -> std::io::Result<(Committer, oneshot::Receiver<()>)> {
    let (queue, commands) = mpsc::channel(QUEUE_MAX);
    let (ended, has_ended) = oneshot::channel();
    let stats = Arc::new(CommitStats::default());
    let state = published.snapshot().as_ref().clone();
    let mut owner = Loop { store, state, published, stats: stats.clone(), fault_points };
    thread::Builder::new().name("berth-commit".to_owned()).spawn(move || {
        owner.run(commands);
        drop(owner);
        // The store is closed by now; whoever waits may open it again.
        let _ = ended.send(());
    })?;
    Ok((Committer { queue, stats }, has_ended))
}

struct Loop {
    store: Box<dyn Store>,
    state: Snapshot,
    published: Published,
    stats: Arc<CommitStats>,
    fault_points: FaultPoints<CommitStep>,
}

impl Loop {
    fn run(&mut self, mut commands: mpsc::Receiver<Box<dyn Command>>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while let Some(first) = commands.blocking_recv() {
            group.push(first);
            while group.len() < GROUP_MAX
                && let Ok(next) = commands.try_recv()
            {
                group.push(next);
            }
            self.settle(&mut group);
        }
    }

    /// Decides, stores, publishes and answers one group.
    fn settle(&mut self, group: &mut Vec<Box<dyn Command>>) {
        let mut draft = self.state.clone();
        let mut batch = Vec::new();
        let mut refused = 0;
        for command in group.iter_mut() {
            let decided = command.decide(&draft);
            refused += u64::from(decided.is_refused);
            for write in &decided.writes {
                draft.apply(write);
            }
            batch.extend(decided.ops);
        }
        let fault = self.store_batch(&batch, draft);
        if fault.is_none() {
            self.stats.refused.fetch_add(refused, Ordering::Relaxed);
            self.stats.changes.fetch_add(group.len() as u64 - refused, Ordering::Relaxed);
        }
        for command in group.drain(..) {
            command.answer(fault.clone());
        }
        if !batch.is_empty() {
            self.pass(CommitStep::Answered);
        }
    }

    /// Dies here, as by SIGKILL, if a test wants it.
    fn pass(&self, step: CommitStep) {
        if self.fault_points.is_due(&step) {
            tracing::error!(?step, "this server was told to die here");
            std::process::abort();
        }
    }

    /// A group without writes costs no write.
    fn store_batch(&mut self, batch: &[Op], mut draft: Snapshot) -> Option<CommitFault> {
        if batch.is_empty() {
            return None;
        }
        self.pass(CommitStep::Decided);
        match self.store.commit(batch, self.state.revision) {
            Ok(revision) => {
                self.pass(CommitStep::Stored);
                draft.revision = revision;
                self.state = draft;
                self.published.publish(self.state.clone());
                self.pass(CommitStep::Published);
                self.stats.groups.fetch_add(1, Ordering::Relaxed);
                self.stats.is_failing.store(false, Ordering::Relaxed);
                None
            }
            Err(fault) => {
                tracing::error!(fault = &fault as &dyn std::error::Error, "a group of changes could not be stored");
                self.stats.failed.fetch_add(1, Ordering::Relaxed);
                self.stats.is_failing.store(true, Ordering::Relaxed);
                self.catch_up();
                Some(CommitFault::Store)
            }
        }
    }

    /// After a fault the store may hold what we do not (the write succeeded, the answer was lost), so the next group
    /// must build on what is really stored.
    fn catch_up(&mut self) {
        match load(self.store.as_ref()) {
            Ok(stored) if stored.revision != self.state.revision => {
                self.state = stored;
                self.published.publish(self.state.clone());
            }
            Ok(_) => {}
            Err(fault) => {
                tracing::error!(fault = &fault as &dyn std::error::Error, "the records could not be read again");
            }
        }
    }
}

#[cfg(test)]
mod tests;
