// SPDX-License-Identifier: Apache-2.0
//! The gates according to the records: attachments, routes, and rules and entries read one by one.

use std::net::Ipv4Addr;

use berth_types::explain::{Ends, Party, Source};
use berth_types::intent::{AclEntryIntent, Direction, EndpointIntent, NetworkAclIntent, RouteIntent, SubnetIntent};
use berth_types::{EniId, GroupSetId, HostId, Ipv4Cidr, NatGatewayId, SubnetId, Vni};

use super::answer::{Answer, Answers, Deciding, Packet, until};
use crate::DropReason;
use crate::reading::{self, Question};

/// The interface at the end of the way.
struct Receiver {
    vni: Vni,
    address: Ipv4Addr,
    group_set: GroupSetId,
    attachment: Result<(), DropReason>,
}

/// The end of a way.
enum Target {
    Interface(Receiver),
    /// No interface has the address.
    Nobody,
    InternetGateway,
    NatGateway(NatGatewayId),
    /// An interface that does not forward.
    NotForwarding,
}

/// The answers in the order of the gates.
pub(super) fn answers(ends: &Ends, packet: Packet, host: &HostId) -> Answers {
    match &ends.source {
        Source::Interface(own) => Reading { ends, own, packet, host }.answers(),
        Source::World(sender) => match &ends.receiver {
            Some(own) => Reading { ends, own, packet, host }.of_world(*sender),
            None => until([Answer::Drop(DropReason::PublicAddressUnused)]),
        },
    }
}

/// The network ACLs that a reply meets on its way back through a NAT gateway.
pub(super) fn back_through_nat(ends: &Ends, packet: Packet, host: &HostId, id: &NatGatewayId) -> [Answer; 3] {
    match ends.sender() {
        Some(own) => Reading { ends, own, packet, host }.back_through_nat(id),
        None => std::array::from_fn(|_| Answer::NotReached),
    }
}

/// The NAT gateway to which the route of a packet leads.
pub(super) fn nat_gateway(ends: &Ends, packet: Packet, host: &HostId) -> Option<NatGatewayId> {
    let reading = Reading { ends, own: ends.sender()?, packet, host };
    match reading.route() {
        (_, Some(Target::NatGateway(id))) => Some(id),
        _ => None,
    }
}

struct Reading<'a> {
    ends: &'a Ends,
    /// The sender; the receiver of a packet from the world.
    own: &'a Party,
    packet: Packet,
    host: &'a HostId,
}

impl Reading<'_> {
    fn answers(&self) -> Answers {
        let source = self.source();
        if let Answer::Drop(_) = source {
            return until([source]);
        }
        let (ends, own) = (self.ends, self.own);
        let destination = self.destination();
        if matches!(destination, Answer::Drop(_)) || ends.destination == own.subnet_cidr.gateway() {
            return until([source, destination]);
        }
        let is_inside = own.subnet_cidr.contains(ends.destination);
        let (route, target) = if is_inside { (Answer::open(), Some(self.local(ends.vni))) } else { self.route() };
        let egress = self.egress(target.as_ref());
        if let Answer::Drop(_) = egress {
            return until([source, destination, egress]);
        }
        let acl = |subnet, direction, other| match is_inside {
            true => Answer::open(),
            false => self.network_acl(subnet, direction, other),
        };
        let out = acl(
            ends.ways.vpcs.get(&ends.vni).and_then(|vpc| vpc.subnets.get(&own.subnet)),
            Direction::Egress,
            ends.destination,
        );
        if let Answer::Drop(_) = out {
            return until([source, destination, egress, out]);
        }
        let Some(target) = target else { return until([source, destination, egress, out, route]) };
        let reached = self.reached(&target);
        let (Answer::Pass(_), Target::Interface(receiver)) = (&reached, &target) else {
            return until([source, destination, egress, out, route, reached]);
        };
        let into = acl(self.subnet_of(receiver.vni, receiver.address), Direction::Ingress, own.address);
        if let Answer::Drop(_) = into {
            return until([source, destination, egress, out, route, reached, into]);
        }
        let ingress = self.groups(Direction::Ingress, receiver.group_set, (own.address, own.group_set));
        [source, destination, egress, out, route, reached, into, ingress]
    }

    /// `fabric_world` of the data path: no egress and no route, and the sender has no groups.
    fn of_world(&self, sender: Ipv4Addr) -> Answers {
        let source = if self.ends.ways.worlds.is_empty() { Answer::Drop(DropReason::NoWorld) } else { Answer::open() };
        if let Answer::Drop(_) = source {
            return until([source]);
        }
        let destination = self.public_destination();
        if let Answer::Drop(_) = destination {
            return until([source, destination]);
        }
        let open = || Answer::open();
        if self.ends.cidrs.iter().any(|range| range.contains(sender)) {
            return until([source, destination, open(), open(), open(), Answer::Drop(DropReason::SpoofedAddress)]);
        }
        let reached = self.attachment(self.own).map_or_else(Answer::Drop, |()| Answer::open());
        if let Answer::Drop(_) = reached {
            return until([source, destination, open(), open(), open(), reached]);
        }
        let into = self.network_acl(self.subnet_of(self.ends.vni, self.own.address), Direction::Ingress, sender);
        if let Answer::Drop(_) = into {
            return until([source, destination, open(), open(), open(), reached, into]);
        }
        let ingress = self.groups(Direction::Ingress, self.own.group_set, (sender, GroupSetId(0)));
        [source, destination, open(), open(), open(), reached, into, ingress]
    }

    /// The private address behind the public one.
    fn public_destination(&self) -> Answer {
        let Some(public) = self.ends.public else { return Answer::Drop(DropReason::PublicAddressUnused) };
        let ways = &self.ends.ways;
        match ways.public_addresses.get(&public) {
            Some(owner) if ways.nat_gateways.values().any(|gateway| gateway.eni == owner.eni) => {
                Answer::Drop(DropReason::NoTranslation)
            }
            Some(owner) if owner.host == *self.host => Answer::Pass(vec![Deciding::Arrives(owner.address)]),
            Some(_) | None => Answer::Drop(DropReason::PublicAddressUnused),
        }
    }

    fn source(&self) -> Answer {
        let attachment = self.own.attachment.as_ref();
        let is_usable = attachment.is_some_and(|it| it.host == *self.host && it.is_usable);
        if is_usable { Answer::open() } else { Answer::Drop(DropReason::NotProgrammed) }
    }

    /// In the order of `check_addresses` and `answer_echo` of the data path.
    fn destination(&self) -> Answer {
        let (to, subnet) = (self.ends.destination, self.own.subnet_cidr);
        if to == self.own.address {
            return Answer::Drop(DropReason::OwnAddress);
        }
        if to == subnet.broadcast() || to.octets()[0] >= 224 {
            return Answer::Drop(DropReason::Multicast);
        }
        if to == subnet.gateway() && !self.packet.is_echo_request() {
            return Answer::Drop(DropReason::Router);
        }
        Answer::open()
    }

    /// The route of the packet, and its target; no target if the packet ends there.
    fn route(&self) -> (Answer, Option<Target>) {
        let (ends, to) = (self.ends, self.ends.destination);
        let subnet = ends.ways.vpcs.get(&ends.vni).and_then(|vpc| vpc.subnets.get(&self.own.subnet));
        let id = subnet.and_then(|subnet| subnet.route_table.as_ref());
        let table = id.and_then(|id| Some((id, ends.ways.route_tables.get(id)?)));
        let Some((id, table)) = table else {
            let local = ends.cidrs.iter().find(|range: &&Ipv4Cidr| range.contains(to));
            return match local {
                Some(range) => (passed(None, *range, "local"), Some(self.local(ends.vni))),
                None => (Answer::Drop(DropReason::NoRoute), None),
            };
        };
        let matching = table.routes.iter().filter(|(range, _)| range.contains(to));
        let Some((range, route)) = matching.max_by_key(|(range, _)| range.prefix()) else {
            return (Answer::Drop(DropReason::NoRoute), None);
        };
        let gateway = ends.ways.vpcs.get(&ends.vni).and_then(|vpc| vpc.internet_gateway.as_ref());
        let (name, target) = match route {
            RouteIntent::Local => ("local".to_owned(), self.local(ends.vni)),
            RouteIntent::InternetGateway(id) if Some(id) == gateway => (id.to_string(), Target::InternetGateway),
            RouteIntent::NatGateway(id) if ends.ways.nat_gateways.contains_key(id) => {
                (id.to_string(), Target::NatGateway(id.clone()))
            }
            RouteIntent::Eni(id) if ends.ways.endpoints.contains_key(id) => (id.to_string(), self.forwarder(id)),
            RouteIntent::Peering { id, vni } => (id.to_string(), self.local(*vni)),
            RouteIntent::Blackhole
            | RouteIntent::Eni(_)
            | RouteIntent::InternetGateway(_)
            | RouteIntent::NatGateway(_) => {
                return (Answer::Drop(DropReason::Blackhole), None);
            }
        };
        (passed(Some(id.clone()), *range, &name), Some(target))
    }

    /// The interface of this VPC that has the destination address.
    fn local(&self, vni: Vni) -> Target {
        let endpoints = self.ends.ways.endpoints.iter();
        let mut found = endpoints.filter(|(_, it)| it.vni == vni && it.address == self.ends.destination);
        match (found.next(), &self.ends.receiver) {
            (Some((eni, endpoint)), _) => Target::Interface(self.receiver(eni, endpoint)),
            (None, Some(party)) if vni == self.ends.vni => Target::Interface(Receiver {
                vni,
                address: party.address,
                group_set: party.group_set,
                attachment: self.attachment(party),
            }),
            (None, _) => Target::Nobody,
        }
    }

    /// The interface that a route leads to.
    fn forwarder(&self, id: &EniId) -> Target {
        let Some(endpoint) = self.ends.ways.endpoints.get(id) else { return Target::Nobody };
        let forwards = self.ends.ways.enis.get(id).is_some_and(|eni| !eni.source_dest_check);
        if endpoint.address != self.ends.destination && !forwards && endpoint.host == *self.host {
            return Target::NotForwarding;
        }
        Target::Interface(self.receiver(id, endpoint))
    }

    fn receiver(&self, eni: &EniId, endpoint: &EndpointIntent) -> Receiver {
        let party = self.ends.receiver.as_ref().filter(|party| party.eni == *eni);
        let is_here = if endpoint.host == *self.host { Ok(()) } else { Err(DropReason::OtherHost) };
        Receiver {
            vni: endpoint.vni,
            address: endpoint.address,
            group_set: endpoint.group_set,
            attachment: party.map_or(is_here, |party| self.attachment(party)),
        }
    }

    fn attachment(&self, party: &Party) -> Result<(), DropReason> {
        match &party.attachment {
            Some(attachment) if attachment.host != *self.host => Err(DropReason::OtherHost),
            Some(attachment) if !attachment.is_usable => Err(DropReason::NotPlugged),
            Some(_) => Ok(()),
            None => Err(DropReason::NoEndpoint),
        }
    }

    fn reached(&self, target: &Target) -> Answer {
        match target {
            Target::Interface(receiver) => receiver.attachment.map_or_else(Answer::Drop, |()| Answer::open()),
            Target::Nobody => Answer::Drop(DropReason::NoEndpoint),
            Target::NotForwarding => Answer::Drop(DropReason::NotForwarding),
            Target::InternetGateway => self.exit(self.ends.vni, self.own.address),
            Target::NatGateway(id) => self.through_nat(id),
        }
    }

    /// The internet gateway, for a packet from this address.
    fn exit(&self, vni: Vni, sender: Ipv4Addr) -> Answer {
        let ways = &self.ends.ways;
        let mut public = ways
            .public_addresses
            .iter()
            .filter(|(_, it)| it.vni == vni && it.address == sender && it.host == *self.host);
        match public.next() {
            None => Answer::Drop(DropReason::NoPublicAddress),
            Some(_) if ways.worlds.is_empty() => Answer::Drop(DropReason::NoWorld),
            Some((address, _)) => Answer::Pass(vec![Deciding::Translated(*address)]),
        }
    }

    /// The NAT gateway, with the network ACL and the routes of its own subnet.
    fn through_nat(&self, id: &NatGatewayId) -> Answer {
        let ends = self.ends;
        let Some(gateway) = ends.ways.nat_gateways.get(id) else { return Answer::Drop(DropReason::Blackhole) };
        if gateway.host != *self.host {
            return Answer::Drop(DropReason::OtherHost);
        }
        let Some(private) = gateway.addresses.first().copied() else {
            return Answer::Drop(DropReason::NoTranslation);
        };
        let subnet = ends.ways.vpcs.get(&gateway.vni).and_then(|vpc| vpc.subnets.get(&gateway.subnet));
        let is_apart = gateway.subnet != self.own.subnet;
        let into = self.network_acl(subnet.filter(|_| is_apart), Direction::Ingress, self.own.address);
        let out = self.network_acl(subnet, Direction::Egress, ends.destination);
        for acl in [into, out] {
            if let Answer::Drop(_) = acl {
                return acl;
            }
        }
        let table = subnet.and_then(|subnet| ends.ways.route_tables.get(subnet.route_table.as_ref()?));
        let routes = table.into_iter().flat_map(|table| &table.routes);
        let route =
            routes.filter(|(range, _)| range.contains(ends.destination)).max_by_key(|(range, _)| range.prefix());
        match route {
            None => Answer::Drop(DropReason::NoRoute),
            Some((_, RouteIntent::InternetGateway(_))) => self.exit(gateway.vni, private),
            Some((_, RouteIntent::Blackhole)) => Answer::Drop(DropReason::Blackhole),
            Some(_) => Answer::Pass(vec![Deciding::Translated(private)]),
        }
    }

    /// What a NAT gateway's reply meets: the network ACLs into its subnet, out of it, and into the sender's.
    fn back_through_nat(&self, id: &NatGatewayId) -> [Answer; 3] {
        let (ends, own) = (self.ends, self.own);
        let subnets = ends.ways.vpcs.get(&ends.vni).map(|vpc| &vpc.subnets);
        let of = |id: &SubnetId| subnets.and_then(|subnets| subnets.get(id));
        let Some(gateway) = ends.ways.nat_gateways.get(id) else { return std::array::from_fn(|_| Answer::NotReached) };
        let apart = |subnet: Option<&'_ SubnetIntent>, direction, other| match gateway.subnet == own.subnet {
            true => Answer::open(),
            false => self.network_acl(subnet, direction, other),
        };
        [
            self.network_acl(of(&gateway.subnet), Direction::Ingress, ends.destination),
            apart(of(&gateway.subnet), Direction::Egress, own.address),
            apart(of(&own.subnet), Direction::Ingress, ends.destination),
        ]
    }

    fn subnet_of(&self, vni: Vni, address: Ipv4Addr) -> Option<&SubnetIntent> {
        let mut subnets = self.ends.ways.vpcs.get(&vni)?.subnets.values();
        subnets.find(|subnet| subnet.cidr.contains(address))
    }

    /// The entry of the subnet's network ACL that decides. A subnet without one admits everything.
    fn network_acl(&self, subnet: Option<&SubnetIntent>, direction: Direction, other: Ipv4Addr) -> Answer {
        let id = subnet.and_then(|subnet| subnet.network_acl.as_ref());
        let acl = id.and_then(|id| Some((id, self.ends.ways.network_acls.get(id)?)));
        let Some((id, acl)) = acl else { return Answer::open() };
        match entry(acl, direction, other, self.packet) {
            Some(entry) if entry.admits => {
                Answer::Pass(vec![Deciding::AclEntry { acl: id.clone(), entry: entry.number }])
            }
            Some(_) | None => Answer::Drop(match direction {
                Direction::Egress => DropReason::NetworkAclOut,
                Direction::Ingress => DropReason::NetworkAclIn,
            }),
        }
    }

    fn egress(&self, target: Option<&Target>) -> Answer {
        let own = self.own;
        // A receiver is known by its groups only at its own address.
        let peer_set = match target {
            Some(Target::Interface(receiver)) if receiver.address == self.ends.destination => receiver.group_set,
            _ => GroupSetId(0),
        };
        self.groups(Direction::Egress, own.group_set, (self.ends.destination, peer_set))
    }

    fn groups(&self, direction: Direction, group_set: GroupSetId, (peer, peer_set): (Ipv4Addr, GroupSetId)) -> Answer {
        if self.packet.is_reply {
            return Answer::open();
        }
        let (protocol, port) = (self.packet.protocol, self.packet.port);
        let q = Question { direction, group_set, peer, peer_set, protocol, port };
        let admitting = reading::admitting(&self.ends.group_sets, &self.ends.security_groups, &q);
        let named = admitting.map(|(group, rule, _)| Deciding::Rule { group: group.clone(), rule: rule.clone() });
        let denial = match direction {
            Direction::Egress => DropReason::SecurityGroupEgress,
            Direction::Ingress => DropReason::SecurityGroupIngress,
        };
        Answer::by_rules(named.collect(), denial)
    }
}

/// The entry of a network ACL that decides on a packet.
fn entry(acl: &NetworkAclIntent, direction: Direction, other: Ipv4Addr, packet: Packet) -> Option<&AclEntryIntent> {
    let mut entries = acl.entries.iter().filter(|entry| entry.direction == direction);
    entries.find(|entry| {
        (entry.protocol.is_none() || entry.protocol == packet.protocol)
            && entry.cidr.contains(other)
            && reading::port_matches(entry.protocol, entry.ports, packet.port)
    })
}

/// The number of the entry that decides.
pub(super) fn first_entry(
    acl: &NetworkAclIntent,
    direction: Direction,
    other: Ipv4Addr,
    packet: Packet,
) -> Option<u16> {
    entry(acl, direction, other, packet).map(|entry| entry.number)
}

fn passed(table: Option<berth_types::RouteTableId>, destination: Ipv4Cidr, target: &str) -> Answer {
    Answer::Pass(vec![Deciding::Route { table, destination, target: target.to_owned() }])
}
