// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: the wall around the way to the world, and the uplink, in a network namespace that counts as the host,
//! with a namespace behind it and a way out. Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use berth_fabric::kernel::Namespace;
use berth_fabric::world;
use berth_node::Uplink;
use berth_types::intent::{PublicAddressIntent, WorldIntent};
use berth_types::{EniId, Ipv4Cidr, Vni};
use lab::{Lab, eventually, in_own_network};

/// An address of the pool, as a task has it.
const TASK: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 9);
/// Far enough that it is not lost, and near enough that no test waits long.
const SILENCE: Duration = Duration::from_millis(300);

fn run(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let done = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// A host that forwards or not, and sends nothing by itself.
fn prepare(ip_forward: &str) {
    run(&format!("sysctl -q -w net.ipv4.ip_forward={ip_forward}"));
    if std::path::Path::new("/proc/sys/net/ipv6").exists() {
        run("sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    }
}

fn forwarding(device: &str) -> String {
    let path = format!("/proc/sys/net/ipv4/conf/{device}/forwarding");
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Packets that a device of this namespace has sent.
fn sent_by(device: &str) -> u64 {
    let shown: serde_json::Value = serde_json::from_str(&run(&format!("ip -s -j link show dev {device}"))).unwrap();
    shown[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
}

/// A namespace on a pair of the host.
struct Beyond {
    device: String,
    namespace: Namespace,
    address: Ipv4Addr,
    dir: tempfile::TempDir,
}

impl Beyond {
    /// On the network 10.`number`.0.0/24, whose first address is the host's.
    fn new(device: &str, number: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let namespace = Namespace::create(&dir.path().join(device)).unwrap();
        let address = Ipv4Addr::new(10, number, 0, 2);
        run(&format!("ip link add {device} type veth peer name far netns {}", dir.path().join(device).display()));
        run(&format!("ip address add 10.{number}.0.1/24 dev {device}"));
        run(&format!("ip link set {device} up"));
        namespace
            .inside(|| {
                prepare("0");
                run(&format!("ip address add {address}/24 dev far"));
                run("ip link set far up");
                run(&format!("ip route add default via 10.{number}.0.1"));
            })
            .unwrap();
        Self { device: device.to_owned(), namespace, address, dir }
    }

    /// A socket that listens there.
    fn listen(&self) -> UdpSocket {
        let socket = self.namespace.inside(|| UdpSocket::bind((self.address, 9)).unwrap()).unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket
    }

    fn end(self) {
        run(&format!("ip link delete {}", self.device));
        Namespace::delete(self.namespace.path()).unwrap();
        drop(self.dir);
    }
}

/// The fabric's end of the way, as if a program there let everything pass.
struct Fabric(Namespace);

impl Fabric {
    fn of(lab: &Lab) -> Self {
        let namespace = Namespace::open(&lab.config.run_dir.join("netns/fabric")).unwrap();
        namespace.inside(|| run(&format!("ip address add {TASK}/32 dev world"))).unwrap();
        Self(namespace)
    }

    /// Sends a datagram from an address of a task or another one.
    fn send(&self, from: Ipv4Addr, to: Ipv4Addr) {
        let send = || {
            run(&format!("ip route replace {to} dev world"));
            run(&format!("ip neighbour replace {to} lladdr {} dev world", world::HOST_MAC));
            UdpSocket::bind((from, 0)).unwrap().send_to(b"x", (to, 9)).unwrap();
        };
        self.0.inside(send).unwrap();
    }
}

/// Where a datagram came from, if one comes.
fn arrived(socket: &UdpSocket) -> Option<Ipv4Addr> {
    match socket.recv_from(&mut [0; 8]) {
        Ok((_, from)) => Some(from.ip().to_string().parse().unwrap()),
        Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => None,
        Err(cause) => panic!("{cause}"),
    }
}

async fn open_world(lab: &mut Lab) -> String {
    let pool: Ipv4Cidr = "198.18.0.0/20".parse().unwrap();
    lab.server.intent.worlds.insert(pool, WorldIntent { host_address: pool.nth(1).unwrap(), endpoints: None });
    lab.server.send_intent().await;
    let device = world::host_device(&lab.config.instance);
    eventually("the way to the world", || run("ip route").contains("198.18.0.0/20")).await;
    device
}

async fn close_world(lab: &mut Lab) {
    lab.server.intent.worlds.clear();
    lab.server.send_intent().await;
    eventually("no wall", || run("nft list tables").is_empty()).await;
}

#[test]
fn packets_of_tasks_reach_namespaces_of_the_host_and_no_device_that_leads_outside() {
    in_own_network(|| async {
        prepare("1");
        let (space, outside) = (Beyond::new("space", 61), Beyond::new("out", 62));
        run("ip link add card type ifb");
        run("ip address add 10.63.0.1/24 dev card");
        run("ip link set card up");
        run("ip neighbour add 10.63.0.2 lladdr 02:00:00:00:00:63 dev card");
        run("ip route add default via 10.62.0.2 dev out");
        let mut lab = Lab::new("wall").await;
        lab.config.prepared_namespaces = 0;
        lab.start_node().await;
        let device = open_world(&mut lab).await;
        let fabric = Fabric::of(&lab);

        let (inside, beyond) = (space.listen(), outside.listen());
        fabric.send(TASK, space.address);
        assert_eq!(arrived(&inside), Some(TASK));
        let sent = (sent_by("card"), sent_by("out"));
        fabric.send(TASK, outside.address);
        fabric.send(TASK, Ipv4Addr::new(10, 63, 0, 2));
        fabric.send(TASK, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(arrived(&beyond), None);
        assert_eq!((sent_by("card"), sent_by("out")), sent);
        // Nor do packets come in from there.
        let sent = sent_by(&device);
        outside.namespace.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", (TASK, 9)).unwrap()).unwrap();
        fabric.send(TASK, space.address);
        assert_eq!(arrived(&inside), Some(TASK));
        assert_eq!(sent_by(&device), sent);

        // What claims to come from elsewhere is dropped, and what is the host's alone is not reached.
        let other = Ipv4Addr::new(10, 61, 0, 77);
        fabric.0.inside(|| run(&format!("ip address add {other}/32 dev world"))).unwrap();
        fabric.send(other, space.address);
        assert_eq!(arrived(&inside), None);
        let own = UdpSocket::bind("169.254.170.2:9").unwrap();
        own.set_read_timeout(Some(SILENCE)).unwrap();
        fabric.send(TASK, Ipv4Addr::new(169, 254, 170, 2));
        assert_eq!(arrived(&own), None);
        let host = UdpSocket::bind("10.61.0.1:9").unwrap();
        host.set_read_timeout(Some(SILENCE)).unwrap();
        fabric.send(TASK, Ipv4Addr::new(10, 61, 0, 1));
        assert_eq!(arrived(&host), Some(TASK));

        close_world(&mut lab).await;
        open_world(&mut lab).await;
        run("ip link delete card");
        space.end();
        outside.end();
        lab.end().await;
        assert_eq!(run("nft list tables"), "");
    });
}

#[test]
fn an_uplink_translates_and_gives_the_forwarding_back_when_it_goes() {
    in_own_network(|| async {
        prepare("0");
        let (space, outside) = (Beyond::new("space", 61), Beyond::new("out", 62));
        run("ip route add default via 10.62.0.2 dev out");
        let mut lab = Lab::new("uplink").await;
        lab.config.prepared_namespaces = 0;
        lab.config.uplink = Some(Uplink::Device("out".to_owned()));
        lab.start_node().await;
        let device = open_world(&mut lab).await;
        eventually("the host forwards", || forwarding(&device) == "1").await;
        let fabric = Fabric::of(&lab);
        assert_eq!((forwarding("out"), forwarding("space")), ("1".to_owned(), "0".to_owned()));

        let (inside, beyond) = (space.listen(), outside.listen());
        fabric.send(TASK, outside.address);
        assert_eq!(arrived(&beyond), Some(Ipv4Addr::new(10, 62, 0, 1)));
        fabric.send(TASK, space.address);
        assert_eq!(arrived(&inside), Some(TASK));
        // The host forwards nothing else that comes from there.
        let sent = sent_by("space");
        let far = &outside.namespace;
        far.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", (space.address, 9)).unwrap()).unwrap();
        assert_eq!(arrived(&inside), None);
        assert_eq!(sent_by("space"), sent);

        // The next node has no uplink.
        lab.drop_node().await;
        lab.config.uplink = None;
        lab.start_node().await;
        eventually("the uplink is gone", || forwarding("out") == "0" && forwarding(&device) == "0").await;
        fabric.send(TASK, outside.address);
        assert_eq!(arrived(&beyond), None);
        // The next one leads out by whatever does.
        lab.drop_node().await;
        lab.config.uplink = Some(Uplink::Any);
        lab.start_node().await;
        eventually("the host forwards", || forwarding(&device) == "1").await;
        fabric.send(TASK, outside.address);
        assert_eq!(arrived(&beyond), Some(Ipv4Addr::new(10, 62, 0, 1)));
        // The node ends, and everything is taken away.
        lab.drop_node().await;
        berth_node::teardown(lab.config.clone()).await.unwrap();
        assert_eq!((forwarding("out"), run("nft list tables")), ("0".to_owned(), String::new()));
        space.end();
        outside.end();
        lab.end().await;
    });
}

/// The machine that a simulated host is on, with a namespace behind it and a way out.
struct Machine {
    own: Arc<Namespace>,
    space: Beyond,
    outside: Beyond,
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = Namespace::create(&dir.path().join("machine")).unwrap();
        let make = || {
            prepare("0");
            // Answers of the namespace come back by it.
            let (space, outside) = (Beyond::new("space", 61), Beyond::new("out", 62));
            run("sysctl -q -w net.ipv4.conf.space.forwarding=1");
            run("ip route add default via 10.62.0.2 dev out");
            (space, outside)
        };
        let (space, outside) = own.inside(make).unwrap();
        Self { own: Arc::new(own), space, outside, dir }
    }

    fn run(&self, line: &str) -> String {
        self.own.inside(|| run(line)).unwrap()
    }

    fn forwarding(&self, device: &str) -> String {
        self.own.inside(|| forwarding(device)).unwrap()
    }

    fn end(self) {
        let Self { own, space, outside, dir } = self;
        own.inside(|| {
            space.end();
            outside.end();
        })
        .unwrap();
        Namespace::delete(&dir.path().join("machine")).unwrap();
    }
}

/// The world, in which the task has a public address.
async fn open_world_of_task(lab: &mut Lab) -> String {
    let owner = PublicAddressIntent {
        vni: Vni(1),
        eni: EniId::from_bits(1),
        address: Ipv4Addr::new(10, 0, 0, 9),
        host: lab.hello.as_ref().unwrap().host.clone(),
    };
    lab.server.intent.public_addresses.insert(TASK, owner);
    open_world(lab).await
}

#[test]
fn a_simulated_host_reaches_what_its_machine_routes_to_and_leaves_by_its_uplink_alone() {
    in_own_network(|| async {
        prepare("0");
        let machine = Machine::new();
        let mut lab = Lab::new("outside").await;
        lab.config.prepared_namespaces = 0;
        lab.config.outside = Some(machine.own.clone());
        lab.start_node().await;
        let device = open_world_of_task(&mut lab).await;
        let leads = || machine.run("ip route").contains(&format!("{TASK} via 198.18.0.1 dev {device}"));
        eventually("the machine leads to the task", leads).await;
        let fabric = Fabric::of(&lab);
        let (inside, beyond) = (machine.space.listen(), machine.outside.listen());

        fabric.send(TASK, machine.space.address);
        assert_eq!(arrived(&inside), Some(TASK));
        let sent = || machine.own.inside(|| sent_by("out")).unwrap();
        let before = sent();
        fabric.send(TASK, machine.outside.address);
        fabric.send(TASK, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(arrived(&beyond), None);
        assert_eq!(sent(), before);
        // Nor do packets come in from there.
        let to_host = || machine.own.inside(|| sent_by(&device)).unwrap();
        machine.run("sysctl -q -w net.ipv4.conf.out.forwarding=1");
        let before = to_host();
        let far = &machine.outside.namespace;
        far.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", (TASK, 9)).unwrap()).unwrap();
        fabric.send(TASK, machine.space.address);
        assert_eq!(arrived(&inside), Some(TASK));
        assert_eq!(to_host(), before);
        machine.run("sysctl -q -w net.ipv4.conf.out.forwarding=0");
        // The namespace reaches the host's way to the world, and no bridge of the host.
        run("ip link add other type veth peer name end");
        run("ip address add 10.64.0.1/24 dev other");
        run("ip link set other up");
        run("ip link set end up");
        run("ip neighbour add 10.64.0.2 lladdr 02:00:00:00:00:64 dev other");
        machine.run(&format!("ip route add 10.64.0.0/24 via 198.18.0.1 dev {device} onlink"));
        let (to_fabric, to_other) = (sent_by(&device), sent_by("other"));
        let near = machine.space.namespace.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        near.send_to(b"x", "10.64.0.2:9").unwrap();
        near.send_to(b"x", (TASK, 9)).unwrap();
        eventually("the packet for the task arrives", || sent_by(&device) > to_fabric).await;
        assert_eq!(sent_by("other"), to_other);

        // The next node has an uplink, and the one after it none.
        lab.drop_node().await;
        lab.config.uplink = Some(Uplink::Device("out".to_owned()));
        lab.start_node().await;
        eventually("the machine forwards", || machine.forwarding("out") == "1").await;
        eventually("the uplink is complete", || lab_sends(&fabric, &machine, &beyond)).await;
        lab.drop_node().await;
        lab.config.uplink = None;
        lab.start_node().await;
        eventually("the uplink is gone", || machine.forwarding("out") == "0").await;
        fabric.send(TASK, machine.outside.address);
        assert_eq!(arrived(&beyond), None);

        // The world goes, and comes back; then everything is taken away.
        lab.server.intent.worlds.clear();
        lab.server.send_intent().await;
        let is_clean = || machine.run("nft list tables").is_empty() && !machine.run("ip link").contains(&device);
        eventually("nothing is left on the machine", is_clean).await;
        open_world(&mut lab).await;
        eventually("the machine leads to the task", leads).await;
        lab.drop_node().await;
        berth_node::teardown(lab.config.clone()).await.unwrap();
        assert!(is_clean());
        run("ip link delete other");
        lab.end().await;
        machine.end();
    });
}

/// True if a datagram of the task arrives beyond the machine, from the machine.
fn lab_sends(fabric: &Fabric, machine: &Machine, beyond: &UdpSocket) -> bool {
    fabric.send(TASK, machine.outside.address);
    arrived(beyond) == Some(Ipv4Addr::new(10, 62, 0, 1))
}
