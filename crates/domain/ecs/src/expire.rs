// SPDX-License-Identifier: Apache-2.0
//! Removal of stopped tasks, and of deleted definitions to which no task refers, some time after their end.
//!
//! Ages are measured on a steady clock, which the caller reads: records have times of the wall clock, and a jump of the
//! wall clock must remove nothing. A steady clock begins with the process, so records that had ended before the server
//! started are kept for their whole time once more.

use berth_state::deadlines::Deadlines;
use berth_state::ecs::{RecordKey, TaskDefinitionKey};
use berth_state::{Change, Draft, Snapshot};
use berth_types::{TaskId, TimestampMs};
use imbl::OrdSet;

/// How long a stopped task can be described on AWS.
pub const STOPPED_TASKS_KEPT_MS: u64 = 60 * 60 * 1000;

/// Minimum time for which a deleted definition can be described.
const DELETED_DEFINITIONS_KEPT_MS: u64 = 60 * 60 * 1000;

/// The deadlines of ended tasks and deleted definitions.
#[derive(Clone, Debug)]
pub struct Ages {
    tasks: Deadlines<(TimestampMs, TaskId)>,
    definitions: Deadlines<(TimestampMs, TaskDefinitionKey)>,
    /// Deleted definitions without a task, at the last look.
    unused: OrdSet<(TimestampMs, TaskDefinitionKey)>,
    /// Of those, the ones whose deadline has passed.
    expired_unused: OrdSet<(TimestampMs, TaskDefinitionKey)>,
}

/// Records to be removed.
#[derive(Clone, Debug, Default)]
pub struct Expired {
    tasks: OrdSet<(TimestampMs, TaskId)>,
    definitions: OrdSet<(TimestampMs, TaskDefinitionKey)>,
}

impl Expired {
    /// True if there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.definitions.is_empty()
    }
}

impl Ages {
    /// No record has been seen yet; stopped tasks are kept for this long.
    pub fn new(tasks_kept_ms: u64) -> Self {
        Self {
            tasks: Deadlines::new(tasks_kept_ms),
            definitions: Deadlines::new(DELETED_DEFINITIONS_KEPT_MS),
            unused: OrdSet::new(),
            expired_unused: OrdSet::new(),
        }
    }

    /// Takes in the records at a moment of the steady clock, and returns those to be removed. The cost is that of the
    /// records that ended or were removed since the last look.
    pub fn look(&mut self, snap: &Snapshot, steady_ms: u64) -> Expired {
        let index = snap.ecs().index();
        self.tasks.look(&index.stopped_tasks, steady_ms);
        let has_changed = self.definitions.look(index.deleted_definitions.by_time(), steady_ms);
        let unused = index.deleted_definitions.unused();
        if has_changed || !self.unused.ptr_eq(unused) {
            self.unused = unused.clone();
            let is_unused = |entry: &&(TimestampMs, TaskDefinitionKey)| unused.contains(*entry);
            self.expired_unused = self.definitions.expired().iter().filter(is_unused).cloned().collect();
        }
        Expired { tasks: self.tasks.expired().clone(), definitions: self.expired_unused.clone() }
    }

    /// The earliest moment of the steady clock at which a further look returns more, if the records do not change.
    pub fn next_ms(&self) -> Option<u64> {
        [self.tasks.next_ms(), self.definitions.next_ms()].into_iter().flatten().min()
    }
}

/// Removes the expired records. A definition stays while a task refers to it.
pub fn expire(snap: &Snapshot, expired: &Expired) -> Change<()> {
    let mut draft = Draft::of(snap);
    for entry in expired.tasks.iter().filter(|entry| snap.ecs().index().stopped_tasks.contains(*entry)) {
        draft.delete(RecordKey::Task(entry.1.clone()));
    }
    let unused = snap.ecs().index().deleted_definitions.unused();
    for entry in expired.definitions.iter().filter(|entry| unused.contains(*entry)) {
        draft.delete(RecordKey::TaskDefinition(entry.1.clone()));
    }
    draft.change(())
}
