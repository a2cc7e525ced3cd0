// SPDX-License-Identifier: Apache-2.0
//! Changes of records: a rule reads a snapshot, drafts on a private copy, and returns the writes with its reply.

use std::ops::Deref;

use crate::records::Kind;
use crate::snapshot::{Record, RecordKey, Snapshot, Write};

/// The outcome of a rule that writes: applied whole or not at all, in order.
#[derive(Clone, Debug)]
#[must_use]
pub struct Change<T> {
    /// Empty when there was nothing to do.
    pub writes: Vec<Write>,
    /// Reply to the caller, sent once the writes are durable.
    pub reply: T,
}

impl<T> Change<T> {
    /// A reply without writes.
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
    /// An empty draft on a copy of the snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        Self { snapshot: snapshot.clone(), writes: Vec::new() }
    }

    /// Stores a record, new or changed.
    pub fn put<K: Kind>(&mut self, record: K)
    where
        K::Record: Into<Record>,
    {
        self.write(Write::Put(record.record().into()));
    }

    /// Removes a record; no effect if it does not exist.
    pub fn delete(&mut self, key: impl Into<RecordKey>) {
        self.write(Write::Delete(key.into()));
    }

    /// Adds the writes of another rule's change and returns its reply.
    pub fn take<T>(&mut self, change: Change<T>) -> T {
        for write in change.writes {
            self.write(write);
        }
        change.reply
    }

    /// Returns the writes of the draft with a reply.
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
