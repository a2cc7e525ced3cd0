// SPDX-License-Identifier: Apache-2.0
//! Number of tasks by cluster, launch type and progress, updated as tasks change.

use berth_types::intent::LaunchType;
use imbl::OrdMap;

use super::name::ClusterName;

/// Progress of a task, as distinguished by the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Accepted, not yet running.
    Pending,
    /// Running.
    Running,
    /// Being stopped.
    Ending,
    /// Stopped.
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

    /// Adds one task.
    pub fn add(&mut self, cluster: &ClusterName, launch_type: LaunchType, progress: Progress) {
        *self.0.entry((cluster.clone(), launch_type, progress)).or_insert(0) += 1;
    }

    /// Subtracts one task.
    pub fn remove(&mut self, cluster: &ClusterName, launch_type: LaunchType, progress: Progress) {
        let key = (cluster.clone(), launch_type, progress);
        match self.of(cluster, launch_type, progress) {
            0 | 1 => drop(self.0.remove(&key)),
            count => drop(self.0.insert(key, count - 1)),
        }
    }
}
