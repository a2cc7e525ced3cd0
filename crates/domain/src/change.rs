//! How records move: a rule reads a snapshot, drafts on a private copy, and answers the writes together with its reply.

use std::ops::Deref;

use crate::state::{Record, RecordKey, Snapshot, Write};

/// The outcome of a rule that writes: applied whole or not at all, in order.
#[derive(Clone, Debug)]
#[must_use]
pub struct Change<T> {
    /// Empty when there was nothing to do.
    pub writes: Vec<Write>,
    /// What the caller is told once the writes are durable.
    pub reply: T,
}

impl<T> Change<T> {
    /// Nothing to write.
    pub fn none(reply: T) -> Self {
        Self { writes: Vec::new(), reply }
    }

    /// The same writes with another reply.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Change<U> {
        Change { writes: self.writes, reply: f(self.reply) }
    }
}

/// A private copy of the snapshot on which a rule writes, so that its later steps see its earlier ones.
/// Reads go through `Deref`. Copying a snapshot costs nothing (shared maps).
#[derive(Clone, Debug)]
pub struct Draft {
    snapshot: Snapshot,
    writes: Vec<Write>,
}

impl Draft {
    /// Begins with what is stored.
    pub fn of(snapshot: &Snapshot) -> Self {
        Self { snapshot: snapshot.clone(), writes: Vec::new() }
    }

    /// Stores a record, new or changed.
    pub fn put(&mut self, record: impl Into<Record>) {
        self.write(Write::Put(record.into()));
    }

    /// Removes a record; nothing happens when it is not there.
    pub fn delete(&mut self, key: impl Into<RecordKey>) {
        self.write(Write::Delete(key.into()));
    }

    /// Takes over the writes of another rule's change and hands on its reply.
    pub fn take<T>(&mut self, change: Change<T>) -> T {
        for write in change.writes {
            self.write(write);
        }
        change.reply
    }

    /// Ends the draft.
    pub fn change<T>(self, reply: T) -> Change<T> {
        Change { writes: self.writes, reply }
    }

    fn write(&mut self, write: Write) {
        self.snapshot.apply(&write);
        self.writes.push(write);
    }
}

impl Deref for Draft {
    type Target = Snapshot;
    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}
