// SPDX-License-Identifier: Apache-2.0
//! Deleted task definitions that are still described, and those of them to which no task refers any more.

use berth_types::TimestampMs;
use imbl::{OrdMap, OrdSet};

use super::name::TaskDefinitionKey;

/// Deleted definitions by the time of their deletion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeletedDefinitions {
    requested_at: OrdMap<TaskDefinitionKey, TimestampMs>,
    by_time: OrdSet<(TimestampMs, TaskDefinitionKey)>,
    unused: OrdSet<(TimestampMs, TaskDefinitionKey)>,
}

impl DeletedDefinitions {
    /// All, by the time of their deletion.
    pub fn by_time(&self) -> &OrdSet<(TimestampMs, TaskDefinitionKey)> {
        &self.by_time
    }

    /// Those to which no task refers, by the time of their deletion.
    pub fn unused(&self) -> &OrdSet<(TimestampMs, TaskDefinitionKey)> {
        &self.unused
    }

    pub(super) fn definition_came(&mut self, at: TimestampMs, key: &TaskDefinitionKey, is_used: bool) {
        self.requested_at.insert(key.clone(), at);
        self.by_time.insert((at, key.clone()));
        if !is_used {
            self.unused.insert((at, key.clone()));
        }
    }

    pub(super) fn definition_went(&mut self, at: TimestampMs, key: &TaskDefinitionKey) {
        self.requested_at.remove(key);
        self.by_time.remove(&(at, key.clone()));
        self.unused.remove(&(at, key.clone()));
    }

    /// A task refers to this definition from here on.
    pub(super) fn task_came(&mut self, definition: &TaskDefinitionKey) {
        if let Some(at) = self.requested_at.get(definition) {
            self.unused.remove(&(*at, definition.clone()));
        }
    }

    /// No task refers to this definition any more.
    pub(super) fn last_task_went(&mut self, definition: &TaskDefinitionKey) {
        if let Some(at) = self.requested_at.get(definition) {
            self.unused.insert((*at, definition.clone()));
        }
    }
}
