// SPDX-License-Identifier: Apache-2.0
//! Limits of interfaces and NAT gateways, with real packets. Needs root.
#![allow(clippy::unwrap_used)]

#[path = "kernel_datapath_lab/mod.rs"]
mod lab;

use std::net::IpAddr;

use berth_fabric::{DropReason, Exceeded};
use berth_types::intent::{Rate, RouteIntent};
use berth_types::{NatGatewayId, Vni};
use lab::Lab;
use lab::ways::{WORLD, gateway};

const DATAGRAM: [u8; 1200] = [7; 1200];
/// More than a burst of the limit, and less than a second of it: what is dropped does not depend on the machine's speed.
const MANY: usize = 2000;
/// 1 Mbit/s: its burst is 256 KiB.
const RATE: Rate = Rate { bits_per_second: 1_000_000 };

/// `web` in a subnet with a way to the world, `app` in one with a way to a NAT gateway, `db` beside it.
fn world() -> (Lab, NatGatewayId) {
    let mut lab = Lab::new();
    lab.world();
    lab.write_rules("all", &["all to 0.0.0.0/0", "all from 0.0.0.0/0"]);
    lab.subnet(1, "10.0.1.0/24", &[("0.0.0.0/0", RouteIntent::InternetGateway(gateway(1)))]);
    let nat = lab.nat("nat", 1, &["10.0.1.200"], Some("198.18.0.20"));
    let RouteIntent::NatGateway(id) = nat.clone() else { panic!("{nat:?}") };
    lab.subnet(1, "10.0.2.0/24", &[("0.0.0.0/0", nat)]);
    for (name, address) in [("app", "10.0.2.10/24"), ("db", "10.0.2.20/24")] {
        lab.seat(name, 1, address, &["all"]);
    }
    (lab, id)
}

fn send(lab: &Lab, from: &str, to: IpAddr) {
    let socket = lab.at(from).udp(5000);
    for _ in 0..MANY {
        // The queue of the device may be full.
        let _ = socket.send_to(&DATAGRAM, (to, 9));
    }
}

fn limit(lab: &mut Lab, name: &str, rate: Option<Rate>) {
    let id = lab.at(name).id.clone();
    lab.intent.enis.get_mut(&id).unwrap().rate = rate;
    lab.program();
}

fn address(lab: &Lab, name: &str) -> IpAddr {
    IpAddr::V4(lab.at(name).address)
}

#[test]
fn what_an_interface_sends_or_receives_beyond_its_rate_is_dropped_and_counted() {
    let (mut lab, _) = world();
    let (app, db) = (address(&lab, "app"), address(&lab, "db"));
    send(&lab, "app", db);
    assert_eq!(lab.dropped("app", DropReason::RateExceeded), 0, "without a limit there is none");
    limit(&mut lab, "app", Some(RATE));
    send(&lab, "app", db);
    let out = lab.dropped("app", DropReason::RateExceeded);
    assert!(out > 0 && (out as usize) < MANY, "{out}");
    send(&lab, "db", app);
    assert!(lab.dropped("app", DropReason::RateExceeded) > out, "what it receives has a limit of its own");
    assert_eq!(lab.dropped("db", DropReason::RateExceeded), 0);
    let config = lab.config();
    let exceeded = Exceeded::read(&config.instance, &config.run_dir).unwrap();
    let id = lab.at("app").id.clone();
    assert_eq!(exceeded.of_eni(&lab.at("db").id), None);
    assert_eq!(exceeded.of_eni(&id), Some(lab.dropped("app", DropReason::RateExceeded)));

    // Another process keeps the limit; without it everything passes again.
    lab.restart();
    lab.program();
    let before = lab.dropped("app", DropReason::RateExceeded);
    send(&lab, "app", db);
    let after = lab.dropped("app", DropReason::RateExceeded);
    assert!(after > before);
    limit(&mut lab, "app", None);
    send(&lab, "app", db);
    assert_eq!(lab.dropped("app", DropReason::RateExceeded), after);
}

#[test]
fn a_nat_gateway_has_a_limit_for_all_its_senders_and_none_for_packets_beside_it() {
    let (mut lab, nat) = world();
    let world: IpAddr = IpAddr::V4(WORLD);
    lab.intent.nat_gateways.get_mut(&nat).unwrap().rate = Some(RATE);
    lab.program();
    send(&lab, "app", world);
    let dropped = lab.dropped("app", DropReason::RateExceeded);
    assert!(dropped > 0 && (dropped as usize) < MANY, "{dropped}");
    send(&lab, "db", world);
    assert!(lab.dropped("db", DropReason::RateExceeded) > 0, "both share it");
    let config = lab.config();
    let exceeded = Exceeded::read(&config.instance, &config.run_dir).unwrap();
    let exceeded = exceeded.of_nat(Vni(1), "10.0.1.200".parse().unwrap());
    assert_eq!(exceeded, Some(["app", "db"].map(|name| lab.dropped(name, DropReason::RateExceeded)).iter().sum()));
    let to = address(&lab, "db");
    send(&lab, "app", to);
    assert_eq!(lab.dropped("app", DropReason::RateExceeded), dropped, "inside the subnet there is no gateway");
    lab.intent.nat_gateways.get_mut(&nat).unwrap().rate = None;
    lab.program();
    send(&lab, "app", world);
    assert_eq!(lab.dropped("app", DropReason::RateExceeded), dropped);
}

#[test]
fn an_interface_in_the_place_of_a_limited_one_has_no_limit() {
    let (mut lab, _) = world();
    limit(&mut lab, "app", Some(RATE));
    lab.delete("app");
    lab.seat("next", 1, "10.0.2.11/24", &["all"]);
    let db = address(&lab, "db");
    send(&lab, "next", db);
    let next = address(&lab, "next");
    send(&lab, "db", next);
    assert_eq!(lab.dropped("next", DropReason::RateExceeded), 0);
}
