// SPDX-License-Identifier: Apache-2.0
//! Hosts that wait to become container instances: connected, not registered, and in a cluster that may not exist yet.

use berth_types::HostId;
use imbl::OrdSet;

use super::name::ClusterName;

/// The waiting hosts by cluster, and the clusters that can take theirs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WaitingHosts {
    by_cluster: OrdSet<(ClusterName, HostId)>,
    /// Every ACTIVE cluster.
    active: OrdSet<ClusterName>,
    /// The ACTIVE clusters for which hosts wait.
    ready: OrdSet<ClusterName>,
}

impl WaitingHosts {
    /// True if a host waits whose cluster is ACTIVE.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The hosts that wait and whose cluster is ACTIVE, by cluster.
    pub fn ready(&self) -> impl Iterator<Item = &HostId> {
        self.ready.iter().flat_map(|cluster| self.of(cluster))
    }

    pub(super) fn host_came(&mut self, cluster: &ClusterName, host: &HostId) {
        self.by_cluster.insert((cluster.clone(), host.clone()));
        if self.active.contains(cluster) {
            self.ready.insert(cluster.clone());
        }
    }

    pub(super) fn host_went(&mut self, cluster: &ClusterName, host: &HostId) {
        self.by_cluster.remove(&(cluster.clone(), host.clone()));
        if self.of(cluster).next().is_none() {
            self.ready.remove(cluster);
        }
    }

    pub(super) fn cluster_opened(&mut self, cluster: &ClusterName) {
        self.active.insert(cluster.clone());
        if self.of(cluster).next().is_some() {
            self.ready.insert(cluster.clone());
        }
    }

    pub(super) fn cluster_closed(&mut self, cluster: &ClusterName) {
        self.active.remove(cluster);
        self.ready.remove(cluster);
    }

    /// The hosts that wait for a cluster.
    fn of(&self, cluster: &ClusterName) -> impl Iterator<Item = &HostId> {
        let cluster = cluster.clone();
        let first = (cluster.clone(), HostId::from_bits(0));
        self.by_cluster.range(first..).take_while(move |(of, _)| *of == cluster).map(|(_, host)| host)
    }
}
