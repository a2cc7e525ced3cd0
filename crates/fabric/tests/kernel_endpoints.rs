// SPDX-License-Identifier: Apache-2.0
//! The way to the regional endpoints: through gateways and from the host, with real packets. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use berth_fabric::kernel::Namespace;
use berth_fabric::outside::{self, OutsideConfig};
use berth_fabric::senders::Senders;
use berth_fabric::{DropReason, edge_namespace};
use berth_types::EniId;
use berth_types::intent::{RouteIntent, WorldIntent};
use lab::Lab;
use lab::talk::PATIENCE;
use lab::ways::gateway;

const PUBLIC: &str = "198.18.0.10";
const NAT_PUBLIC: &str = "198.18.0.20";
const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const ENDPOINT: Ipv4Addr = Ipv4Addr::new(198, 18, 15, 193);
const OTHER_ENDPOINT: Ipv4Addr = Ipv4Addr::new(198, 18, 15, 250);
const SILENCE: Duration = Duration::from_millis(400);

/// `web` has a public address, `app` is behind a NAT gateway, `lone` has neither.
fn world() -> (Lab, Namespace) {
    let mut lab = Lab::new();
    lab.world();
    lab.write_rules("web", &["all to 0.0.0.0/0"]);
    lab.subnet(1, "10.0.1.0/24", &[("0.0.0.0/0", RouteIntent::InternetGateway(gateway(1)))]);
    let nat = lab.nat("nat", 1, &["10.0.1.200"], Some(NAT_PUBLIC));
    lab.subnet(1, "10.0.2.0/24", &[("0.0.0.0/0", nat)]);
    lab.seat("web", 1, "10.0.1.10/24", &["web"]);
    lab.seat("lone", 1, "10.0.1.20/24", &["web"]);
    lab.seat("app", 1, "10.0.2.10/24", &["web"]);
    lab.publish("web", PUBLIC);
    let edge = lab.endpoints();
    (lab, edge)
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address}"),
    }
}

fn say(from: &mut TcpStream, to: &mut TcpStream) {
    let (sent, mut heard) = ([7; 20_000], [0; 20_000]);
    std::thread::scope(|scope| {
        scope.spawn(|| from.write_all(&sent).unwrap());
        to.read_exact(&mut heard).unwrap();
    });
    assert_eq!(sent, heard);
}

/// One exchange over a connection; answers both ends as the endpoint sees them.
fn exchange(listener: &TcpListener, mut client: TcpStream) -> (SocketAddrV4, SocketAddrV4) {
    let (mut server, peer) = listener.accept().unwrap();
    for end in [&client, &server] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    say(&mut client, &mut server);
    say(&mut server, &mut client);
    (v4(peer), v4(server.local_addr().unwrap()))
}

#[test]
fn every_endpoint_address_is_reached_and_the_sender_is_known() {
    let (lab, edge) = world();
    let listener = edge.inside(|| TcpListener::bind("0.0.0.0:80")).unwrap().unwrap();
    let senders = Senders::open(&lab.config().instance, &lab.config().run_dir).unwrap();
    let id = |name: &str| Some(lab.at(name).id.clone());
    let seat = |name: &str, to: Ipv4Addr| {
        let client = lab.at(name).dial((to, 80).into(), PATIENCE).unwrap();
        exchange(&listener, client)
    };
    for to in [ENDPOINT, OTHER_ENDPOINT] {
        for (name, public) in [("web", PUBLIC), ("app", NAT_PUBLIC)] {
            let (peer, local) = seat(name, to);
            assert_eq!((IpAddr::V4(*peer.ip()), *local.ip()), (public.parse().unwrap(), to), "{name}");
            assert_eq!(senders.sender(peer, local).unwrap(), id(name), "{name}");
        }
        let client = lab.host().inside(|| TcpStream::connect_timeout(&(to, 80).into(), PATIENCE)).unwrap().unwrap();
        let (peer, local) = exchange(&listener, client);
        assert_eq!((*peer.ip(), *local.ip()), (HOST, to));
        assert_eq!(senders.sender(peer, local).unwrap(), None::<EniId>);
    }
    assert!(lab.at("lone").dial((ENDPOINT, 80).into(), SILENCE).is_err(), "an endpoint is outside the VPC");
}

#[test]
fn connections_go_on_with_another_process_and_the_way_ends_with_the_intent() {
    let (mut lab, edge) = world();
    let listener = edge.inside(|| TcpListener::bind("0.0.0.0:80")).unwrap().unwrap();
    let mut client = lab.at("web").dial((ENDPOINT, 80).into(), PATIENCE).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    lab.restart();
    lab.program();
    client.write_all(b"x").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.read_exact(&mut [0]).unwrap();
    assert_eq!(edge.id().unwrap(), Namespace::open(&edge_namespace(&lab.config().run_dir)).unwrap().id().unwrap());

    for world in lab.intent.worlds.values_mut() {
        world.endpoints = None;
    }
    lab.program();
    assert!(lab.at("web").dial((ENDPOINT, 80).into(), SILENCE).is_err());
    assert!(!edge_namespace(&lab.config().run_dir).exists());
    assert!(lab.fabric().namespace().netlink().unwrap().link_by_name("edge").unwrap().is_none());
}

/// A socket with a source address that the namespace does not have.
fn bind_freely(address: Ipv4Addr) -> UdpSocket {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt::IpTransparent,
    };
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None).unwrap();
    setsockopt(&fd, IpTransparent, &true).unwrap();
    bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(address, 0))).unwrap();
    UdpSocket::from(fd)
}

#[test]
fn no_other_sends_as_an_endpoint_and_an_endpoint_as_no_other() {
    let (mut lab, edge) = world();
    let before = lab.fabric().stray().unwrap().dropped(DropReason::SpoofedAddress);
    // The host, with the address of an endpoint, to a public address of the installation.
    let send = |from: Ipv4Addr, to: &str| bind_freely(from).send_to(b"x", (to, 9)).unwrap();
    lab.host().inside(|| send(ENDPOINT, PUBLIC)).unwrap();
    assert!(lab.stray_grows(DropReason::SpoofedAddress, before));
    let before = lab.fabric().stray().unwrap().dropped(DropReason::SpoofedAddress);
    edge.inside(|| send("203.0.113.9".parse().unwrap(), PUBLIC)).unwrap();
    assert!(lab.stray_grows(DropReason::SpoofedAddress, before));
}

#[test]
fn the_machine_of_a_simulated_host_reaches_endpoints_and_public_addresses() {
    let (lab, edge) = world();
    let folder = tempfile::tempdir().unwrap();
    let machine = Namespace::create(&folder.path().join("machine")).unwrap();
    let config = OutsideConfig {
        instance: lab.config().instance.clone(),
        pool: "198.18.0.0/20".parse().unwrap(),
        host_address: HOST,
    };
    lab.host().inside(|| outside::open(&machine, &config)).unwrap().unwrap();
    outside::lead(&machine, &config, &[PUBLIC, NAT_PUBLIC].map(|text| text.parse().unwrap()).into()).unwrap();
    let own = WorldIntent::outside_address(config.pool);
    let dial = |to: Ipv4Addr| machine.inside(|| TcpStream::connect_timeout(&(to, 80).into(), PATIENCE)).unwrap();

    let listener = edge.inside(|| TcpListener::bind("0.0.0.0:80")).unwrap().unwrap();
    let (peer, local) = exchange(&listener, dial(ENDPOINT).unwrap());
    assert_eq!((*peer.ip(), *local.ip()), (own, ENDPOINT));
    // A task still reaches them, and by the machine's address the machine.
    let client = lab.at("web").dial((ENDPOINT, 80).into(), PATIENCE).unwrap();
    assert_eq!(IpAddr::V4(*exchange(&listener, client).0.ip()), PUBLIC.parse::<IpAddr>().unwrap());
    let here = machine.inside(|| TcpListener::bind((own, 80))).unwrap().unwrap();
    for (name, public) in [("web", PUBLIC), ("app", NAT_PUBLIC)] {
        let client = lab.at(name).dial((own, 80).into(), PATIENCE).unwrap();
        assert_eq!(IpAddr::V4(*exchange(&here, client).0.ip()), public.parse::<IpAddr>().unwrap(), "{name}");
    }

    lab.host().inside(|| outside::close(&machine, &config.instance)).unwrap().unwrap();
    assert!(dial(ENDPOINT).is_err());
    Namespace::delete(&folder.path().join("machine")).unwrap();
}
