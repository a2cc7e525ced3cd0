// SPDX-License-Identifier: Apache-2.0
//! The fate of a packet by reading the records: groups, routes, ACLs, gateways, in the order of the documentation. Nothing
//! here knows maps or compiled tables. Slow and plain.
//!
//! A [`Journey`] is a sequence of stages, each between an interface, a gateway and the world; an answer takes them
//! backwards. Tracked connections: groups judge a first packet, ACLs and routes every packet.

use std::net::Ipv4Addr;

use berth_types::intent::{Direction, NatGatewayIntent, RouteIntent, SubnetIntent};
use berth_types::{EniId, GroupSetId, Ipv4Cidr, NatGatewayId, Vni};

use super::datagram::{Datagram, GRE, ICMP, TCP, UDP};
use super::world::{Sender, World};
use crate::DropReason;
use crate::reading::{Question, admits, port_matches};

/// The end of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It is dropped for this reason.
    Dropped(DropReason),
    /// An interface receives it.
    Arrives(EniId, Datagram),
    /// It leaves to the world.
    Leaves(Datagram),
    /// The fabric answers the sender.
    Answered,
}

/// The prediction for a first packet.
#[derive(Clone, Debug)]
pub struct Journey {
    stages: Vec<Stage>,
    /// Its end. The source port is that of the first packet, and may be another one behind a NAT gateway.
    pub end: End,
}

impl Journey {
    /// True if a gateway may choose the source port.
    pub fn has_free_port(&self) -> bool {
        self.stages.iter().any(|stage| stage.translated.is_some())
    }
}

/// The prediction for an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its end.
    pub end: End,
    /// False if it is judged as the first packet of a connection of its own.
    pub is_carried: bool,
}

/// Where a packet enters a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Interface(EniId),
    Outside,
    /// A NAT gateway, with the address it translates to.
    Gateway(NatGatewayId, Ipv4Addr),
}

/// Part of a journey: one way, and the second one behind a NAT gateway.
#[derive(Clone, Debug)]
struct Stage {
    from: Place,
    vni: Vni,
    /// The packet on the way.
    sent: Datagram,
    way: Way,
    translated: Option<Translated>,
}

#[derive(Clone, Debug)]
struct Translated {
    gateway: NatGatewayId,
    address: Ipv4Addr,
    way: Way,
}

/// The target of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// An interface of a VPC with this address, if there is one.
    Interface(Vni, Ipv4Addr, Option<EniId>),
    /// The internet gateway, with the public address of the sender.
    World(Option<Ipv4Addr>),
    Gateway(Option<NatGatewayId>),
    Nothing,
}

#[derive(Clone, Debug)]
struct Way {
    target: Target,
    peering: Option<(Vni, Vni)>,
    /// The first reason to drop the packet that is not a group's.
    obstacle: Option<DropReason>,
    /// The device of the other end.
    device: Option<Place>,
}

impl Way {
    fn block(&mut self, reason: DropReason) {
        self.obstacle.get_or_insert(reason);
    }
}

/// The records that predict.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    world: &'a World,
}

impl<'a> Reading<'a> {
    /// Of this world.
    pub fn new(world: &'a World) -> Self {
        Self { world }
    }

    /// The journey of the first packet of a conversation.
    pub fn first(&self, sender: &Sender, sent: Datagram) -> Journey {
        let mut stages = Vec::new();
        let mut place = match sender {
            Sender::Interface(id) => Place::Interface(id.clone()),
            Sender::Outside => Place::Outside,
        };
        let mut datagram = sent;
        loop {
            let end = match self.stage(&place, datagram, &mut stages) {
                Err(end) => end,
                // A public address of this host: the packet turns round at the edge.
                Ok(End::Leaves(out)) if self.turns_round(out.dst) => {
                    (place, datagram) = (Place::Outside, out);
                    continue;
                }
                Ok(end) => end,
            };
            return Journey { stages, end };
        }
    }

    /// The fate of the answer to a packet that has arrived or left; `answer` has the addresses and ports of the packet that
    /// was seen.
    pub fn answer(&self, journey: &Journey, answer: Datagram) -> Answer {
        let mut place = match &journey.end {
            End::Arrives(id, _) => Place::Interface(id.clone()),
            _ => Place::Outside,
        };
        let mut datagram = answer;
        for stage in journey.stages.iter().rev() {
            match self.back(stage, &place, datagram) {
                Back::Dropped(reason) => return Answer { end: End::Dropped(reason), is_carried: true },
                Back::Fresh => {
                    let sender = match place {
                        Place::Interface(id) => Sender::Interface(id),
                        _ => Sender::Outside,
                    };
                    return Answer { end: self.first(&sender, datagram).end, is_carried: false };
                }
                Back::At(id, inner) => return Answer { end: End::Arrives(id, inner), is_carried: true },
                Back::Out(out) => (place, datagram) = (Place::Outside, out),
            }
        }
        Answer { end: End::Leaves(datagram), is_carried: true }
    }

    fn turns_round(&self, address: Ipv4Addr) -> bool {
        let owner = self.world.intent.public_addresses.get(&address);
        let is_in_pool = self.world.pool().is_some_and(|pool| pool.contains(address));
        is_in_pool && owner.is_some_and(|owner| owner.host == self.world.host)
    }

    /// One stage of a first packet; the error is the end of a packet that goes no further.
    fn stage(&self, place: &Place, sent: Datagram, stages: &mut Vec<Stage>) -> Result<End, End> {
        let (sent, vni) = self.enter(place, sent)?;
        let way = self.way(place, vni, &sent);
        self.judge(place, &way, &sent)?;
        let stage = Stage { from: place.clone(), vni, sent, way: way.clone(), translated: None };
        let end = match way.target {
            Target::Interface(_, _, Some(id)) => End::Arrives(id, sent),
            Target::World(Some(public)) => End::Leaves(Datagram { src: public, ..sent }),
            Target::Gateway(Some(id)) => {
                let (end, translated) = self.through_gateway(&id, vni, sent)?;
                stages.push(Stage { translated: Some(translated), ..stage });
                return Ok(end);
            }
            _ => return Err(End::Dropped(DropReason::NoRoute)),
        };
        stages.push(stage);
        Ok(end)
    }

    /// Checks the addresses of a packet, and finds the VPC it is judged in.
    fn enter(&self, place: &Place, sent: Datagram) -> Result<(Datagram, Vni), End> {
        let Place::Interface(id) = place else {
            let owner = self.world.intent.public_addresses.get(&sent.dst);
            let Some(owner) = owner.filter(|owner| owner.host == self.world.host) else {
                return Err(End::Dropped(DropReason::PublicAddressUnused));
            };
            if self.gateway_with(owner.vni, owner.address).is_some() {
                return Err(End::Dropped(DropReason::NoTranslation));
            }
            return Ok((Datagram { dst: owner.address, ..sent }, owner.vni));
        };
        let eni = self.world.eni(id).ok_or(End::Dropped(DropReason::NotProgrammed))?;
        if sent.src != eni.address && eni.source_dest_check {
            return Err(End::Dropped(DropReason::SpoofedAddress));
        }
        if sent.dst == eni.address {
            return Err(End::Dropped(DropReason::OwnAddress));
        }
        if sent.dst == eni.subnet_cidr.broadcast() || sent.dst.octets()[0] >= 224 {
            return Err(End::Dropped(DropReason::Multicast));
        }
        if sent.dst == eni.subnet_cidr.gateway() {
            let is_echo = sent.protocol == ICMP && sent.opens();
            return Err(if is_echo { End::Answered } else { End::Dropped(DropReason::Router) });
        }
        Ok((sent, eni.vni))
    }

    /// The second leg of a packet that a NAT gateway takes.
    fn through_gateway(&self, id: &NatGatewayId, vni: Vni, sent: Datagram) -> Result<(End, Translated), End> {
        let dropped = |reason| Err(End::Dropped(reason));
        if !sent.opens() {
            let answer = if sent.protocol == TCP { End::Answered } else { End::Dropped(DropReason::NoTranslation) };
            return Err(answer);
        }
        let gateway = self.world.intent.nat_gateways.get(id);
        let Some(address) = gateway.and_then(|gateway| gateway.addresses.first().copied()) else {
            return dropped(DropReason::NoTranslation);
        };
        let place = Place::Gateway(id.clone(), address);
        let sent = Datagram { src: address, ..sent };
        let way = self.way(&place, vni, &sent);
        self.judge(&place, &way, &sent)?;
        let end = match &way.target {
            Target::Interface(_, _, Some(id)) => End::Arrives(id.clone(), sent),
            Target::World(Some(public)) => End::Leaves(Datagram { src: *public, ..sent }),
            _ => return dropped(DropReason::Blackhole),
        };
        Ok((end, Translated { gateway: id.clone(), address, way }))
    }

    /// Route, ACLs and target of a packet.
    fn way(&self, place: &Place, vni: Vni, sent: &Datagram) -> Way {
        let mut way =
            Way { target: Target::Interface(vni, sent.dst, None), peering: None, obstacle: None, device: None };
        let (subnet, range) = self.position(place, vni);
        let is_inside = range.is_some_and(|range| range.contains(sent.dst));
        if *place == Place::Outside {
            let vpc = self.world.intent.vpcs.get(&vni);
            if vpc.is_some_and(|vpc| vpc.cidrs.iter().any(|range| range.contains(sent.src))) {
                way.block(DropReason::SpoofedAddress);
            }
        } else if !is_inside {
            if !self.acl_admits(subnet, Direction::Egress, sent.dst, sent) {
                way.block(DropReason::NetworkAclOut);
            }
            self.take_route(&mut way, subnet, vni, sent.dst);
        }
        match way.target.clone() {
            Target::Interface(to, address, _) => self.reach(&mut way, (to, address), sent, is_inside),
            Target::World(_) => self.leave(&mut way, vni, sent.src),
            Target::Gateway(id) => self.reach_gateway(&mut way, place, id, sent),
            Target::Nothing => {}
        }
        way
    }

    /// The subnet whose routes and ACL apply, and the range in which neither does.
    fn position(&self, place: &Place, vni: Vni) -> (Option<&'a SubnetIntent>, Option<Ipv4Cidr>) {
        match place {
            Place::Outside => (None, None),
            Place::Interface(id) => {
                let eni = self.world.eni(id);
                (eni.and_then(|eni| self.world.subnet(vni, eni.address)), eni.map(|eni| eni.subnet_cidr))
            }
            Place::Gateway(_, address) => {
                let subnet = self.world.subnet(vni, *address);
                (subnet, subnet.map(|subnet| subnet.cidr))
            }
        }
    }

    fn take_route(&self, way: &mut Way, subnet: Option<&SubnetIntent>, vni: Vni, to: Ipv4Addr) {
        let intent = &self.world.intent;
        let never = to.octets()[0] == 0 || to.octets()[0] == 127 || to.octets()[..2] == [169, 254];
        let table = subnet.and_then(|subnet| intent.route_tables.get(subnet.route_table.as_ref()?));
        let vpc = intent.vpcs.get(&vni);
        let is_own = vpc.is_some_and(|vpc| vpc.cidrs.iter().any(|range| range.contains(to)));
        let route = match table {
            _ if never => None,
            None => is_own.then_some(&RouteIntent::Local),
            Some(table) => {
                let holding = table.routes.iter().filter(|(range, _)| range.contains(to));
                holding.max_by_key(|(range, _)| range.prefix()).map(|(_, route)| route)
            }
        };
        let attached = vpc.and_then(|vpc| vpc.internet_gateway.as_ref());
        let gone = match route {
            None => DropReason::NoRoute,
            Some(_) => DropReason::Blackhole,
        };
        way.target = match route {
            Some(RouteIntent::Local) => Target::Interface(vni, to, None),
            Some(RouteIntent::InternetGateway(id)) if Some(id) == attached => Target::World(None),
            Some(RouteIntent::NatGateway(id)) if intent.nat_gateways.contains_key(id) => {
                Target::Gateway(Some(id.clone()))
            }
            Some(RouteIntent::Eni(id)) if intent.endpoints.contains_key(id) => {
                let endpoint = &intent.endpoints[id];
                Target::Interface(endpoint.vni, endpoint.address, None)
            }
            Some(RouteIntent::Peering { vni: peer, .. }) => {
                way.peering = Some((vni.min(*peer), vni.max(*peer)));
                Target::Interface(*peer, to, None)
            }
            _ => {
                way.block(gone);
                Target::Nothing
            }
        };
    }

    /// An interface with this address.
    fn reach(&self, way: &mut Way, (vni, address): (Vni, Ipv4Addr), sent: &Datagram, is_inside: bool) {
        let Some((id, endpoint)) = self.world.endpoint(vni, address) else { return way.block(DropReason::NoEndpoint) };
        if endpoint.host != self.world.host {
            return way.block(DropReason::OtherHost);
        }
        if !self.world.plugged.contains(id) {
            return way.block(DropReason::NotPlugged);
        }
        way.target = Target::Interface(vni, address, Some(id.clone()));
        way.device = Some(Place::Interface(id.clone()));
        if sent.dst != address && self.world.eni(id).is_none_or(|eni| eni.source_dest_check) {
            way.block(DropReason::NotForwarding);
        }
        if !is_inside && !self.acl_admits(self.world.subnet(vni, address), Direction::Ingress, sent.src, sent) {
            way.block(DropReason::NetworkAclIn);
        }
    }

    /// The internet gateway.
    fn leave(&self, way: &mut Way, vni: Vni, sender: Ipv4Addr) {
        let public = self.world.public(vni, sender);
        way.target = Target::World(public);
        if public.is_none() {
            way.block(DropReason::NoPublicAddress);
        }
        match self.world.pool() {
            Some(_) => way.device = Some(Place::Outside),
            None => way.block(DropReason::NoWorld),
        }
    }

    fn reach_gateway(&self, way: &mut Way, place: &Place, id: Option<NatGatewayId>, sent: &Datagram) {
        let gateway = id.as_ref().and_then(|id| self.world.intent.nat_gateways.get(id));
        let (Some(id), Some(gateway)) = (&id, gateway) else { return way.block(DropReason::Blackhole) };
        if let Place::Gateway(..) = place {
            way.target = Target::Gateway(None);
            return way.block(DropReason::Blackhole);
        }
        let address = gateway.addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
        way.device = Some(Place::Gateway(id.clone(), address));
        if gateway.host != self.world.host {
            way.block(DropReason::OtherHost);
        }
        let (subnet, _) = self.position(place, gateway.vni);
        let its = self.world.subnet(gateway.vni, address);
        if !same(its, subnet) && !self.acl_admits(its, Direction::Ingress, sent.src, sent) {
            way.block(DropReason::NetworkAclIn);
        }
        if ![TCP, UDP, ICMP].contains(&sent.protocol) {
            way.block(DropReason::NatProtocol);
        }
    }

    fn gateway_with(&self, vni: Vni, address: Ipv4Addr) -> Option<&'a NatGatewayIntent> {
        let mut gateways = self.world.intent.nat_gateways.values();
        gateways.find(|gateway| gateway.vni == vni && gateway.addresses.contains(&address))
    }

    /// The first entry of a subnet's network ACL that matches; a subnet without one admits everything.
    fn acl_admits(
        &self,
        subnet: Option<&SubnetIntent>,
        direction: Direction,
        other: Ipv4Addr,
        sent: &Datagram,
    ) -> bool {
        let id = subnet.and_then(|subnet| subnet.network_acl.as_ref());
        let Some(acl) = id.and_then(|id| self.world.intent.network_acls.get(id)) else { return true };
        let mut entries = acl.entries.iter().filter(|entry| entry.direction == direction);
        let found = entries.find(|entry| {
            entry.protocol.is_none_or(|protocol| protocol == sent.protocol)
                && entry.cidr.contains(other)
                && port_matches(entry.protocol, entry.ports, sent.rule_port())
        });
        found.is_some_and(|entry| entry.admits)
    }

    /// Groups and obstacles of a first packet: the sender's groups, the way, the receiver's groups.
    fn judge(&self, place: &Place, way: &Way, sent: &Datagram) -> Result<(), End> {
        let dropped = |reason| Err(End::Dropped(reason));
        // Known by its groups wherever it is, judged by them where it is plugged.
        let (named, receiver) = match &way.target {
            Target::Interface(vni, address, plugged) => (self.world.endpoint(*vni, *address), plugged.as_ref()),
            _ => (None, None),
        };
        let set = |id: &EniId| self.world.intent.endpoints.get(id).map_or(GroupSetId(0), |it| it.group_set);
        let own = match place {
            Place::Interface(id) => Some((set(id), self.world.eni(id).is_some_and(|eni| eni.address == sent.src))),
            _ => None,
        };
        if let Some((own, _)) = own {
            let known = named.filter(|(_, it)| it.address == sent.dst).map(|(id, _)| set(id));
            let peer = (sent.dst, known.unwrap_or(GroupSetId(0)));
            if !self.groups_admit(Direction::Egress, own, peer, sent) {
                return dropped(DropReason::SecurityGroupEgress);
            }
        }
        if let Some(reason) = way.obstacle {
            return dropped(reason);
        }
        if let Some(id) = receiver {
            let sender = own.filter(|(_, is_own)| *is_own).map_or(GroupSetId(0), |(set, _)| set);
            if !self.groups_admit(Direction::Ingress, set(id), (sent.src, sender), sent) {
                return dropped(DropReason::SecurityGroupIngress);
            }
        }
        Ok(())
    }

    fn groups_admit(
        &self,
        direction: Direction,
        group_set: GroupSetId,
        (peer, peer_set): (Ipv4Addr, GroupSetId),
        sent: &Datagram,
    ) -> bool {
        let (protocol, port) = (Some(sent.protocol), sent.rule_port());
        let q = Question { direction, group_set, peer, peer_set, protocol, port };
        admits(&self.world.intent.group_sets, &self.world.intent.security_groups, &q)
    }

    /// The answer to a packet, one stage back.
    fn back(&self, stage: &Stage, place: &Place, answer: Datagram) -> Back {
        let entered = match place {
            Place::Interface(_) => self.enter(place, answer),
            _ => match self.world.intent.public_addresses.get(&answer.dst) {
                Some(owner) => Ok((Datagram { dst: owner.address, ..answer }, owner.vni)),
                None => return Back::Dropped(DropReason::PublicAddressUnused),
            },
        };
        let (answer, vni) = match entered {
            Ok(entered) => entered,
            Err(End::Dropped(reason)) => return Back::Dropped(reason),
            Err(_) => return Back::Fresh,
        };
        let way = self.way(place, vni, &answer);
        if let Some(translated) = &stage.translated {
            return match way.peering == translated.way.peering || *place == Place::Outside {
                true => self.back_through_gateway(stage, translated, place, answer),
                false => Back::Fresh,
            };
        }
        if way.peering != stage.way.peering {
            return Back::Fresh;
        }
        let is_lost = way.obstacle.is_some() && way.device.is_none() && !matches!(way.target, Target::Interface(..));
        if !is_lost && way.device.as_ref() != Some(&stage.from) {
            return Back::Fresh;
        }
        match (way.obstacle, &stage.from) {
            (Some(reason), _) => Back::Dropped(reason),
            (None, Place::Interface(id)) => Back::At(id.clone(), answer),
            (None, _) => match way.target {
                Target::World(Some(public)) => Back::Out(Datagram { src: public, ..answer }),
                _ => Back::Dropped(DropReason::NoRoute),
            },
        }
    }

    /// Back through both legs: the ACLs of the gateway's subnet and of the sender's, each at the border it guards.
    fn back_through_gateway(&self, stage: &Stage, translated: &Translated, place: &Place, answer: Datagram) -> Back {
        let Some(gateway) = self.world.intent.nat_gateways.get(&translated.gateway) else { return Back::Fresh };
        let inner = Datagram { dst: stage.sent.src, ..answer.to_port(stage.sent.ports.0) };
        // The owner of the address, also if another interface forwarded the packet.
        let mut end = Way { target: Target::Nothing, peering: None, obstacle: None, device: None };
        self.reach(&mut end, (stage.vni, inner.dst), &inner, true);
        let (Some(Place::Interface(id)), None) = (&end.device, end.obstacle) else {
            return Back::Dropped(end.obstacle.unwrap_or(DropReason::NoEndpoint));
        };
        let its = self.world.subnet(gateway.vni, translated.address);
        let sender = self.world.subnet(stage.vni, inner.dst);
        let other = match place {
            Place::Interface(id) => self.world.eni(id).and_then(|eni| self.world.subnet(eni.vni, eni.address)),
            _ => None,
        };
        let is_outside = *place == Place::Outside;
        // One leg after the other: out of a subnet, into the next one.
        let mut borders = Vec::new();
        if !is_outside && !same(other, its) {
            borders.push((other, Direction::Egress, answer.dst, answer));
        }
        if is_outside || !same(other, its) {
            borders.push((its, Direction::Ingress, answer.src, answer));
        }
        if !same(sender, its) {
            borders.push((its, Direction::Egress, inner.dst, inner));
            borders.push((sender, Direction::Ingress, inner.src, inner));
        }
        for (subnet, direction, other, datagram) in borders {
            if !self.acl_admits(subnet, direction, other, &datagram) {
                return Back::Dropped(match direction {
                    Direction::Egress => DropReason::NetworkAclOut,
                    Direction::Ingress => DropReason::NetworkAclIn,
                });
            }
        }
        Back::At(id.clone(), inner)
    }
}

enum Back {
    Dropped(DropReason),
    /// Not an answer to this stage: judged on its own.
    Fresh,
    At(EniId, Datagram),
    Out(Datagram),
}

fn same(one: Option<&SubnetIntent>, other: Option<&SubnetIntent>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => std::ptr::eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// True for a protocol whose conversations are known by their addresses alone.
pub fn is_portless(protocol: u8) -> bool {
    protocol == GRE
}
