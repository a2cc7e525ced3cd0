// SPDX-License-Identifier: Apache-2.0
//! The container instances of one zone of a cluster in the orders in which placement looks at them.
//!
//! Updated as hosts and tasks change, so that a choice begins with the best instance and ends with the first that can
//! run the task. Only tasks of launch type EC2 count. Not here: the zone of each instance (`load.rs`), and the choice
//! (`strategy.rs`).

use std::sync::Arc;

use berth_types::HostId;
use berth_types::link::Capacity;
use imbl::{OrdMap, OrdSet};

use super::need::{Load, Resource};

/// An instance to rank.
pub struct Standing<'a> {
    /// Its id.
    pub host: &'a HostId,
    /// It accepts new tasks. Of an instance that does not, only the present tasks count for its zone.
    pub is_open: bool,
    /// Its capacity.
    pub capacity: Capacity,
    /// Its tasks.
    pub load: Load,
    /// Number of its tasks by group.
    pub groups: Vec<(Arc<str>, usize)>,
}

/// An instance in an order: the value that is ordered by, the number of its tasks, its id.
pub type Row<'a> = (u64, usize, &'a HostId);

/// The instances of one zone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// Instances that accept new tasks, by number of tasks.
    by_tasks: OrdSet<(usize, HostId)>,
    /// The same instances by free amount of a resource, then by number of tasks.
    by_free: OrdSet<(Resource, u64, usize, HostId)>,
    /// Those with a task of a group, by number of tasks of the group, then by number of tasks.
    by_group: OrdSet<(Arc<str>, usize, usize, HostId)>,
    groups: OrdMap<Arc<str>, Group>,
}

/// Tasks of a group in a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Group {
    /// Tasks of the group on all instances.
    tasks: usize,
    /// Instances that have such a task and accept new tasks.
    open_hosts: usize,
}

impl Ranking {
    /// The instances that accept new tasks, those with the fewest tasks first.
    pub fn by_tasks(&self) -> impl Iterator<Item = Row<'_>> {
        self.by_tasks.iter().map(|(tasks, host)| (0, *tasks, host))
    }

    /// Those with at least `least` of a resource free, the fullest first.
    pub fn by_free(&self, resource: Resource, least: u64) -> impl Iterator<Item = Row<'_>> {
        let rows = self.by_free.range((resource, least, 0, HostId::from_bits(0))..);
        rows.take_while(move |(of, ..)| *of == resource).map(|(_, free, tasks, host)| (*free, *tasks, host))
    }

    /// Those with the fewest tasks of the group first; `has_one` is true for instances that have one.
    pub fn by_tasks_of(&self, group: &Arc<str>, has_one: impl Fn(&HostId) -> bool) -> impl Iterator<Item = Row<'_>> {
        let open_hosts = self.groups.get(group).map_or(0, |group| group.open_hosts);
        let are_without = open_hosts < self.by_tasks.len();
        let without = are_without.then(|| self.by_tasks().filter(move |(.., host)| !has_one(host)));
        let group = group.clone();
        let first = (group.clone(), 0, 0, HostId::from_bits(0));
        let with = self.by_group.range(first..).take_while(move |(of, ..)| *of == group);
        without.into_iter().flatten().chain(with.map(|(_, count, tasks, host)| (*count as u64, *tasks, host)))
    }

    /// Number of tasks of the group, including those on instances that accept no new tasks.
    pub fn tasks_of(&self, group: &Arc<str>) -> usize {
        self.groups.get(group).map_or(0, |group| group.tasks)
    }

    /// True if no instance is ranked.
    pub fn is_empty(&self) -> bool {
        self.by_tasks.is_empty() && self.groups.is_empty()
    }

    /// Adds an instance, or removes it; a removal needs the standing with which it was added.
    pub fn mark(&mut self, standing: &Standing<'_>, is_in: bool) {
        for (group, count) in &standing.groups {
            self.count(group, *count, standing.is_open, is_in);
        }
        if !standing.is_open {
            return;
        }
        let (host, tasks) = (standing.host, standing.load.tasks);
        mark(&mut self.by_tasks, (tasks, host.clone()), is_in);
        for resource in [Resource::Cpu, Resource::Memory] {
            let free = resource.free(standing.capacity, standing.load.need);
            mark(&mut self.by_free, (resource, free, tasks, host.clone()), is_in);
        }
        for (group, count) in &standing.groups {
            mark(&mut self.by_group, (group.clone(), *count, tasks, host.clone()), is_in);
        }
    }

    /// Adds the number of tasks an instance has of a group, or subtracts it.
    fn count(&mut self, group: &Arc<str>, tasks: usize, is_open: bool, is_in: bool) {
        let open_hosts = usize::from(is_open);
        let sum = self.groups.entry(group.clone()).or_default();
        if is_in {
            *sum = Group { tasks: sum.tasks + tasks, open_hosts: sum.open_hosts + open_hosts };
            return;
        }
        *sum = Group { tasks: sum.tasks - tasks, open_hosts: sum.open_hosts - open_hosts };
        if sum.tasks == 0 {
            self.groups.remove(group);
        }
    }
}

fn mark<T: Ord + Clone>(rows: &mut OrdSet<T>, row: T, is_in: bool) {
    if is_in {
        rows.insert(row);
    } else {
        rows.remove(&row);
    }
}
