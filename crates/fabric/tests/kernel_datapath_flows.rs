// SPDX-License-Identifier: Apache-2.0
//! The content of the flow table, and behaviour after entries are removed. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aya::maps::{Array, HashMap, Map, MapData};
use berth_fabric::kernel::sysctl;
use berth_fabric::{DropReason, Fabric};
use lab::Lab;
use lab::raw::{Ip, SYN};
use lab::talk::{Connection, Outcome, PATIENCE, hears};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Number of connections in the loop; each uses the same two addresses and ports.
const REUSES: u32 = 2000;
/// A lost first packet is retransmitted after a second.
const SECOND_SYN: Duration = Duration::from_millis(900);
const REPLACEMENTS: u32 = 8;
/// Rows reserved for each interface in the table of these tests, and rows that are shared.
const FLOOR: u32 = 8;
const SHARED: u32 = 600;
/// `struct flow_key` and `struct flow` of `bpf/layout.h`.
type Flows = HashMap<MapData, [u8; 16], [u8; 64]>;

/// `web` may send anything, `db` admits TCP 5432 and UDP 53 from it. Every connection of `web` has the same port.
fn pair() -> Lab {
    let mut lab = Lab::new();
    lab.write_rules("web", &["all to 0.0.0.0/0"]);
    lab.write_rules("db", &["tcp 5432 from sg:web", "udp 53 from sg:web"]);
    lab.seat("web", 1, "10.0.1.10/24", &["web"]);
    lab.seat("db", 1, "10.0.1.20/24", &["db"]);
    sysctl::write(&lab.at("web").namespace, "net.ipv4.ip_local_port_range", "40000 40000").unwrap();
    lab
}

/// The longest jiffy of any kernel: time alone invalidates a processor's cache of a flow.
const JIFFY: Duration = Duration::from_millis(10);

fn open_flows(lab: &mut Lab) -> Flows {
    let path = lab.fabric().pins().join("flows");
    Map::HashMap(MapData::from_pin(path).unwrap()).try_into().unwrap()
}

/// Divides the flow table in another way: these tests fill a small one.
fn share(lab: &mut Lab, floor: u32, shared: u32) {
    let path = lab.fabric().pins().join("shares");
    let mut shares: Array<_, [u32; 2]> = Map::Array(MapData::from_pin(path).unwrap()).try_into().unwrap();
    shares.set(0, [floor, shared], 0).unwrap();
}

/// Opens flows from one seat to another, port by port, each with an answer.
fn converse(lab: &Lab, from: &str, to: &str, flows: u16) {
    let (asking, answering) = (lab.at(from), lab.at(to));
    let (ask, answer) = (asking.wire(), answering.wire());
    for port in 1..=flows {
        let question = Ip::udp(asking.address, answering.address, (port, 53), b"?");
        ask.send(&question.frame(asking.mac.0, answering.mac.0));
        let reply = Ip::udp(answering.address, asking.address, (53, port), b"!");
        answer.send(&reply.frame(answering.mac.0, asking.mac.0));
    }
}

/// Sets the last packet of every flow of a protocol one day back.
fn age(lab: &mut Lab, protocol: u8) {
    let mut flows = open_flows(lab);
    let all: Vec<_> = flows.iter().map(Result::unwrap).collect();
    for (key, mut flow) in all.into_iter().filter(|(key, _)| key[12] == protocol) {
        let seen = u64::from_ne_bytes(flow[..8].try_into().unwrap()) - 86_400_000_000_000;
        flow[..8].copy_from_slice(&seen.to_ne_bytes());
        flows.insert(key, flow, 0).unwrap();
    }
}

/// Empties the flow table, as after a full table or a lost machine.
fn forget_flows(lab: &mut Lab) {
    let mut flows = open_flows(lab);
    let keys: Vec<[u8; 16]> = flows.keys().map(Result::unwrap).collect();
    assert!(!keys.is_empty());
    for key in &keys {
        flows.remove(key).unwrap();
    }
    assert_eq!(lab.fabric().flows().unwrap(), 0);
    std::thread::sleep(JIFFY);
}

fn pin() {
    let mut first = CpuSet::new();
    first.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(0), &first).unwrap();
}

#[test]
fn a_port_is_used_again_thousands_of_times_without_a_lost_packet() {
    let mut lab = pair();
    let listener = lab.at("db").listen(5432);
    // On one processor the last packet of a connection cannot be overtaken by the first one of the next.
    pin();
    let server = std::thread::spawn(move || {
        pin();
        for _ in 0..REUSES {
            let (mut peer, from) = listener.accept().unwrap();
            assert_eq!(from.port(), 40000);
            let mut heard = [0; 4];
            peer.read_exact(&mut heard).unwrap();
            peer.write_all(&heard).unwrap();
        }
    });
    let to = (lab.at("db").address, 5432).into();
    for nth in 0..REUSES {
        let begin = Instant::now();
        let mut client = lab.at("web").dial_when_a_port_is_free(to);
        client.write_all(b"ping").unwrap();
        // The server closes first, so its side waits and the client's port is free at once.
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"ping");
        assert!(begin.elapsed() < SECOND_SYN, "connection {nth} took {:?}", begin.elapsed());
    }
    server.join().unwrap();
    assert_eq!(lab.fabric().flows().unwrap(), 1, "one key, one entry");
    assert!(lab.stats("web").drops.keys().all(|reason| *reason == DropReason::Ipv6), "{:?}", lab.stats("web"));
}

#[test]
fn a_port_that_is_used_again_is_judged_by_the_rules_of_now() {
    let mut lab = pair();
    let rules = lab.allow("db", &["tcp 80 from sg:web"]);
    lab.connection("web", "db", 80).close();
    lab.revoke("db", &rules);
    let _listener = lab.at("db").listen(80);
    let drops = lab.drops_during("db", |lab| assert!(lab.is_silent("web", "db", 80)));
    assert_eq!(drops, [DropReason::SecurityGroupIngress]);
    lab.allow("db", &["tcp 80 from sg:web"]);
    assert_eq!(lab.connects("web", "db", 80), Outcome::Answered);
}

#[test]
fn a_first_packet_does_not_cut_the_connection_it_resembles() {
    let mut lab = pair();
    let rules = lab.allow("db", &["tcp 80 from sg:web"]);
    let mut live = lab.connection("web", "db", 80);
    lab.revoke("db", &rules);
    let (seat, db) = (lab.at("web"), lab.at("db"));
    let syn = Ip::tcp(seat.address, db.address, (40000, 80), SYN).frame(seat.mac.0, db.mac.0);
    let drops = lab.drops_during("db", |lab| lab.at("web").wire().send(&syn));
    assert_eq!(drops, [DropReason::SecurityGroupIngress]);
    live.talk();
}

#[test]
fn a_connection_whose_entry_is_lost_goes_on_from_the_end_whose_rules_admit_it() {
    let mut lab = pair();
    let mut live = lab.connection("web", "db", 5432);
    live.talk();
    forget_flows(&mut lab);
    live.talk();
    forget_flows(&mut lab);
    // The server speaks first: its segment belongs to no flow, and no egress rule admits it.
    let drops = lab.drops_during("db", |_| live.server.write_all(b"news").unwrap());
    assert_eq!(drops, [DropReason::SecurityGroupEgress]);
    live.client.write_all(b"ping").unwrap();
    let mut heard = [0; 4];
    live.client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"news");
    live.server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"ping");
    live.talk();

    let (web, db) = (lab.at("web").udp(4000), lab.at("db").udp(53));
    web.send_to(b"before", (lab.at("db").address, 53)).unwrap();
    assert!(hears(&db, b"before"));
    forget_flows(&mut lab);
    web.send_to(b"after", (lab.at("db").address, 53)).unwrap();
    assert!(hears(&db, b"after"));
    db.send_to(b"answer", (lab.at("web").address, 4000)).unwrap();
    assert!(hears(&web, b"answer"));
}

#[test]
fn whoever_fills_the_flow_table_leaves_every_other_interface_its_own_part() {
    let mut lab = pair();
    share(&mut lab, FLOOR, SHARED);
    lab.write_rules("open", &["all to 0.0.0.0/0", "all from 0.0.0.0/0"]);
    let mut live = lab.connection("web", "db", 5432);
    lab.seat("sink", 1, "10.0.1.30/24", &["open"]);
    for (greedy, address) in [("one", "10.0.1.40/24"), ("two", "10.0.1.41/24"), ("three", "10.0.1.42/24")] {
        lab.seat(greedy, 1, address, &["open"]);
        converse(&lab, greedy, "sink", 400);
    }
    // The first one has a fifth of the shared rows, each of the others a fifth of the rest.
    // Unrequested packets of the sink are flows of its own.
    let held = ["one", "two", "three", "sink"].map(|name| lab.stats(name).flows);
    assert!((FLOOR + SHARED / 5 - 2..=FLOOR + SHARED / 5 + 2).contains(&held[0]), "{held:?}");
    assert!(held[0] > held[1] && held[1] > held[2] && held[2] > FLOOR, "{held:?}");
    assert!(lab.dropped("one", DropReason::FlowQuota) > 0);
    assert!(lab.dropped("three", DropReason::FlowTableCrowded) > 0);
    live.talk();

    // No shared row is left. A new interface has its own rows, and its drop reason names the others.
    share(&mut lab, FLOOR, held.iter().sum::<u32>() - 4 * FLOOR);
    lab.seat("calm", 1, "10.0.1.50/24", &["web"]);
    let listener = lab.at("db").listen(5432);
    let to = (lab.at("db").address, 5432).into();
    let dial = |lab: &Lab| (lab.at("calm").dial(to, PATIENCE).unwrap(), listener.accept().unwrap().0);
    let mut kept: Vec<_> = (1..FLOOR).map(|_| dial(&lab)).collect();
    // Unanswered flows replace each other and the last connection, not the others.
    let (calm, db) = (lab.at("calm"), lab.at("db"));
    for port in 1..50 {
        let frame = Ip::udp(calm.address, db.address, (port, 53), b"unanswered").frame(calm.mac.0, db.mac.0);
        calm.wire().send(&frame);
    }
    kept.push(dial(&lab));
    assert_eq!(lab.stats("calm").flows, FLOOR);
    assert_eq!(lab.dropped("calm", DropReason::FlowTableCrowded), 0);
    let drops = lab.drops_during("calm", |lab| assert!(lab.is_silent("calm", "db", 5432)));
    assert_eq!(drops, [DropReason::FlowTableCrowded]);
    for (client, server) in &mut kept {
        client.write_all(b"ping").unwrap();
        let mut heard = [0; 4];
        server.read_exact(&mut heard).unwrap();
    }

    // Dead flows are swept, and their rows are available to others.
    age(&mut lab, 17);
    let before = lab.fabric().sweep().unwrap().table;
    let swept = lab.fabric().sweep().unwrap();
    assert_eq!(before.used, held.iter().sum::<u32>() + FLOOR + 1);
    assert_eq!((swept.table.used, swept.table.shared_used), (FLOOR + 1, 0));
    assert_eq!(swept.rows as u32, held.iter().sum::<u32>());
    assert_eq!(lab.fabric().flows().unwrap() as u32, swept.table.used);
    share(&mut lab, FLOOR, SHARED);
    kept.push(dial(&lab));
    converse(&lab, "two", "sink", 100);
    assert_eq!(lab.stats("two").flows, 100);
    live.talk();
    lab.delete("two");
    assert_eq!(lab.fabric().sweep().unwrap().table.used, FLOOR + 2);
}

#[test]
fn programs_are_replaced_under_load_without_a_lost_packet() {
    let mut lab = pair();
    let Connection { mut client, mut server } = lab.connection("web", "db", 5432);
    let (web, db) = (lab.at("web").udp(4000), lab.at("db").udp(53));
    web.connect((lab.at("db").address, 53)).unwrap();
    db.connect((lab.at("web").address, 4000)).unwrap();
    let stop = AtomicBool::new(false);
    let is_running = || !stop.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let chunk = vec![7; 64 * 1024];
            let mut bytes = 0u64;
            while is_running() {
                client.write_all(&chunk).unwrap();
                bytes += chunk.len() as u64;
            }
            client.shutdown(Shutdown::Write).unwrap();
            bytes
        });
        let receiving = scope.spawn(|| std::io::copy(&mut server, &mut std::io::sink()).unwrap());
        // TCP hides losses. Here each datagram waits for the one before it, for ever if that is lost.
        let asking = scope.spawn(|| {
            let mut asked = 0u32;
            while is_running() {
                asked += 1;
                web.send(&asked.to_be_bytes()).unwrap();
                assert!(hears(&db, &asked.to_be_bytes()));
                db.send(&asked.to_be_bytes()).unwrap();
                assert!(hears(&web, &asked.to_be_bytes()));
            }
            asked
        });
        let (config, pin) = (lab.config().clone(), lab.program_pin());
        for _ in 0..REPLACEMENTS {
            // Without its name the running program counts as another build.
            fs::remove_file(&pin).unwrap();
            drop(Fabric::open(config.clone()).unwrap());
            assert!(pin.exists());
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(sending.join().unwrap(), receiving.join().unwrap());
        assert!(asking.join().unwrap() > REPLACEMENTS);
    });
    assert!(lab.fabric().stray().unwrap().drops.is_empty());
}
