// SPDX-License-Identifier: Apache-2.0
//! Subnets with route tables and network ACLs, public addresses, and a world: the host's namespace, with an address of
//! its own outside every VPC.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use berth_fabric::kernel::Namespace;
use berth_fabric::{DropReason, edge_namespace};
use berth_types::intent::{
    AclEntryIntent, EndpointsIntent, NatGatewayIntent, NetworkAclIntent, PublicAddressIntent, RouteIntent,
    RouteTableIntent, SubnetIntent, WorldIntent,
};
use berth_types::{
    EniId, InternetGatewayId, Ipv4Cidr, NatGatewayId, NetworkAclId, PeeringId, RouteTableId, SubnetId, Vni,
};

use super::Lab;
use super::talk::PATIENCE;

/// The pool of public addresses.
pub const POOL: &str = "198.18.0.0/20";
/// The server in the world.
pub const WORLD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// A number for the id of something with this name.
fn bits(name: &str) -> u128 {
    name.bytes().fold(0, |bits, byte| (bits << 8 | u128::from(byte)) & ((1 << 64) - 1))
}

/// `deny tcp 80 from 10.0.0.0/8`, `allow all to 0.0.0.0/0`, as entries 100, 200, ...
fn acl_entry(number: u16, text: &str) -> AclEntryIntent {
    let (action, rest) = text.split_once(' ').unwrap();
    let rule = super::rule(rest);
    let cidr = match rule.peer {
        berth_types::intent::RulePeer::Cidr(cidr) => cidr,
        other => panic!("{other:?}"),
    };
    AclEntryIntent {
        number,
        direction: rule.direction,
        protocol: rule.protocol,
        ports: rule.ports,
        cidr,
        admits: action == "allow",
    }
}

pub fn gateway(vni: u32) -> InternetGatewayId {
    InternetGatewayId::from_bits(vni.into())
}

pub fn peering() -> RouteIntent {
    RouteIntent::Peering { id: PeeringId::from_bits(1), vni: Vni(2) }
}

impl Lab {
    /// Gives the installation a world: a namespace for the host, with the server's address.
    pub fn world(&mut self) {
        let path = self.run_dir.path().join("netns").join("host");
        let host = Namespace::create(&path).unwrap();
        let mut netlink = host.netlink().unwrap();
        let lo = netlink.link_by_name("lo").unwrap().unwrap().index;
        netlink.set_up(lo).unwrap();
        netlink.add_address(lo, ipnet::IpNet::from(IpAddr::V4(WORLD))).unwrap();
        self.host = Some((host, path));
        let pool: Ipv4Cidr = POOL.parse().unwrap();
        self.intent.worlds.insert(pool, WorldIntent { host_address: pool.nth(1).unwrap(), endpoints: None });
        self.program();
    }

    /// Gives the world regional endpoints.
    pub fn endpoints(&mut self) -> Namespace {
        let range: Ipv4Cidr = "198.18.15.192/26".parse().unwrap();
        let endpoints = EndpointsIntent {
            range,
            region: "us-east-1".to_owned(),
            all: range.nth(1).unwrap(),
            services: BTreeMap::new(),
        };
        for world in self.intent.worlds.values_mut() {
            world.endpoints = Some(endpoints.clone());
        }
        self.program();
        Namespace::open(&edge_namespace(self.run_dir.path())).unwrap()
    }

    pub fn host(&self) -> &Namespace {
        &self.host.as_ref().unwrap().0
    }

    /// A subnet with a route table of its own, e.g. `subnet(1, "10.0.1.0/24", &[("0.0.0.0/0", route)])`; the VPC's own
    /// ranges are local.
    pub fn subnet(&mut self, vni: u32, range: &str, routes: &[(&str, RouteIntent)]) {
        let id = RouteTableId::from_bits(bits(range) + u128::from(vni));
        let vpc = self.intent.vpcs.get_mut(&Vni(vni)).unwrap();
        vpc.internet_gateway = Some(gateway(vni));
        let local = vpc.cidrs.iter().map(|&range| (range, RouteIntent::Local));
        let routes: BTreeMap<_, _> =
            local.chain(routes.iter().map(|(range, route)| (range.parse().unwrap(), route.clone()))).collect();
        let subnet = vpc.subnets.entry(SubnetId::from_bits(bits(range) + u128::from(vni)));
        let subnet =
            subnet.or_insert(SubnetIntent { cidr: range.parse().unwrap(), route_table: None, network_acl: None });
        subnet.route_table = Some(id.clone());
        self.intent.route_tables.insert(id, RouteTableIntent { vni: Vni(vni), routes });
        self.program();
    }

    /// Gives a subnet a network ACL with entries in this order.
    pub fn acl(&mut self, vni: u32, range: &str, entries: &[&str]) {
        let id = NetworkAclId::from_bits(bits(range) + u128::from(vni));
        let entries = (1..).zip(entries).map(|(n, text)| acl_entry(n * 100, text)).collect();
        let subnets = &mut self.intent.vpcs.get_mut(&Vni(vni)).unwrap().subnets;
        let subnet = subnets.values_mut().find(|subnet| subnet.cidr == range.parse().unwrap()).unwrap();
        subnet.network_acl = Some(id.clone());
        self.intent.network_acls.insert(id, NetworkAclIntent { vni: Vni(vni), entries });
        self.program();
    }

    /// Gives a seat a public address.
    pub fn publish(&mut self, name: &str, public: &str) {
        let seat = self.at(name);
        let (eni, address) = (seat.id.clone(), seat.address);
        let vni = self.intent.enis[&eni].vni;
        let owner = PublicAddressIntent { vni, eni, address, host: self.config.host.clone() };
        self.intent.public_addresses.insert(public.parse().unwrap(), owner);
        self.program();
    }

    /// A NAT gateway with these private addresses; the first one has a public address, if given.
    pub fn nat(&mut self, name: &str, vni: u32, addresses: &[&str], public: Option<&str>) -> RouteIntent {
        let id = NatGatewayId::from_bits(bits(name));
        let eni = EniId::from_bits(bits(name) + (1 << 64));
        let addresses: Vec<Ipv4Addr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let first = addresses[0];
        let subnet = self.intent.vpcs[&Vni(vni)].subnets.iter().find(|(_, subnet)| subnet.cidr.contains(first));
        let gateway = NatGatewayIntent {
            vni: Vni(vni),
            subnet: subnet.unwrap().0.clone(),
            eni: eni.clone(),
            addresses,
            host: self.config.host.clone(),
            rate: None,
        };
        self.intent.nat_gateways.insert(id.clone(), gateway);
        if let Some(public) = public {
            let owner = PublicAddressIntent { vni: Vni(vni), eni, address: first, host: self.config.host.clone() };
            self.intent.public_addresses.insert(public.parse().unwrap(), owner);
        }
        self.program();
        RouteIntent::NatGateway(id)
    }

    /// True as soon as packets that belong to no interface were dropped for this reason more than `before` times.
    pub fn stray_grows(&mut self, reason: DropReason, before: u64) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self.fabric().stray().unwrap().dropped(reason) > before {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    /// Entries of an ACL that admit everything, after these.
    pub fn open_acl<'a>(first: &[&'a str]) -> Vec<&'a str> {
        first.iter().copied().chain(["allow all from 0.0.0.0/0", "allow all to 0.0.0.0/0"]).collect()
    }
}
