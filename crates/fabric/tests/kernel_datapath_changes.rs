// SPDX-License-Identifier: Apache-2.0
//! Changes of several things at once under traffic: no packet is judged by half of a change. Needs root.
//!
//! Two states, in both of which every packet is dropped; but the old half of one and the new half of the other would let
//! packets pass. Packets are sent all the time while the states alternate.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use berth_fabric::DropReason;
use berth_types::intent::{HostIntent, RouteIntent};
use lab::Lab;
use lab::raw::Ip;
use lab::talk::hears;
use lab::ways::{WORLD, gateway};

const ROUTER_MAC: [u8; 6] = [0x0e, 0, 0, 0, 0, 1];
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 20);
const PORTS: [u16; 2] = [1001, 1002];
const DNS: u16 = 53;
/// Number of changes, and of packets that are sent at least during each.
const CHANGES: u64 = 300;
const PACKETS: u64 = 12;

/// `app` sends to `db` in another subnet, and to the world.
fn scene() -> Lab {
    let mut lab = Lab::new();
    lab.world();
    lab.subnet(1, "10.0.1.0/24", &[]);
    lab.subnet(1, "10.0.2.0/24", &[]);
    lab.seat("app", 1, "10.0.1.10/24", &["app"]);
    lab.seat("db", 1, "10.0.2.20/24", &["db"]);
    lab.publish("app", "198.18.0.10");
    lab
}

/// The intent of a state: `app` may send to the first port and `db` receives at the second. The world is behind an ACL that
/// denies, or behind a route that is gone.
fn state(lab: &mut Lab, out: u16, into: u16, is_denied: bool) -> HostIntent {
    for name in ["app", "db"] {
        lab.intent.security_groups.insert(lab::group(name), Default::default());
    }
    lab.write_rules("app", &[&format!("udp {out} to 10.0.0.0/16"), "udp 53 to 0.0.0.0/0"]);
    lab.write_rules("db", &[&format!("udp {into} from 10.0.0.0/16")]);
    let route = if is_denied { RouteIntent::InternetGateway(gateway(1)) } else { RouteIntent::Blackhole };
    lab.subnet(1, "10.0.1.0/24", &[("0.0.0.0/0", route)]);
    let first: &[&str] = if is_denied { &["deny udp 53 to 203.0.113.0/24"] } else { &[] };
    lab.acl(1, "10.0.1.0/24", &Lab::open_acl(first));
    lab.intent.clone()
}

fn is_empty(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).unwrap();
    socket.recv(&mut [0; 64]).is_err_and(|cause| cause.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn no_packet_is_judged_by_half_of_a_change() {
    let mut lab = scene();
    let states = [state(&mut lab, 1001, 1002, true), state(&mut lab, 1002, 1001, false)];
    let heard = PORTS.map(|port| lab.at("db").udp(port));
    let world = lab.host().inside(|| UdpSocket::bind((WORLD, DNS))).unwrap().unwrap();
    let (app, mac, wire) = (lab.at("app").address, lab.at("app").mac.0, lab.at("app").wire());
    let frames: Vec<Vec<u8>> = [(RECEIVER, PORTS[0]), (RECEIVER, PORTS[1]), (WORLD, DNS)]
        .map(|(to, port)| Ip::udp(app, to, (4000, port), b"half").frame(mac, ROUTER_MAC))
        .into();
    let (sent, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                frames.iter().for_each(|frame| wire.send(frame));
                sent.fetch_add(frames.len() as u64, Ordering::SeqCst);
            }
        });
        for change in 0..CHANGES {
            let before = sent.load(Ordering::SeqCst);
            lab.intent = states[(change % 2) as usize].clone();
            assert!(lab.program().switched);
            while sent.load(Ordering::SeqCst) < before + PACKETS {
                std::thread::yield_now();
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
    for (socket, port) in heard.iter().zip(PORTS) {
        assert!(is_empty(socket), "a packet to port {port} passed");
    }
    assert!(is_empty(&world), "a packet to the world passed");
    for (seat, reason) in [
        ("app", DropReason::SecurityGroupEgress),
        ("db", DropReason::SecurityGroupIngress),
        ("app", DropReason::NetworkAclOut),
        ("app", DropReason::Blackhole),
    ] {
        assert!(lab.dropped(seat, reason) >= CHANGES, "both states are judged under traffic: {reason:?}");
    }
    // Half of each state lets the packets pass.
    lab.intent = states[0].clone();
    lab.intent.security_groups.insert(lab::group("db"), Default::default());
    lab.allow("db", &["udp 1001 from 10.0.0.0/16"]);
    lab.acl(1, "10.0.1.0/24", &Lab::open_acl(&[]));
    frames.iter().for_each(|frame| wire.send(frame));
    for socket in [&heard[0], &world] {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(lab::talk::PATIENCE)).unwrap();
        assert!(hears(socket, b"half"));
    }
}
