//! What tasks take of hosts and how many there are: sums kept as tasks come, move on and go.
//!
//! So that placement and the counts of clusters cost the same with ten tasks and ten thousand.

use std::sync::Arc;

use berth_types::HostId;
use berth_types::intent::LaunchType;
use berth_types::link::Capacity;
use berth_types::mode::{HostPort, Protocol};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::name::ClusterName;
use super::ranking::{Ranking, Standing};

/// What a task takes of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// CPU units.
    pub cpu_units: u64,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Network interfaces.
    pub enis: u64,
}

impl Need {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            cpu_units: self.cpu_units + other.cpu_units,
            memory_mib: self.memory_mib + other.memory_mib,
            enis: self.enis + other.enis,
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            cpu_units: self.cpu_units - other.cpu_units,
            memory_mib: self.memory_mib - other.memory_mib,
            enis: self.enis - other.enis,
        }
    }
}

/// What the tasks of one launch type take of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// All their needs together.
    pub need: Need,
    /// How many they are.
    pub tasks: usize,
}

/// What one task takes of its host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share<'a> {
    /// The host.
    pub host: &'a HostId,
    /// Of the task.
    pub launch_type: LaunchType,
    /// Of the task.
    pub group: &'a str,
    /// Its part of the host's capacity.
    pub need: Need,
    /// Ports it has for itself.
    pub ports: &'a [HostPort],
}

/// A host as placement sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Where it is a container instance: cluster and zone. One that is not has no part in placement of EC2 tasks.
    pub zone: Option<(ClusterName, Arc<str>)>,
    /// It is active and connected, and so takes new EC2 tasks.
    pub is_open: bool,
    /// How much it has.
    pub capacity: Capacity,
}

/// The loads of all hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loads {
    by_host: OrdMap<(HostId, LaunchType), Load>,
    /// Tasks of launch type EC2 by host and group.
    groups: OrdMap<(HostId, Arc<str>), usize>,
    /// Ports of hosts that tasks take for themselves.
    ports: OrdSet<(HostId, HostPort)>,
    /// Every known host, by the memory promised to Fargate tasks on it.
    by_promised_memory: OrdSet<(u64, HostId)>,
    /// Every known host.
    known: OrdMap<HostId, Place>,
    /// The container instances by cluster and zone.
    zones: OrdMap<(ClusterName, Arc<str>), Ranking>,
}

/// What can be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// CPU units.
    Cpu,
    /// Memory, MiB.
    Memory,
}

impl Resource {
    /// Of a need.
    pub fn of(self, need: Need) -> u64 {
        match self {
            Self::Cpu => need.cpu_units,
            Self::Memory => need.memory_mib,
        }
    }

    /// What is left of a capacity.
    pub fn free(self, capacity: Capacity, taken: Need) -> u64 {
        let has = match self {
            Self::Cpu => capacity.cpu_units,
            Self::Memory => capacity.memory_mib,
        };
        u64::from(has).saturating_sub(self.of(taken))
    }
}

impl Loads {
    /// What the tasks of one launch type take of a host.
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

    /// What EC2 tasks leave of a resource of a host.
    pub fn free(&self, host: &HostId, resource: Resource) -> u64 {
        let left = |place: &Place| resource.free(place.capacity, self.of(host, LaunchType::Ec2).need);
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

    /// The ports of a host that tasks take for themselves.
    pub fn ports_on<'a>(&'a self, host: &'a HostId) -> impl Iterator<Item = HostPort> + 'a {
        let first = HostPort { protocol: Protocol::Tcp, port: 0 };
        self.ports.range((host.clone(), first)..).take_while(move |(on, _)| on == host).map(|(_, port)| *port)
    }

    /// True if a task takes this port of a host for itself.
    pub fn is_taken(&self, host: &HostId, port: HostPort) -> bool {
        self.ports.contains(&(host.clone(), port))
    }

    /// A host became known.
    pub(crate) fn host_came(&mut self, host: &HostId, place: Place) {
        self.known.insert(host.clone(), place);
        self.by_promised_memory.insert((self.promised(host), host.clone()));
        self.rank(host, true);
    }

    /// A host was forgotten.
    pub(crate) fn host_went(&mut self, host: &HostId) {
        self.by_promised_memory.remove(&(self.promised(host), host.clone()));
        self.rank(host, false);
        self.known.remove(host);
    }

    /// A task takes its share of a host. Placement sees to it that no two tasks take the same port.
    pub(crate) fn take(&mut self, share: &Share<'_>) {
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

    /// A task gives its share back.
    pub(crate) fn give_back(&mut self, share: &Share<'_>) {
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

    /// Enters a known host into the orders that tasks of this launch type change, or strikes it out.
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

    /// Ranks a known host in its zone by its EC2 tasks, or strikes it out.
    fn rank(&mut self, host: &HostId, is_in: bool) {
        let Some(Place { zone: Some(zone), is_open, capacity }) = self.known.get(host) else { return };
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

/// Keeps what is left under a key, or nothing.
fn keep<K: Ord + Clone, V: Clone>(map: &mut OrdMap<K, V>, key: K, left: Option<V>) {
    match left {
        Some(left) => drop(map.insert(key, left)),
        None => drop(map.remove(&key)),
    }
}

/// How far a task is, as counts tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Accepted, not yet running.
    Pending,
    /// Running.
    Running,
    /// Being ended.
    Ending,
    /// The end.
    Stopped,
}

/// Number of tasks by cluster, launch type and progress.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts(OrdMap<(ClusterName, LaunchType, Progress), usize>);

impl Counts {
    /// Number of tasks of a cluster.
    pub fn of(&self, cluster: &ClusterName, launch_type: LaunchType, progress: Progress) -> usize {
        self.0.get(&(cluster.clone(), launch_type, progress)).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, cluster: &ClusterName, launch_type: LaunchType, progress: Progress) {
        *self.0.entry((cluster.clone(), launch_type, progress)).or_insert(0) += 1;
    }

    pub(crate) fn remove(&mut self, cluster: &ClusterName, launch_type: LaunchType, progress: Progress) {
        let left = self.of(cluster, launch_type, progress) - 1;
        keep(&mut self.0, (cluster.clone(), launch_type, progress), (left > 0).then_some(left));
    }
}
