// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: network modes bridge, host and none with real containers, in a network namespace that counts as the
//! host, with another one beside it. Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use berth_fabric::kernel::netlink::{Route, VethPair};
use berth_fabric::kernel::{Namespace, Netlink, sysctl};
use berth_fabric::ports::{PortStats, read_port_stats};
use berth_types::container::{IpcMode, PidMode};
use berth_types::intent::{
    ContainerIntent, Direction, LaunchType, Plug, PortIntent, PortRange, RuleIntent, RulePeer, Standalone, TaskIntent,
};
use berth_types::mode::{ContainerLink, NetworkBinding, NetworkMode, Protocol};
use berth_types::report::{ContainerStatus, EniState, StopCause, TaskStage};
use berth_types::{EniId, SecurityGroupRuleId, TaskId};
use lab::{Lab, container, in_own_network, only};

/// Address of the host towards its neighbour, and the neighbour's.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// A server that answers every connection with its name and the address that asks.
const SERVER: &str = "echo up; while :; do nc -l -p 80 -e sh -c 'echo hello from $HOSTNAME'; done";

fn task(lab: &mut Lab, mode: NetworkMode, command: &str, ports: Vec<PortIntent>) -> TaskIntent {
    let mut task = lab.task(command);
    (task.network_mode, task.launch_type, task.eni, task.hostname) = (mode, LaunchType::Ec2, None, None);
    task.dns = Default::default();
    task.containers[0].ports = ports;
    task
}

fn port(container_port: u16, host_port: Option<u16>, protocol: Protocol) -> PortIntent {
    PortIntent { container_port, last_container_port: None, host_port, protocol }
}

/// Another machine on a wire to the host. It ends with the value.
struct Neighbour {
    namespace: Namespace,
    dir: tempfile::TempDir,
}

impl Neighbour {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let namespace = Namespace::create(&dir.path().join("neighbour")).unwrap();
        let mut host = Netlink::open().unwrap();
        let pair = VethPair {
            name: "wire",
            up: true,
            peer_name: "wire",
            peer_ns: Some(namespace.as_fd()),
            ..VethPair::default()
        };
        host.create_veth(&pair).unwrap();
        let mut there = namespace.netlink().unwrap();
        for (end, address) in [(&mut host, HOST), (&mut there, NEIGHBOUR)] {
            let link = end.link_by_name("wire").unwrap().unwrap();
            end.add_address(link.index, format!("{address}/24").parse().unwrap()).unwrap();
            end.set_up(link.index).unwrap();
        }
        let link = there.link_by_name("wire").unwrap().unwrap();
        there.add_route(&Route::default_via(HOST.into(), link.index)).unwrap();
        Self { namespace, dir }
    }

    fn ask(&self, to: SocketAddr) -> Option<String> {
        self.namespace.inside(|| ask(to)).unwrap()
    }

    fn end(self) {
        Netlink::open().unwrap().delete_link("wire").unwrap();
        Namespace::delete(&self.dir.path().join("neighbour")).unwrap();
    }
}

/// What a server says, if it can be reached.
fn ask(to: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"\n").ok()?;
    let mut said = Vec::new();
    // A server that ends before it has read the question resets the connection after its answer.
    let end = stream.read_to_end(&mut said);
    (end.is_ok() || !said.is_empty()).then(|| String::from_utf8(said).unwrap())
}

/// Asks until the server, which takes one connection at a time, has answered.
fn answer(ask: impl Fn() -> Option<String>) -> String {
    let until = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        match ask().filter(|said| !said.is_empty()) {
            Some(said) => return said,
            None => assert!(std::time::Instant::now() < until, "nobody answers"),
        }
        std::thread::yield_now();
    }
}

async fn running(lab: &mut Lab, task: TaskIntent) -> (TaskId, Vec<NetworkBinding>) {
    let id = lab.run(task).await;
    let report = lab.server.reached(&id, TaskStage::Running).await;
    lab.written(&id, "app", "up").await;
    (id, report.containers[0].network_bindings.clone())
}

async fn stopped(lab: &mut Lab, id: &TaskId) {
    lab.stop(id).await;
    lab.server.reached(id, TaskStage::Stopped).await;
    lab.forget(id).await;
}

fn tables() -> String {
    let said = Command::new("nft").args(["list", "tables"]).output().unwrap();
    String::from_utf8(said.stdout).unwrap()
}

fn links() -> Vec<String> {
    Netlink::open().unwrap().links().unwrap().into_iter().map(|link| link.name).collect()
}

/// Namespaces the node keeps: the fabric's own is one of them.
fn namespaces(lab: &Lab) -> usize {
    std::fs::read_dir(lab.config.run_dir.join("netns")).unwrap().count()
}

fn ip_forward() -> String {
    sysctl::read(&Namespace::of_current_thread().unwrap(), "net.ipv4.ip_forward").unwrap()
}

/// Ports of containers of mode bridge.
fn guarded(lab: &Lab) -> Vec<PortStats> {
    let mut ports = read_port_stats(&lab.config.instance, &lab.config.run_dir).unwrap();
    ports.retain(|port| port.device.starts_with("vb"));
    ports
}

fn no_pause_container(lab: &Lab) -> bool {
    let listed = Command::new("ctr")
        .arg("--address")
        .arg(berth_node::containerd_socket(&lab.config.run_dir))
        .args(["--namespace", "berth", "container", "ls", "-q"])
        .arg(r#"labels."com.amazonaws.ecs.container-name"=="~internal~ecs~pause""#)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
    listed.stdout.is_empty()
}

#[test]
fn none_has_loopback_only() {
    in_own_network(|| async {
        let mut lab = Lab::new("none").await;
        lab.config.prepared_namespaces = 0;
        lab.start().await;
        let before = namespaces(&lab);
        let command = "ls /sys/class/net; cat /proc/net/route | wc -l; cat /etc/hosts; echo up; sleep 60";
        let mut wanted = task(&mut lab, NetworkMode::None, command, Vec::new());
        wanted.containers.push(container("side", "readlink /proc/self/ns/net; echo up; sleep 60"));
        let (id, bindings) = running(&mut lab, wanted).await;
        assert!(bindings.is_empty());
        assert!(lab.log(&id, "app").starts_with("lo\n1\n127.0.0.1\tlocalhost\n"), "{}", lab.log(&id, "app"));
        assert!(no_pause_container(&lab));
        assert_eq!(namespaces(&lab), before + 2, "one for each container");
        stopped(&mut lab, &id).await;
        assert_eq!(namespaces(&lab), before);
        lab.end().await;
    });
}

/// Whoever comes second reads what the first one wrote, and sees its process.
#[test]
fn processes_and_memory_are_shared_by_containers_of_different_networks() {
    in_own_network(|| async {
        let mut lab = Lab::new("share").await;
        lab.config.prepared_namespaces = 0;
        lab.start().await;
        let before = namespaces(&lab);
        for mode in [NetworkMode::None, NetworkMode::Bridge, NetworkMode::Host] {
            let links = "readlink /proc/self/ns/net";
            let first = format!("{links}; echo hello > /dev/shm/word; echo up; exec sleep 60");
            let second = format!(
                "{links}; until grep hello /dev/shm/word; do sleep 0.1; done; \
                 until grep -q sleep.60 /proc/[0-9]*/cmdline; do sleep 0.1; done; echo up; exec sleep 61"
            );
            let mut wanted = task(&mut lab, mode, &first, Vec::new());
            (wanted.pid_mode, wanted.ipc_mode) = (PidMode::Task, IpcMode::Task);
            wanted.containers.push(container("other", &second));
            let (id, _) = running(&mut lab, wanted).await;
            lab.written(&id, "other", "up").await;
            let network = |name: &str| lab.log(&id, name).lines().next().unwrap().to_owned();
            assert_eq!(network("app") == network("other"), mode == NetworkMode::Host, "{mode:?}");
            assert!(lab.log(&id, "other").contains("hello"));
            assert!(!no_pause_container(&lab));
            // A node that comes back finds what they share, and gives it back with the task.
            lab.drop_node().await;
            lab.start_node().await;
            stopped(&mut lab, &id).await;
            assert!(no_pause_container(&lab));
            assert_eq!(namespaces(&lab), before);
        }
        lab.end().await;
    });
}

#[test]
fn host_is_the_network_of_the_host() {
    in_own_network(|| async {
        let mut lab = Lab::new("host").await;
        lab.config.prepared_namespaces = 0;
        lab.start().await;
        let ports = vec![port(8000, Some(8000), Protocol::Tcp)];
        let wanted = task(&mut lab, NetworkMode::Host, &SERVER.replace("80", "8000"), ports);
        let (id, bindings) = running(&mut lab, wanted).await;
        assert_eq!((bindings[0].container_port, bindings[0].host_port, bindings.len()), (8000, 8000, 1));
        let said = answer(|| ask("127.0.0.1:8000".parse().unwrap()));
        assert!(said.starts_with("hello from "), "{said}");
        assert!(no_pause_container(&lab));
        let look = "readlink /proc/self/ns/net; wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/task; echo; \
                    wget -S -O - http://169.254.170.2/v2/metadata 2>&1; echo up; sleep 60";
        let mut wanted = task(&mut lab, NetworkMode::Host, look, Vec::new());
        wanted.containers[0].endpoint_id = "endpoint-of-the-second".to_owned();
        let (second, _) = running(&mut lab, wanted).await;
        let here = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let log = lab.log(&second, "app");
        assert!(log.starts_with(here.to_str().unwrap()), "{log}");
        assert_eq!(
            log.matches(r#""NetworkMode":"host""#).count(),
            1,
            "version 2 would not know which task asks: {log}"
        );
        assert!(log.contains("404 Not Found"), "{log}");
        stopped(&mut lab, &id).await;
        stopped(&mut lab, &second).await;
        assert!(!lab.config.run_dir.join("netns/.host").exists());
        lab.end().await;
    });
}

async fn is_told_of_itself(lab: &mut Lab, mode: NetworkMode) {
    let look = "wget -q -O - $ECS_CONTAINER_METADATA_URI_V4; echo; echo up; sleep 60";
    let mut wanted = task(lab, mode, look, Vec::new());
    wanted.containers[0].endpoint_id = "endpoint-of-another".to_owned();
    let (id, _) = running(lab, wanted).await;
    assert!(lab.log(&id, "app").contains(r#""DockerId":"#), "{}", lab.log(&id, "app"));
    stopped(lab, &id).await;
}

#[test]
fn a_container_of_the_host_has_port_80_and_the_metadata_endpoint_has_its_own() {
    in_own_network(|| async {
        // A process without any rights may have the port before the node.
        let _squatter = TcpListener::bind("0.0.0.0:51679").unwrap();
        let mut lab = Lab::new("eighty").await;
        lab.start().await;
        let wanted = task(&mut lab, NetworkMode::Host, SERVER, Vec::new());
        let (server, _) = running(&mut lab, wanted).await;
        let endpoint: SocketAddr = "169.254.170.2:80".parse().unwrap();
        let public = || answer(|| ask("127.0.0.1:80".parse().unwrap()));
        assert!(public().starts_with("hello from "));
        is_told_of_itself(&mut lab, NetworkMode::Host).await;
        is_told_of_itself(&mut lab, NetworkMode::Bridge).await;
        lab.drop_node().await;
        assert_eq!(ask(endpoint), None, "nobody answers in the place of a node that is gone");
        assert!(public().starts_with("hello from "));
        lab.start_node().await;
        is_told_of_itself(&mut lab, NetworkMode::Bridge).await;
        stopped(&mut lab, &server).await;
        lab.end().await;
    });
}

#[test]
fn a_port_of_the_host_leads_to_a_container_on_the_bridge() {
    in_own_network(|| async {
        let neighbour = Neighbour::new();
        let mut lab = Lab::new("bridge").await;
        lab.config.prepared_namespaces = 0;
        lab.start().await;
        assert!(!links().iter().any(|link| link.starts_with("berth")), "a bridge nobody asked for");
        let (forwarded_before, spaces_before) = (ip_forward(), namespaces(&lab));
        let ports = vec![
            port(80, Some(8080), Protocol::Tcp),
            port(80, None, Protocol::Tcp),
            // The metadata endpoint listens on this port, but at an address of its own.
            port(80, Some(80), Protocol::Tcp),
        ];
        let wanted = task(&mut lab, NetworkMode::Bridge, SERVER, ports);
        let (id, bindings) = running(&mut lab, wanted).await;
        let [fixed, dynamic, _] = &bindings[..] else { panic!("{bindings:?}") };
        assert_eq!((fixed.host_port, fixed.bind_ip), (8080, Ipv4Addr::UNSPECIFIED));
        assert!((32768..=60999).contains(&dynamic.host_port), "{dynamic:?}");
        for port in [8080, dynamic.host_port, 80] {
            for to in [HOST, Ipv4Addr::LOCALHOST] {
                let said = answer(|| ask((to, port).into()));
                assert!(said.starts_with("hello from "), "{to}:{port} from the host: {said}");
            }
            answer(|| neighbour.ask((HOST, port).into()));
        }
        let container = Ipv4Addr::new(172, 17, 0, 2);
        assert_eq!(neighbour.ask((container, 80).into()), None, "the container's address is reached from outside");
        assert_eq!(neighbour.ask((HOST, 81).into()), None, "a port that is not published");
        assert!(no_pause_container(&lab));
        stopped(&mut lab, &id).await;
        assert_eq!(neighbour.ask((HOST, 8080).into()), None);
        assert!(!links().iter().any(|link| link.starts_with("berth") || link.starts_with("vb")), "{:?}", links());
        assert_eq!((tables(), ip_forward()), (String::new(), forwarded_before));
        assert_eq!(namespaces(&lab), spaces_before);
        neighbour.end();
        lab.end().await;
    });
}

#[test]
fn a_container_on_the_bridge_reaches_the_world_its_links_and_itself() {
    in_own_network(|| async {
        let neighbour = Neighbour::new();
        let outside = neighbour.namespace.inside(|| TcpListener::bind((NEIGHBOUR, 7000)).unwrap()).unwrap();
        let mut lab = Lab::new("links").await;
        lab.start().await;
        let listen = "echo up; while :; do nc -l -p 3306 -e echo pong; done";
        let mut wanted = task(&mut lab, NetworkMode::Bridge, listen, vec![port(3306, Some(3306), Protocol::Tcp)]);
        let look = format!(
            "until nc data 3306 </dev/null | grep pong; do sleep 0.1; done; cat /etc/hosts; env; ip -4 addr show eth0; \
             ip route; until nc {HOST} 3306 </dev/null | grep pong; do sleep 0.1; done; \
             wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/task && echo; echo from >/tmp/x; \
             nc {NEIGHBOUR} 7000 </tmp/x; nc -w 2 127.0.0.1 3306 </dev/null || echo alone; echo up; sleep 60"
        );
        let mut side = container("side", &look);
        side.hostname = Some("side.example.com".to_owned());
        side.links = vec![ContainerLink { container: "app".to_owned(), alias: "data".to_owned() }];
        wanted.containers.push(side);
        let id = lab.run(wanted).await;
        let from = tokio::task::spawn_blocking(move || outside.accept().unwrap().1.ip()).await.unwrap();
        assert_eq!(from, HOST, "what leaves carries the host's address");
        lab.server.reached(&id, TaskStage::Running).await;
        let log = lab.written(&id, "side", "up").await;
        for wanted in [
            "172.17.0.2\tdata ",
            "172.17.0.3\tside.example.com side",
            "DATA_PORT_3306_TCP_ADDR=172.17.0.2",
            "DATA_PORT=tcp://172.17.0.2:3306",
            "/data\n",
            "DATA_ENV_ECS_CONTAINER_METADATA_URI_V4=",
            "inet 172.17.0.3/16",
            "default via 172.17.0.1 dev eth0",
            r#""NetworkMode":"bridge""#,
            r#""HostPort":3306"#,
            "alone",
        ] {
            assert!(log.contains(wanted), "{wanted:?} is not in:\n{log}");
        }
        let ports = guarded(&lab);
        assert!(ports.iter().all(|port| port.packets > 0 && port.drops.is_empty()), "{ports:?}");
        let addresses: Vec<_> = ports.iter().map(|port| port.address.to_string()).collect();
        assert_eq!(addresses, ["172.17.0.2", "172.17.0.3"]);
        stopped(&mut lab, &id).await;
        assert_eq!(guarded(&lab), []);
        neighbour.end();
        lab.end().await;
    });
}

#[test]
fn datagrams_and_ranges_are_published_too() {
    in_own_network(|| async {
        let mut lab = Lab::new("udp").await;
        lab.start().await;
        let listen = "echo up; while :; do nc -l -p 91 -e echo ranged; done";
        let range = PortIntent { last_container_port: Some(92), ..port(90, None, Protocol::Tcp) };
        let wanted = task(&mut lab, NetworkMode::Bridge, listen, vec![port(53, Some(5353), Protocol::Udp), range]);
        let (id, bindings) = running(&mut lab, wanted).await;
        let last = bindings[1].last_host_port();
        assert_eq!(last, bindings[1].host_port + 2);
        assert!(answer(|| ask((Ipv4Addr::LOCALHOST, last - 1).into())).starts_with("ranged"));
        let report = lab.server.reached(&id, TaskStage::Running).await;
        let suffix = &only(&report).runtime_id.as_deref().unwrap()[..12];
        let inside = lab.config.run_dir.join("netns").join(format!("{}-{suffix}", lab.config.instance));
        let server = Namespace::open(&inside).unwrap().inside(|| UdpSocket::bind("0.0.0.0:53").unwrap()).unwrap();
        let echo = std::thread::spawn(move || {
            let mut buffer = [0; 16];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&buffer[..length], from).unwrap();
        });
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send_to(b"ping", "127.0.0.1:5353").unwrap();
        let mut buffer = [0; 16];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.port()), (&b"ping"[..], 5353));
        echo.join().unwrap();
        stopped(&mut lab, &id).await;
        lab.end().await;
    });
}

#[test]
fn a_port_somebody_has_is_not_given_again() {
    in_own_network(|| async {
        let mut lab = Lab::new("taken").await;
        lab.start().await;
        let holder = TcpListener::bind("127.0.0.1:8080").unwrap();
        let wanted = task(&mut lab, NetworkMode::Bridge, SERVER, vec![port(80, Some(8080), Protocol::Tcp)]);
        let id = lab.run(wanted).await;
        let report = lab.server.reached(&id, TaskStage::Stopped).await;
        let words = "CannotStartContainerError: Bind for 0.0.0.0:8080 failed: port is already allocated";
        assert_eq!(report.stop, Some(StopCause::FailedToStart { reason: words.to_owned() }));
        assert_eq!(only(&report).reason.as_deref(), Some(words));
        lab.forget(&id).await;
        // A container the task can do without ends alone.
        let mut wanted = task(&mut lab, NetworkMode::Bridge, SERVER, vec![port(80, Some(8081), Protocol::Tcp)]);
        let ports = vec![port(80, Some(8080), Protocol::Tcp)];
        wanted.containers.push(ContainerIntent { ports, essential: false, ..container("side", SERVER) });
        let (id, _) = running(&mut lab, wanted).await;
        let side = &lab.server.tasks[&id].containers[1];
        assert_eq!((side.status, side.reason.as_deref()), (ContainerStatus::Stopped, Some(words)));
        answer(|| ask((Ipv4Addr::LOCALHOST, 8081).into()));
        stopped(&mut lab, &id).await;
        drop(holder);
        assert!(!links().iter().any(|link| link.starts_with("berth")), "{:?}", links());
        lab.end().await;
    });
}

#[test]
fn the_bridge_outlives_its_node_and_goes_with_the_instance() {
    in_own_network(|| async {
        let mut lab = Lab::new("stay").await;
        lab.start().await;
        let ports = || vec![port(80, None, Protocol::Tcp)];
        let first = task(&mut lab, NetworkMode::Bridge, SERVER, ports());
        let (first, bindings) = running(&mut lab, first).await;
        lab.drop_node().await;
        answer(|| ask((Ipv4Addr::LOCALHOST, bindings[0].host_port).into()));
        // As a version of the node without the program has left it.
        std::fs::remove_dir_all(berth_fabric::ports::directory(&lab.config.instance)).unwrap();
        // Somebody else clears the host's rules meanwhile.
        assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        lab.start_node().await;
        let report = lab.server.task(&first, |report| report.stage == TaskStage::Running).await;
        assert_eq!(report.containers[0].network_bindings, bindings, "the ports are kept");
        assert_eq!(guarded(&lab).len(), 1, "and the container speaks for itself only");
        answer(|| ask((Ipv4Addr::LOCALHOST, bindings[0].host_port).into()));
        let second = task(&mut lab, NetworkMode::Bridge, SERVER, ports());
        let (_, others) = running(&mut lab, second).await;
        assert_ne!(others[0].host_port, bindings[0].host_port);
        answer(|| ask((Ipv4Addr::LOCALHOST, others[0].host_port).into()));
        stopped(&mut lab, &first).await;
        answer(|| ask((Ipv4Addr::LOCALHOST, others[0].host_port).into()));
        assert_eq!(ask((Ipv4Addr::LOCALHOST, bindings[0].host_port).into()), None);
        // The second one is still there: taking the instance away takes all of it.
        lab.end().await;
        assert_eq!((tables(), ip_forward()), (String::new(), "0".to_owned()));
        assert!(!Path::new("/proc/sys/net/ipv4/conf/berth0").exists());
    });
}

/// A port that a container publishes, and one that the host listens on, are reached from the VPC at the host's primary
/// interface, and nothing else of the host's routes changes.
#[test]
fn the_host_is_reached_from_the_vpc_at_its_primary_interface_only() {
    in_own_network(|| async {
        let mut lab = Lab::new("primary").await;
        lab.start().await;
        let neighbour = Neighbour::new();
        let rules = || Netlink::open().unwrap().rules().unwrap();
        // The kernel adds link-local routes of IPv6 when it likes to.
        let routes = || {
            let all = Netlink::open().unwrap().routes().unwrap();
            all.into_iter().filter(|route| route.dst.addr().is_ipv4()).collect::<Vec<Route>>()
        };
        let before = routes();
        assert_eq!(rules(), []);
        let (primary, seat) = (EniId::from_bits(5), EniId::from_bits(6));
        let address = lab.plug(&primary, Plug::Host).address;
        lab.plug(&seat, Plug::Standalone(Standalone::seat("seat-6".to_owned())));
        let any = RulePeer::Cidr("0.0.0.0/0".parse().unwrap());
        let open = |direction| RuleIntent { direction, protocol: None, ports: PortRange::All, peer: any.clone() };
        let directions = [Direction::Ingress, Direction::Egress].into_iter().zip(1..);
        let rules_of_all = directions.map(|(direction, n)| (SecurityGroupRuleId::from_bits(n), open(direction)));
        let group = lab.server.intent.security_groups.values_mut().next().unwrap();
        group.rules = rules_of_all.collect();
        lab.server.send_intent().await;
        lab.server.eni(&primary, |state| *state == EniState::Attached).await;
        lab.server.eni(&seat, |state| *state == EniState::Attached).await;
        assert_eq!(routes(), before, "the main table is as it was");

        let seat = Namespace::open(&lab.config.run_dir.join("netns/seat-6")).unwrap();
        let from_vpc = |port| seat.inside(|| ask((address, port).into())).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8099)).unwrap();
        let peer = std::thread::spawn(move || {
            let (mut stream, peer) = listener.accept().unwrap();
            stream.write_all(peer.ip().to_string().as_bytes()).unwrap();
        });
        assert_eq!(from_vpc(8099).as_deref(), Some("10.0.0.16"), "the sender's address is not translated");
        peer.join().unwrap();

        let wanted = task(&mut lab, NetworkMode::Bridge, SERVER, vec![port(80, Some(8080), Protocol::Tcp)]);
        let (id, _) = running(&mut lab, wanted).await;
        assert!(answer(|| from_vpc(8080)).starts_with("hello from"));
        let from_wire = || neighbour.ask((HOST, 8080).into());
        assert!(answer(from_wire).starts_with("hello from"), "other addresses publish it as before");
        let at_container = (guarded_address(&lab), 80).into();
        assert_eq!(seat.inside(|| ask(at_container)).unwrap(), None, "the container itself is in no VPC");
        stopped(&mut lab, &id).await;

        lab.drop_node().await;
        lab.start_node().await;
        assert_eq!(rules().len(), 2, "a node that starts again keeps them");
        lab.server.intent.enis.remove(&primary);
        lab.server.intent.endpoints.remove(&primary);
        lab.server.send_intent().await;
        lab.server.eni(&primary, |state| *state == EniState::Gone).await;
        assert_eq!(rules(), []);
        assert_eq!(from_vpc(8099), None);
        drop(seat);
        neighbour.end();
        lab.end().await;
    });
}

/// Address of a container of mode bridge, as its port is guarded.
fn guarded_address(lab: &Lab) -> Ipv4Addr {
    let ports = guarded(lab);
    assert_eq!(ports.len(), 1);
    ports[0].address
}
