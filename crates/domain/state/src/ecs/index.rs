// SPDX-License-Identifier: Apache-2.0
//! Look-ups of ECS besides keys: derived from the records as they come and go, and never stored.

use berth_types::{HostId, TaskId, TimestampMs};
use imbl::OrdSet;

use super::counts::Counts;
use super::deleted::DeletedDefinitions;
use super::load::Loads;
use super::name::{ClusterName, TaskDefinitionKey};
use super::waiting::WaitingHosts;

/// Look-ups of ECS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    /// Tasks by cluster.
    pub cluster_tasks: OrdSet<(ClusterName, TaskId)>,
    /// Tasks by definition, stopped ones too.
    pub definition_tasks: OrdSet<(TaskDefinitionKey, TaskId)>,
    /// Deleted definitions that are still described.
    pub deleted_definitions: DeletedDefinitions,
    /// Tasks by host, stopped ones left out.
    pub host_tasks: OrdSet<(HostId, TaskId)>,
    /// Tasks by the client token they were run with.
    pub client_tokens: OrdSet<(String, TaskId)>,
    /// Stopped tasks by the time they stopped.
    pub stopped_tasks: OrdSet<(TimestampMs, TaskId)>,
    /// Hosts that are not container instances yet.
    pub waiting_hosts: WaitingHosts,
    /// Resources of hosts that tasks reserve.
    pub loads: Loads,
    /// Number of tasks by cluster, launch type and progress.
    pub counts: Counts,
}

impl Index {
    /// True if a task refers to the definition.
    pub fn is_used(&self, definition: &TaskDefinitionKey) -> bool {
        let first = (definition.clone(), TaskId::from_bits(0));
        self.definition_tasks.range(first..).next().is_some_and(|(of, _)| of == definition)
    }

    pub(super) fn add_definition_task(&mut self, definition: &TaskDefinitionKey, task: &TaskId) {
        self.definition_tasks.insert((definition.clone(), task.clone()));
        self.deleted_definitions.task_came(definition);
    }

    pub(super) fn remove_definition_task(&mut self, definition: &TaskDefinitionKey, task: &TaskId) {
        self.definition_tasks.remove(&(definition.clone(), task.clone()));
        if !self.is_used(definition) {
            self.deleted_definitions.last_task_went(definition);
        }
    }
}
