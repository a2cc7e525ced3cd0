// SPDX-License-Identifier: Apache-2.0
//! Ports of the bridge against a container that makes its own frames: it has NET_RAW, knows every address, and reaches
//! only the metadata endpoint, with its own address.
#![allow(clippy::unwrap_used)]

#[path = "kernel_cni_lab/mod.rs"]
mod cni_lab;
#[allow(dead_code)]
#[path = "kernel_datapath_lab/raw.rs"]
mod raw;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use berth_fabric::cni::bridge::{self, BridgeConfig, BridgeLease, CREDENTIALS};
use berth_fabric::kernel::{Namespace, sysctl};
use berth_fabric::ports::{self, PortDropReason as Reason, PortStats};
use cni_lab::Lab;
use raw::{Ip, SYN, Wire, arp_request, ethernet};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 172, 1);
/// Another address of the host.
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A host with the endpoint, and the pins of an instance.
struct Host {
    lab: Lab,
    endpoint: TcpListener,
    instance: String,
    pins: PathBuf,
}

struct Task {
    namespace: Namespace,
    lease: BridgeLease,
}

impl Host {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let lab = Lab::new();
        let instance = format!("ports-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let pins = lab.on_host(|| ports::install(&instance)).unwrap();
        lab.on_host(|| bridge::serve_credentials_address(&BridgeConfig::ecs(), CREDENTIALS)).unwrap();
        let endpoint = lab.on_host(|| TcpListener::bind((CREDENTIALS, 80))).unwrap();
        endpoint.set_nonblocking(true).unwrap();
        Self { lab, endpoint, instance, pins }
    }

    fn guarded(&self) -> BridgeConfig {
        BridgeConfig::ecs().guarded(&self.pins)
    }

    fn task(&self, name: &str, config: &BridgeConfig) -> Task {
        let namespace = self.lab.container(name);
        // Packets that the kernel sends by itself would be counted, too.
        sysctl::write(&namespace, "net.ipv6.conf.default.disable_ipv6", "1").unwrap();
        let add = || bridge::add(&namespace, "ecs-eth0", name, config, &self.lab.ipam_db());
        let lease = self.lab.on_host(add).unwrap();
        Task { namespace, lease }
    }

    fn stats(&self, task: &Task) -> PortStats {
        let all = ports::read_port_stats(&self.instance, self.pins.parent().unwrap()).unwrap();
        all.into_iter().find(|stats| stats.address == task.address()).unwrap()
    }

    /// Drops of ports without a lease.
    fn strays(&self) -> u64 {
        let all = ports::read_port_stats(&self.instance, self.pins.parent().unwrap()).unwrap();
        all.iter().filter(|stats| stats.device.is_empty()).map(|stats| stats.drops[&Reason::NotProgrammed]).sum()
    }

    /// The peer of the request at the endpoint, if there was one.
    fn asked(&self) -> Option<IpAddr> {
        match self.endpoint.accept() {
            Ok((_, from)) => Some(from.ip()),
            Err(e) if e.kind() == ErrorKind::WouldBlock => None,
            Err(e) => panic!("{e}"),
        }
    }

    fn serves(&self, task: &Task) {
        let limit = Duration::from_secs(10);
        let connect = || TcpStream::connect_timeout(&(CREDENTIALS, 80).into(), limit);
        let _caller = task.namespace.inside(connect).unwrap().unwrap();
        assert_eq!(self.asked(), Some(task.lease.address.addr()));
    }

    fn host_end(&self, task: &Task) -> u32 {
        self.lab.host.netlink().unwrap().link_by_name(&task.lease.host_if).unwrap().unwrap().index
    }

    fn bridge_mac(&self) -> [u8; 6] {
        self.lab.host.netlink().unwrap().link_by_name("ecs-bridge").unwrap().unwrap().mac.unwrap().0
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        std::fs::remove_dir_all(self.pins.parent().unwrap()).unwrap();
    }
}

impl Task {
    fn address(&self) -> Ipv4Addr {
        match self.lease.address.addr() {
            IpAddr::V4(address) => address,
            IpAddr::V6(address) => panic!("{address}"),
        }
    }

    fn wire(&self) -> Wire {
        Wire::open(&self.namespace, "ecs-eth0")
    }
}

#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

/// Frames of an impostor, each with its drop reason.
fn attacks(thief: &Task, victim: &Task, bridge: [u8; 6]) -> Vec<(Vec<u8>, Reason)> {
    let (own, own_mac) = (thief.address(), thief.lease.mac.0);
    let (other, other_mac) = (victim.address(), victim.lease.mac.0);
    let to = |dst: Ipv4Addr, port: u16| Ip::tcp(own, dst, (40000, port), SYN);
    let behind = Ipv4Addr::new(198, 51, 100, 9);
    // Loose source route to the endpoint by way of another machine.
    let options = vec![131, 7, 4, behind.octets()[0], behind.octets()[1], behind.octets()[2], behind.octets()[3], 0];
    let honest = to(CREDENTIALS, 80);
    let stolen = Ip::tcp(other, CREDENTIALS, (40001, 80), SYN);
    let datagram = Ip::udp(own, CREDENTIALS, (40000, 80), b"x");
    let sent = |ip: &Ip| ip.frame(own_mac, bridge);
    let mut attacks = vec![
        (stolen.frame(other_mac, bridge), Reason::SpoofedMac),
        (sent(&stolen), Reason::SpoofedAddress),
        (arp_request(other_mac, (other_mac, other), GATEWAY), Reason::SpoofedMac),
        (arp_request(own_mac, (own_mac, other), GATEWAY), Reason::SpoofedArp),
        (arp_request(own_mac, (own_mac, own), other), Reason::ArpTarget),
        (ethernet(own_mac, bridge, 0x86dd, &[0x60; 60]), Reason::Ipv6),
        (ethernet(own_mac, bridge, 0x88b5, &[0; 60]), Reason::Ethertype),
        (ethernet(own_mac, bridge, 0x0800, &[0x45; 8]), Reason::Malformed),
        (sent(&Ip { options, ..honest.clone() }), Reason::Options),
        (sent(&Ip { fragment: 0x2000, ..honest.clone() }), Reason::Fragment),
        (sent(&Ip { fragment: 1, ..honest }), Reason::Fragment),
        (sent(&datagram), Reason::OtherService),
        (sent(&Ip::icmp(own, CREDENTIALS, 8, 0, &[0; 4])), Reason::OtherService),
        (to(other, 80).frame(own_mac, other_mac), Reason::OtherAddress),
    ];
    attacks.extend([22, 81, 51679].map(|port| (sent(&to(CREDENTIALS, port)), Reason::OtherService)));
    attacks.extend([GATEWAY, HOST, behind, Ipv4Addr::BROADCAST].map(|dst| (sent(&to(dst, 80)), Reason::OtherAddress)));
    attacks
}

#[test]
fn a_port_carries_what_it_is_for_and_each_other_frame_is_counted() {
    let host = Host::new();
    let mut netlink = host.lab.host.netlink().unwrap();
    let lo = netlink.link_by_name("lo").unwrap().unwrap().index;
    netlink.add_address(lo, format!("{HOST}/32").parse().unwrap()).unwrap();
    sysctl::write(&host.lab.host, "net.ipv4.ip_forward", "1").unwrap();
    let anywhere = host.lab.on_host(|| TcpListener::bind("0.0.0.0:81")).unwrap();
    anywhere.set_nonblocking(true).unwrap();
    let (victim, thief) = (host.task("victim", &host.guarded()), host.task("thief", &host.guarded()));
    host.serves(&victim);
    host.serves(&thief);
    let (before, wire) = (host.stats(&thief), thief.wire());
    assert_eq!(before.device, thief.lease.host_if);
    let mut counted = before.drops.clone();
    for (frame, reason) in attacks(&thief, &victim, host.bridge_mac()) {
        wire.send(&frame);
        *counted.entry(reason).or_default() += 1;
        eventually(&format!("{reason} is not counted"), || {
            host.stats(&thief).drops.get(&reason) == counted.get(&reason)
        });
    }
    let after = host.stats(&thief);
    assert_eq!(after.packets, before.packets, "none of them passed");
    let known =
        |drops: &BTreeMap<Reason, u64>| drops.iter().map(|(reason, count)| (*reason, *count)).collect::<Vec<_>>();
    assert_eq!(known(&after.drops), known(&counted));
    assert_eq!(host.asked(), None, "nobody asked in the name of the victim");
    assert_eq!(anywhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    host.serves(&victim);
    assert_eq!(sysctl::read(&host.lab.host, "net/ipv6/conf/ecs-bridge/disable_ipv6").unwrap(), "1");
}

#[test]
fn a_port_without_a_lease_is_deaf_until_it_has_one() {
    let host = Host::new();
    let task = host.task("task", &host.guarded());
    ports::forget(&host.pins, host.host_end(&task)).unwrap();
    let own = Ip::tcp(task.address(), CREDENTIALS, (40000, 80), SYN);
    task.wire().send(&own.frame(task.lease.mac.0, host.bridge_mac()));
    eventually("the drop is not counted", || host.strays() > 0);
    assert_eq!(host.asked(), None);
    let add = || bridge::add(&task.namespace, "ecs-eth0", "task", &host.guarded(), &host.lab.ipam_db());
    assert_eq!(host.lab.on_host(add).unwrap(), task.lease);
    host.serves(&task);
}

#[test]
fn tasks_of_an_earlier_version_are_guarded_and_a_later_build_keeps_the_counters() {
    let host = Host::new();
    let (victim, thief) = (host.task("victim", &BridgeConfig::ecs()), host.task("thief", &BridgeConfig::ecs()));
    for task in [&victim, &thief] {
        let guard = || bridge::guard(&task.namespace, "ecs-eth0", task.address(), &host.guarded());
        host.lab.on_host(guard).unwrap();
        host.serves(task);
    }
    let stolen = Ip::tcp(victim.address(), CREDENTIALS, (40001, 80), SYN).frame(thief.lease.mac.0, host.bridge_mac());
    let dropped = |count| {
        thief.wire().send(&stolen);
        eventually("the theft is not counted", || {
            host.stats(&thief).drops.get(&Reason::SpoofedAddress) == Some(&count)
        });
    };
    dropped(1);
    // The state after another build.
    let of_build = std::fs::read_dir(&host.pins).unwrap().map(|pin| pin.unwrap().path());
    let of_build: Vec<_> = of_build.filter(|pin| pin.to_string_lossy().contains("bridge_port_")).collect();
    std::fs::remove_file(&of_build[0]).unwrap();
    host.lab.on_host(|| ports::install(&host.instance)).unwrap();
    assert!(of_build[0].exists());
    dropped(2);
    // A task that ended without DEL is removed, the others are kept.
    host.lab.host.netlink().unwrap().delete_link(&thief.lease.host_if).unwrap();
    let links = host.lab.host.netlink().unwrap().links().unwrap();
    let kept = ports::forget_lost(&host.pins, &links).unwrap();
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), [victim.address()]);
    host.serves(&victim);
}

#[test]
fn the_executable_guards_a_port_and_forgets_it() {
    let host = Host::new();
    let task = host.lab.container("task");
    let config = serde_json::json!({"bridge": "ecs-bridge", "cniVersion": "1.0.0", "name": "ecs", "type": "ecs-bridge",
        "portGuard": host.pins, "ipam": {"id": "task", "type": "ecs-ipam", "ipv4-subnet": "169.254.172.0/22",
        "ipv4-routes": [{"dst": "169.254.170.2/32"}]}});
    let result = host.lab.succeed("ecs-bridge", "ADD", task.path(), "ecs-eth0", &config);
    let host_if = result["interfaces"][1]["name"].as_str().unwrap();
    let index = host.lab.host.netlink().unwrap().link_by_name(host_if).unwrap().unwrap().index;
    let lease = ports::lease_of(&host.pins, index).unwrap().unwrap();
    assert_eq!(
        (lease.address.to_string(), lease.mac.to_string()),
        ("169.254.172.2".into(), "0a:58:a9:fe:ac:02".into())
    );
    host.lab.succeed("ecs-bridge", "DEL", task.path(), "ecs-eth0", &config);
    assert_eq!(ports::lease_of(&host.pins, index).unwrap(), None);
}

/// Without Berth's node there is no program: only the settings of the port protect it.
#[test]
fn the_plugin_alone_keeps_a_task_where_its_addresses_are() {
    let host = Host::new();
    let (victim, thief) = (host.task("victim", &BridgeConfig::ecs()), host.task("thief", &BridgeConfig::ecs()));
    let (other, other_mac, own_mac) = (victim.address(), victim.lease.mac.0, thief.lease.mac.0);
    let wire = thief.wire();
    wire.send(&arp_request(other_mac, (other_mac, other), GATEWAY));
    wire.send(&arp_request(own_mac, (own_mac, other), GATEWAY));
    wire.send(&Ip::tcp(other, CREDENTIALS, (40001, 80), SYN).frame(other_mac, host.bridge_mac()));
    host.serves(&victim);
    host.serves(&thief);
    assert_eq!(wire.await_frame(Duration::ZERO, |frame| frame[..6] == other_mac), None);
}
