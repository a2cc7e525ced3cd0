// SPDX-License-Identifier: Apache-2.0
//! The pair of devices between a simulated host and its machine: made, found again, repaired and removed; public addresses
//! lead to the host that holds them. Needs root.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use berth_fabric::kernel::netlink::VethPair;
use berth_fabric::kernel::{Namespace, Netlink};
use berth_fabric::outside::{self, OutsideConfig};
use berth_fabric::{Fault, world};
use berth_types::Ipv4Cidr;

const MACHINE: Ipv4Addr = Ipv4Addr::new(198, 18, 15, 191);
/// Far enough that no packet is late, and near enough that no test waits long.
const SILENCE: Duration = Duration::from_millis(300);

fn public(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, last)
}

/// A machine with simulated hosts, each with a namespace of tasks behind its way to the world.
struct Machine {
    space: Namespace,
    hosts: Vec<Host>,
    folder: tempfile::TempDir,
}

struct Host {
    space: Namespace,
    tasks: Namespace,
    config: OutsideConfig,
}

fn within(space: &Namespace, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let done = space.inside(|| Command::new(words[0]).args(&words[1..]).output().unwrap()).unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

impl Machine {
    fn new(name: &str, hosts: u8) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "the kernel suite needs root");
        let folder = tempfile::tempdir().unwrap();
        let space = Namespace::create(&folder.path().join("machine")).unwrap();
        // The strictest setting of a machine.
        within(&space, "sysctl -q -w net.ipv4.conf.all.rp_filter=1 net.ipv4.ip_forward=0");
        let hosts = (1..=hosts).map(|number| Host::new(name, number, &folder)).collect();
        Self { space, hosts, folder }
    }

    fn open(&self, number: usize) -> Result<(), Fault> {
        let host = &self.hosts[number - 1];
        host.space.inside(|| outside::open(&self.space, &host.config)).unwrap()
    }

    fn close(&self, number: usize) {
        let host = &self.hosts[number - 1];
        host.space.inside(|| outside::close(&self.space, &host.config.instance)).unwrap().unwrap();
    }

    fn lead(&self, number: usize, last: &[u8]) {
        let addresses: BTreeSet<Ipv4Addr> = last.iter().copied().map(public).collect();
        outside::lead(&self.space, &self.hosts[number - 1].config, &addresses).unwrap();
    }

    fn device(&self, number: usize) -> String {
        world::host_device(&self.hosts[number - 1].config.instance)
    }

    /// Everything of the machine's network that pairs could change.
    fn seen(&self) -> String {
        ["ip link", "ip address", "ip route show table all", "ip rule", "ip neighbour", "sysctl -a --pattern ^net.ipv4"]
            .map(|line| within(&self.space, line))
            .join("\n")
    }

    fn netlink(&self) -> Netlink {
        self.space.netlink().unwrap()
    }
}

impl Host {
    fn new(name: &str, number: u8, folder: &tempfile::TempDir) -> Self {
        let space = Namespace::create(&folder.path().join(format!("host-{number}"))).unwrap();
        let tasks = Namespace::create(&folder.path().join(format!("tasks-{number}"))).unwrap();
        let pool: Ipv4Cidr = "198.18.0.0/20".parse().unwrap();
        let config = OutsideConfig {
            instance: format!("outside-{name}-{}-{number}", std::process::id()),
            pool,
            host_address: pool.nth(1).unwrap(),
        };
        let way = world::host_device(&config.instance);
        let host = |line: &str| within(&space, line);
        let fabric = |line: &str| within(&tasks, line);
        host("ip link set lo up");
        host(&format!("ip link add {way} type veth peer name world netns {}", tasks.path().display()));
        host(&format!("sysctl -q -w net.ipv4.conf.{way}.rp_filter=1"));
        host(&format!("ip address add 198.18.0.1/32 dev {way}"));
        host(&format!("ip link set {way} up"));
        host(&format!("ip route add 198.18.0.0/20 dev {way} src 198.18.0.1"));
        fabric("ip link set lo up");
        fabric("ip link set world up");
        fabric("ip route add default dev world");
        // As the fabric's program, which answers for the whole pool and sends everything to the host.
        fabric("sysctl -q -w net.ipv4.conf.world.proxy_arp=1 net.ipv4.neigh.world.proxy_delay=0");
        host(&format!("sysctl -q -w net.ipv4.conf.{way}.proxy_arp=1 net.ipv4.neigh.{way}.proxy_delay=0"));
        Self { space, tasks, config }
    }

    /// A task with a public address, which listens.
    fn task(&self, last: u8) -> UdpSocket {
        within(&self.tasks, &format!("ip address add {}/32 dev world", public(last)));
        listen(&self.tasks, public(last))
    }
}

fn listen(space: &Namespace, address: Ipv4Addr) -> UdpSocket {
    let socket = space.inside(|| UdpSocket::bind((address, 9)).unwrap()).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket
}

/// Sends a datagram and its answer; the address it came from, if it came.
fn exchange(from: &UdpSocket, to: &UdpSocket) -> Option<SocketAddr> {
    from.send_to(b"ask", to.local_addr().unwrap()).unwrap();
    let mut text = [0; 8];
    let (_, sender) = to.recv_from(&mut text).ok()?;
    to.send_to(b"tell", sender).unwrap();
    let (length, _) = from.recv_from(&mut text).expect("the answer does not come back");
    assert_eq!(&text[..length], b"tell");
    Some(sender)
}

impl Drop for Machine {
    fn drop(&mut self) {
        for host in &self.hosts {
            Namespace::delete(host.tasks.path()).unwrap();
            Namespace::delete(host.space.path()).unwrap();
        }
        Namespace::delete(&self.folder.path().join("machine")).unwrap();
    }
}

#[test]
fn the_machine_and_tasks_of_two_hosts_reach_each_other_at_public_addresses() {
    let machine = Machine::new("reach", 2);
    let before = machine.seen();
    machine.open(1).unwrap();
    machine.open(2).unwrap();
    machine.lead(1, &[5]);
    machine.lead(2, &[6, 7]);
    let (one, other, third) = (machine.hosts[0].task(5), machine.hosts[1].task(6), machine.hosts[1].task(7));
    let from = |socket: &UdpSocket| Some(socket.local_addr().unwrap());
    let here = machine.space.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    here.set_read_timeout(Some(SILENCE)).unwrap();
    for task in [&one, &other, &third] {
        assert_eq!(exchange(&here, task).map(|sender| sender.ip()), Some(MACHINE.into()));
    }
    assert_eq!(exchange(&one, &other), from(&one));
    assert_eq!(exchange(&third, &one), from(&third));
    let own = listen(&machine.space, MACHINE);
    assert_eq!(exchange(&other, &own), from(&other));
    // A host speaks for its own public addresses only.
    within(&machine.hosts[0].tasks, "ip address add 198.18.0.6/32 dev world");
    let liar = listen(&machine.hosts[0].tasks, public(6));
    liar.send_to(b"lie", (MACHINE, 9)).unwrap();
    assert!(own.recv_from(&mut [0; 8]).is_err());
    within(&machine.hosts[0].tasks, "ip address del 198.18.0.6/32 dev world");
    drop(liar);
    // The address of an interface that moves leads to its new host, in whatever order the hosts learn of it.
    machine.lead(1, &[5, 7]);
    machine.lead(2, &[6]);
    drop(third);
    assert_eq!(exchange(&here, &machine.hosts[0].task(7)).map(|sender| sender.ip()), Some(MACHINE.into()));
    // Addresses that nothing has are dropped at a host, and never leave the machine.
    let way = within(&machine.space, "ip route get 198.18.9.9");
    assert!(way.contains(&machine.device(1)) || way.contains(&machine.device(2)), "{way}");
    // The host itself has no way out.
    let host = machine.hosts[0].space.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    let refused = host.send_to(b"x", "203.0.113.80:9").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(nix::errno::Errno::ENETUNREACH as i32), "{refused}");

    machine.close(1);
    assert_eq!(exchange(&here, &other).map(|sender| sender.ip()), Some(MACHINE.into()));
    machine.close(2);
    assert_eq!(machine.seen(), before);
}

#[test]
fn what_a_killed_process_has_left_is_completed_or_replaced() {
    let machine = Machine::new("left", 1);
    machine.open(1).unwrap();
    machine.lead(1, &[5]);
    let (device, whole) = (machine.device(1), machine.seen());
    let rules = || within(&machine.hosts[0].space, "ip rule");
    let whole_rules = rules();
    assert!(whole_rules.contains(&format!("iif {device}")), "{whole_rules}");
    // Nothing changes when it is made again.
    machine.open(1).unwrap();
    machine.lead(1, &[5]);
    assert_eq!(machine.seen(), whole);
    assert_eq!(rules(), whole_rules);
    // Killed before addresses and routes.
    within(&machine.space, &format!("ip address flush dev {device}"));
    within(&machine.space, &format!("ip link set {device} down"));
    machine.open(1).unwrap();
    machine.lead(1, &[5]);
    let task = machine.hosts[0].task(5);
    let here = machine.space.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    here.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(exchange(&here, &task).is_some());
    // Another pair of this instance, whose other end is gone.
    machine.netlink().delete_link(&device).unwrap();
    let stray = VethPair { name: "stray", peer_name: &device, ..VethPair::default() };
    machine.netlink().create_veth(&stray).unwrap();
    let own = machine.netlink().link_by_name(&device).unwrap().unwrap();
    machine.netlink().set_alias(own.index, &format!("berth-outside {}", machine.hosts[0].config.instance)).unwrap();
    machine.open(1).unwrap();
    machine.lead(1, &[5]);
    assert_eq!(machine.netlink().link_by_name("stray").unwrap(), None);
    assert!(exchange(&here, &task).is_some());
    // A device of another owner is left as it is.
    machine.close(1);
    machine.netlink().create_veth(&VethPair { name: &device, peer_name: "foreign", ..VethPair::default() }).unwrap();
    assert!(matches!(machine.open(1), Err(Fault::WorldNameTaken { .. })));
    machine.close(1);
    assert!(machine.netlink().link_by_name("foreign").unwrap().is_some());
}
