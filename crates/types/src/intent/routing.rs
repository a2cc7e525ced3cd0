// SPDX-License-Identifier: Apache-2.0
//! Ways out of a subnet: route tables, network ACLs, public addresses, NAT gateways, and the world outside all VPCs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::vpc::{Direction, PortRange};
use crate::{EniId, HostId, InternetGatewayId, Ipv4Cidr, NatGatewayId, PeeringId, SubnetId, Vni};

/// A route table. Prefix lists are replaced by their ranges, of which the longest prefix that contains a destination
/// decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteTableIntent {
    /// Its VPC.
    pub vni: Vni,
    /// Routes by destination, with one for each range of the VPC.
    pub routes: BTreeMap<Ipv4Cidr, RouteIntent>,
}

/// Target of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteIntent {
    /// The interfaces of the VPC itself.
    Local,
    /// The internet gateway of the VPC.
    InternetGateway(InternetGatewayId),
    /// A NAT gateway of the VPC, an entry of `HostIntent::nat_gateways`.
    NatGateway(NatGatewayId),
    /// An interface of the VPC, whose source/destination check is off if it forwards.
    Eni(EniId),
    /// The interfaces of a peer VPC.
    Peering {
        /// The peering.
        id: PeeringId,
        /// The peer VPC.
        vni: Vni,
    },
    /// The target is gone: packets are dropped.
    Blackhole,
}

/// A network ACL: what does not match an entry is denied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkAclIntent {
    /// Its VPC.
    pub vni: Vni,
    /// Entries of both directions, each direction in ascending order of its numbers.
    pub entries: Vec<AclEntryIntent>,
}

/// An entry of a network ACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntryIntent {
    /// Its number, 1 to 32766, unique in its direction; the lowest one that matches decides.
    pub number: u16,
    /// Packets into or out of the subnet.
    pub direction: Direction,
    /// IP protocol number; `None` means all.
    pub protocol: Option<u8>,
    /// Ports of the destination, or ICMP types and codes.
    pub ports: PortRange,
    /// Range of the other end: the source into the subnet, the destination out of it.
    pub cidr: Ipv4Cidr,
    /// True if the packet passes.
    pub admits: bool,
}

/// Owner of a public address, which the internet gateway translates one to one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddressIntent {
    /// The VPC.
    pub vni: Vni,
    /// The interface: one of `HostIntent::endpoints`, or that of a NAT gateway.
    pub eni: EniId,
    /// Its private address.
    pub address: Ipv4Addr,
    /// The host that translates it.
    pub host: HostId,
}

/// A NAT gateway in state available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewayIntent {
    /// The VPC.
    pub vni: Vni,
    /// Its subnet, whose routes and network ACL apply to translated packets.
    pub subnet: SubnetId,
    /// Its interface, which is plugged nowhere.
    pub eni: EniId,
    /// Private addresses it translates to; the first one is primary.
    pub addresses: Vec<Ipv4Addr>,
    /// The host that translates: others do not forward to it.
    pub host: HostId,
    /// Limit of its translated packets, both directions together; `None` means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// Limit of a rate: packets beyond it are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Bits of IP packets per second, at least 1.
    pub bits_per_second: u64,
}

impl Rate {
    /// The smallest limit.
    pub const MIN: u64 = 1_000;
    /// The greatest limit.
    pub const MAX: u64 = 1_000_000_000_000;
}

/// The world outside all VPCs, as an installation has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldIntent {
    /// The host's own address in the pool, the source of its packets to public addresses.
    pub host_address: Ipv4Addr,
    /// The regional endpoints; absent from intents of versions without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointsIntent>,
}

/// Addresses of the regional endpoints of AWS services, which `berth edge` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointsIntent {
    /// The last /26 of the pool. All packets to it go to the edge.
    pub range: Ipv4Cidr,
    /// The region, a part of the endpoints' names.
    pub region: String,
    /// The endpoint of every service at once.
    pub all: Ipv4Addr,
    /// Endpoints of one service, such as `ecs`.
    pub services: BTreeMap<Ipv4Addr, String>,
}

impl WorldIntent {
    /// The pool of an installation that names none: a range for tests of networks, which no machine of the internet has.
    pub const DEFAULT_POOL: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 20);

    /// Number of the addresses at the end of a pool that are for regional endpoints.
    pub const ENDPOINTS: u32 = 64;

    /// The address of what is outside of simulated hosts: the machine they are on. It is the last one before those of
    /// the regional endpoints, and no interface gets it.
    pub fn outside_address(pool: Ipv4Cidr) -> Ipv4Addr {
        Ipv4Addr::from_bits(pool.broadcast().to_bits() - Self::ENDPOINTS)
    }
}
