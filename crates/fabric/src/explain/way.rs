// SPDX-License-Identifier: Apache-2.0
//! The way of a packet according to the kernel's maps: routes, network ACLs, gateways, evaluated as in `bpf/ways.h`.
//!
//! The maps know tables and targets by number only; the records give them their names.

use std::net::Ipv4Addr;

use berth_types::explain::Ends;
use berth_types::intent::{Direction, RouteIntent, SubnetIntent};
use berth_types::{GroupSetId, Ipv4Cidr, Vni};

use super::answer::{Answer, Deciding, Packet};
use crate::DropReason;
use crate::bpf::layout::{
    ENDPOINT_FORWARDS, ENDPOINT_OTHER_HOST, Endpoint, EndpointKey, Eni, NAT_HERE, Nat, ROUTE_BLACKHOLE,
    ROUTE_INTERFACE, ROUTE_LOCAL, ROUTE_NAT, ROUTE_PEERING, ROUTE_WORLD, Route, Subnet,
};
use crate::fabric::Held;

/// The maps, and the packet.
pub(super) struct Way<'a> {
    pub held: &'a Held,
    pub ends: &'a Ends,
    pub packet: Packet,
}

/// The end of a way.
pub(super) enum Target<'a> {
    /// An address, and the interface that has it.
    Interface(EndpointKey, Option<&'a Endpoint>),
    InternetGateway,
    NatGateway(Option<&'a Nat>),
}

impl<'a> Target<'a> {
    pub fn receiver(&self) -> Option<(EndpointKey, &'a Endpoint)> {
        match self {
            Self::Interface(key, endpoint) => endpoint.map(|endpoint| (*key, endpoint)),
            Self::InternetGateway | Self::NatGateway(_) => None,
        }
    }
}

impl<'a> Way<'a> {
    /// The group set of an endpoint; 0 for one that is not programmed yet.
    pub fn group_set(&self, endpoint: Option<&Endpoint>) -> GroupSetId {
        GroupSetId(endpoint.map_or(0, |it| it.group_set[self.held.side()]))
    }

    /// True if the packet stays in its subnet.
    pub fn is_inside(&self, eni: &Eni) -> bool {
        let own = u32::from_be_bytes(eni.address);
        (self.ends.destination.to_bits() ^ own) & u32::from_be_bytes(eni.mask) == 0
    }

    /// The interface of the same subnet.
    pub fn in_subnet(&self, eni: &Eni) -> (Answer, Option<Target<'a>>) {
        (Answer::open(), Some(self.interface(eni.vni, self.ends.destination.octets())))
    }

    fn interface(&self, vni: u32, address: [u8; 4]) -> Target<'a> {
        let key = EndpointKey { vni, address };
        Target::Interface(key, self.held.endpoints.get(&key))
    }

    /// The longest prefix of the route table of the sender's subnet.
    pub fn route(&self, eni: &Eni) -> (Answer, Option<Target<'a>>) {
        let to = self.ends.destination;
        let number = self.held.subnets.get(&eni.subnet).map_or(0, |subnet| subnet.route_table[self.held.side()]);
        if number == 0 {
            let in_vpc = |(vni, range): &&(Vni, Ipv4Cidr)| vni.0 == eni.vni && range.contains(to);
            return match self.held.cidrs.iter().find(in_vpc) {
                Some((_, range)) => {
                    let local = Deciding::Route { table: None, destination: *range, target: "local".to_owned() };
                    (Answer::Pass(vec![local]), Some(self.interface(eni.vni, to.octets())))
                }
                None => (Answer::Drop(DropReason::NoRoute), None),
            };
        }
        let Some((range, route)) = longest(self.held, number, to) else {
            return (Answer::Drop(DropReason::NoRoute), None);
        };
        let target = match route.kind {
            ROUTE_LOCAL | ROUTE_PEERING => self.interface(route.vni, to.octets()),
            ROUTE_INTERFACE => self.interface(route.vni, route.address),
            ROUTE_WORLD => Target::InternetGateway,
            ROUTE_NAT => Target::NatGateway(self.held.nats.get(&route.number)),
            ROUTE_BLACKHOLE => return (Answer::Drop(DropReason::Blackhole), None),
            _ => return (Answer::Drop(DropReason::NoRoute), None),
        };
        (Answer::Pass(vec![self.named(*range, route)]), Some(target))
    }

    /// The route with the names that the records have for it.
    fn named(&self, destination: Ipv4Cidr, route: &Route) -> Deciding {
        let ends = self.ends;
        let sender = ends.sender().map(|party| &party.subnet);
        let subnet = sender.and_then(|subnet| ends.ways.vpcs.get(&ends.vni)?.subnets.get(subnet));
        let table = subnet.and_then(|subnet| subnet.route_table.clone());
        let recorded = table.as_ref().and_then(|id| ends.ways.route_tables.get(id)?.routes.get(&destination));
        let target = match (route.kind, recorded) {
            (ROUTE_LOCAL, _) => "local".to_owned(),
            (ROUTE_WORLD, Some(RouteIntent::InternetGateway(id))) => id.to_string(),
            (ROUTE_NAT, Some(RouteIntent::NatGateway(id))) => id.to_string(),
            (ROUTE_INTERFACE, Some(RouteIntent::Eni(id))) => id.to_string(),
            (ROUTE_PEERING, Some(RouteIntent::Peering { id, .. })) => id.to_string(),
            (kind, _) => format!("an unrecorded target of kind {kind}"),
        };
        Deciding::Route { table, destination, target }
    }

    /// Whether the target takes the packet.
    pub fn reached(&self, eni: &Eni, target: &Target<'_>) -> Answer {
        match target {
            Target::Interface(key, endpoint) => match (Self::plugged(*endpoint), endpoint) {
                (Answer::Pass(_), Some(endpoint))
                    if key.address != self.ends.destination.octets() && endpoint.flags & ENDPOINT_FORWARDS == 0 =>
                {
                    Answer::Drop(DropReason::NotForwarding)
                }
                (plugged, _) => plugged,
            },
            Target::InternetGateway => self.exit(eni.vni, eni.address),
            Target::NatGateway(None) => Answer::Drop(DropReason::NoTranslation),
            Target::NatGateway(Some(nat)) => self.through_nat(eni, nat),
        }
    }

    /// Whether the interface of an endpoint is here.
    pub fn plugged(endpoint: Option<&Endpoint>) -> Answer {
        match endpoint {
            None => Answer::Drop(DropReason::NoEndpoint),
            Some(endpoint) if endpoint.ifindex != 0 => Answer::open(),
            Some(endpoint) if endpoint.flags & ENDPOINT_OTHER_HOST != 0 => Answer::Drop(DropReason::OtherHost),
            Some(_) => Answer::Drop(DropReason::NotPlugged),
        }
    }

    /// `find_exit` of the data path.
    fn exit(&self, vni: u32, address: [u8; 4]) -> Answer {
        match self.held.publics.get(&EndpointKey { vni, address }) {
            None => Answer::Drop(DropReason::NoPublicAddress),
            Some(_) if self.held.world.ifindex == 0 => Answer::Drop(DropReason::NoWorld),
            Some(owner) => Answer::Pass(vec![Deciding::Translated(owner.address.into())]),
        }
    }

    /// A NAT gateway, with the network ACL and the routes of its subnet.
    fn through_nat(&self, eni: &Eni, nat: &Nat) -> Answer {
        if nat.flags & NAT_HERE == 0 {
            return Answer::Drop(DropReason::OtherHost);
        }
        let subnet = nat.subnet as u16;
        if subnet != eni.subnet {
            let into = self.network_acl(subnet, Direction::Ingress, eni.address.into());
            if let Answer::Drop(_) = into {
                return into;
            }
        }
        let out = self.network_acl(subnet, Direction::Egress, self.ends.destination);
        if let Answer::Drop(_) = out {
            return out;
        }
        let [private, ..] = nat.address;
        let table = self.held.subnets.get(&subnet).map_or(0, |subnet| subnet.route_table[self.held.side()]);
        match longest(self.held, table, self.ends.destination).map(|(_, route)| route.kind) {
            None => Answer::Drop(DropReason::NoRoute),
            Some(ROUTE_WORLD) => self.exit(nat.vni, private),
            Some(ROUTE_BLACKHOLE) => Answer::Drop(DropReason::Blackhole),
            Some(_) => Answer::Pass(vec![Deciding::Translated(private.into())]),
        }
    }

    /// `acl_admits` of the data path, with the entry that decides.
    pub fn network_acl(&self, subnet: u16, direction: Direction, other: Ipv4Addr) -> Answer {
        let Some(row) = self.held.subnets.get(&subnet) else { return Answer::open() };
        let (column, denial) = match direction {
            Direction::Egress => (0, DropReason::NetworkAclOut),
            Direction::Ingress => (1, DropReason::NetworkAclIn),
        };
        let number = row.acl[self.held.side()][column];
        if number == 0 {
            return Answer::open();
        }
        let Some(acl) = self.held.acls.get(&number) else { return Answer::Drop(denial) };
        let bits = acl.matching(other, self.packet.protocol, self.packet.port);
        let bit = bits.trailing_zeros() as usize;
        if bits == 0 || acl.admit >> bit & 1 == 0 {
            return Answer::Drop(denial);
        }
        let recorded = self.subnet_named(row).and_then(|subnet| subnet.network_acl.as_ref());
        let entries = recorded.and_then(|id| Some((id, self.ends.ways.network_acls.get(id)?)));
        let entry = entries.and_then(|(id, acl)| {
            let mut entries = acl.entries.iter().filter(|entry| entry.direction == direction);
            Some(Deciding::AclEntry { acl: id.clone(), entry: entries.nth(bit)?.number })
        });
        Answer::Pass(vec![entry.unwrap_or(Deciding::Unrecorded { ruleset: number, bit })])
    }

    fn subnet_named(&self, row: &Subnet) -> Option<&'a SubnetIntent> {
        let mut subnets = self.ends.ways.vpcs.get(&Vni(row.vni))?.subnets.values();
        subnets.find(|subnet| subnet.cidr.network().octets() == row.network)
    }
}

fn longest(held: &Held, table: u32, to: Ipv4Addr) -> Option<(&Ipv4Cidr, &Route)> {
    let matching = held.tables.get(&table)?.iter().filter(|(range, _)| range.contains(to));
    matching.max_by_key(|(range, _)| range.prefix())
}
