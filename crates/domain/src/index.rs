//! What other records are looked up by: derived from the records as they come and go, and never stored.

use std::net::Ipv4Addr;

use berth_types::{EniId, GroupSetId, HostId, SecurityGroupId, SubnetId, TaskId, TimestampMs, VpcId};
use imbl::{OrdMap, OrdSet};

use crate::ecs::load::{Counts, Loads};
use crate::ecs::name::{ClusterName, TaskDefinitionKey};
use crate::numbers::Numbers;

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
    /// Both, for a record that takes the place of `old`.
    fn reindex(&self, old: &Self, index: &mut Index) {
        old.unindex(index);
        self.index(index);
    }
}

/// Puts a number in use among those of `of`.
pub(crate) fn take<K: Ord + Clone>(numbers: &mut OrdMap<K, Numbers>, of: &K, number: u32) {
    numbers.entry(of.clone()).or_default().take(number);
}

/// Gives a number of `of` back.
pub(crate) fn give_back<K: Ord + Clone>(numbers: &mut OrdMap<K, Numbers>, of: &K, number: u32) {
    let Some(held) = numbers.get_mut(of) else { return };
    held.give_back(number);
    if held.used() == 0 {
        numbers.remove(of);
    }
}

/// Derived look-ups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    /// Interfaces by subnet and private address.
    pub addresses: OrdMap<(SubnetId, Ipv4Addr), EniId>,
    /// Addresses in use by subnet, as numbers.
    pub address_numbers: OrdMap<SubnetId, Numbers>,
    /// Device indexes in use by host.
    pub device_indexes: OrdMap<HostId, Numbers>,
    /// Interfaces users made with a client token, by the token.
    pub eni_tokens: OrdMap<String, EniId>,
    /// Security groups by VPC and name.
    pub group_names: OrdMap<(VpcId, String), SecurityGroupId>,
    /// Interfaces by the groups they carry.
    pub group_members: OrdSet<(SecurityGroupId, EniId)>,
    /// Group sets by content.
    pub group_sets: OrdMap<(VpcId, Vec<SecurityGroupId>), GroupSetId>,
    /// Numbers of group sets in use.
    pub group_set_numbers: Numbers,
    /// Interfaces by group set.
    pub group_set_members: OrdSet<(GroupSetId, EniId)>,
    /// Interfaces by VPC.
    pub vpc_enis: OrdSet<(VpcId, EniId)>,
    /// Interfaces by the host they are plugged on.
    pub host_enis: OrdSet<(HostId, EniId)>,
    /// Interfaces that are wanted on a host, by host and VPC.
    pub host_vpc_enis: OrdSet<(HostId, VpcId, EniId)>,
    /// Tasks by cluster.
    pub cluster_tasks: OrdSet<(ClusterName, TaskId)>,
    /// Tasks by definition, stopped ones too.
    pub definition_tasks: OrdSet<(TaskDefinitionKey, TaskId)>,
    /// Deleted definitions that are still there, by the time their end was asked for.
    pub deleted_definitions: OrdSet<(TimestampMs, TaskDefinitionKey)>,
    /// Tasks by host, stopped ones left out.
    pub host_tasks: OrdSet<(HostId, TaskId)>,
    /// Tasks by the client token they were run with.
    pub client_tokens: OrdSet<(String, TaskId)>,
    /// Stopped tasks by the time they stopped.
    pub stopped_tasks: OrdSet<(TimestampMs, TaskId)>,
    /// What tasks take of hosts.
    pub loads: Loads,
    /// How many tasks there are.
    pub counts: Counts,
    /// Hardware addresses in use.
    pub macs: OrdSet<berth_types::MacAddress>,
}
