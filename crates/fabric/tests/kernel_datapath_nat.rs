// SPDX-License-Identifier: Apache-2.0
//! NAT gateways, with real packets. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use berth_fabric::kernel::sysctl;
use berth_fabric::{DropReason, Durations};
use berth_types::intent::RouteIntent;
use lab::Lab;
use lab::raw::{ACK, Ip};
use lab::talk::{Connection, PATIENCE, hears, hears_nothing};
use lab::ways::{WORLD, gateway};

const ROUTER_MAC: [u8; 6] = [0x0e, 0, 0, 0, 0, 1];
const PUBLIC: &str = "198.18.0.20";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 200);
const SILENCE: Duration = Duration::from_millis(400);

/// A NAT gateway in 10.0.1.0/24, which leads to the internet; `app` and `job` in 10.0.2.0/24, which leads to the gateway.
fn behind_nat() -> Lab {
    let mut lab = Lab::new();
    lab.world();
    lab.write_rules("app", &["all to 0.0.0.0/0"]);
    lab.subnet(1, "10.0.1.0/24", &[("0.0.0.0/0", RouteIntent::InternetGateway(gateway(1)))]);
    let nat = lab.nat("nat", 1, &["10.0.1.200"], Some(PUBLIC));
    lab.subnet(1, "10.0.2.0/24", &[("0.0.0.0/0", nat)]);
    lab.seat("app", 1, "10.0.2.10/24", &["app"]);
    lab.seat("job", 1, "10.0.2.11/24", &["app"]);
    lab
}

fn world_udp(lab: &Lab, port: u16) -> UdpSocket {
    let socket = lab.host().inside(|| UdpSocket::bind((WORLD, port))).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn listen(lab: &Lab, port: u16) -> TcpListener {
    lab.host().inside(|| TcpListener::bind((WORLD, port))).unwrap().unwrap()
}

fn ready(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn outbound(lab: &Lab, from: &str, port: u16) -> (Connection, SocketAddr) {
    let listener = listen(lab, port);
    let client = lab.at(from).dial((WORLD, port).into(), PATIENCE).unwrap();
    let (server, peer) = listener.accept().unwrap();
    (Connection { client: ready(client), server: ready(server) }, peer)
}

fn public() -> Ipv4Addr {
    PUBLIC.parse().unwrap()
}

#[test]
fn the_world_sees_the_gateway_and_the_senders_port_where_it_is_free() {
    let lab = behind_nat();
    let (mut live, peer) = outbound(&lab, "app", 8080);
    let local = live.client.local_addr().unwrap();
    assert_eq!(peer, SocketAddr::from((public(), local.port())));
    live.talk();
    // Two senders with the same port to the same destination.
    let (one, two, world) = (lab.at("app").udp(40_000), lab.at("job").udp(40_000), world_udp(&lab, 53));
    let mut peers = Vec::new();
    for socket in [&one, &two] {
        socket.send_to(b"question", (WORLD, 53)).unwrap();
        let (bytes, peer) = world.recv_from(&mut [0; 64]).unwrap();
        assert_eq!((bytes, peer.ip()), (8, public().into()));
        peers.push(peer);
    }
    assert_eq!(peers[0].port(), 40_000);
    assert_ne!(peers[1].port(), 40_000);
    for (socket, peer, text) in [(&one, peers[0], b"one"), (&two, peers[1], b"two")] {
        world.send_to(text, peer).unwrap();
        assert!(hears(socket, text));
    }
    live.talk();
    live.close();
}

#[test]
fn nothing_comes_in_unasked_and_nobody_elses_answer_is_taken() {
    let mut lab = behind_nat();
    let (app, world, other) = (lab.at("app").udp(40_000), world_udp(&lab, 53), world_udp(&lab, 54));
    app.send_to(b"question", (WORLD, 53)).unwrap();
    assert!(hears(&world, b"question"));
    let before = lab.fabric().stray().unwrap().dropped(DropReason::NoTranslation);
    other.send_to(b"unasked", (PUBLIC, 40_000)).unwrap();
    assert!(lab.stray_grows(DropReason::NoTranslation, before));
    assert!(hears_nothing(&app));
    world.send_to(b"answer", (PUBLIC, 40_000)).unwrap();
    assert!(hears(&app, b"answer"));
}

#[test]
fn datagrams_in_fragments_and_errors_are_translated_and_fragments_of_others_are_not() {
    let mut lab = behind_nat();
    let (app, world) = (lab.at("app").udp(40_000), world_udp(&lab, 53));
    let big = vec![7; 4000];
    app.send_to(&big, (WORLD, 53)).unwrap();
    assert!(hears(&world, &big));
    world.send_to(&big, (PUBLIC, 40_000)).unwrap();
    assert!(hears(&app, &big));
    app.connect((WORLD, 54)).unwrap();
    app.send(b"?").unwrap();
    assert_eq!(app.recv(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    // An echo has its identifier translated, and comes back with the sender's own.
    let seat = lab.at("app");
    let wire = seat.wire();
    let echo = Ip::icmp(seat.address, WORLD, 8, 0, &[0x12, 0x34, 0, 1, b'x']);
    wire.send(&echo.frame(seat.mac.0, ROUTER_MAC));
    let reply = wire.await_frame(PATIENCE, |frame| frame[23] == 1 && frame[34] == 0).unwrap();
    assert_eq!(reply[38..43], [0x12, 0x34, 0, 1, b'x']);
    let split = Ip { fragment: 0x2000, ..echo };
    let mac = seat.mac.0;
    let drops = lab.drops_during("app", |lab| lab.at("app").wire().send(&split.frame(mac, ROUTER_MAC)));
    assert_eq!(drops, [DropReason::NatProtocol]);
}

#[test]
fn a_connection_that_was_idle_too_long_is_reset_by_its_next_packet() {
    let mut lab = behind_nat();
    let (mut live, _) = outbound(&lab, "app", 8080);
    live.talk();
    lab.fabric().set_durations(&Durations { nat_idle: Duration::ZERO, ..Durations::default() }).unwrap();
    live.client.write_all(b"late").unwrap();
    assert_eq!(live.client.read(&mut [0; 4]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn acls_of_both_subnets_and_the_routes_of_the_gateways_judge() {
    let mut lab = behind_nat();
    let (mut live, _) = outbound(&lab, "app", 8080);
    let world = SocketAddr::from((WORLD, 8081));
    let _listener = listen(&lab, 8081);
    let cases: [(&str, &[&str], DropReason); 4] = [
        ("10.0.2.0/24", &["allow all from 0.0.0.0/0"], DropReason::NetworkAclOut),
        ("10.0.2.0/24", &["allow all to 0.0.0.0/0"], DropReason::NetworkAclIn),
        ("10.0.1.0/24", &["allow all to 0.0.0.0/0"], DropReason::NetworkAclIn),
        ("10.0.1.0/24", &["allow all from 0.0.0.0/0"], DropReason::NetworkAclOut),
    ];
    for (subnet, entries, reason) in cases {
        lab.acl(1, subnet, entries);
        let drops = lab.drops_during("app", |lab| assert!(lab.at("app").dial(world, SILENCE).is_err()));
        assert_eq!(drops, [reason], "{subnet} {entries:?}");
        lab.acl(1, subnet, &Lab::open_acl(&[]));
        live.talk();
    }
    lab.subnet(1, "10.0.1.0/24", &[]);
    let drops = lab.drops_during("app", |lab| assert!(lab.at("app").dial(world, SILENCE).is_err()));
    assert_eq!(drops, [DropReason::NoRoute]);
    lab.subnet(1, "10.0.1.0/24", &[("0.0.0.0/0", RouteIntent::InternetGateway(gateway(1)))]);
    live.talk();
    lab.restart();
    live.talk();
}

#[test]
fn a_private_gateway_translates_towards_the_vpc() {
    let mut lab = behind_nat();
    let nat = lab.nat("private", 1, &["10.0.1.201"], None);
    lab.write_rules("db", &["tcp 5432 from 10.0.1.201/32"]);
    lab.subnet(1, "10.0.3.0/24", &[]);
    lab.seat("db", 1, "10.0.3.10/24", &["db"]);
    lab.subnet(1, "10.0.2.0/24", &[("10.0.3.0/24", nat)]);
    let listener = lab.at("db").listen(5432);
    let client = lab.at("app").dial((lab.at("db").address, 5432).into(), PATIENCE).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), Ipv4Addr::new(10, 0, 1, 201));
    let mut live = Connection { client: ready(client), server: ready(server) };
    live.talk();
    let to = SocketAddr::from((lab.at("db").address, 22));
    let drops = lab.drops_during("db", |lab| assert!(lab.at("app").dial(to, SILENCE).is_err()));
    assert_eq!(drops, [DropReason::SecurityGroupIngress]);
    live.talk();
}

#[test]
fn ports_are_reused_at_once_by_their_sender_and_not_by_another() {
    let lab = behind_nat();
    for seat in ["app", "job"] {
        sysctl::write(&lab.at(seat).namespace, "net.ipv4.ip_local_port_range", "40000 40000").unwrap();
    }
    let listener = listen(&lab, 8080);
    let mut ports = Vec::new();
    for from in ["app", "app", "app", "job"] {
        let mut client = ready(lab.at(from).dial_when_a_port_is_free((WORLD, 8080).into()));
        let (mut server, peer) = listener.accept().unwrap();
        server.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        drop(server);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        ports.push(peer.port());
    }
    assert_eq!(ports[..3], [40_000; 3]);
    assert_ne!(ports[3], 40_000);
}

#[test]
fn a_segment_of_an_unknown_connection_is_answered_with_a_reset() {
    let lab = behind_nat();
    let seat = lab.at("app");
    let wire = seat.wire();
    wire.send(&Ip::tcp(seat.address, WORLD, (40_000, 80), ACK).frame(seat.mac.0, ROUTER_MAC));
    let reset = wire.await_frame(PATIENCE, |frame| frame[23] == 6 && frame[47] & 4 != 0).unwrap();
    let wanted = Ip::tcp(WORLD, seat.address, (80, 40_000), 4);
    assert_eq!((&reset[26..38], reset.len()), (&wanted.bytes()[12..24], 54));
    let until = Instant::now() + SILENCE;
    assert!(wire.await_frame(until - Instant::now(), |frame| frame[26..30] == GATEWAY.octets()).is_none());
}

/// Connections one after the other, each closed by the server first, to servers that answer in a thread of their own.
fn cycle(lab: &Lab, from: &str, first_port: u16, each: usize) -> usize {
    let listeners: Vec<TcpListener> = (first_port..first_port + 3).map(|port| listen(lab, port)).collect();
    let servers: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            std::thread::spawn(move || {
                for _ in 0..each {
                    let (mut server, _) = listener.accept().unwrap();
                    server.write_all(b"!").unwrap();
                }
            })
        })
        .collect();
    let opened = lab.at(from).namespace.inside(|| {
        let mut opened = 0;
        for n in 0..3 * each {
            let to = SocketAddr::from((WORLD, first_port + (n % 3) as u16));
            let mut client = ready(TcpStream::connect_timeout(&to, PATIENCE).unwrap());
            client.read_exact(&mut [0; 1]).unwrap();
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
            opened += 1;
        }
        opened
    });
    servers.into_iter().for_each(|server| server.join().unwrap());
    opened.unwrap()
}

#[test]
fn more_connections_than_there_are_ports_pass_one_gateway_and_none_fails() {
    let mut lab = behind_nat();
    lab.seat("web", 1, "10.0.1.10/24", &["app"]);
    lab.publish("web", "198.18.0.30");
    for seat in ["app", "web"] {
        sysctl::write(&lab.at(seat).namespace, "net.ipv4.ip_local_port_range", "20000 60999").unwrap();
    }
    for (from, port) in [("app", 8000), ("web", 8100)] {
        assert_eq!(cycle(&lab, from, port, 24_000), 72_000);
        for reason in [DropReason::NoTranslationPort, DropReason::FlowQuota, DropReason::NoTranslation] {
            assert_eq!(lab.dropped(from, reason), 0, "{from}: {reason:?}");
        }
    }
}
