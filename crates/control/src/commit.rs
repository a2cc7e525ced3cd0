// SPDX-License-Identifier: Apache-2.0
//! The commit loop: one thread owns the state; all other threads send it rules.
//!
//! A rule is a function of the snapshot. The loop takes the queued rules, applies one after the other to a growing
//! copy, stores all their writes in one durable batch, publishes the copy and only then answers. A refused rule changes
//! nothing and affects no other. When the store fails, nothing is published and every rule of the group is answered
//! with the fault, also the refused ones, because they may have been decided on changes that were not stored.
//!
//! While the disk is full, changes that add a record are refused, unless they carry a report that must not be lost; the
//! remaining space is for stops and deletes. After a failure the next group is written even when it changes nothing, to
//! show whether the store works again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use berth_state::{Change, Env, Record, Refusal, Snapshot, Undecodable, Write};
use berth_store::{Op, Store, StoreFault, StoredRecord};
use berth_types::{FaultPoints, steps};
use tokio::sync::{mpsc, oneshot, watch};

pub use named::Named;

use crate::publish::Published;

/// Maximum number of queued rules; further ones are answered with "throttled".
pub const QUEUE_MAX: usize = 8192;
/// Maximum number of rules in one durable write. Bounds how long the first one waits for the last one.
pub const GROUP_MAX: usize = 1024;

steps! {
    /// Progress of a group with writes, for a test that kills the server there (`tests/crashes.rs`).
    pub enum CommitStep {
        /// It is decided; nothing is stored.
        Decided,
        /// It is durable; no reader sees it yet.
        Stored,
        /// Readers see it; no caller is answered yet.
        Published,
        /// All callers are answered.
        Answered,
    }
}

/// Reason why a rule changed nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CommitFault {
    /// The rule refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many rules are waiting.
    #[error("{QUEUE_MAX} changes are waiting already")]
    Overloaded,
    /// The store failed; the cause is in the log.
    #[error("the change could not be stored; the server's log says why")]
    Store,
    /// The disk is full and the change adds a record.
    #[error("the disk of the data folder is full; until there is space only changes that add no record are stored")]
    Full,
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
    /// Rules refused because the queue was full.
    pub overloaded: AtomicU64,
    /// Durable writes that failed.
    pub failed: AtomicU64,
    /// The last durable write failed, or the disk is full.
    failing: watch::Sender<bool>,
}

impl CommitStats {
    /// True while some or all changes are not stored.
    pub fn is_failing(&self) -> bool {
        *self.failing.borrow()
    }

    /// Changes when the store begins to fail, and when it works again.
    pub fn failing(&self) -> watch::Receiver<bool> {
        self.failing.subscribe()
    }

    fn set_failing(&self, is_failing: bool) {
        self.failing.send_if_modified(|known| std::mem::replace(known, is_failing) != is_failing);
    }
}

/// Sends rules to the loop. The loop ends when the last one is dropped.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<Box<dyn Command>>,
    stats: Arc<CommitStats>,
}

impl Committer {
    /// Decides and stores the rule; refuses at once when the queue is full. For callers that can retry.
    pub async fn commit<T: Send + 'static>(
        &self,
        named: impl Into<Named>,
        env: Env,
        rule: impl Rule<T>,
    ) -> Result<T, CommitFault> {
        let (command, answer) = Pending::queued(named.into(), env, rule, Urgency::CanWait);
        self.queue.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.stats.overloaded.fetch_add(1, Ordering::Relaxed);
                CommitFault::Overloaded
            }
            mpsc::error::TrySendError::Closed(_) => CommitFault::Stopped,
        })?;
        answer.await.unwrap_or(Err(CommitFault::Stopped))
    }

    /// Waits for room in the queue and returns a future of the answer. For callers whose report must not be lost. Rules
    /// sent one after the other are decided in that order.
    pub async fn send<T: Send + 'static>(
        &self,
        named: impl Into<Named>,
        env: Env,
        rule: impl Rule<T>,
    ) -> Result<Answer<T>, CommitFault> {
        let (command, answer) = Pending::queued(named.into(), env, rule, Urgency::News);
        self.queue.send(command).await.map_err(|_| CommitFault::Stopped)?;
        Ok(answer)
    }

    /// Counters of the loop.
    pub fn stats(&self) -> &CommitStats {
        &self.stats
    }
}

/// The receiver of a rule's answer; an error means that the loop ended.
pub type Answer<T> = oneshot::Receiver<Result<T, CommitFault>>;

/// The input of the loop: a rule with everything it needs except snapshot and environment.
pub trait Rule<T>: FnOnce(&Snapshot, &Env) -> Result<Change<T>, Refusal> + Send + 'static {}

impl<T, F: FnOnce(&Snapshot, &Env) -> Result<Change<T>, Refusal> + Send + 'static> Rule<T> for F {}

/// A rule in the queue, with its answer type erased.
trait Command: Send {
    /// Decides, and returns the writes in the form of the store.
    fn decide(&mut self, snapshot: &Snapshot, is_full: bool) -> Decided;
    /// Delivers the answer, or the fault of the group.
    fn answer(self: Box<Self>, fault: Option<CommitFault>);
}

#[derive(Default)]
struct Decided {
    writes: Vec<Write>,
    ops: Vec<Op>,
    is_refused: bool,
}

/// Whether a change may be refused while the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    /// Its caller can retry.
    CanWait,
    /// It reports an event that has happened.
    News,
}

struct Pending<T, R> {
    named: Arc<Named>,
    urgency: Urgency,
    env: Env,
    rule: Option<R>,
    outcome: Result<T, CommitFault>,
    answer: oneshot::Sender<Result<T, CommitFault>>,
}

impl<T: Send + 'static, R: Rule<T>> Pending<T, R> {
    fn queued(named: Named, env: Env, rule: R, urgency: Urgency) -> (Box<dyn Command>, Answer<T>) {
        let (sender, receiver) = oneshot::channel();
        let (named, outcome) = (Arc::new(named), Err(CommitFault::Stopped));
        (Box::new(Self { named, urgency, env, rule: Some(rule), outcome, answer: sender }), receiver)
    }

    fn refused(&mut self, fault: CommitFault) -> Decided {
        self.outcome = Err(fault);
        Decided { is_refused: true, ..Decided::default() }
    }
}

impl<T: Send + 'static, R: Rule<T>> Command for Pending<T, R> {
    fn decide(&mut self, snapshot: &Snapshot, is_full: bool) -> Decided {
        let Some(rule) = self.rule.take() else { return Decided::default() };
        let change = match self.named.while_deciding(|| rule(snapshot, &self.env)) {
            Ok(change) => change,
            Err(refusal) => return self.refused(refusal.into()),
        };
        if is_full && self.urgency == Urgency::CanWait && adds_record(snapshot, &change.writes) {
            return self.refused(CommitFault::Full);
        }
        match change.writes.iter().map(op).collect::<Result<Vec<Op>, _>>() {
            Ok(ops) => {
                self.outcome = Ok(change.reply);
                Decided { writes: change.writes, ops, is_refused: false }
            }
            Err(cause) => {
                tracing::error!(rule = self.named.rule, %cause, "a record could not be encoded; its change was dropped");
                self.refused(CommitFault::Store)
            }
        }
    }

    fn answer(self: Box<Self>, fault: Option<CommitFault>) {
        // The caller may have disconnected; the change stands.
        let _ = self.answer.send(fault.map_or(self.outcome, Err));
    }
}

fn adds_record(snapshot: &Snapshot, writes: &[Write]) -> bool {
    writes.iter().any(|write| match write {
        Write::Put(record) => !snapshot.contains(&record.key()),
        Write::Delete(_) => false,
    })
}

fn op(write: &Write) -> Result<Op, serde_json::Error> {
    Ok(match write {
        Write::Put(record) => Op::Put(stored(record)?),
        Write::Delete(key) => Op::Delete { kind: key.kind().to_owned(), key: key.text() },
    })
}

/// The form of a record in the store.
pub(crate) fn stored(record: &Record) -> Result<StoredRecord, serde_json::Error> {
    Ok(StoredRecord {
        kind: record.kind().to_owned(),
        key: record.key().text(),
        version: record.version(),
        body: record.encode()?,
    })
}

/// Loads all stored records into a snapshot.
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

/// Starts the loop on its own thread; `published` must hold the content of `store`.
pub(crate) fn start(
    store: Box<dyn Store>,
    published: Published,
    fault_points: FaultPoints<CommitStep>,
) -> std::io::Result<(Committer, oneshot::Receiver<()>)> {
    let (queue, commands) = mpsc::channel(QUEUE_MAX);
    let (ended, has_ended) = oneshot::channel();
    let stats = Arc::new(CommitStats::default());
    let state = published.snapshot().as_ref().clone();
    named::name_panics();
    let mut owner = Loop { store, is_full: false, state, published, stats: stats.clone(), fault_points };
    thread::Builder::new().name("berth-commit".to_owned()).spawn(move || {
        owner.run(commands);
        drop(owner);
        // The store is closed here; a waiting thread may open it again.
        let _ = ended.send(());
    })?;
    Ok((Committer { queue, stats }, has_ended))
}

struct Loop {
    store: Box<dyn Store>,
    /// The form in the log.
    is_full: bool,
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
        self.look_at_space();
        for command in group.iter_mut() {
            let decided = command.decide(&draft, self.is_full);
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

    fn look_at_space(&mut self) {
        let is_full = self.store.is_full();
        if is_full && !self.is_full {
            tracing::error!(
                "the disk of the data folder is full: changes that add records are refused, stops and deletes \
                 continue; free some space"
            );
            self.stats.set_failing(true);
        }
        if !is_full && self.is_full {
            tracing::info!("the disk of the data folder has space again");
        }
        self.is_full = is_full;
    }

    /// Ends the process here, as by SIGKILL, if a test requests it.
    fn pass(&self, step: CommitStep) {
        if self.fault_points.is_due(&step) {
            tracing::error!(?step, "a fault point ends this server here");
            std::process::abort();
        }
    }

    /// A group without writes costs no write, except after a failure, when the write shows whether the store works
    /// again.
    fn store_batch(&mut self, batch: &[Op], mut draft: Snapshot) -> Option<CommitFault> {
        let is_trial = self.stats.is_failing() && !self.is_full;
        if batch.is_empty() && !is_trial {
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
                self.stats.set_failing(self.is_full);
                None
            }
            Err(fault) => {
                tracing::error!(fault = &fault as &dyn std::error::Error, "a group of changes could not be stored");
                self.stats.failed.fetch_add(1, Ordering::Relaxed);
                self.stats.set_failing(true);
                self.catch_up();
                Some(CommitFault::Store)
            }
        }
    }

    /// After a fault the store may hold a change that this process does not (the write succeeded, the answer was lost),
    /// so the next group must start from the stored state.
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
pub(crate) mod fake_store;
mod named;
#[cfg(test)]
mod tests;
