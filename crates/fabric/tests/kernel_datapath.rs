// SPDX-License-Identifier: Apache-2.0
//! Admitted and dropped packets between interfaces, with real packets. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use berth_fabric::DropReason;
use berth_types::intent::GroupSetIntent;
use berth_types::{GroupSetId, Vni};
use lab::Lab;
use lab::raw::{ACK, Ip, arp_answer, arp_request, ethernet};
use lab::talk::{Connection, Outcome, hears, hears_nothing};

const ROUTER_MAC: [u8; 6] = [0x0e, 0, 0, 0, 0, 1];
const PATIENCE: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_millis(400);
const STREAM_BYTES: usize = 64 * 1024 * 1024;

/// `web` and `db` in one subnet, `far` in another one; `db` and `far` admit TCP 5432 and UDP 53 from `web`'s group.
fn two_subnets() -> Lab {
    let mut lab = Lab::new();
    lab.write_rules("web", &["all to 0.0.0.0/0"]);
    lab.write_rules("db", &["tcp 5432 from sg:web", "udp 53 from sg:web"]);
    lab.seat("web", 1, "10.0.1.10/24", &["web"]);
    lab.seat("db", 1, "10.0.1.20/24", &["db"]);
    lab.seat("far", 1, "10.0.2.20/24", &["db"]);
    lab
}

#[test]
fn an_allowed_port_answers_and_any_other_is_silent() {
    let mut lab = two_subnets();
    for server in ["db", "far"] {
        let open = lab.at(server).listen(5432);
        let closed = lab.at(server).listen(80);
        assert_eq!(lab.connects("web", server, 5432), Outcome::Answered);
        let drops = lab.drops_during(server, |lab| assert!(lab.is_silent("web", server, 80)));
        assert_eq!(drops, [DropReason::SecurityGroupIngress]);
        drop((open, closed));
        // There is no listener: the refusal of an allowed port is a reply like any other.
        assert_eq!(lab.connects("web", server, 5432), Outcome::Refused);
    }
}

#[test]
fn replies_need_no_rule_but_new_connections_the_other_way_do() {
    let mut lab = two_subnets();
    lab.connection("web", "db", 5432).talk();
    let _listener = lab.at("web").listen(5432);
    let drops = lab.drops_during("db", |lab| assert!(lab.is_silent("db", "web", 5432)));
    assert_eq!(drops, [DropReason::SecurityGroupEgress]);

    let (web, db) = (lab.at("web").udp(4000), lab.at("db").udp(53));
    web.send_to(b"question", (lab.at("db").address, 53)).unwrap();
    assert!(hears(&db, b"question"));
    db.send_to(b"answer", (lab.at("web").address, 4000)).unwrap();
    assert!(hears(&web, b"answer"));
    db.send_to(b"unasked", (lab.at("web").address, 4001)).unwrap();
    assert_eq!(lab.dropped("db", DropReason::SecurityGroupEgress), 2);
}

#[test]
fn a_segment_without_a_flow_is_judged_by_the_rules_of_its_own_direction() {
    let mut lab = Lab::new();
    lab.write_rules("default", &["all to 0.0.0.0/0"]);
    lab.write_rules("server", &["tcp 80 from 0.0.0.0/0"]);
    lab.write_rules("open", &["all to 0.0.0.0/0", "all from 0.0.0.0/0"]);
    for (name, address) in [("default", "10.0.1.10/24"), ("server", "10.0.1.20/24"), ("open", "10.0.1.30/24")] {
        lab.seat(name, 1, address, &[name]);
    }
    let cases = [
        // AWS's default rule for egress admits no packet inbound.
        (("open", 80), ("default", 22), "default", DropReason::SecurityGroupIngress),
        // An end that may only be contacted at port 80 sends nothing from there unasked.
        (("server", 80), ("open", 4000), "server", DropReason::SecurityGroupEgress),
        (("default", 4000), ("server", 22), "server", DropReason::SecurityGroupIngress),
    ];
    for ((from, sport), (to, dport), counted, reason) in cases {
        for flags in [ACK, 0, ACK | 1, ACK | 2, 4] {
            let (seat, to) = (lab.at(from), lab.at(to));
            let frame = Ip::tcp(seat.address, to.address, (sport, dport), flags).frame(seat.mac.0, to.mac.0);
            let drops = lab.drops_during(counted, |lab| lab.at(from).wire().send(&frame));
            assert_eq!(drops, [reason], "{from} to {dport} with flags {flags}");
        }
    }
    assert_eq!(lab.fabric().flows().unwrap(), 0);
}

#[test]
fn vpcs_with_the_same_addresses_never_meet() {
    let mut lab = Lab::new();
    lab.vpc(2, "10.0.0.0/16");
    lab.write_rules("open", &["all from 0.0.0.0/0", "all to 0.0.0.0/0"]);
    for (vni, client, server) in [(1, "web-1", "db-1"), (2, "web-2", "db-2")] {
        lab.seat(client, vni, "10.0.1.10/24", &["open"]);
        lab.seat(server, vni, "10.0.1.20/24", &["open"]);
    }
    lab.seat("only-1", 1, "10.0.1.30/24", &["open"]);
    let (one, two) = (lab.at("db-1").udp(53), lab.at("db-2").udp(53));
    // The same ports on both sides: the flows differ only in the VPC.
    let (ask_one, ask_two) = (lab.at("web-1").udp(4000), lab.at("web-2").udp(4000));
    for _ in 0..3 {
        ask_one.send_to(b"one", ("10.0.1.20", 53)).unwrap();
        ask_two.send_to(b"two", ("10.0.1.20", 53)).unwrap();
        assert!(hears(&one, b"one") && hears(&two, b"two"));
    }
    assert!(hears_nothing(&one) && hears_nothing(&two));
    let frame = Ip::udp("10.0.1.10".parse().unwrap(), "10.0.1.30".parse().unwrap(), (4000, 53), b"x");
    let mac = lab.at("web-2").mac.0;
    let drops = lab.drops_during("web-2", |lab| lab.at("web-2").wire().send(&frame.frame(mac, ROUTER_MAC)));
    assert_eq!(drops, [DropReason::NoEndpoint]);
}

#[test]
fn spoofed_frames_reach_nobody() {
    let mut lab = two_subnets();
    let (web, db) = (lab.at("web"), lab.at("db"));
    let (mac, other) = (web.mac.0, db.mac.0);
    let socket = db.udp(53);
    let honest = Ip::udp(web.address, db.address, (4000, 53), b"honest");
    let segment = Ip::tcp(web.address, db.address, (4000, 5432), ACK);
    let stranger = Ip { src: "10.0.1.99".parse().unwrap(), ..honest.clone() };
    let neighbour = Ip { src: "10.0.2.20".parse().unwrap(), ..honest.clone() };
    let cases = [
        (honest.frame(other, other), DropReason::SpoofedMac),
        (stranger.frame(mac, other), DropReason::SpoofedAddress),
        (neighbour.frame(mac, other), DropReason::SpoofedAddress),
        (arp_request(mac, (mac, "10.0.1.99".parse().unwrap()), db.address), DropReason::SpoofedArp),
        (arp_request(mac, (other, web.address), db.address), DropReason::SpoofedArp),
        (arp_request(other, (other, db.address), web.address), DropReason::SpoofedMac),
        (ethernet(mac, other, 0x88cc, &[0; 46]), DropReason::Ethertype),
        (ethernet(mac, other, 0x0800, &[0x45; 8]), DropReason::Malformed),
        (Ip { dst: Ipv4Addr::BROADCAST, ..honest.clone() }.frame(mac, [0xff; 6]), DropReason::Multicast),
        (Ip { dst: "10.0.1.255".parse().unwrap(), ..honest.clone() }.frame(mac, [0xff; 6]), DropReason::Multicast),
        (Ip { dst: "224.0.0.251".parse().unwrap(), ..honest.clone() }.frame(mac, other), DropReason::Multicast),
        (Ip { dst: web.address, ..honest.clone() }.frame(mac, other), DropReason::OwnAddress),
        (Ip { dst: "8.8.8.8".parse().unwrap(), ..honest.clone() }.frame(mac, ROUTER_MAC), DropReason::NoRoute),
        (Ip { dst: "10.0.9.9".parse().unwrap(), ..honest.clone() }.frame(mac, ROUTER_MAC), DropReason::NoEndpoint),
        (Ip { dst: web.router, ..honest.clone() }.frame(mac, ROUTER_MAC), DropReason::Router),
        (Ip { fragment: 100, id: 9, ..honest.clone() }.frame(mac, other), DropReason::Fragment),
        // The packet ends before the headers that are read; padding follows.
        (segment.frame_of_length(20 + 8, mac, other), DropReason::Malformed),
        (Ip { fragment: 0x2000, ..segment.clone() }.frame_of_length(20 + 8, mac, other), DropReason::Malformed),
        (Ip { options: vec![1; 8], ..segment.clone() }.frame_of_length(28 + 8, mac, other), DropReason::Malformed),
        (honest.frame_of_length(20 + 7, mac, other), DropReason::Malformed),
        (honest.frame_of_length(0, mac, other), DropReason::Malformed),
    ];
    for (frame, reason) in cases {
        let drops = lab.drops_during("web", |lab| lab.at("web").wire().send(&frame));
        assert_eq!(drops, [reason]);
    }
    assert!(hears_nothing(&socket));
    lab.at("web").wire().send(&honest.frame(mac, other));
    assert!(hears(&socket, b"honest"));
}

#[test]
fn arp_is_answered_for_the_vpc_and_for_nobody_else() {
    let lab = two_subnets();
    let web = lab.at("web");
    let ask = |target: Ipv4Addr, patience| {
        let wire = web.wire();
        wire.send(&arp_request(web.mac.0, (web.mac.0, web.address), target));
        let answer = wire.await_frame(patience, |frame| arp_answer(frame, target).is_some());
        answer.and_then(|frame| arp_answer(&frame, target))
    };
    assert_eq!(ask(lab.at("db").address, PATIENCE), Some(lab.at("db").mac.0));
    assert_eq!(ask(web.router, PATIENCE), Some(ROUTER_MAC));
    assert_eq!(ask("10.0.7.7".parse().unwrap(), PATIENCE), Some(ROUTER_MAC));
    for nobody in ["10.0.1.77", "192.168.0.1"] {
        assert_eq!(ask(nobody.parse().unwrap(), SILENCE), None);
    }
    assert_eq!(ask(web.address, SILENCE), None);
}

/// The type of the ICMP message that answers an echo request.
fn ping(lab: &Lab, from: &str, to: Ipv4Addr, patience: Duration) -> Option<u8> {
    let seat = lab.at(from);
    let wire = seat.wire();
    let request = Ip::icmp(seat.address, to, 8, 0, b"\x12\x34\0\x01hello");
    wire.send(&request.frame(seat.mac.0, ROUTER_MAC));
    let fits = |frame: &[u8]| frame[12..14] == [8, 0] && frame[23] == 1 && frame[26..30] == to.octets();
    wire.await_frame(patience, fits).map(|frame| {
        assert_eq!(&frame[38..47], b"\x12\x34\0\x01hello");
        frame[34]
    })
}

#[test]
fn the_router_answers_pings_and_interfaces_do_when_allowed() {
    let mut lab = two_subnets();
    let (router, db) = (lab.at("web").router, lab.at("db").address);
    assert_eq!(ping(&lab, "web", router, PATIENCE), Some(0));
    assert_eq!(ping(&lab, "db", router, PATIENCE), Some(0));
    assert_eq!(ping(&lab, "web", db, SILENCE), None);
    lab.allow("db", &["icmp 8 from sg:web"]);
    assert_eq!(ping(&lab, "web", db, PATIENCE), Some(0));
    // A request with the same identifier in the other direction is not a reply.
    let web = lab.at("web").address;
    assert_eq!(ping(&lab, "db", web, SILENCE), None);
}

#[test]
fn group_references_follow_membership() {
    let mut lab = two_subnets();
    lab.seat("late", 1, "10.0.1.30/24", &["other"]);
    lab.allow("other", &["all to 0.0.0.0/0"]);
    let _listener = lab.at("db").listen(5432);
    assert!(lab.is_silent("late", "db", 5432));
    lab.set_groups("late", &["other", "web"]);
    assert_eq!(lab.connects("late", "db", 5432), Outcome::Answered);
    lab.set_groups("late", &["other"]);
    assert!(lab.is_silent("late", "db", 5432));
    // A member that starts later needs no change of the rules.
    lab.seat("later", 1, "10.0.2.30/24", &["web"]);
    assert_eq!(lab.connects("later", "db", 5432), Outcome::Answered);
}

#[test]
fn a_group_that_names_itself_admits_its_members_only() {
    let mut lab = Lab::new();
    lab.write_rules("mesh", &["tcp 7000 from sg:mesh", "tcp 7000 to sg:mesh"]);
    lab.write_rules("out", &["all to 0.0.0.0/0", "all from 0.0.0.0/0"]);
    // The largest number a set of groups can have.
    let mesh = GroupSetIntent { vni: Vni(1), groups: vec![lab::group("mesh")] };
    lab.intent.group_sets.insert(GroupSetId(u16::MAX), mesh);
    lab.seat("one", 1, "10.0.1.10/24", &["mesh"]);
    lab.seat("two", 1, "10.0.2.10/24", &["mesh"]);
    lab.seat("stranger", 1, "10.0.1.20/24", &["out"]);
    assert_eq!(lab.intent.endpoints[&lab.at("two").id].group_set, GroupSetId(u16::MAX));
    lab.connection("one", "two", 7000).talk();
    lab.connection("two", "one", 7000).talk();
    let listeners = ["one", "stranger"].map(|name| lab.at(name).listen(7000));
    let drops = lab.drops_during("one", |lab| assert!(lab.is_silent("stranger", "one", 7000)));
    assert_eq!(drops, [DropReason::SecurityGroupIngress]);
    let drops = lab.drops_during("one", |lab| assert!(lab.is_silent("one", "stranger", 7000)));
    assert_eq!(drops, [DropReason::SecurityGroupEgress]);
    drop(listeners);
}

#[test]
fn large_datagrams_arrive_in_fragments_and_options_are_no_obstacle() {
    let mut lab = two_subnets();
    let (web, db) = (lab.at("web").udp(4000), lab.at("db").udp(53));
    let text: Vec<u8> = (0..40_000u32).map(|n| n as u8).collect();
    web.send_to(&text, (lab.at("db").address, 53)).unwrap();
    assert!(hears(&db, &text));

    let (seat, to) = (lab.at("web"), lab.at("db").address);
    let plain = Ip::udp(seat.address, to, (4000, 53), b"options");
    let frame = Ip { options: vec![1; 8], ..plain.clone() }.frame(seat.mac.0, ROUTER_MAC);
    seat.wire().send(&frame);
    assert!(hears(&db, b"options"));
    let blocked = Ip { options: vec![1; 8], ..Ip::udp(seat.address, to, (4000, 54), b"options") };
    let frame = blocked.frame(seat.mac.0, ROUTER_MAC);
    let drops = lab.drops_during("db", |lab| lab.at("web").wire().send(&frame));
    assert_eq!(drops, [DropReason::SecurityGroupIngress]);
}

/// Major and minor version of the running kernel.
fn kernel_version() -> (u32, u32) {
    let name = nix::sys::utsname::uname().unwrap();
    let mut numbers = name.release().to_str().unwrap().split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn a_stream_crosses_in_large_packets_and_arrives_as_it_was_sent() {
    // Before Linux 6.3 none is beyond 64 KiB, but one still holds many segments.
    let limit = if kernel_version() < (6, 3) { 16 << 10 } else { usize::from(u16::MAX) };
    let lab = two_subnets();
    let Connection { mut client, mut server } = lab.connection("web", "db", 5432);
    let text: Vec<u8> = (0..STREAM_BYTES).map(|n| (n % 251) as u8).collect();
    let wire = lab.at("db").wire();
    std::thread::scope(|scope| {
        let sent = &text;
        scope.spawn(move || {
            client.write_all(sent).unwrap();
            drop(client);
        });
        let receiving = scope.spawn(move || {
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).unwrap();
            heard
        });
        assert!(wire.await_frame(PATIENCE, |frame| frame.len() > limit).is_some());
        assert!(receiving.join().unwrap() == text, "the stream was changed on its way");
    });
}

#[test]
fn an_icmp_error_passes_only_with_the_flow_it_is_about() {
    let mut lab = two_subnets();
    let web = lab.at("web").udp(4000);
    web.connect((lab.at("db").address, 53)).unwrap();
    web.send(b"nobody listens").unwrap();
    assert_eq!(web.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    let (db, victim) = (lab.at("db"), lab.at("web").address);
    let about = Ip::udp(victim, db.address, (4001, 53), b"").bytes();
    let error = Ip::icmp(db.address, victim, 3, 3, &[[0; 4].as_slice(), &about].concat());
    let frame = error.frame(db.mac.0, ROUTER_MAC);
    let drops = lab.drops_during("db", |lab| lab.at("db").wire().send(&frame));
    assert_eq!(drops, [DropReason::SecurityGroupEgress]);
}

#[test]
fn a_thousand_rules_are_all_heard() {
    let mut lab = two_subnets();
    let rules: Vec<String> = (0..1000).map(|n| format!("tcp {} from 10.0.{}.0/24", 10_000 + n, n % 3)).collect();
    lab.allow("db", &rules.iter().map(String::as_str).collect::<Vec<_>>());
    // Every third rule is for the range that web is in.
    for (port, is_open) in [(10_001, true), (10_500, false), (10_502, true), (10_997, true), (10_999, false)] {
        let _listener = lab.at("db").listen(port);
        match is_open {
            true => assert_eq!(lab.connects("web", "db", port), Outcome::Answered, "{port}"),
            false => assert!(lab.is_silent("web", "db", port), "{port}"),
        }
    }
}

#[test]
fn a_delivered_frame_carries_the_hardware_address_of_its_receiver() {
    let lab = two_subnets();
    let web = lab.at("web");
    for (to, written) in
        [("db", [0xff; 6]), ("db", [2, 7, 7, 7, 7, 7]), ("db", lab.at("db").mac.0), ("far", ROUTER_MAC)]
    {
        let (receiver, text) = (lab.at(to), format!("to {written:?}"));
        let wire = receiver.wire();
        let datagram = Ip::udp(web.address, receiver.address, (4000, 53), text.as_bytes());
        // Twice, because the second one uses the cache of recent flows.
        for _ in 0..2 {
            web.wire().send(&datagram.frame(web.mac.0, written));
            let frame = wire.await_frame(PATIENCE, |frame| frame.ends_with(text.as_bytes())).unwrap();
            assert_eq!(frame[..6], receiver.mac.0, "{to} {written:?}");
        }
    }
}

#[test]
fn fragments_of_one_interface_do_not_displace_those_of_another() {
    let mut lab = two_subnets();
    lab.seat("noisy", 1, "10.0.1.30/24", &["web"]);
    let (web, noisy, db, far) = (lab.at("web"), lab.at("noisy"), lab.at("db"), lab.at("far"));
    let socket = db.udp(53);
    let whole = Ip::udp(web.address, db.address, (4000, 53), b"in two pieces --");
    let first = Ip { fragment: 0x2000, payload: whole.payload[..16].to_vec(), ..whole.clone() };
    let last = Ip { fragment: 2, payload: whole.payload[16..].to_vec(), ..whole.clone() };
    web.wire().send(&first.frame(web.mac.0, db.mac.0));
    let wire = noisy.wire();
    for id in 0..9000 {
        // To another receiver: the kernel of one keeps few fragmented datagrams.
        let other = Ip::udp(noisy.address, far.address, (4000, 53), b"12345678");
        wire.send(&Ip { fragment: 0x2000, id, ..other }.frame(noisy.mac.0, ROUTER_MAC));
    }
    web.wire().send(&last.frame(web.mac.0, db.mac.0));
    assert!(hears(&socket, b"in two pieces --"));
    assert_eq!(lab.dropped("web", DropReason::Fragment), 0);
}
