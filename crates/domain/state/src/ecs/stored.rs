// SPDX-License-Identifier: Apache-2.0
//! The keys of records of ECS, and their entries in the index.

use std::sync::Arc;

use berth_types::{HostId, TaskId};

use super::index::Index;
use super::load::{HostRoom, Share};
use super::name::{ClusterName, FamilyName, TaskDefinitionKey};
use super::record::{
    AccountSetting, AccountSettingKey, Cluster, Host, InstanceStatus, Task, TaskDefinition, TaskDefinitionFamily,
    TaskStatus,
};
use crate::ClientToken;
use crate::records::Stored;

macro_rules! keyed {
    ($($kind:ty, $field:ident => $key:ty);*) => {
        $(impl Stored for $kind {
            type Key = $key;
            type Index = Index;
            fn key(&self) -> $key {
                self.$field.clone()
            }
        })*
    };
}

keyed!(AccountSetting, key => AccountSettingKey; TaskDefinitionFamily, name => FamilyName);

impl Stored for Cluster {
    type Key = ClusterName;
    type Index = Index;
    fn key(&self) -> ClusterName {
        self.name.clone()
    }
    fn index(&self, index: &mut Index) {
        if self.deleted_at.is_none() {
            index.waiting_hosts.cluster_opened(&self.name);
        }
    }
    fn unindex(&self, index: &mut Index) {
        index.waiting_hosts.cluster_closed(&self.name);
    }
}

impl Stored for TaskDefinition {
    type Key = TaskDefinitionKey;
    type Index = Index;
    fn key(&self) -> TaskDefinitionKey {
        self.key.clone()
    }
    fn index(&self, index: &mut Index) {
        if let Some(at) = self.delete_requested_at {
            let is_used = index.is_used(&self.key);
            index.deleted_definitions.definition_came(at, &self.key, is_used);
        }
    }
    fn unindex(&self, index: &mut Index) {
        if let Some(at) = self.delete_requested_at {
            index.deleted_definitions.definition_went(at, &self.key);
        }
    }
}

impl Host {
    fn index_waiting(&self, index: &mut Index) {
        if self.connected && self.registered_at.is_none() {
            index.waiting_hosts.host_came(&self.cluster, &self.id);
        }
    }

    fn unindex_waiting(&self, index: &mut Index) {
        if self.connected && self.registered_at.is_none() {
            index.waiting_hosts.host_went(&self.cluster, &self.id);
        }
    }

    /// Placement's view of the host.
    fn room(&self) -> HostRoom {
        let status = self.instance_status();
        let is_instance = matches!(status, Some(InstanceStatus::Active | InstanceStatus::Draining));
        HostRoom {
            zone: is_instance.then(|| (self.cluster.clone(), Arc::from(self.availability_zone.as_str()))),
            is_open: status == Some(InstanceStatus::Active) && self.connected,
            capacity: self.capacity,
        }
    }
}

impl Stored for Host {
    type Key = HostId;
    type Index = Index;
    fn key(&self) -> HostId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        index.loads.host_came(&self.id, self.room());
        self.index_waiting(index);
    }
    fn unindex(&self, index: &mut Index) {
        index.loads.host_went(&self.id);
        self.unindex_waiting(index);
    }
    fn reindex(&self, old: &Self, index: &mut Index) {
        if old.room() != self.room() {
            index.loads.host_went(&old.id);
            index.loads.host_came(&self.id, self.room());
        }
        old.unindex_waiting(index);
        self.index_waiting(index);
    }
}

impl Task {
    /// Resources that it reserves on its host, until it has stopped.
    fn share(&self) -> Option<Share<'_>> {
        let host = self.host.as_ref().filter(|_| self.status != TaskStatus::Stopped)?;
        let (launch_type, group) = (self.launch_type, self.group.as_str());
        Some(Share { host, launch_type, group, need: self.need, ports: &self.ports })
    }

    fn index_share(&self, index: &mut Index) {
        if let Some(share) = self.share() {
            index.host_tasks.insert((share.host.clone(), self.id.clone()));
            index.loads.take(&share);
        }
    }

    fn unindex_share(&self, index: &mut Index) {
        if let Some(share) = self.share() {
            index.host_tasks.remove(&(share.host.clone(), self.id.clone()));
            index.loads.give_back(&share);
        }
    }

    fn index_rest(&self, index: &mut Index) {
        index.cluster_tasks.insert((self.cluster.clone(), self.id.clone()));
        index.counts.add(&self.cluster, self.launch_type, self.progress());
        if let Some(ClientToken(token, _)) = &self.client_token {
            index.client_tokens.insert((token.clone(), self.id.clone()));
        }
        if let Some(at) = self.times.stopped_at {
            index.stopped_tasks.insert((at, self.id.clone()));
        }
    }

    fn unindex_rest(&self, index: &mut Index) {
        index.cluster_tasks.remove(&(self.cluster.clone(), self.id.clone()));
        index.counts.remove(&self.cluster, self.launch_type, self.progress());
        if let Some(ClientToken(token, _)) = &self.client_token {
            index.client_tokens.remove(&(token.clone(), self.id.clone()));
        }
        if let Some(at) = self.times.stopped_at {
            index.stopped_tasks.remove(&(at, self.id.clone()));
        }
    }
}

impl Stored for Task {
    type Key = TaskId;
    type Index = Index;
    fn key(&self) -> TaskId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        index.add_definition_task(&self.definition, &self.id);
        self.index_rest(index);
        self.index_share(index);
    }
    fn unindex(&self, index: &mut Index) {
        index.remove_definition_task(&self.definition, &self.id);
        self.unindex_rest(index);
        self.unindex_share(index);
    }
    fn reindex(&self, old: &Self, index: &mut Index) {
        if old.definition != self.definition {
            index.remove_definition_task(&old.definition, &old.id);
            index.add_definition_task(&self.definition, &self.id);
        }
        old.unindex_rest(index);
        self.index_rest(index);
        // Most changes of a task leave its share unchanged, and ranking its host again costs the most here.
        if old.share() != self.share() {
            old.unindex_share(index);
            self.index_share(index);
        }
    }
}
