// SPDX-License-Identifier: Apache-2.0
//! Packets that leave a subnet: routes, network ACLs, the internet gateway, with real packets. Needs root. NAT gateways
//! are in kernel_datapath_nat.rs.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use berth_fabric::DropReason;
use berth_types::intent::RouteIntent;
use lab::Lab;
use lab::raw::Ip;
use lab::talk::{Connection, Outcome, PATIENCE, hears};
use lab::ways::{POOL, WORLD, gateway, peering};

const ROUTER_MAC: [u8; 6] = [0x0e, 0, 0, 0, 0, 1];
const PUBLIC: &str = "198.18.0.10";
const OTHER_PUBLIC: &str = "198.18.0.11";
const SILENCE: Duration = Duration::from_millis(400);

fn default_route(route: RouteIntent) -> [(&'static str, RouteIntent); 1] {
    [("0.0.0.0/0", route)]
}

fn internet() -> RouteIntent {
    RouteIntent::InternetGateway(gateway(1))
}

/// `web` with a public address in a subnet with a default route to the internet gateway, `db` without one beside it.
fn published() -> Lab {
    let mut lab = Lab::new();
    lab.world();
    lab.write_rules("web", &["all to 0.0.0.0/0", "tcp 80 from 0.0.0.0/0", "icmp 8 from 0.0.0.0/0"]);
    lab.subnet(1, "10.0.1.0/24", &default_route(internet()));
    lab.subnet(1, "10.0.2.0/24", &[]);
    lab.seat("web", 1, "10.0.1.10/24", &["web"]);
    lab.seat("db", 1, "10.0.1.20/24", &["web"]);
    lab.seat("far", 1, "10.0.2.20/24", &["web"]);
    lab.publish("web", PUBLIC);
    lab
}

/// A listener of the world.
fn listen(lab: &Lab, port: u16) -> TcpListener {
    lab.host().inside(|| TcpListener::bind((WORLD, port))).unwrap().unwrap()
}

fn world_udp(lab: &Lab, port: u16) -> UdpSocket {
    let socket = lab.host().inside(|| UdpSocket::bind((WORLD, port))).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A connection from a seat to the world, and the address that the world sees.
fn outbound(lab: &Lab, from: &str, port: u16) -> (Connection, SocketAddr) {
    let listener = listen(lab, port);
    let client = lab.at(from).dial((WORLD, port).into(), PATIENCE).unwrap();
    let (server, peer) = listener.accept().unwrap();
    (connection(client, server), peer)
}

/// A connection from the world to an address.
fn inbound(lab: &Lab, to: &str, seat: &str, port: u16) -> (Connection, SocketAddr) {
    let listener = lab.at(seat).listen(port);
    let to = SocketAddr::new(to.parse().unwrap(), port);
    let client = lab.host().inside(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap().unwrap();
    let (server, peer) = listener.accept().unwrap();
    (connection(client, server), peer)
}

fn connection(client: TcpStream, server: TcpStream) -> Connection {
    for end in [&client, &server] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_nodelay(true).unwrap();
    }
    Connection { client, server }
}

fn is_silent(lab: &Lab, from: &str, to: SocketAddr) -> bool {
    lab.at(from).dial(to, SILENCE).is_err_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

#[test]
fn an_interface_with_a_public_address_is_that_address_to_the_world() {
    let lab = published();
    let (mut out, peer) = outbound(&lab, "web", 8080);
    assert_eq!(peer.ip(), PUBLIC.parse::<Ipv4Addr>().unwrap());
    out.talk();
    let (mut into, peer) = inbound(&lab, PUBLIC, "web", 80);
    assert_eq!(peer.ip(), POOL.parse::<berth_types::Ipv4Cidr>().unwrap().nth(1).unwrap());
    into.talk();
    out.talk();
    out.close();
}

#[test]
fn what_has_no_way_out_is_dropped_with_the_reason() {
    let mut lab = published();
    let _listener = listen(&lab, 8080);
    let world = (WORLD, 8080).into();
    for (from, reason) in [("db", DropReason::NoPublicAddress), ("far", DropReason::NoRoute)] {
        let drops = lab.drops_during(from, |lab| assert!(is_silent(lab, from, world)));
        assert_eq!(drops, [reason], "{from}");
    }
    // The egress rules come before the route.
    lab.set_groups("far", &["closed"]);
    let drops = lab.drops_during("far", |lab| assert!(is_silent(lab, "far", world)));
    assert_eq!(drops, [DropReason::SecurityGroupEgress]);
    let unused = lab.fabric().stray().unwrap().dropped(DropReason::PublicAddressUnused);
    world_udp(&lab, 4000).send_to(b"?", ("198.18.0.77", 53)).unwrap();
    assert!(lab.stray_grows(DropReason::PublicAddressUnused, unused));
}

#[test]
fn the_receivers_groups_judge_packets_of_the_world() {
    let mut lab = published();
    let _listener = lab.at("web").listen(81);
    let to: SocketAddr = (PUBLIC.parse::<Ipv4Addr>().unwrap(), 81).into();
    let drops = lab.drops_during("web", |lab| {
        let dialed = lab.host().inside(|| TcpStream::connect_timeout(&to, SILENCE)).unwrap();
        assert!(dialed.is_err());
    });
    assert_eq!(drops, [DropReason::SecurityGroupIngress]);
}

#[test]
fn removing_the_default_route_stops_a_connection_and_creating_it_again_brings_it_back() {
    let mut lab = published();
    let (mut live, _) = outbound(&lab, "web", 8080);
    live.talk();
    lab.subnet(1, "10.0.1.0/24", &[]);
    let drops = lab.drops_during("web", |lab| assert!(is_silent(lab, "web", (WORLD, 8080).into())));
    assert_eq!(drops, [DropReason::NoRoute]);
    lab.subnet(1, "10.0.1.0/24", &default_route(RouteIntent::Blackhole));
    let drops = lab.drops_during("web", |lab| assert!(is_silent(lab, "web", (WORLD, 8080).into())));
    assert_eq!(drops, [DropReason::Blackhole]);
    lab.subnet(1, "10.0.1.0/24", &default_route(internet()));
    live.talk();
}

#[test]
fn datagrams_errors_and_fragments_are_translated() {
    let lab = published();
    let (inner, outer) = (lab.at("web").udp(4000), world_udp(&lab, 53));
    let big = vec![7; 4000];
    for text in [&b"question"[..], &big] {
        inner.send_to(text, (WORLD, 53)).unwrap();
        assert!(hears(&outer, text));
        outer.send_to(text, (PUBLIC, 4000)).unwrap();
        assert!(hears(&inner, text));
    }
    // Nobody listens: the world's error names the private address inside.
    inner.connect((WORLD, 54)).unwrap();
    inner.send(b"?").unwrap();
    assert_eq!(inner.recv(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_public_address_of_the_same_vpc_is_reached_from_the_senders_public_address() {
    let mut lab = published();
    lab.publish("db", OTHER_PUBLIC);
    let listener = lab.at("db").listen(80);
    let to: SocketAddr = (OTHER_PUBLIC.parse::<Ipv4Addr>().unwrap(), 80).into();
    let client = lab.at("web").dial(to, PATIENCE).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip(), PUBLIC.parse::<Ipv4Addr>().unwrap());
    connection(client, server).talk();
    // Its address in the world is no way around the receiver's groups.
    let drops = lab.drops_during("db", |lab| assert!(is_silent(lab, "web", SocketAddr::new(to.ip(), 22))));
    assert_eq!(drops, [DropReason::SecurityGroupIngress]);
}

#[test]
fn an_acl_judges_at_the_border_of_its_subnet_only_and_at_once() {
    let mut lab = published();
    let mut near = lab.connection("db", "web", 80);
    let mut far = lab.connection("far", "web", 80);
    let (mut out, _) = outbound(&lab, "web", 8080);
    for connection in [&mut near, &mut far, &mut out] {
        connection.talk();
    }
    let none = lab.connects("far", "web", 80);
    assert_eq!(none, Outcome::Refused);
    lab.acl(1, "10.0.1.0/24", &["allow all to 0.0.0.0/0"]);
    near.talk();
    assert!(far.is_cut());
    let drops = lab.drops_during("web", |lab| assert!(lab.is_silent("far", "web", 80)));
    assert_eq!(drops, [DropReason::NetworkAclIn]);
    lab.acl(1, "10.0.1.0/24", &["allow all from 0.0.0.0/0"]);
    near.talk();
    let drops = lab.drops_during("web", |lab| assert!(is_silent(lab, "web", (WORLD, 8080).into())));
    assert_eq!(drops, [DropReason::NetworkAclOut]);
    lab.acl(1, "10.0.1.0/24", &Lab::open_acl(&[]));
    out.talk();
    near.talk();
}

#[test]
fn the_first_entry_that_matches_decides_and_replies_need_entries_too() {
    let mut lab = published();
    let allowed = ["allow tcp 80 from 10.0.0.0/16", "allow tcp 1024-65535 to 10.0.2.0/24"];
    lab.acl(1, "10.0.1.0/24", &allowed);
    assert_eq!(lab.connects("far", "web", 80), Outcome::Refused);
    assert!(lab.is_silent("web", "far", 80));
    let denied: Vec<&str> = ["deny tcp 80 from 10.0.2.20/32"].iter().chain(&allowed).copied().collect();
    lab.acl(1, "10.0.1.0/24", &denied);
    assert!(lab.is_silent("far", "web", 80));
    let order: Vec<&str> = allowed.iter().chain(&["deny all from 0.0.0.0/0"]).copied().collect();
    lab.acl(1, "10.0.1.0/24", &order);
    assert_eq!(lab.connects("far", "web", 80), Outcome::Refused);
    // Without an entry for the replies the connection has no answer.
    lab.acl(1, "10.0.1.0/24", &["allow tcp 80 from 10.0.0.0/16"]);
    let drops = lab.drops_during("web", |lab| assert!(lab.is_silent("far", "web", 80)));
    assert_eq!(drops, [DropReason::NetworkAclOut]);
}

#[test]
fn peers_meet_by_routes_on_both_sides_and_a_third_vpc_with_the_same_addresses_does_not() {
    let mut lab = Lab::new();
    lab.vpc(2, "10.1.0.0/16");
    lab.vpc(3, "10.1.0.0/16");
    lab.write_rules("open", &["all from 0.0.0.0/0", "all to 0.0.0.0/0"]);
    for (name, vni, address) in [("a", 1, "10.0.1.10/24"), ("b", 2, "10.1.1.10/24"), ("c", 3, "10.1.1.10/24")] {
        lab.seat(name, vni, address, &["open"]);
    }
    let back = |vni| RouteIntent::Peering { id: berth_types::PeeringId::from_bits(1), vni: berth_types::Vni(vni) };
    lab.subnet(1, "10.0.1.0/24", &[("10.1.0.0/16", peering())]);
    lab.subnet(2, "10.1.1.0/24", &[("10.0.0.0/16", back(1))]);
    lab.subnet(3, "10.1.1.0/24", &[("10.0.0.0/16", back(1))]);
    let mut live = lab.connection("a", "b", 80);
    live.talk();
    // The same addresses and ports from another VPC: not the same connection.
    let (a, b, c) = (lab.at("a"), lab.at("b"), lab.at("c"));
    let from = live.client.local_addr().unwrap().port();
    let frame = Ip::tcp(c.address, a.address, (80, from), lab::raw::ACK | 4).frame(c.mac.0, ROUTER_MAC);
    c.wire().send(&frame);
    let (asked, answered) = (a.udp(53), b.udp(4000));
    answered.send_to(b"after", (a.address, 53)).unwrap();
    assert!(hears(&asked, b"after"));
    asked.send_to(b"reply", (b.address, 4000)).unwrap();
    assert!(hears(&answered, b"reply"));
    live.talk();
    lab.subnet(2, "10.1.1.0/24", &[]);
    let drops = lab.drops_during("b", |lab| assert!(lab.is_silent("a", "b", 80)));
    assert_eq!(drops, [DropReason::NoRoute]);
    lab.restart();
    lab.subnet(2, "10.1.1.0/24", &[("10.0.0.0/16", back(1))]);
    live.talk();
    assert_eq!(lab.connects("b", "a", 80), Outcome::Refused);
}

#[test]
fn a_rule_admits_a_group_of_a_peer() {
    let mut lab = Lab::new();
    lab.vpc(2, "10.1.0.0/16");
    lab.write_rules("anywhere", &["all to 0.0.0.0/0"]);
    lab.write_rules("stranger", &["all to 0.0.0.0/0"]);
    lab.write_rules("guarded", &["tcp 80 from sg:anywhere"]);
    lab.seat("a", 1, "10.0.1.10/24", &["anywhere"]);
    lab.seat("c", 1, "10.0.1.11/24", &["stranger"]);
    lab.seat("b", 2, "10.1.1.10/24", &["guarded"]);
    let back = RouteIntent::Peering { id: berth_types::PeeringId::from_bits(1), vni: berth_types::Vni(1) };
    lab.subnet(1, "10.0.1.0/24", &[("10.1.0.0/16", peering())]);
    lab.subnet(2, "10.1.1.0/24", &[("10.0.0.0/16", back)]);
    lab.connection("a", "b", 80).talk();
    let drops = lab.drops_during("b", |lab| assert!(lab.is_silent("c", "b", 80)));
    assert_eq!(drops, [DropReason::SecurityGroupIngress]);
}

#[test]
fn a_route_to_an_interface_needs_its_source_and_destination_check_to_be_off() {
    let mut lab = published();
    lab.write_rules("any", &["all from 0.0.0.0/0", "all to 0.0.0.0/0"]);
    lab.seat("hop", 1, "10.0.1.30/24", &["any"]);
    let hop = lab.at("hop").id.clone();
    lab.subnet(1, "10.0.2.0/24", &default_route(RouteIntent::Eni(hop.clone())));
    let drops = lab.drops_during("far", |lab| assert!(is_silent(lab, "far", (WORLD, 8080).into())));
    assert_eq!(drops, [DropReason::NotForwarding]);
    lab.intent.enis.get_mut(&hop).unwrap().source_dest_check = false;
    lab.program();
    let (far, hop) = (lab.at("far"), lab.at("hop"));
    let wire = hop.wire();
    let question = Ip::udp(far.address, WORLD, (4000, 53), b"forward me");
    far.wire().send(&question.frame(far.mac.0, ROUTER_MAC));
    let came = wire.await_frame(PATIENCE, |frame| frame.ends_with(b"forward me")).unwrap();
    assert_eq!(came[14..], question.bytes());
}

#[test]
fn the_same_ways_twice_write_nothing_also_after_a_restart() {
    let mut lab = published();
    lab.acl(1, "10.0.1.0/24", &Lab::open_acl(&["deny tcp 22 from 0.0.0.0/0"]));
    lab.acl(1, "10.0.2.0/24", &[]);
    let (mut live, _) = outbound(&lab, "web", 8080);
    assert_eq!(lab.program().writes, 0);
    lab.restart();
    assert_eq!(lab.program().writes, 0);
    live.talk();
    lab.acl(1, "10.0.1.0/24", &Lab::open_acl(&[]));
    live.talk();
    assert_eq!(lab.program().writes, 0);
}

#[test]
fn the_world_cannot_pretend_to_be_in_the_vpc_and_link_local_addresses_stay_inside() {
    let mut lab = published();
    lab.allow("web", &["udp 53 from 10.0.0.0/16"]);
    let mut netlink = lab.host().netlink().unwrap();
    let lo = netlink.link_by_name("lo").unwrap().unwrap().index;
    for address in [Ipv4Addr::new(10, 0, 1, 77), Ipv4Addr::new(169, 254, 169, 254)] {
        netlink.add_address(lo, ipnet::IpNet::from(std::net::IpAddr::V4(address))).unwrap();
    }
    let before = lab.fabric().stray().unwrap().dropped(DropReason::SpoofedAddress);
    let pretender = lab.host().inside(|| UdpSocket::bind("10.0.1.77:4000")).unwrap().unwrap();
    pretender.send_to(b"?", (PUBLIC, 53)).unwrap();
    assert!(lab.stray_grows(DropReason::SpoofedAddress, before));
    let to = (Ipv4Addr::new(169, 254, 169, 254), 80).into();
    let drops = lab.drops_during("web", |lab| assert!(is_silent(lab, "web", to)));
    assert_eq!(drops, [DropReason::NoRoute]);
}
