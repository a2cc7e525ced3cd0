// SPDX-License-Identifier: Apache-2.0
//! Records by what they belong to: tasks and container instances of a cluster, tasks of a host, revisions of a family.

use std::sync::Arc;

use berth_types::{HostId, TaskId};

use super::kinds::Records;
use super::record::{ClusterName, FamilyName, Host, InstanceStatus, Task, TaskDefinition, TaskDefinitionKey};

impl Records {
    /// Tasks of a cluster, in order of their ids.
    pub fn cluster_tasks<'a>(&'a self, cluster: &ClusterName) -> impl Iterator<Item = &'a Arc<Task>> {
        let cluster = cluster.clone();
        self.index()
            .cluster_tasks
            .range((cluster.clone(), TaskId::from_bits(0))..)
            .take_while(move |(of, _)| *of == cluster)
            .filter_map(|(_, task)| self.tasks.get(task))
    }

    /// Tasks of a host that are not STOPPED, in order of their ids.
    pub fn host_tasks<'a>(&'a self, host: &HostId) -> impl Iterator<Item = &'a Arc<Task>> {
        let host = host.clone();
        self.index()
            .host_tasks
            .range((host.clone(), TaskId::from_bits(0))..)
            .take_while(move |(on, _)| *on == host)
            .filter_map(|(_, task)| self.tasks.get(task))
    }

    /// Container instances of a cluster, without deregistered ones.
    pub fn instances<'a>(&'a self, cluster: &ClusterName) -> impl Iterator<Item = &'a Arc<Host>> {
        let cluster = cluster.clone();
        self.hosts.values().filter(move |host| host.cluster == cluster && is_registered(host))
    }

    /// All revisions of a family, in order.
    pub fn revisions<'a>(&'a self, family: &FamilyName) -> impl DoubleEndedIterator<Item = &'a Arc<TaskDefinition>> {
        let key = |revision| TaskDefinitionKey { family: family.clone(), revision };
        self.task_definitions.range(key(0)..=key(u32::MAX)).map(|(_, definition)| definition)
    }
}

/// True while the host is a container instance that can have tasks.
fn is_registered(host: &Host) -> bool {
    match host.instance_status() {
        Some(InstanceStatus::Active | InstanceStatus::Draining) => true,
        Some(InstanceStatus::Inactive) | None => false,
    }
}
