//! What the flow table remembers, and what happens when it forgets. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData};
use berth_fabric::kernel::sysctl;
use berth_fabric::{DropReason, Fabric};
use lab::Lab;
use lab::talk::{Connection, Outcome, hears};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Connections of the loop; each uses the same two addresses and ports.
const REUSES: u32 = 2000;
/// A lost first packet is sent again after a second.
const SECOND_SYN: Duration = Duration::from_millis(900);
const REPLACEMENTS: u32 = 8;
/// `struct flow_key` and `struct flow` of `bpf/layout.h`.
type Flows = HashMap<MapData, [u8; 16], [u8; 40]>;

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

/// The longest jiffy of any kernel: time alone ends what a processor remembers of a flow.
const JIFFY: Duration = Duration::from_millis(10);

/// Empties the flow table, as a full table or a lost machine would.
fn forget_flows(lab: &mut Lab) {
    let path = lab.fabric().pins().join("flows");
    let mut flows: Flows = Map::HashMap(MapData::from_pin(path).unwrap()).try_into().unwrap();
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
    let syn = lab::raw::Ip::tcp_syn(seat.address, db.address, (40000, 80)).frame(seat.mac.0, db.mac.0);
    let drops = lab.drops_during("db", |lab| lab.at("web").wire().send(&syn));
    assert_eq!(drops, [DropReason::SecurityGroupIngress]);
    live.talk();
}

#[test]
fn a_connection_whose_entry_is_lost_goes_on_from_either_side() {
    let mut lab = pair();
    let mut live = lab.connection("web", "db", 5432);
    live.talk();
    forget_flows(&mut lab);
    live.talk();
    forget_flows(&mut lab);
    // The server speaks first: its rules admit nothing out, but this answers what they admitted in.
    live.server.write_all(b"news").unwrap();
    let mut heard = [0; 4];
    live.client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"news");
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
        // TCP hides what is lost. Here each datagram waits for the one before it, for ever if that is lost.
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
