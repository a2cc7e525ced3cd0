// SPDX-License-Identifier: Apache-2.0
//! The paths under test, each between two separate namespaces. Everything is removed on drop.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use berth_fabric::kernel::netlink::{Netlink, Route, VethPair};
use berth_fabric::kernel::netns::Namespace;
use berth_fabric::kernel::sysctl;
use berth_fabric::{Fabric, FabricConfig, Inner};
use berth_types::intent::{
    Direction, EndpointIntent, EniIntent, GroupSetIntent, HostIntent, Plug, PortRange, RuleIntent, RulePeer,
    SecurityGroupIntent, SubnetIntent, VpcIntent,
};
use berth_types::{
    EniId, GroupSetId, HostId, Ipv4Cidr, MacAddress, SecurityGroupId, SecurityGroupRuleId, SubnetId, TaskId, Vni, VpcId,
};
use ipnet::{IpNet, Ipv4Net};

/// Two namespaces that reach each other.
pub struct PathUnderTest {
    /// Name in the table.
    pub name: &'static str,
    /// Namespace of the client.
    pub client: Namespace,
    /// Namespace of the server.
    pub server: Namespace,
    /// Address of the server.
    pub address: Ipv4Addr,
}

/// A folder for namespaces, removed with its content.
pub struct Ground {
    folder: PathBuf,
    names: Vec<String>,
    fabric: Option<Fabric>,
    intent: Option<HostIntent>,
    /// Fabrics in addition to `fabric`.
    others: Vec<Fabric>,
}

const CIDR: &str = "10.9.0.0/24";
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 10);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 20);

impl Ground {
    /// A new folder named after this process.
    pub fn new() -> Result<Self> {
        let folder = PathBuf::from(format!("/run/berth-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self { folder, names: Vec::new(), fabric: None, intent: None, others: Vec::new() })
    }

    /// A namespace with `lo` up and the settings of the benchmark.
    pub fn namespace(&mut self, name: &str) -> Result<Namespace> {
        let namespace = Namespace::create(&self.folder.join(name))?;
        self.names.push(name.to_owned());
        let settings = [("net.ipv4.tcp_tw_reuse", "1"), ("net.ipv4.ip_local_port_range", "1024 65535")];
        sysctl::apply(&namespace, &settings)?;
        sysctl::set_congestion_control(&namespace, "cubic")?;
        let mut netlink = namespace.netlink()?;
        let lo = netlink.link_by_name("lo")?.context("no loopback in a new namespace")?;
        netlink.set_up(lo.index)?;
        Ok(namespace)
    }

    /// The same, and its path.
    pub fn namespace_with_folder(&mut self, name: &str) -> Result<(Namespace, PathBuf)> {
        Ok((self.namespace(name)?, self.folder.join(name)))
    }

    /// Destroys another fabric at the end.
    pub fn keep(&mut self, fabric: Fabric) {
        self.others.push(fabric);
    }

    /// A veth pair only.
    pub fn raw(&mut self, name: &'static str) -> Result<PathUnderTest> {
        let (client, server) = (self.namespace(&format!("{name}-c"))?, self.namespace(&format!("{name}-s"))?);
        let pair = VethPair { name: "eth0", peer_name: "eth0", peer_ns: Some(server.as_fd()), ..VethPair::default() };
        client.netlink()?.create_veth(&pair)?;
        configure(&client, CLIENT, None)?;
        configure(&server, SERVER, None)?;
        Ok(PathUnderTest { name, client, server, address: SERVER })
    }

    /// Two veth pairs on a Linux bridge, filtered by nftables with connection tracking and `rules` linear rules.
    pub fn bridge(&mut self, name: &'static str, rules: u32) -> Result<PathUnderTest> {
        let (client, server) = (self.namespace(&format!("{name}-c"))?, self.namespace(&format!("{name}-s"))?);
        let middle = self.namespace(&format!("{name}-b"))?;
        let mut netlink = middle.netlink()?;
        let bridge = netlink.create_bridge("br0", MacAddress([2, 9, 0, 0, 0, 1]))?;
        netlink.set_up(bridge)?;
        for (end, namespace) in [("c", &client), ("s", &server)] {
            let peer_ns = Some(namespace.as_fd());
            let pair = VethPair {
                name: end,
                peer_name: "eth0",
                peer_ns,
                bridge: Some(bridge),
                up: true,
                ..VethPair::default()
            };
            netlink.create_veth(&pair)?;
        }
        configure(&client, CLIENT, None)?;
        configure(&server, SERVER, None)?;
        sysctl::write(&middle, "net.bridge.bridge-nf-call-iptables", "1")?;
        middle.inside(|| load_nft(&nft_rules(rules)))??;
        Ok(PathUnderTest { name, client, server, address: SERVER })
    }

    /// Pairs of interfaces in one fabric: one pair for each `(name, rules, MTU)`.
    pub fn fabric(&mut self, pairs: &[(&'static str, u32, u32)]) -> Result<Vec<PathUnderTest>> {
        let host = HostId::from_bits(1);
        let instance = format!("bench-{}", std::process::id());
        let config = FabricConfig { instance, run_dir: self.folder.clone(), host: host.clone() };
        let mut fabric = Fabric::open(config)?;
        let intent = fabric_intent(&host, pairs)?;
        fabric.program(&intent)?;
        let mut paths = Vec::new();
        for (nth, (name, _, _)) in pairs.iter().enumerate() {
            let mut ends = Vec::new();
            for side in 0..2 {
                let namespace = self.namespace(&format!("{name}-{side}"))?;
                let id = eni_id(nth, side);
                let eni = &intent.enis[&id];
                fabric.plug(&id, eni, Inner::InNamespace { ns: &namespace, name: "eth0" })?;
                configure(&namespace, eni.address, Some(eni.subnet_cidr.gateway()))?;
                ends.push(namespace);
            }
            let (Some(server), Some(client)) = (ends.pop(), ends.pop()) else { continue };
            paths.push(PathUnderTest { name, client, server, address: address(nth, 1) });
        }
        self.fabric = Some(fabric);
        self.intent = Some(intent);
        Ok(paths)
    }

    /// The intent that programmed the fabric.
    pub fn intent(&self) -> Result<HostIntent> {
        self.intent.clone().context("no fabric was made")
    }

    /// The fabric, once [`Ground::fabric`] has created it.
    pub fn made_fabric(&mut self) -> Result<&mut Fabric> {
        self.fabric.as_mut().context("no fabric was made")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for fabric in self.fabric.take().into_iter().chain(self.others.drain(..)) {
            if let Err(fault) = fabric.destroy() {
                eprintln!("a fabric of the benchmark could not be removed: {fault}");
            }
        }
        for name in &self.names {
            if let Err(fault) = Namespace::delete(&self.folder.join(name)) {
                eprintln!("namespace {name} could not be removed: {fault}");
            }
        }
        if let Err(fault) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} could not be removed: {fault}", self.folder.display());
        }
    }
}

/// Address and default route of an end, and its device up.
pub fn configure(namespace: &Namespace, address: Ipv4Addr, gateway: Option<Ipv4Addr>) -> Result<()> {
    let mut netlink: Netlink = namespace.netlink()?;
    let link = netlink.link_by_name("eth0")?.context("no eth0 in the namespace")?;
    netlink.add_address(link.index, IpNet::V4(Ipv4Net::new(address, 24)?))?;
    netlink.set_up(link.index)?;
    if let Some(gateway) = gateway {
        netlink.add_route(&Route::default_via(gateway.into(), link.index))?;
    }
    Ok(())
}

fn nft_rules(rules: u32) -> String {
    let mut text = String::from(
        "table inet t {\n chain f {\n  type filter hook forward priority 0; policy drop;\n  ct state established,related accept\n",
    );
    for n in 1..rules {
        text += &format!("  ip saddr 172.{}.{}.0/24 tcp dport {} accept\n", 16 + n / 256, n % 256, 2000 + n);
    }
    text + "  ip saddr 10.9.0.0/24 accept\n }\n}\n"
}

/// Loads rules into the calling thread's namespace.
pub fn load_nft(rules: &str) -> Result<()> {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("start nft")?;
    nft.stdin.take().context("nft has no standard input")?.write_all(rules.as_bytes())?;
    ensure!(nft.wait()?.success(), "nft refused the rules");
    Ok(())
}

/// Interface of one end of a pair.
pub fn eni_id(pair: usize, side: u32) -> EniId {
    EniId::from_bits(0x100 + pair as u128 * 2 + u128::from(side))
}

/// Hardware address of one end of a pair.
pub fn mac(pair: usize, side: u32) -> MacAddress {
    MacAddress([2, pair as u8, side as u8, 9, 9, 9])
}

/// Address of one end of a pair.
pub fn address(pair: usize, side: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, 10 + (pair as u8) * 2 + side as u8)
}

fn fabric_intent(host: &HostId, pairs: &[(&'static str, u32, u32)]) -> Result<HostIntent> {
    let (vni, cidr, subnet): (Vni, Ipv4Cidr, SubnetId) = (Vni(1), CIDR.parse()?, SubnetId::from_bits(1));
    let subnets = [(subnet.clone(), SubnetIntent { cidr, route_table: None, network_acl: None })].into();
    let vpc = VpcIntent { vpc: VpcId::from_bits(1), cidrs: vec![cidr], subnets, internet_gateway: None };
    let mut intent = HostIntent { vpcs: [(vni, vpc)].into(), ..HostIntent::default() };
    for (nth, (_, rules, mtu)) in pairs.iter().enumerate() {
        let (group, group_set) = (SecurityGroupId::from_bits(nth as u128 + 1), GroupSetId(nth as u16 + 1));
        intent.group_sets.insert(group_set, GroupSetIntent { vni, groups: vec![group.clone()] });
        intent.security_groups.insert(group, security_group(*rules, cidr)?);
        for side in 0..2 {
            let id = eni_id(nth, side);
            let eni = EniIntent {
                vni,
                vpc: None,
                subnet: subnet.clone(),
                subnet_cidr: cidr,
                vpc_cidrs: vec![cidr],
                mac: mac(nth, side),
                address: address(nth, side),
                group_set,
                source_dest_check: true,
                mtu: *mtu,
                plug: Plug::InPlace(TaskId::from_bits(u128::from(side))),
                rate: None,
            };
            add_interface(&mut intent, host, id, eni);
        }
    }
    Ok(intent)
}

/// An interface of this host, and the destination of its packets.
pub fn add_interface(intent: &mut HostIntent, host: &HostId, id: EniId, eni: EniIntent) {
    let EniIntent { vni, address, mac, group_set, .. } = eni;
    intent.endpoints.insert(id.clone(), EndpointIntent { vni, address, mac, group_set, host: host.clone() });
    intent.enis.insert(id, eni);
}

/// `rules` rules in each direction; only the last one matches the traffic of the benchmark, to and from `peers`.
pub fn security_group(rules: u32, peers: Ipv4Cidr) -> Result<SecurityGroupIntent> {
    let mut group = SecurityGroupIntent::default();
    for direction in [Direction::Ingress, Direction::Egress] {
        for n in 1..=rules {
            let last = n == rules;
            let elsewhere = Ipv4Addr::new(172, 16 + (n / 256) as u8, (n % 256) as u8, 0);
            let peer = if last { Some(peers) } else { Ipv4Cidr::containing(elsewhere, 24) }.context("bad CIDR")?;
            let ports = if last { PortRange::All } else { PortRange::Ports(2000 + n as u16, 2000 + n as u16) };
            let id = SecurityGroupRuleId::from_bits(group.rules.len() as u128 + 1);
            let rule = RuleIntent { direction, protocol: (!last).then_some(6), ports, peer: RulePeer::Cidr(peer) };
            group.rules.insert(id, rule);
        }
    }
    Ok(group)
}
