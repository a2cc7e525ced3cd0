//! What other records are looked up by: derived from the records as they come and go, and never stored.

use std::net::Ipv4Addr;

use berth_types::{EniId, GroupSetId, HostId, SecurityGroupId, SubnetId, TaskId, VpcId};
use imbl::{OrdMap, OrdSet};

use crate::ecs::name::ClusterName;

/// Key of a record that exists once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Single;

impl std::fmt::Display for Single {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("single")
    }
}

/// What a stored kind provides besides its serde form.
pub trait Stored {
    /// Type of its key.
    type Key;
    /// The key under which it is stored.
    fn key(&self) -> Self::Key;
    /// Adds what other records look it up by.
    fn index(&self, _index: &mut Index) {}
    /// Removes what `index` added.
    fn unindex(&self, _index: &mut Index) {}
}

/// Derived look-ups.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// Interfaces by subnet and private address.
    pub addresses: OrdMap<(SubnetId, Ipv4Addr), EniId>,
    /// Interfaces by the groups they carry.
    pub group_members: OrdSet<(SecurityGroupId, EniId)>,
    /// Group sets by content.
    pub group_sets: OrdMap<(VpcId, Vec<SecurityGroupId>), GroupSetId>,
    /// Interfaces by group set.
    pub group_set_members: OrdSet<(GroupSetId, EniId)>,
    /// Interfaces by VPC.
    pub vpc_enis: OrdSet<(VpcId, EniId)>,
    /// Interfaces by the host they are plugged on.
    pub host_enis: OrdSet<(HostId, EniId)>,
    /// Tasks by cluster.
    pub cluster_tasks: OrdSet<(ClusterName, TaskId)>,
    /// Tasks by host, stopped ones left out.
    pub host_tasks: OrdSet<(HostId, TaskId)>,
    /// Tasks by the client token they were run with.
    pub client_tokens: OrdSet<(String, TaskId)>,
    /// Hardware addresses in use.
    pub macs: OrdSet<berth_types::MacAddress>,
}
