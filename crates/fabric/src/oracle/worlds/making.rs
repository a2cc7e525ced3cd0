// SPDX-License-Identifier: Apache-2.0
//! Draws worlds and conversations from a seed. Ranges of VPCs are often equal, targets of routes often missing, rules wide
//! enough that many packets pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use berth_types::intent::{
    AclEntryIntent, Direction, EndpointIntent, EniIntent, GroupSetIntent, HostIntent, NatGatewayIntent,
    NetworkAclIntent, Plug, PortRange, PublicAddressIntent, RouteIntent, RouteTableIntent, RuleIntent, RulePeer,
    SecurityGroupIntent, Standalone, SubnetIntent, VpcIntent, WorldIntent,
};
use berth_types::{
    EniId, GroupSetId, HostId, InternetGatewayId, Ipv4Cidr, MacAddress, NatGatewayId, NetworkAclId, PeeringId,
    RouteTableId, SecurityGroupId, SecurityGroupRuleId, SubnetId, Vni, VpcId,
};

use super::datagram::{Datagram, GRE, ICMP, TCP, UDP};
use super::random::Random;
use super::reading::is_portless;
use super::world::{Probe, Sender, World};

/// Pool of public addresses.
pub const POOL: &str = "198.18.0.0/20";
/// Addresses of the world.
pub const OUTSIDE: [Ipv4Addr; 3] =
    [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 99), Ipv4Addr::new(8, 8, 8, 8)];
/// Ports that rules and conversations name.
const PORTS: [u16; 5] = [22, 53, 80, 443, 8080];
const GROUPS: u32 = 4;
const SUBNETS: u32 = 3;
const TABLES: u32 = 3;

/// What a world may have.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// VPCs, at most.
    pub vpcs: u32,
    /// Interfaces of a VPC, at most.
    pub interfaces: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self { vpcs: 3, interfaces: 4 }
    }
}

/// The world of a seed.
pub fn world(seed: u64, size: Size) -> World {
    let mut making = Making { random: Random::new(seed), intent: HostIntent::default(), plugged: Vec::new(), size };
    let vpcs = 1 + making.random.below(size.vpcs);
    for n in 1..=vpcs {
        making.vpc(Vni(n));
    }
    for n in 1..=vpcs {
        making.interfaces(Vni(n));
        making.gateways(Vni(n));
    }
    for n in 1..=vpcs {
        making.groups(Vni(n), vpcs);
        making.ways(Vni(n), vpcs);
    }
    making.public_addresses();
    World { intent: making.intent, plugged: making.plugged, host: host() }
}

/// The host of every world.
pub fn host() -> HostId {
    HostId::from_bits(1)
}

fn cidr(address: [u8; 4], prefix: u8) -> Ipv4Cidr {
    // Prefixes here are below 33.
    Ipv4Cidr::containing(address.into(), prefix).unwrap_or_else(|| unreachable!("/{prefix}"))
}

fn everywhere() -> Ipv4Cidr {
    cidr([0; 4], 0)
}

/// A number for the `n`th thing of a VPC.
fn number(vni: Vni, n: u32) -> u128 {
    u128::from(vni.0 * 1000 + n)
}

struct Making {
    random: Random,
    intent: HostIntent,
    plugged: Vec<EniId>,
    size: Size,
}

impl Making {
    fn vpc(&mut self, vni: Vni) {
        let second = if self.random.chance(50) { 0 } else { vni.0 as u8 };
        let mut cidrs = vec![cidr([10, second, 0, 0], 16)];
        if self.random.chance(20) {
            cidrs.push(cidr([10, 100 + second, 0, 0], 20));
        }
        let internet_gateway = self.random.chance(85).then(|| InternetGatewayId::from_bits(number(vni, 0)));
        let mut subnets = BTreeMap::new();
        for n in 0..SUBNETS {
            let subnet =
                SubnetIntent { cidr: cidr([10, second, n as u8, 0], 24), route_table: None, network_acl: None };
            subnets.insert(SubnetId::from_bits(number(vni, n)), subnet);
        }
        self.intent
            .vpcs
            .insert(vni, VpcIntent { vpc: VpcId::from_bits(vni.0.into()), cidrs, subnets, internet_gateway });
        if vni.0 == 1 && self.random.chance(92) {
            let pool = cidr([198, 18, 0, 0], 20);
            let host_address = Ipv4Addr::new(198, 18, 0, 1);
            self.intent.worlds.insert(pool, WorldIntent { host_address, endpoints: None });
        }
    }

    fn interfaces(&mut self, vni: Vni) {
        let subnets: Vec<(SubnetId, Ipv4Cidr)> =
            self.intent.vpcs[&vni].subnets.iter().map(|(id, subnet)| (id.clone(), subnet.cidr)).collect();
        let count = 2 + self.random.below(self.size.interfaces - 1);
        for n in 0..count {
            let Some((subnet, range)) = self.random.one(&subnets).cloned() else { return };
            let id = EniId::from_bits(number(vni, n));
            let address = range.nth(10 + n).unwrap_or(range.network());
            let mac = MacAddress([2, 0, 0, 0, vni.0 as u8, n as u8 + 1]);
            let group_set = self.group_set(vni);
            let eni = EniIntent {
                vni,
                vpc: None,
                subnet,
                subnet_cidr: range,
                vpc_cidrs: self.intent.vpcs[&vni].cidrs.clone(),
                mac,
                address,
                group_set,
                source_dest_check: self.random.chance(75),
                mtu: 9001,
                plug: Plug::Standalone(Standalone::seat(format!("s{}-{n}", vni.0))),
                rate: None,
            };
            let is_elsewhere = n > 1 && self.random.chance(15);
            let host = if is_elsewhere { HostId::from_bits(2) } else { host() };
            self.intent.endpoints.insert(id.clone(), EndpointIntent { vni, address, mac, group_set, host });
            if is_elsewhere {
                continue;
            }
            self.intent.enis.insert(id.clone(), eni);
            if n < 2 || self.random.chance(90) {
                self.plugged.push(id);
            }
        }
    }

    /// One or two groups of a VPC.
    fn group_set(&mut self, vni: Vni) -> GroupSetId {
        let mut groups: BTreeSet<SecurityGroupId> = BTreeSet::new();
        for _ in 0..1 + self.random.below(2) {
            groups.insert(SecurityGroupId::from_bits(number(vni, self.random.below(GROUPS))));
        }
        let wanted = GroupSetIntent { vni, groups: groups.into_iter().collect() };
        let known = self.intent.group_sets.iter().find(|(_, set)| **set == wanted).map(|(id, _)| *id);
        known.unwrap_or_else(|| {
            let id = GroupSetId(self.intent.group_sets.len() as u16 + 1);
            self.intent.group_sets.insert(id, wanted);
            id
        })
    }

    fn gateways(&mut self, vni: Vni) {
        for n in 0..self.random.below(3) {
            let subnets: Vec<(SubnetId, Ipv4Cidr)> =
                self.intent.vpcs[&vni].subnets.iter().map(|(id, subnet)| (id.clone(), subnet.cidr)).collect();
            let Some((subnet, range)) = self.random.one(&subnets).cloned() else { return };
            let gateway = NatGatewayIntent {
                vni,
                subnet,
                eni: EniId::from_bits(number(vni, 500 + n)),
                addresses: range.nth(200 + n).into_iter().collect(),
                host: if self.random.chance(90) { host() } else { HostId::from_bits(2) },
                rate: None,
            };
            self.intent.nat_gateways.insert(NatGatewayId::from_bits(number(vni, n)), gateway);
        }
    }

    fn public_addresses(&mut self) {
        let mut owners: Vec<(Vni, EniId, Ipv4Addr, u32)> = Vec::new();
        for (id, endpoint) in &self.intent.endpoints {
            owners.push((endpoint.vni, id.clone(), endpoint.address, 45));
        }
        for gateway in self.intent.nat_gateways.values() {
            owners.extend(gateway.addresses.iter().map(|address| (gateway.vni, gateway.eni.clone(), *address, 80)));
        }
        for (n, (vni, eni, address, percent)) in (10u8..).zip(owners) {
            if self.random.chance(percent) {
                let host = if self.random.chance(92) { host() } else { HostId::from_bits(2) };
                let owner = PublicAddressIntent { vni, eni, address, host };
                self.intent.public_addresses.insert(Ipv4Addr::new(198, 18, 0, n), owner);
            }
        }
    }

    fn groups(&mut self, vni: Vni, vpcs: u32) {
        for n in 0..GROUPS {
            let mut group = SecurityGroupIntent::default();
            for rule in 0..2 + self.random.below(5) {
                let id = SecurityGroupRuleId::from_bits(number(vni, n * 10 + rule));
                let direction = if rule % 2 == 0 { Direction::Egress } else { Direction::Ingress };
                let is_open = rule < 2 && self.random.chance(60);
                let (protocol, ports) = self.ports(if is_open { 100 } else { 50 });
                let peer = if is_open { RulePeer::Cidr(everywhere()) } else { self.peer(vni, vpcs) };
                group.rules.insert(id, RuleIntent { direction, protocol, ports, peer });
            }
            self.intent.security_groups.insert(SecurityGroupId::from_bits(number(vni, n)), group);
        }
    }

    fn peer(&mut self, vni: Vni, vpcs: u32) -> RulePeer {
        match self.random.below(10) {
            0..4 => RulePeer::Cidr(everywhere()),
            4 => RulePeer::Cidr(self.range(vni)),
            5 => {
                let count = self.random.below(3);
                RulePeer::Cidrs((0..count).map(|_| self.range(vni)).collect())
            }
            _ => {
                let other = if self.random.chance(70) { vni } else { Vni(1 + self.random.below(vpcs)) };
                RulePeer::Group(SecurityGroupId::from_bits(number(other, self.random.below(GROUPS))))
            }
        }
    }

    /// A protocol and ports, everything in `percent` of the cases.
    fn ports(&mut self, percent: u32) -> (Option<u8>, PortRange) {
        if self.random.chance(percent) {
            return (None, PortRange::All);
        }
        match self.random.below(8) {
            0 => (Some(ICMP), PortRange::All),
            1 => (Some(ICMP), PortRange::Icmp(if self.random.chance(70) { 8 } else { 0 }, None)),
            2 => (Some(GRE), PortRange::All),
            n => {
                let protocol = if n < 6 { TCP } else { UDP };
                let first = *self.random.one(&PORTS).unwrap_or(&80);
                let last =
                    if self.random.chance(50) { first } else { first.saturating_add(self.random.below(60_000) as u16) };
                (Some(protocol), PortRange::Ports(first, last))
            }
        }
    }

    /// A range that holds something of this world.
    fn range(&mut self, vni: Vni) -> Ipv4Cidr {
        let own = self.intent.vpcs[&vni].cidrs[0];
        let address = self.address(vni);
        match self.random.below(6) {
            0 => own,
            1 => cidr([10, 0, 0, 0], 8),
            2 => cidr(OUTSIDE[0].octets(), 24),
            3 => cidr(address.octets(), 32),
            4 => cidr([198, 18, 0, 0], 20),
            _ => cidr(address.octets(), 24),
        }
    }

    fn ways(&mut self, vni: Vni, vpcs: u32) {
        for n in 0..TABLES {
            let mut routes = BTreeMap::new();
            for _ in 0..1 + self.random.below(4) {
                let range = if self.random.chance(60) { everywhere() } else { self.route_range(vni, vpcs) };
                routes.insert(range, self.route(vni, vpcs));
            }
            for range in &self.intent.vpcs[&vni].cidrs {
                routes.insert(*range, RouteIntent::Local);
            }
            let id = RouteTableId::from_bits(number(vni, n));
            self.intent.route_tables.insert(id, RouteTableIntent { vni, routes });
            let entries = self.entries(vni);
            let id = NetworkAclId::from_bits(number(vni, n));
            self.intent.network_acls.insert(id, NetworkAclIntent { vni, entries });
        }
        let mut subnets = self.intent.vpcs[&vni].subnets.clone();
        for subnet in subnets.values_mut() {
            let table = RouteTableId::from_bits(number(vni, self.random.below(TABLES)));
            subnet.route_table = self.random.chance(92).then_some(table);
            let acl = NetworkAclId::from_bits(number(vni, self.random.below(TABLES)));
            subnet.network_acl = self.random.chance(55).then_some(acl);
        }
        if let Some(vpc) = self.intent.vpcs.get_mut(&vni) {
            vpc.subnets = subnets;
        }
    }

    fn route_range(&mut self, vni: Vni, vpcs: u32) -> Ipv4Cidr {
        let other = Vni(1 + self.random.below(vpcs));
        match self.random.below(5) {
            0 => self.intent.vpcs[&other].cidrs[0],
            1 => cidr(self.address(other).octets(), 24),
            _ => self.range(vni),
        }
    }

    fn route(&mut self, vni: Vni, vpcs: u32) -> RouteIntent {
        match self.random.below(16) {
            0..8 => RouteIntent::InternetGateway(InternetGatewayId::from_bits(number(vni, 0))),
            8 => RouteIntent::InternetGateway(InternetGatewayId::from_bits(9)),
            9..12 => RouteIntent::NatGateway(NatGatewayId::from_bits(number(vni, self.random.below(2)))),
            12 => RouteIntent::Eni(EniId::from_bits(number(vni, self.random.below(4)))),
            13 => RouteIntent::Blackhole,
            _ => {
                let peer = Vni(1 + self.random.below(vpcs));
                match peer == vni {
                    true => RouteIntent::Blackhole,
                    false => RouteIntent::Peering { id: PeeringId::from_bits(number(vni, peer.0)), vni: peer },
                }
            }
        }
    }

    /// Entries of an ACL: some that deny, and wide ones that admit.
    fn entries(&mut self, vni: Vni) -> Vec<AclEntryIntent> {
        let mut entries = Vec::new();
        for direction in [Direction::Egress, Direction::Ingress] {
            for n in 0..1 + self.random.below(4) as u16 {
                let (protocol, ports) = self.ports(30);
                let cidr = if self.random.chance(40) { everywhere() } else { self.range(vni) };
                let admits = self.random.chance(60);
                entries.push(AclEntryIntent { number: 100 + n, direction, protocol, ports, cidr, admits });
            }
            if self.random.chance(75) {
                entries.push(AclEntryIntent {
                    number: 200,
                    direction,
                    protocol: None,
                    ports: PortRange::All,
                    cidr: everywhere(),
                    admits: true,
                });
            }
        }
        entries
    }

    /// An address of this VPC that has a meaning.
    fn address(&mut self, vni: Vni) -> Ipv4Addr {
        let endpoints = self.intent.endpoints.values().filter(|endpoint| endpoint.vni == vni);
        let mut addresses: Vec<Ipv4Addr> = endpoints.map(|endpoint| endpoint.address).collect();
        let gateways = self.intent.nat_gateways.values().filter(|gateway| gateway.vni == vni);
        addresses.extend(gateways.flat_map(|gateway| gateway.addresses.clone()));
        self.random.one(&addresses).copied().unwrap_or(OUTSIDE[0])
    }
}

/// Draws conversations of one world. Each has a port of its own, so that none continues another one.
pub struct Probes<'a> {
    world: &'a World,
    random: Random,
    number: u16,
    portless: BTreeSet<(Ipv4Addr, Ipv4Addr)>,
}

impl<'a> Probes<'a> {
    /// Of this world and seed.
    pub fn new(world: &'a World, seed: u64) -> Self {
        Self { world, random: Random::new(!seed), number: 0, portless: BTreeSet::new() }
    }

    /// The next one.
    pub fn draw(&mut self) -> Probe {
        loop {
            let probe = self.any();
            let Datagram { src, dst, protocol, .. } = probe.first;
            let is_public = |address| self.world.pool().is_some_and(|pool| pool.contains(address));
            // A packet from its own destination has no direction.
            if src == dst {
                continue;
            }
            if !is_portless(protocol) {
                return probe;
            }
            if !is_public(dst) && self.portless.insert((src.min(dst), src.max(dst))) {
                return probe;
            }
        }
    }

    fn any(&mut self) -> Probe {
        self.number += 1;
        // Above and below the ports that a NAT gateway keeps.
        let port = if self.number.is_multiple_of(2) { 1_024 + self.number } else { 20_000 + self.number };
        let protocol = match self.random.below(20) {
            0..10 => TCP,
            10..15 => UDP,
            15..19 => ICMP,
            _ => GRE,
        };
        let to = *self.random.one(&PORTS).unwrap_or(&80);
        if self.world.pool().is_some() && self.random.chance(12) {
            let publics: Vec<Ipv4Addr> = self.world.intent.public_addresses.keys().copied().collect();
            let dst = self.random.one(&publics).copied().unwrap_or(Ipv4Addr::new(198, 18, 0, 77));
            let src = if self.random.chance(90) { OUTSIDE[0] } else { self.pretended() };
            return Probe { sender: Sender::Outside, first: Datagram::first(src, dst, protocol, (port, to)) };
        }
        let Some(id) = self.random.one(&self.world.plugged).cloned() else {
            let first = Datagram::first(OUTSIDE[0], Ipv4Addr::new(198, 18, 0, 77), protocol, (port, to));
            return Probe { sender: Sender::Outside, first };
        };
        let eni = &self.world.intent.enis[&id];
        let own = eni.address;
        let src = if self.random.chance(95) { own } else { self.anything() };
        let neighbours =
            self.world.intent.endpoints.values().filter(|other| other.vni == eni.vni && other.address != own);
        let neighbours: Vec<Ipv4Addr> = neighbours.map(|other| other.address).collect();
        let near = self.random.chance(35).then(|| self.random.one(&neighbours).copied()).flatten();
        let dst = near.unwrap_or_else(|| self.anything());
        Probe { sender: Sender::Interface(id), first: Datagram::first(src, dst, protocol, (port, to)) }
    }

    /// An address of a VPC, which the world must not use.
    fn pretended(&mut self) -> Ipv4Addr {
        let endpoints: Vec<Ipv4Addr> = self.world.intent.endpoints.values().map(|endpoint| endpoint.address).collect();
        self.random.one(&endpoints).copied().unwrap_or(OUTSIDE[1])
    }

    /// An address that may be reached.
    fn anything(&mut self) -> Ipv4Addr {
        let intent = &self.world.intent;
        let endpoints: Vec<Ipv4Addr> = intent.endpoints.values().map(|endpoint| endpoint.address).collect();
        let publics: Vec<Ipv4Addr> = intent.public_addresses.keys().copied().collect();
        let gateways: Vec<Ipv4Addr> =
            intent.nat_gateways.values().flat_map(|gateway| gateway.addresses.clone()).collect();
        let known = |random: &mut Random, all: &[Ipv4Addr]| random.one(all).copied().unwrap_or(OUTSIDE[1]);
        match self.random.below(20) {
            0..6 => known(&mut self.random, &endpoints),
            6..14 => known(&mut self.random, &OUTSIDE),
            14..17 => known(&mut self.random, &publics),
            17 => known(&mut self.random, &gateways),
            18 => {
                let odd = [
                    Ipv4Addr::new(10, 0, 0, 1),
                    Ipv4Addr::new(10, 0, 1, 255),
                    Ipv4Addr::new(10, 0, 1, 77),
                    Ipv4Addr::new(10, 9, 9, 9),
                    Ipv4Addr::new(169, 254, 169, 254),
                    Ipv4Addr::new(224, 0, 0, 1),
                    Ipv4Addr::new(198, 18, 0, 1),
                    Ipv4Addr::new(198, 18, 5, 5),
                ];
                known(&mut self.random, &odd)
            }
            _ => Ipv4Addr::new(10, self.random.below(4) as u8, self.random.below(4) as u8, self.random.below(20) as u8),
        }
    }
}
