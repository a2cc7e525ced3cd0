//! What tasks take of hosts and how many there are: sums kept as tasks come, move on and go.
//!
//! So that placement and the counts of clusters cost the same with ten tasks and ten thousand.

use berth_types::HostId;
use berth_types::intent::LaunchType;
use berth_types::link::Capacity;
use berth_types::mode::{HostPort, Protocol};
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::name::ClusterName;

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

/// The loads of all hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loads {
    by_host: OrdMap<(HostId, LaunchType), Load>,
    /// Tasks of launch type EC2 by host and group.
    groups: OrdMap<(HostId, String), usize>,
    /// Ports of hosts that tasks take for themselves.
    ports: OrdSet<(HostId, HostPort)>,
    /// Every known host, by the memory promised to Fargate tasks on it.
    by_promised_memory: OrdSet<(u64, HostId)>,
    /// Where every known host belongs and how much it has.
    known: OrdMap<HostId, (ClusterName, Capacity)>,
    /// Every known host by cluster and number of EC2 tasks.
    by_tasks: OrdSet<(ClusterName, usize, HostId)>,
    /// Every known host by cluster and what EC2 tasks leave of a resource, then by their number.
    by_free: OrdSet<(ClusterName, Resource, u64, usize, HostId)>,
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

    fn free(self, capacity: Capacity, taken: Need) -> u64 {
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

    /// The hosts of a cluster, those with the fewest EC2 tasks first.
    pub fn by_tasks<'a>(&'a self, cluster: &ClusterName) -> impl Iterator<Item = &'a HostId> + use<'a> {
        let cluster = cluster.clone();
        let rows = self.by_tasks.range((cluster.clone(), 0, HostId::from_bits(0))..);
        rows.take_while(move |(of, ..)| *of == cluster).map(|(.., host)| host)
    }

    /// The hosts of a cluster that have at least so much of a resource left, with what they have,
    /// the fullest first; of equals the one with the fewest tasks.
    pub fn by_free<'a>(
        &'a self,
        cluster: &ClusterName,
        resource: Resource,
        least: u64,
    ) -> impl Iterator<Item = (u64, &'a HostId)> + use<'a> {
        let cluster = cluster.clone();
        let rows = self.by_free.range((cluster.clone(), resource, least, 0, HostId::from_bits(0))..);
        rows.take_while(move |(of, what, ..)| *of == cluster && *what == resource)
            .map(|(_, _, free, _, host)| (*free, host))
    }

    /// What EC2 tasks leave of a resource of a host.
    pub fn free(&self, host: &HostId, resource: Resource) -> u64 {
        let left = |(_, capacity): &(_, Capacity)| resource.free(*capacity, self.of(host, LaunchType::Ec2).need);
        self.known.get(host).map_or(0, left)
    }

    /// The groups of EC2 tasks on a host, with their number.
    pub fn groups_on<'a>(&'a self, host: &'a HostId) -> impl Iterator<Item = (&'a str, usize)> {
        let of_host = self.groups.range((host.clone(), String::new())..).take_while(move |((on, _), _)| on == host);
        of_host.map(|((_, group), count)| (group.as_str(), *count))
    }

    /// Number of EC2 tasks of a group on a host.
    pub fn in_group(&self, host: &HostId, group: &str) -> usize {
        self.groups.get(&(host.clone(), group.to_owned())).copied().unwrap_or(0)
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

    /// A task takes a port of a host. Placement sees to it that no two tasks take the same.
    pub(crate) fn take_port(&mut self, host: &HostId, port: HostPort) {
        self.ports.insert((host.clone(), port));
    }

    /// A task gives a port back.
    pub(crate) fn give_back_port(&mut self, host: &HostId, port: HostPort) {
        self.ports.remove(&(host.clone(), port));
    }

    /// A task of launch type EC2 joined its group on a host.
    pub(crate) fn joins(&mut self, host: &HostId, group: &str) {
        *self.groups.entry((host.clone(), group.to_owned())).or_insert(0) += 1;
    }

    /// A task of launch type EC2 left its group on a host.
    pub(crate) fn leaves(&mut self, host: &HostId, group: &str) {
        let left = self.in_group(host, group) - 1;
        let key = (host.clone(), group.to_owned());
        if left == 0 {
            self.groups.remove(&key);
        } else {
            self.groups.insert(key, left);
        }
    }

    /// A host became known.
    pub(crate) fn host_came(&mut self, host: &HostId, cluster: &ClusterName, capacity: Capacity) {
        self.known.insert(host.clone(), (cluster.clone(), capacity));
        self.by_promised_memory.insert((self.promised(host), host.clone()));
        self.rank(host, true);
    }

    /// A host was forgotten.
    pub(crate) fn host_went(&mut self, host: &HostId) {
        self.by_promised_memory.remove(&(self.promised(host), host.clone()));
        self.rank(host, false);
        self.known.remove(host);
    }

    /// Enters a known host by what EC2 tasks take of it, or strikes it out.
    fn rank(&mut self, host: &HostId, is_in: bool) {
        let Some((cluster, capacity)) = self.known.get(host).cloned() else { return };
        let load = self.of(host, LaunchType::Ec2);
        let by_tasks = (cluster.clone(), load.tasks, host.clone());
        let by_free = [Resource::Cpu, Resource::Memory]
            .map(|resource| (cluster.clone(), resource, resource.free(capacity, load.need), load.tasks, host.clone()));
        if is_in {
            self.by_tasks.insert(by_tasks);
            self.by_free.extend(by_free);
        } else {
            self.by_tasks.remove(&by_tasks);
            by_free.iter().for_each(|row| drop(self.by_free.remove(row)));
        }
    }

    /// A task takes its share of a host.
    pub(crate) fn add(&mut self, host: &HostId, launch_type: LaunchType, need: Need) {
        self.change(host, launch_type, |load| Load { need: load.need.and(need), tasks: load.tasks + 1 });
    }

    /// A task gives its share back.
    pub(crate) fn remove(&mut self, host: &HostId, launch_type: LaunchType, need: Need) {
        self.change(host, launch_type, |load| Load { need: load.need.without(need), tasks: load.tasks - 1 });
    }

    fn promised(&self, host: &HostId) -> u64 {
        self.of(host, LaunchType::Fargate).need.memory_mib
    }

    fn change(&mut self, host: &HostId, launch_type: LaunchType, change: impl FnOnce(Load) -> Load) {
        self.reorder(host, launch_type, false);
        let load = change(self.of(host, launch_type));
        let key = (host.clone(), launch_type);
        if load.tasks == 0 {
            self.by_host.remove(&key);
        } else {
            self.by_host.insert(key, load);
        }
        self.reorder(host, launch_type, true);
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
        let key = (cluster.clone(), launch_type, progress);
        if left == 0 {
            self.0.remove(&key);
        } else {
            self.0.insert(key, left);
        }
    }
}
