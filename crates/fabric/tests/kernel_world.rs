// SPDX-License-Identifier: Apache-2.0
//! The pair of devices to the world: made, found again, repaired and removed; nothing else of the host changes. Needs
//! root.
#![allow(clippy::unwrap_used)]

use std::net::UdpSocket;
use std::process::Command;

use berth_fabric::kernel::netlink::VethPair;
use berth_fabric::kernel::{Namespace, Netlink};
use berth_fabric::{Fabric, FabricConfig, Fault, World, world};
use berth_types::intent::{HostIntent, WorldIntent};
use berth_types::{HostId, Ipv4Cidr};

/// A fabric, and a namespace that counts as its host.
struct Place {
    fabric: Option<Fabric>,
    config: FabricConfig,
    host: Namespace,
    folder: tempfile::TempDir,
}

impl Place {
    fn new(name: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "the kernel suite needs root");
        let folder = tempfile::tempdir().unwrap();
        let host = Namespace::create(&folder.path().join("host")).unwrap();
        let run_dir = folder.path().to_owned();
        let instance = format!("world-{name}-{}", std::process::id());
        let config = FabricConfig { instance, run_dir, host: HostId::from_bits(1) };
        let fabric = Some(host.inside(|| Fabric::open(config.clone())).unwrap().unwrap());
        Self { fabric, config, host, folder }
    }

    fn device(&self) -> String {
        world::host_device(&self.config.instance)
    }

    fn program(&mut self, pool: Option<&str>) -> Result<Option<World>, Fault> {
        let mut intent = HostIntent::default();
        if let Some(pool) = pool {
            let pool: Ipv4Cidr = pool.parse().unwrap();
            intent.worlds.insert(pool, WorldIntent { host_address: pool.nth(1).unwrap(), endpoints: None });
        }
        let fabric = self.fabric.as_mut().unwrap();
        self.host.inside(|| fabric.program(&intent).map(|_| fabric.world().copied())).unwrap()
    }

    /// As if the process had ended and another had started.
    fn restart(&mut self) {
        self.fabric = None;
        self.fabric = Some(self.host.inside(|| Fabric::open(self.config.clone())).unwrap().unwrap());
    }

    fn on_host(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let run = || Command::new(words[0]).args(&words[1..]).output().unwrap();
        let done = self.host.inside(run).unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Everything of the host's network that the pair could change.
    fn seen(&self) -> String {
        ["ip -details link", "ip address", "ip route show table all", "ip rule", "sysctl -a --pattern ^net.ipv[46]"]
            .map(|line| self.on_host(line))
            .join("\n")
            // The kernel notes the carrier of a device some time after its other end is up.
            .replace("NO-CARRIER,", "")
            .replace("state DOWN", "state UP")
    }

    fn netlink(&self) -> Netlink {
        self.host.netlink().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let fabric = self.fabric.take().unwrap();
        fabric.destroy().unwrap();
        Namespace::delete(&self.folder.path().join("host")).unwrap();
    }
}

#[test]
fn the_way_to_the_world_is_one_device_and_one_route_and_leaves_no_trace() {
    let mut place = Place::new("made");
    let before = place.seen();
    let made = place.program(Some("198.18.0.0/20")).unwrap().unwrap();
    let device = place.device();
    assert_eq!(
        place.on_host(&format!("ip route show dev {device}")).trim(),
        "198.18.0.0/20 scope link src 198.18.0.1 mtu 1500"
    );
    assert!(place.on_host(&format!("ip -br address show dev {device}")).trim_end().ends_with("198.18.0.1/32"));
    let link = place.netlink().link_by_name(&device).unwrap().unwrap();
    assert_eq!((link.index, link.mac, link.is_up), (made.host_ifindex, Some(world::HOST_MAC), true));
    assert_eq!(link.alias, Some(format!("berth-world {}", place.config.instance)));
    let inner = place.fabric.as_ref().unwrap().namespace().netlink().unwrap().link_by_name(world::DEVICE).unwrap();
    let inner = inner.unwrap();
    assert_eq!((inner.index, inner.mac, inner.is_up), (made.ifindex, Some(world::FABRIC_MAC), true));
    assert_eq!(link.peer_index, Some(inner.index));

    // Another program of the same intent, and another process, keep it.
    assert_eq!(place.program(Some("198.18.0.0/20")).unwrap(), Some(made));
    place.restart();
    assert_eq!(place.program(Some("198.18.0.0/20")).unwrap(), Some(made));
    // Another pool gets another.
    let other = place.program(Some("203.0.113.0/24")).unwrap().unwrap();
    assert_ne!(other.host_ifindex, made.host_ifindex);
    assert_eq!(
        place.on_host("ip route"),
        format!("203.0.113.0/24 dev {device} scope link src 203.0.113.1 mtu 1500 \n")
    );

    assert_eq!(place.program(None).unwrap(), None);
    assert_eq!(place.seen(), before);
    // Also that of a process that does not run any more.
    place.program(Some("198.18.0.0/20")).unwrap();
    place.restart();
    assert_eq!(place.program(None).unwrap(), None);
    assert_eq!(place.seen(), before);
}

#[test]
fn what_a_killed_process_has_left_is_completed_or_replaced() {
    let mut place = Place::new("left");
    let device = place.device();
    let first = place.program(Some("198.18.0.0/20")).unwrap().unwrap();
    let whole = place.seen();
    // Killed before the address, and before the fabric's end was up.
    place.on_host(&format!("ip address flush dev {device}"));
    place.on_host(&format!("ip link set {device} down"));
    place.restart();
    assert_eq!(place.program(Some("198.18.0.0/20")).unwrap(), Some(first));
    assert_eq!(place.seen(), whole);
    // Killed before the alias: the device is known by its hardware address.
    let mut host = place.netlink();
    host.delete_link(&device).unwrap();
    let peer_mac = Some(world::HOST_MAC);
    host.create_veth(&VethPair { name: "stray", peer_name: &device, peer_mac, ..VethPair::default() }).unwrap();
    place.restart();
    let made = place.program(Some("198.18.0.0/20")).unwrap().unwrap();
    assert_ne!(made.host_ifindex, first.host_ifindex);
    assert_eq!(place.netlink().link_by_name("stray").unwrap(), None);
    // A device of another owner is left as it is.
    place.program(None).unwrap();
    host.create_veth(&VethPair { name: &device, peer_name: "foreign", ..VethPair::default() }).unwrap();
    place.restart();
    assert!(matches!(place.program(Some("198.18.0.0/20")), Err(Fault::WorldNameTaken { .. })));
    assert!(place.netlink().link_by_name(&device).unwrap().is_some());
    host.delete_link(&device).unwrap();
    assert!(place.program(Some("198.18.0.0/20")).unwrap().is_some());
}

#[test]
fn a_pool_that_the_host_uses_is_refused_and_nothing_is_made() {
    let mut place = Place::new("clash");
    place.on_host("ip link add other type veth peer name end");
    place.on_host("ip link set other up");
    let mut refused = |line: &str, undo: &str| {
        place.on_host(line);
        let before = place.seen();
        let fault = place.program(Some("198.18.0.0/20")).unwrap_err();
        assert!(matches!(fault, Fault::PoolInUse { .. }), "{fault}");
        assert_eq!(place.seen(), before);
        place.on_host(undo);
        fault.to_string()
    };
    let said = refused("ip route add 198.18.15.0/24 dev other", "ip route del 198.18.15.0/24");
    assert!(said.contains("the route 198.18.15.0/24 dev other") && said.contains("--public-pool"), "{said}");
    refused("ip route add 198.18.0.0/15 dev other", "ip route del 198.18.0.0/15");
    let said = refused("ip address add 198.18.3.4/32 dev other", "ip address flush dev other");
    assert!(said.contains("the address 198.18.3.4/32 of other"), "{said}");
    // Routes of which the internet consists are no use of the pool.
    place.on_host("ip address add 192.0.2.1/24 dev other");
    place.on_host("ip route add default via 192.0.2.2");
    place.on_host("ip route add 128.0.0.0/1 via 192.0.2.2");
    assert!(place.program(Some("198.18.0.0/20")).unwrap().is_some());
}

#[test]
fn without_a_program_for_it_no_packet_passes_the_fabrics_end() {
    let mut place = Place::new("closed");
    place.program(Some("198.18.0.0/20")).unwrap();
    let detach = || Command::new("tc").args(["qdisc", "del", "dev", world::DEVICE, "clsact"]).status().unwrap();
    assert!(place.fabric.as_ref().unwrap().namespace().inside(detach).unwrap().success());
    let sent = place.host.inside(|| {
        let socket = UdpSocket::bind("198.18.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.send_to(b"x", "198.18.0.7:9").unwrap();
        socket
    });
    drop(sent.unwrap());
    let neighbours = place.on_host(&format!("ip neighbour show dev {}", place.device()));
    assert!(neighbours.contains("198.18.0.7") && !neighbours.contains("lladdr"), "{neighbours}");
    let mut inner = place.fabric.as_ref().unwrap().namespace().netlink().unwrap();
    let index = inner.link_by_name(world::DEVICE).unwrap().unwrap().index;
    assert_eq!(inner.addresses(index).unwrap(), []);
    assert_eq!(inner.routes().unwrap(), []);
}
