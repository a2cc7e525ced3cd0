//! The container instances of one zone of a cluster in the orders in which placement looks at them.
//!
//! Kept as hosts and tasks come, change and go, so that a choice begins with the best instance and ends with the first
//! that can run the task. Only tasks of launch type EC2 count. Not here: which instance is in which zone (`load.rs`),
//! and the choice (`strategy.rs`).

use std::sync::Arc;

use berth_types::HostId;
use berth_types::link::Capacity;
use imbl::{OrdMap, OrdSet};

use super::load::{Load, Resource};

/// An instance as it is ranked.
pub(super) struct Standing<'a> {
    pub host: &'a HostId,
    /// It takes new tasks. Of one that does not, only the tasks it has count for its zone.
    pub is_open: bool,
    pub capacity: Capacity,
    /// Its tasks.
    pub load: Load,
    /// Their groups, with the number of each.
    pub groups: Vec<(Arc<str>, usize)>,
}

/// An instance in an order: what the order goes by, then its number of tasks, then its id.
pub type Row<'a> = (u64, usize, &'a HostId);

/// The instances of one zone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// Those that take new tasks, by number of tasks.
    by_tasks: OrdSet<(usize, HostId)>,
    /// The same by what is left of a resource, then by number of tasks.
    by_free: OrdSet<(Resource, u64, usize, HostId)>,
    /// Those with a task of a group, by the number of these, then by number of tasks.
    by_group: OrdSet<(Arc<str>, usize, usize, HostId)>,
    groups: OrdMap<Arc<str>, Group>,
}

/// A group in a zone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Group {
    /// Its tasks, on whichever instance.
    tasks: usize,
    /// Instances that have one and take new tasks.
    open_hosts: usize,
}

impl Ranking {
    /// The instances that take new tasks, those with the fewest tasks first.
    pub fn by_tasks(&self) -> impl Iterator<Item = Row<'_>> {
        self.by_tasks.iter().map(|(tasks, host)| (0, *tasks, host))
    }

    /// Those with at least so much of a resource left, the fullest first.
    pub fn by_free(&self, resource: Resource, least: u64) -> impl Iterator<Item = Row<'_>> {
        let rows = self.by_free.range((resource, least, 0, HostId::from_bits(0))..);
        rows.take_while(move |(of, ..)| *of == resource).map(|(_, free, tasks, host)| (*free, *tasks, host))
    }

    /// Those with the fewest tasks of the group first; the caller says which have one.
    pub fn by_tasks_of(&self, group: &Arc<str>, has_one: impl Fn(&HostId) -> bool) -> impl Iterator<Item = Row<'_>> {
        let open_hosts = self.groups.get(group).map_or(0, |group| group.open_hosts);
        let are_without = open_hosts < self.by_tasks.len();
        let without = are_without.then(|| self.by_tasks().filter(move |(.., host)| !has_one(host)));
        let group = group.clone();
        let first = (group.clone(), 0, 0, HostId::from_bits(0));
        let with = self.by_group.range(first..).take_while(move |(of, ..)| *of == group);
        without.into_iter().flatten().chain(with.map(|(_, count, tasks, host)| (*count as u64, *tasks, host)))
    }

    /// Number of tasks of the group, also on instances that take no new ones.
    pub fn tasks_of(&self, group: &Arc<str>) -> usize {
        self.groups.get(group).map_or(0, |group| group.tasks)
    }

    /// True if nothing is ranked.
    pub(super) fn is_empty(&self) -> bool {
        self.by_tasks.is_empty() && self.groups.is_empty()
    }

    /// Enters an instance, or strikes out one that stands as it did when it was entered.
    pub(super) fn mark(&mut self, standing: &Standing<'_>, is_in: bool) {
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

    /// Adds the tasks an instance has of a group, or takes them away.
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
