// SPDX-License-Identifier: Apache-2.0
//! Resources reserved on each host, updated as tasks start and stop, so that the cost of placement does not depend on
//! the number of tasks.

use std::sync::Arc;

use berth_types::HostId;
use berth_types::intent::LaunchType;
use berth_types::link::Capacity;
use berth_types::mode::{HostPort, Protocol};
use imbl::{OrdMap, OrdSet};

use super::name::ClusterName;
use super::need::{Load, Need, Resource};
use super::ranking::{Ranking, Standing};

/// Resources of a host that one task reserves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share<'a> {
    /// The host.
    pub host: &'a HostId,
    /// Launch type of the task.
    pub launch_type: LaunchType,
    /// Group of the task.
    pub group: &'a str,
    /// Capacity that it reserves.
    pub need: Need,
    /// Host ports that it reserves.
    pub ports: &'a [HostPort],
}

/// Placement's view of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostRoom {
    /// Cluster and zone of its container instance; `None` excludes it from placement of EC2 tasks.
    pub zone: Option<(ClusterName, Arc<str>)>,
    /// It is active and connected, and therefore accepts new EC2 tasks.
    pub is_open: bool,
    /// Capacity of the host.
    pub capacity: Capacity,
}

/// The loads of all hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loads {
    by_host: OrdMap<(HostId, LaunchType), Load>,
    /// Tasks of launch type EC2 by host and group.
    groups: OrdMap<(HostId, Arc<str>), usize>,
    /// Host ports reserved by tasks.
    ports: OrdSet<(HostId, HostPort)>,
    /// Every known host, by the memory promised to Fargate tasks on it.
    by_promised_memory: OrdSet<(u64, HostId)>,
    /// Every known host.
    known: OrdMap<HostId, HostRoom>,
    /// The container instances by cluster and zone.
    zones: OrdMap<(ClusterName, Arc<str>), Ranking>,
}

impl Loads {
    /// Resources that the tasks of one launch type reserve on a host.
    pub fn of(&self, host: &HostId, launch_type: LaunchType) -> Load {
        self.by_host.get(&(host.clone(), launch_type)).copied().unwrap_or_default()
    }

    /// Every known host, those with the least memory promised to Fargate tasks first.
    pub fn by_promised_memory(&self) -> impl Iterator<Item = &HostId> {
        self.by_promised_memory.iter().map(|(_, host)| host)
    }

    /// The zones in which a cluster has container instances.
    pub fn zones<'a>(&'a self, cluster: &ClusterName) -> impl Iterator<Item = (&'a str, &'a Ranking)> + use<'a> {
        let cluster = cluster.clone();
        let zones = self.zones.range((cluster.clone(), Arc::from(""))..);
        zones.take_while(move |((of, _), _)| *of == cluster).map(|((_, zone), ranking)| (zone.as_ref(), ranking))
    }

    /// Amount of a resource of a host that EC2 tasks leave free.
    pub fn free(&self, host: &HostId, resource: Resource) -> u64 {
        let left = |room: &HostRoom| resource.free(room.capacity, self.of(host, LaunchType::Ec2).need);
        self.known.get(host).map_or(0, left)
    }

    /// The groups of EC2 tasks on a host, with their number.
    pub fn groups_on<'a>(&'a self, host: &'a HostId) -> impl Iterator<Item = (&'a Arc<str>, usize)> {
        let of_host = self.groups.range((host.clone(), Arc::from(""))..).take_while(move |((on, _), _)| on == host);
        of_host.map(|((_, group), count)| (group, *count))
    }

    /// Number of EC2 tasks of a group on a host.
    pub fn in_group(&self, host: &HostId, group: &Arc<str>) -> usize {
        self.groups.get(&(host.clone(), group.clone())).copied().unwrap_or(0)
    }

    /// The ports of a host reserved by tasks.
    pub fn ports_on<'a>(&'a self, host: &'a HostId) -> impl Iterator<Item = HostPort> + 'a {
        let first = HostPort { protocol: Protocol::Tcp, port: 0 };
        self.ports.range((host.clone(), first)..).take_while(move |(on, _)| on == host).map(|(_, port)| *port)
    }

    /// True if a task reserves this port of a host.
    pub fn is_taken(&self, host: &HostId, port: HostPort) -> bool {
        self.ports.contains(&(host.clone(), port))
    }

    /// Adds a host.
    pub fn host_came(&mut self, host: &HostId, room: HostRoom) {
        self.known.insert(host.clone(), room);
        self.by_promised_memory.insert((self.promised(host), host.clone()));
        self.rank(host, true);
    }

    /// Removes a host.
    pub fn host_went(&mut self, host: &HostId) {
        self.by_promised_memory.remove(&(self.promised(host), host.clone()));
        self.rank(host, false);
        self.known.remove(host);
    }

    /// Reserves a task's share of a host. Placement ensures that no two tasks reserve the same port.
    pub fn take(&mut self, share: &Share<'_>) {
        let Share { host, launch_type, need, .. } = *share;
        self.reorder(host, launch_type, false);
        let load = self.by_host.entry((host.clone(), launch_type)).or_default();
        *load = Load { need: load.need.and(need), tasks: load.tasks + 1 };
        if launch_type == LaunchType::Ec2 {
            *self.groups.entry((host.clone(), Arc::from(share.group))).or_insert(0) += 1;
        }
        self.ports.extend(share.ports.iter().map(|port| (host.clone(), *port)));
        self.reorder(host, launch_type, true);
    }

    /// Releases a task's share of a host.
    pub fn give_back(&mut self, share: &Share<'_>) {
        let Share { host, launch_type, need, .. } = *share;
        self.reorder(host, launch_type, false);
        let load = self.of(host, launch_type);
        let left = Load { need: load.need.without(need), tasks: load.tasks - 1 };
        keep(&mut self.by_host, (host.clone(), launch_type), (left.tasks > 0).then_some(left));
        if launch_type == LaunchType::Ec2 {
            let group = Arc::from(share.group);
            let left = self.in_group(host, &group) - 1;
            keep(&mut self.groups, (host.clone(), group), (left > 0).then_some(left));
        }
        share.ports.iter().for_each(|port| drop(self.ports.remove(&(host.clone(), *port))));
        self.reorder(host, launch_type, true);
    }

    fn promised(&self, host: &HostId) -> u64 {
        self.of(host, LaunchType::Fargate).need.memory_mib
    }

    /// Adds a known host to the orders that tasks of this launch type affect, or removes it.
    fn reorder(&mut self, host: &HostId, launch_type: LaunchType, is_in: bool) {
        if launch_type == LaunchType::Ec2 {
            return self.rank(host, is_in);
        }
        let row = (self.promised(host), host.clone());
        if !is_in {
            self.by_promised_memory.remove(&row);
        } else if self.known.contains_key(host) {
            self.by_promised_memory.insert(row);
        }
    }

    /// Ranks a known host in its zone by its EC2 tasks, or removes it from the ranking.
    fn rank(&mut self, host: &HostId, is_in: bool) {
        let Some(HostRoom { zone: Some(zone), is_open, capacity }) = self.known.get(host) else { return };
        let standing = Standing {
            host,
            is_open: *is_open,
            capacity: *capacity,
            load: self.of(host, LaunchType::Ec2),
            groups: self.groups_on(host).map(|(group, count)| (group.clone(), count)).collect(),
        };
        let ranking = self.zones.entry(zone.clone()).or_default();
        ranking.mark(&standing, is_in);
        if ranking.is_empty() {
            self.zones.remove(zone);
        }
    }
}

/// Stores the remaining value of a key, or removes the key.
fn keep<K: Ord + Clone, V: Clone>(map: &mut OrdMap<K, V>, key: K, left: Option<V>) {
    match left {
        Some(left) => drop(map.insert(key, left)),
        None => drop(map.remove(&key)),
    }
}
