// SPDX-License-Identifier: Apache-2.0
//! The two ends of a packet according to the records: the input of `berth explain`.
//!
//! The server looks up the ends and returns the relevant groups and rules; it decides nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::intent::{GroupSetIntent, HostIntent, SecurityGroupIntent};
use crate::{EniId, GroupSetId, HostId, Ipv4Cidr, SecurityGroupId, SubnetId, TaskId, Vni, VpcId};

/// The address that stands for the world when a question names none: one for documentation, which no machine has.
pub const WORLD_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// The two ends of a packet, of which one at least is an interface of the VPC, and the rules of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// The VPC.
    pub vpc: VpcId,
    /// Its number in the data path.
    pub vni: Vni,
    /// Destinations of its local route.
    pub cidrs: Vec<Ipv4Cidr>,
    /// Who sends.
    pub source: Source,
    /// Destination address of the packet; from the world, the private one behind the public address.
    pub destination: Ipv4Addr,
    /// Destination address of a packet from the world; `None` if the receiver has no public address.
    pub public: Option<Ipv4Addr>,
    /// The interface with that address, if any.
    pub receiver: Option<Party>,
    /// Every set of groups in use in the VPC, by number.
    pub group_sets: BTreeMap<GroupSetId, GroupSetIntent>,
    /// The rules of the groups of both ends.
    pub security_groups: BTreeMap<SecurityGroupId, SecurityGroupIntent>,
    /// The intent of the sender's host, or of the receiver's for a packet from the world, without interfaces and tasks: subnets, route tables, network ACLs, gateways.
    #[serde(default)]
    pub ways: HostIntent,
}

impl Ends {
    /// The sending interface; `None` for a packet from the world.
    pub fn sender(&self) -> Option<&Party> {
        match &self.source {
            Source::Interface(party) => Some(party),
            Source::World(_) => None,
        }
    }

    /// Source address of the packet.
    pub fn source_address(&self) -> Ipv4Addr {
        match &self.source {
            Source::Interface(party) => party.address,
            Source::World(address) => *address,
        }
    }
}

/// The sender of a packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An interface of the VPC.
    Interface(Party),
    /// An address outside all VPCs.
    World(Ipv4Addr),
}

/// An interface as one end of a packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Party {
    /// The interface.
    pub eni: EniId,
    /// Its private address.
    pub address: Ipv4Addr,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Range of the subnet.
    pub subnet_cidr: Ipv4Cidr,
    /// The task it belongs to.
    pub task: Option<TaskId>,
    /// Its security groups, in the order given.
    pub security_groups: Vec<SecurityGroupId>,
    /// The same groups as a number.
    pub group_set: GroupSetId,
    /// The host it is plugged on or will be plugged on.
    pub attachment: Option<Attached>,
}

/// The host that an interface is planned on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The host.
    pub host: HostId,
    /// The host has reported that it is usable.
    pub is_usable: bool,
}
