// SPDX-License-Identifier: Apache-2.0
//! Paths that leave a VPC, and their baselines: a plain router, and a router that masquerades with nftables. All lead over
//! two pairs of devices.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use berth_fabric::kernel::netlink::VethPair;
use berth_fabric::kernel::netns::Namespace;
use berth_fabric::kernel::sysctl;
use berth_fabric::{Fabric, FabricConfig, Inner};
use berth_types::intent::{
    EniIntent, GroupSetIntent, HostIntent, NatGatewayIntent, Plug, PublicAddressIntent, RouteIntent, RouteTableIntent,
    SubnetIntent, VpcIntent, WorldIntent,
};
use berth_types::{
    EniId, GroupSetId, HostId, InternetGatewayId, Ipv4Cidr, MacAddress, NatGatewayId, RouteTableId, SecurityGroupId,
    SubnetId, TaskId, Vni, VpcId,
};
use ipnet::{IpNet, Ipv4Net};

use crate::topology::{Ground, PathUnderTest, add_interface, configure, load_nft, security_group};

/// The server of the world, and the networks of a router.
const WORLD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const ROUTER: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 1, 1), Ipv4Addr::new(10, 9, 2, 1)];
const ENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 1, 10), Ipv4Addr::new(10, 9, 2, 20)];
const MASQUERADE: &str =
    "table ip t {\n chain p {\n  type nat hook postrouting priority 100\n  oifname s masquerade\n }\n}\n";

const CIDR: &str = "10.9.0.0/16";
const SUBNETS: [&str; 2] = ["10.9.1.0/24", "10.9.2.0/24"];
const POOL: &str = "198.18.0.0/20";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 200);
const VNI: Vni = Vni(1);

impl Ground {
    /// A namespace that routes between a client and a server.
    pub fn router(&mut self, name: &'static str, masquerades: bool) -> Result<PathUnderTest> {
        let middle = self.namespace(&format!("{name}-r"))?;
        sysctl::write(&middle, "net.ipv4.ip_forward", "1")?;
        let mut netlink = middle.netlink()?;
        let mut ends = Vec::new();
        for (device, (own, end)) in ["c", "s"].into_iter().zip(ROUTER.into_iter().zip(ENDS)) {
            let namespace = self.namespace(&format!("{name}-{device}"))?;
            let peer_ns = Some(namespace.as_fd());
            netlink.create_veth(&VethPair {
                name: device,
                peer_name: "eth0",
                peer_ns,
                up: true,
                ..VethPair::default()
            })?;
            let link = netlink.link_by_name(device)?.context("no device was made")?;
            netlink.add_address(link.index, IpNet::V4(Ipv4Net::new(own, 24)?))?;
            configure(&namespace, end, Some(own))?;
            ends.push(namespace);
        }
        if masquerades {
            middle.inside(|| load_nft(MASQUERADE))??;
        }
        let (server, client) = (ends.pop().context("no server")?, ends.pop().context("no client")?);
        Ok(PathUnderTest { name, client, server, address: ENDS[1] })
    }

    /// Through the internet gateway and through a NAT gateway of a fabric of their own, to a server of the world.
    pub fn gateways(&mut self) -> Result<Vec<PathUnderTest>> {
        let (world, folder) = self.namespace_with_folder("world")?;
        let mut netlink = world.netlink()?;
        let lo = netlink.link_by_name("lo")?.context("no loopback in a new namespace")?;
        netlink.add_address(lo.index, IpNet::V4(Ipv4Net::new(WORLD, 32)?))?;
        let host = HostId::from_bits(1);
        let instance = format!("bench-gw-{}", std::process::id());
        let mut fabric =
            Fabric::open(FabricConfig { instance, run_dir: folder.with_extension("gw"), host: host.clone() })?;
        let intent = intent(&host)?;
        world.inside(|| fabric.program(&intent))??;
        let mut paths = Vec::new();
        for (name, side) in [("internet", 0), ("nat", 1)] {
            let namespace = self.namespace(&format!("{name}-c"))?;
            let id = eni_id(side);
            let eni = &intent.enis[&id];
            fabric.plug(&id, eni, Inner::InNamespace { ns: &namespace, name: "eth0" })?;
            configure(&namespace, eni.address, Some(eni.subnet_cidr.gateway()))?;
            let server = Namespace::open(&folder)?;
            paths.push(PathUnderTest { name, client: namespace, server, address: WORLD });
        }
        world.inside(|| fabric.program(&intent))??;
        self.keep(fabric);
        Ok(paths)
    }
}

fn eni_id(side: u32) -> EniId {
    EniId::from_bits(0x300 + u128::from(side))
}

/// One interface with a public address, and one in a subnet that leads to a NAT gateway.
fn intent(host: &HostId) -> Result<HostIntent> {
    let cidr: Ipv4Cidr = CIDR.parse()?;
    let (igw, nat) = (InternetGatewayId::from_bits(1), NatGatewayId::from_bits(1));
    let mut intent = HostIntent::default();
    let mut subnets = std::collections::BTreeMap::new();
    let targets = [RouteIntent::InternetGateway(igw.clone()), RouteIntent::NatGateway(nat.clone())];
    for (n, (range, target)) in (1..).zip(SUBNETS.into_iter().zip(targets)) {
        let table = RouteTableId::from_bits(n);
        let routes = [(cidr, RouteIntent::Local), ("0.0.0.0/0".parse()?, target)].into();
        intent.route_tables.insert(table.clone(), RouteTableIntent { vni: VNI, routes });
        let subnet = SubnetIntent { cidr: range.parse()?, route_table: Some(table), network_acl: None };
        subnets.insert(SubnetId::from_bits(n), subnet);
    }
    let vpc = VpcIntent { vpc: VpcId::from_bits(1), cidrs: vec![cidr], subnets, internet_gateway: Some(igw) };
    intent.vpcs.insert(VNI, vpc);
    let group = SecurityGroupId::from_bits(1);
    intent.group_sets.insert(GroupSetId(1), GroupSetIntent { vni: VNI, groups: vec![group.clone()] });
    intent.security_groups.insert(group, security_group(1, "0.0.0.0/0".parse()?)?);
    let pool: Ipv4Cidr = POOL.parse()?;
    let host_address = pool.nth(1).context("a pool of one address")?;
    intent.worlds.insert(pool, WorldIntent { host_address, endpoints: None });
    for side in 0..2u8 {
        let range: Ipv4Cidr = SUBNETS[usize::from(side)].parse()?;
        let eni = EniIntent {
            vni: VNI,
            vpc: None,
            subnet: SubnetId::from_bits(u128::from(side) + 1),
            subnet_cidr: range,
            vpc_cidrs: vec![cidr],
            mac: MacAddress([2, 7, side, 9, 9, 9]),
            address: range.nth(10).context("a small subnet")?,
            group_set: GroupSetId(1),
            source_dest_check: true,
            mtu: 1500,
            plug: Plug::InPlace(TaskId::from_bits(u128::from(side))),
            rate: None,
        };
        add_interface(&mut intent, host, eni_id(side.into()), eni);
    }
    let eni = EniId::from_bits(0x400);
    let subnet = SubnetId::from_bits(1);
    let gateway = NatGatewayIntent {
        vni: VNI,
        subnet,
        eni: eni.clone(),
        addresses: vec![GATEWAY],
        host: host.clone(),
        rate: None,
    };
    intent.nat_gateways.insert(nat, gateway);
    let own = intent.enis[&eni_id(0)].address;
    for (n, (eni, address)) in (10..).zip([(eni_id(0), own), (eni, GATEWAY)]) {
        let public = pool.nth(n).context("a small pool")?;
        intent.public_addresses.insert(public, PublicAddressIntent { vni: VNI, eni, address, host: host.clone() });
    }
    Ok(intent)
}
