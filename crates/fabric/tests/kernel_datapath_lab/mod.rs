// SPDX-License-Identifier: Apache-2.0
//! A laboratory for the data path: interfaces in their own namespaces ("seats"), real packets between them, and a
//! ledger of the fabric's counters. Everything it creates is removed when it is dropped, also after a panic.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

pub mod earlier;
pub mod offload;
pub mod random;
pub mod raw;
pub mod talk;
pub mod ways;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use berth_fabric::kernel::Namespace;
use berth_fabric::kernel::netlink::Route;
use berth_fabric::{DropReason, EniStats, Fabric, FabricConfig, Inner, ProgramStats};
use berth_types::intent::{
    Direction, EndpointIntent, EniIntent, GroupSetIntent, HostIntent, Plug, PortRange, RuleIntent, RulePeer,
    Standalone, VpcIntent,
};
use berth_types::{
    EniId, GroupSetId, HostId, Ipv4Cidr, MacAddress, SecurityGroupId, SecurityGroupRuleId, SubnetId, Vni, VpcId,
};

/// Large enough that only a lost packet takes this long.
pub const MTU: u32 = 9001;

pub struct Lab {
    fabric: Option<Fabric>,
    config: FabricConfig,
    run_dir: tempfile::TempDir,
    pub intent: HostIntent,
    seats: BTreeMap<String, Seat>,
    rules: u32,
    /// The namespace that counts as the host, once there is a world.
    host: Option<(Namespace, PathBuf)>,
}

pub struct Seat {
    pub id: EniId,
    pub address: Ipv4Addr,
    pub mac: MacAddress,
    pub router: Ipv4Addr,
    prefix: u8,
    pub namespace: Namespace,
    path: PathBuf,
}

pub fn group(name: &str) -> SecurityGroupId {
    let bits = name.bytes().fold(0u128, |bits, byte| bits << 8 | u128::from(byte));
    SecurityGroupId::from_bits(bits)
}

fn cidr(text: &str) -> Ipv4Cidr {
    text.parse().unwrap()
}

/// `tcp 80 from 0.0.0.0/0`, `all to 10.0.0.0/16`, `icmp 8 from sg:web`, `udp 5000-6000 from sg:web`.
pub fn rule(text: &str) -> RuleIntent {
    let mut words: Vec<&str> = text.split(' ').collect();
    let peer = match words.pop().unwrap().strip_prefix("sg:") {
        Some(name) => RulePeer::Group(group(name)),
        None => RulePeer::Cidr(cidr(text.rsplit(' ').next().unwrap())),
    };
    let direction = if words.pop().unwrap() == "from" { Direction::Ingress } else { Direction::Egress };
    let protocol = match words[0] {
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmp" => Some(1),
        _ => None,
    };
    let ports = match (protocol, words.get(1)) {
        (_, None) => PortRange::All,
        (Some(1), Some(kind)) => PortRange::Icmp(kind.parse().unwrap(), None),
        (_, Some(range)) => {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            PortRange::Ports(first.parse().unwrap(), last.parse().unwrap())
        }
    };
    RuleIntent { direction, protocol, ports, peer }
}

impl Lab {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(nix::unistd::geteuid().is_root(), "the kernel suite needs root");
        let run_dir = tempfile::tempdir().unwrap();
        let config = FabricConfig {
            instance: format!("lab-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)),
            run_dir: run_dir.path().to_owned(),
            host: HostId::from_bits(1),
        };
        let fabric = Some(Fabric::open(config.clone()).unwrap());
        let mut lab = Self {
            fabric,
            config,
            run_dir,
            intent: HostIntent::default(),
            seats: BTreeMap::new(),
            rules: 0,
            host: None,
        };
        lab.vpc(1, "10.0.0.0/16");
        lab
    }

    pub fn vpc(&mut self, vni: u32, range: &str) {
        let vpc = VpcIntent {
            vpc: VpcId::from_bits(vni.into()),
            cidrs: vec![cidr(range)],
            subnets: BTreeMap::new(),
            internet_gateway: None,
        };
        self.intent.vpcs.insert(Vni(vni), vpc);
    }

    pub fn fabric(&mut self) -> &mut Fabric {
        self.fabric.as_mut().unwrap()
    }

    pub fn program(&mut self) -> ProgramStats {
        let Self { fabric, intent, host, .. } = self;
        let fabric = fabric.as_mut().unwrap();
        match host {
            Some((host, _)) => host.inside(|| fabric.program(intent)).unwrap().unwrap(),
            None => fabric.program(intent).unwrap(),
        }
    }

    /// The process ends; no process holds the fabric.
    pub fn stop(&mut self) {
        drop(self.fabric.take());
    }

    /// The process ends and another one takes over.
    pub fn restart(&mut self) {
        self.stop();
        self.fabric = Some(Fabric::open(self.config.clone()).unwrap());
    }

    pub fn config(&self) -> &FabricConfig {
        &self.config
    }

    /// The only pinned program.
    pub fn program_pin(&self) -> PathBuf {
        let pins = fs::read_dir(self.fabric.as_ref().unwrap().pins()).unwrap().map(|entry| entry.unwrap().path());
        let is_program = |pin: &PathBuf| pin.file_name().unwrap().to_str().unwrap().starts_with("fabric_port");
        let pins: Vec<PathBuf> = pins.filter(is_program).collect();
        assert_eq!(pins.len(), 1, "{pins:?}");
        pins[0].clone()
    }

    /// Adds rules without applying them to the fabric.
    pub fn write_rules(&mut self, name: &str, rules: &[&str]) -> Vec<SecurityGroupRuleId> {
        let group = self.intent.security_groups.entry(group(name)).or_default();
        let mut added = Vec::new();
        for text in rules {
            self.rules += 1;
            let id = SecurityGroupRuleId::from_bits(self.rules.into());
            group.rules.insert(id.clone(), rule(text));
            added.push(id);
        }
        added
    }

    /// Adds rules to a group and applies them.
    pub fn allow(&mut self, name: &str, rules: &[&str]) -> Vec<SecurityGroupRuleId> {
        let added = self.write_rules(name, rules);
        self.program();
        added
    }

    pub fn revoke(&mut self, name: &str, rules: &[SecurityGroupRuleId]) {
        let group = self.intent.security_groups.get_mut(&group(name)).unwrap();
        rules.iter().for_each(|id| drop(group.rules.remove(id).unwrap()));
        self.program();
    }

    fn group_set(&mut self, vni: Vni, groups: &[&str]) -> GroupSetId {
        let mut groups: Vec<SecurityGroupId> = groups.iter().map(|name| group(name)).collect();
        groups.sort();
        for id in &groups {
            self.intent.security_groups.entry(id.clone()).or_default();
        }
        let wanted = GroupSetIntent { vni, groups };
        if let Some((&id, _)) = self.intent.group_sets.iter().find(|(_, set)| **set == wanted) {
            return id;
        }
        let id = (1..).map(GroupSetId).find(|id| !self.intent.group_sets.contains_key(id)).unwrap();
        self.intent.group_sets.insert(id, wanted);
        id
    }

    /// An interface with a namespace of its own, e.g. `seat("web", 1, "10.0.1.10/24", &["web"])`.
    pub fn seat(&mut self, name: &str, vni: u32, address: &str, groups: &[&str]) {
        self.intend(name, vni, address, groups);
        self.program();
        self.plug(name);
    }

    /// Writes an interface into the intent without applying it.
    pub fn intend(&mut self, name: &str, vni: u32, address: &str, groups: &[&str]) {
        let (host, prefix) = address.split_once('/').unwrap();
        let (address, prefix): (Ipv4Addr, u8) = (host.parse().unwrap(), prefix.parse().unwrap());
        let subnet = Ipv4Cidr::containing(address, prefix).unwrap();
        let number = self.seats.len() as u8 + 1;
        let mac = MacAddress([0x02, 0, number, vni as u8, 0, number]);
        let id = EniId::from_bits(u128::from(std::process::id()) << 32 | u128::from(number));
        let group_set = self.group_set(Vni(vni), groups);
        let eni = EniIntent {
            vni: Vni(vni),
            vpc: None,
            subnet: SubnetId::from_bits(1),
            subnet_cidr: subnet,
            vpc_cidrs: self.intent.vpcs[&Vni(vni)].cidrs.clone(),
            mac,
            address,
            group_set,
            source_dest_check: true,
            mtu: MTU,
            plug: Plug::Standalone(Standalone::seat(name.to_owned())),
            rate: None,
        };
        let endpoint = EndpointIntent { vni: Vni(vni), address, mac, group_set, host: self.config.host.clone() };
        self.intent.enis.insert(id.clone(), eni.clone());
        self.intent.endpoints.insert(id.clone(), endpoint);
        let path = self.run_dir.path().join("netns").join(name);
        let namespace = Namespace::create(&path).unwrap();
        let seat = Seat { id, address, mac, router: subnet.gateway(), prefix, namespace, path };
        self.seats.insert(name.to_owned(), seat);
    }

    /// Plugs an interface of the intent.
    pub fn plug(&mut self, name: &str) {
        let Self { seats, intent, fabric, .. } = self;
        let seat = &seats[name];
        let inner = Inner::InNamespace { ns: &seat.namespace, name: "eth1" };
        fabric.as_mut().unwrap().plug(&seat.id, &intent.enis[&seat.id], inner).unwrap();
        seat.configure();
    }

    pub fn at(&self, name: &str) -> &Seat {
        &self.seats[name]
    }

    /// Changes the groups of an interface.
    pub fn set_groups(&mut self, name: &str, groups: &[&str]) {
        let id = self.at(name).id.clone();
        let vni = self.intent.enis[&id].vni;
        let set = self.group_set(vni, groups);
        self.intent.enis.get_mut(&id).unwrap().group_set = set;
        self.intent.endpoints.get_mut(&id).unwrap().group_set = set;
        self.program();
    }

    pub fn unplug(&mut self, name: &str) {
        let id = self.at(name).id.clone();
        self.fabric().unplug(&id).unwrap();
    }

    /// The interface is deleted in the cloud, too.
    pub fn delete(&mut self, name: &str) {
        self.unplug(name);
        let id = self.at(name).id.clone();
        self.intent.enis.remove(&id);
        self.intent.endpoints.remove(&id);
        self.program();
    }

    pub fn stats(&mut self, name: &str) -> EniStats {
        let id = self.at(name).id.clone();
        self.fabric().stats(&id).unwrap()
    }

    pub fn dropped(&mut self, name: &str, reason: DropReason) -> u64 {
        self.stats(name).dropped(reason)
    }

    /// Runs `work`, then waits for drops of a seat to be counted and returns their reasons. IPv6 packets of the kernel
    /// are not counted.
    pub fn drops_during(&mut self, name: &str, work: impl FnOnce(&Self)) -> Vec<DropReason> {
        let before = self.stats(name);
        work(self);
        let until = Instant::now() + talk::PATIENCE;
        loop {
            let after = self.stats(name);
            let grew = |reason: &DropReason| after.dropped(*reason) > before.dropped(*reason);
            let reasons: Vec<_> =
                DropReason::ALL.into_iter().filter(|reason| *reason != DropReason::Ipv6).filter(grew).collect();
            if !reasons.is_empty() || Instant::now() > until {
                return reasons;
            }
            std::thread::yield_now();
        }
    }
}

impl Seat {
    pub fn wire(&self) -> raw::Wire {
        raw::Wire::open(&self.namespace, "eth1")
    }

    fn configure(&self) {
        let mut netlink = self.namespace.netlink().unwrap();
        let index =
            |netlink: &mut berth_fabric::kernel::Netlink, name| netlink.link_by_name(name).unwrap().unwrap().index;
        let loopback = index(&mut netlink, "lo");
        netlink.set_up(loopback).unwrap();
        let eth = index(&mut netlink, "eth1");
        netlink.add_address(eth, ipnet::IpNet::new(IpAddr::V4(self.address), self.prefix).unwrap()).unwrap();
        netlink.set_up(eth).unwrap();
        netlink.add_route(&Route::default_via(IpAddr::V4(self.router), eth)).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let fabric = self.fabric.take().map_or_else(|| Fabric::open(self.config.clone()), Ok);
        let destroyed = fabric.and_then(Fabric::destroy);
        for path in self.seats.values().map(|seat| &seat.path).chain(self.host.as_ref().map(|(_, path)| path)) {
            let _ = Namespace::delete(path);
        }
        if !std::thread::panicking() {
            destroyed.unwrap();
        }
    }
}
