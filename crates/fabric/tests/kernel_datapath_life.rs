// SPDX-License-Identifier: Apache-2.0
//! Packets during changes of policies, processes and interfaces. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::process::Command;

use berth_fabric::{DropReason, Fabric, doctor, read_stats};
use berth_types::intent::EndpointIntent;
use berth_types::{EniId, HostId, MacAddress};
use lab::Lab;
use lab::talk::{Outcome, hears, hears_nothing};

/// `web` may send anything; the rules of `db` are up to the test.
fn pair() -> Lab {
    let mut lab = Lab::new();
    lab.write_rules("web", &["all to 0.0.0.0/0"]);
    lab.seat("web", 1, "10.0.1.10/24", &["web"]);
    lab.seat("db", 1, "10.0.1.20/24", &["db"]);
    lab
}

#[test]
fn a_new_rule_works_at_once_and_a_removed_one_spares_tracked_connections() {
    let mut lab = pair();
    {
        let _listener = lab.at("db").listen(5432);
        assert!(lab.is_silent("web", "db", 5432));
    }
    let rules = lab.allow("db", &["tcp 5432 from 0.0.0.0/0", "udp 53 from 0.0.0.0/0"]);
    let mut tracked = lab.connection("web", "db", 5432);
    tracked.talk();
    let (web, db) = (lab.at("web").udp(4000), lab.at("db").udp(53));
    web.send_to(b"before", (lab.at("db").address, 53)).unwrap();
    assert!(hears(&db, b"before"));

    lab.revoke("db", &rules);
    tracked.talk();
    web.send_to(b"tracked", (lab.at("db").address, 53)).unwrap();
    assert!(hears(&db, b"tracked"));
    let _listener = lab.at("db").listen(5433);
    assert!(lab.is_silent("web", "db", 5432), "a new connection follows the new rules");
}

#[test]
fn an_untracked_connection_ends_with_its_rule_and_lives_again_with_it() {
    let mut lab = pair();
    // Open to the world in both directions of db: AWS does not track these flows.
    lab.allow("db", &["all to 0.0.0.0/0"]);
    let rules = lab.allow("db", &["tcp 5432 from 0.0.0.0/0", "udp 53 from 0.0.0.0/0"]);
    let mut untracked = lab.connection("web", "db", 5432);
    untracked.talk();
    let (web, db) = (lab.at("web").udp(4000), lab.at("db").udp(53));
    web.send_to(b"before", (lab.at("db").address, 53)).unwrap();
    assert!(hears(&db, b"before"));

    lab.revoke("db", &rules);
    assert!(untracked.is_cut());
    web.send_to(b"after", (lab.at("db").address, 53)).unwrap();
    assert!(hears_nothing(&db));
    assert!(lab.dropped("web", DropReason::RuleRemoved) >= 2);

    lab.allow("db", &["udp 53 from 10.0.0.0/16"]);
    web.send_to(b"again", (lab.at("db").address, 53)).unwrap();
    assert!(hears(&db, b"again"));
}

#[test]
fn an_untracked_connection_survives_a_change_of_other_rules() {
    let mut lab = pair();
    lab.allow("db", &["all to 0.0.0.0/0", "tcp 5432 from 0.0.0.0/0"]);
    let mut untracked = lab.connection("web", "db", 5432);
    let other = lab.allow("db", &["tcp 80 from 0.0.0.0/0"]);
    untracked.talk();
    lab.revoke("db", &other);
    untracked.talk();
}

#[test]
fn a_process_that_restarts_adopts_everything() {
    let mut lab = pair();
    lab.allow("db", &["tcp 5432 from sg:web"]);
    let mut live = lab.connection("web", "db", 5432);
    let plugged = lab.fabric().plugged().unwrap();
    assert_eq!(plugged.len(), 2);
    lab.stop();
    live.talk();
    {
        let _listener = lab.at("db").listen(5433);
        assert!(lab.is_silent("web", "db", 5433), "the rules stay, too");
    }
    lab.connection("web", "db", 5432).talk();
    lab.restart();
    live.talk();
    assert_eq!(lab.fabric().plugged().unwrap(), plugged);
    assert_eq!(lab.program().writes, 0, "what the maps hold is what is wanted");
    // The new process can change the objects of the old one.
    lab.allow("db", &["tcp 80 from sg:web"]);
    let _listener = lab.at("db").listen(80);
    assert_eq!(lab.connects("web", "db", 80), Outcome::Answered);
    live.talk();
}

#[test]
fn a_new_program_takes_over_under_a_live_connection() {
    let mut lab = pair();
    lab.allow("db", &["tcp 5432 from sg:web"]);
    let mut live = lab.connection("web", "db", 5432);
    live.talk();
    let pin = lab.program_pin();
    let mut before = attached(&mut lab);
    lab.restart();
    assert_eq!(attached(&mut lab), before, "the program of the same build stays");
    // The running program is another build's; the process that replaced it died after it had loaded the new one.
    for other in ["fabric_port_other", "fabric_port_new", "fabric_port"] {
        fs::rename(&pin, pin.with_file_name(other)).unwrap();
        lab.restart();
        assert_eq!(lab.program_pin(), pin);
        let now = attached(&mut lab);
        assert!(now.iter().all(|program| !before.contains(program)), "{now:?}");
        before = now;
        live.talk();
    }
    assert_eq!(lab.stats("web").drops.get(&DropReason::NotProgrammed), None);
}

/// The kernel's information on the program of each device, including its id.
fn attached(lab: &mut Lab) -> Vec<String> {
    let links = lab.fabric().namespace().netlink().unwrap().links().unwrap();
    let devices = links.iter().filter(|link| link.name != "lo");
    let shown = devices.map(|device| {
        let mut tc = Command::new("nsenter");
        tc.arg(format!("--net={}", lab.config().run_dir.join("netns/fabric").display()));
        let output = tc.args(["tc", "filter", "show", "dev", &device.name, "ingress"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().find(|line| line.contains(" id ")).unwrap().to_owned()
    });
    shown.collect()
}

#[test]
fn interfaces_and_flows_of_the_layout_before_are_taken_over() {
    let mut lab = pair();
    lab.allow("db", &["tcp 5432 from sg:web"]);
    let mut live = lab.connection("web", "db", 5432);
    live.talk();
    let pins = lab.fabric().pins();
    let earlier = pins.with_file_name("v3");
    lab.stop();
    lab::earlier::turn_back(&pins, &earlier);
    // A process that died during its takeover.
    fs::create_dir(pins.with_file_name("incoming")).unwrap();
    lab.restart();
    let left: Vec<_> = fs::read_dir(pins.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [pins]);
    assert_eq!(lab.fabric().plugged().unwrap().len(), 2);
    assert_eq!(lab.program().writes, 0, "what the maps hold is what is wanted");
    assert_eq!((lab.fabric().flows().unwrap(), lab.stats("web").flows), (1, 1));
    // The server speaks first: only the flow admits its packets.
    live.server.write_all(b"news").unwrap();
    let mut heard = [0; 4];
    live.client.read_exact(&mut heard).unwrap();
    live.talk();
    lab.connection("web", "db", 5432).talk();
    assert!(lab.stats("web").flows >= 2);
    live.close();
    lab.delete("web");
    assert_eq!(lab.fabric().sweep().unwrap().table.used, 0);
}

#[test]
fn unplugging_leaves_nothing() {
    let mut lab = pair();
    lab.allow("db", &["tcp 5432 from sg:web"]);
    lab.connection("web", "db", 5432).talk();
    lab.delete("db");
    lab.unplug("db");
    assert_eq!(lab.fabric().plugged().unwrap().len(), 1);
    let links = lab.fabric().namespace().netlink().unwrap().links().unwrap();
    assert_eq!(links.len(), 2, "lo and web's device: {links:?}");
    assert!(lab.at("db").namespace.netlink().unwrap().link_by_name("eth1").unwrap().is_none());
    assert!(lab.is_silent("web", "db", 5432));
    // Another interface gets the address; no state of the old one remains.
    lab.seat("heir", 1, "10.0.1.20/24", &["db"]);
    lab.connection("web", "heir", 5432).talk();
    assert_eq!(lab.fabric().flows().unwrap(), 1);
}

#[test]
fn a_namespace_that_vanished_is_forgotten_on_the_next_start() {
    let mut lab = pair();
    let name = "eth1";
    lab.at("db").namespace.netlink().unwrap().delete_link(name).unwrap();
    assert_eq!(lab.fabric().plugged().unwrap().len(), 1);
    lab.restart();
    assert_eq!(lab.fabric().plugged().unwrap().len(), 1);
    let id = lab.at("db").id.clone();
    assert!(lab.fabric().stats(&id).is_err());
}

/// Gives the group of `web` this many members, on other hosts.
fn crowd(lab: &mut Lab, members: u32) {
    let web = lab.intent.endpoints[&lab.at("web").id].clone();
    for n in 0..members {
        let [_, _, high, low] = n.to_be_bytes();
        let (address, mac) = (Ipv4Addr::from(0x0a00_8000 + n), MacAddress([2, 9, 0, 0, high, low]));
        let endpoint = EndpointIntent { address, mac, host: HostId::from_bits(2), ..web.clone() };
        lab.intent.endpoints.insert(EniId::from_bits(u128::from(n) + (1 << 60)), endpoint);
    }
    lab.program();
}

#[test]
fn starting_a_task_costs_the_same_three_writes_with_ten_and_with_ten_thousand_members() {
    for members in [10, 10_000] {
        let mut lab = pair();
        lab.write_rules("db", &["tcp 5432 from sg:web"]);
        crowd(&mut lab, members);
        for task in ["10.0.1.30/24", "10.0.1.31/24"] {
            let before = lab.fabric().writes();
            lab.seat(task, 1, task, &["web"]);
            assert_eq!(
                lab.fabric().writes() - before,
                3,
                "{members} members: endpoint, interface, where it is plugged"
            );
            let before = lab.fabric().writes();
            assert!(!lab.program().switched);
            lab.plug(task);
            assert_eq!(lab.fabric().writes(), before, "again");
        }
        lab.connection("10.0.1.31/24", "db", 5432).talk();
    }
}

#[test]
fn nothing_passes_until_the_interface_is_programmed() {
    let mut lab = pair();
    lab.allow("db", &["all from 0.0.0.0/0"]);
    lab.allow("web", &["all from 0.0.0.0/0"]);
    lab.intend("early", 1, "10.0.1.30/24", &["web"]);
    lab.plug("early");
    let listeners = [lab.at("db").listen(80), lab.at("early").listen(80)];
    let drops = lab.drops_during("early", |lab| assert!(lab.is_silent("early", "db", 80)));
    assert_eq!(drops, [DropReason::NoPolicy]);
    let drops = lab.drops_during("web", |lab| assert!(lab.is_silent("web", "early", 80)));
    assert_eq!(drops, [DropReason::ArpUnanswered]);
    lab.program();
    assert_eq!(lab.connects("early", "db", 80), Outcome::Answered);
    assert_eq!(lab.connects("web", "early", 80), Outcome::Answered);
    drop(listeners);
}

#[test]
fn the_same_intent_twice_writes_nothing_and_a_rule_change_is_one_switch() {
    let mut lab = pair();
    assert_eq!(lab.program().writes, 0);
    lab.write_rules("db", &["tcp 80 from 0.0.0.0/0"]);
    assert!(lab.program().switched);
    assert_eq!(lab.program().writes, 0);
}

#[test]
fn stats_are_read_without_the_agent() {
    let mut lab = pair();
    lab.allow("db", &["tcp 5432 from sg:web"]);
    lab.connection("web", "db", 5432).talk();
    let config = lab.config().clone();
    let all = read_stats(&config.instance, &config.run_dir).unwrap();
    assert_eq!(all.len(), 2);
    let of = |name: &str| all.iter().find(|(id, _)| *id == lab.at(name).id).unwrap().1.clone();
    assert_eq!((of("web").packets_out, of("web").bytes_out), (of("db").packets_in, of("db").bytes_in));
    assert!(of("web").packets_out >= 3 && of("db").packets_out >= 2);
    assert!(read_stats("no-such-instance", &config.run_dir).is_err());
}

#[test]
fn destroying_removes_pins_and_namespace() {
    let mut lab = pair();
    let pins = lab.fabric().pins();
    let config = lab.config().clone();
    let other = Fabric::open(config.clone()).unwrap();
    other.destroy().unwrap();
    assert!(!pins.exists());
    assert!(!config.run_dir.join("netns/fabric").exists());
    lab.restart();
    assert!(lab.fabric().plugged().unwrap().is_empty());
}

#[test]
fn the_doctor_finds_this_machine_fit() {
    let lab = Lab::new();
    let unfit: Vec<_> = doctor::check().into_iter().filter(|finding| !finding.ok).collect();
    assert!(unfit.is_empty(), "{unfit:?}");
    drop(lab);
}
