// SPDX-License-Identifier: Apache-2.0
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use serde_json::Value;

use super::*;

/// A host with a network card, a pair that leads outside (as in a container) and one to a namespace.
fn host(default_route_on: &str) -> Seen {
    let names = ["card", "eth0", "space"].map(str::to_owned).to_vec();
    let outside = names.iter().filter(|name| *name == "card" || *name == default_route_on).cloned().collect();
    let disguised = names.iter().filter(|name| *name == default_route_on && *name != "card").cloned().collect();
    let forwarding = BTreeMap::from([("card".to_owned(), "0".to_owned()), ("eth0".to_owned(), "1".to_owned())]);
    Seen { names, outside, disguised, forwarding }
}

fn side(onward: Option<&str>) -> Side {
    let (table, device) = ("berth-x-world".to_owned(), "world-0".to_owned());
    Side { key: HOST, table, device, onward: onward.map(str::to_owned), space: None }
}

fn check(uplink: Option<Uplink>, seen: &Seen, expected: &Expect) {
    check_at(&side(None), uplink, seen, expected);
}

fn check_at(side: &Side, uplink: Option<Uplink>, seen: &Seen, expected: &Expect) {
    let (wall, _) = decide(side, uplink.as_ref(), seen, &Walled::default()).unwrap();
    let value = rules::ruleset(&side.table, "198.18.0.0/20".parse().unwrap(), &wall);
    let text: Vec<String> = value["nftables"].as_array().unwrap().iter().filter_map(line).collect();
    expected.assert_eq(&(text.join("\n") + "\n"));
}

/// A rule in fewer words.
fn line(step: &Value) -> Option<String> {
    let rule = step["add"]["rule"].as_object()?;
    let words = rule["expr"].as_array().unwrap().iter().map(|part| match part.get("match") {
        Some(found) => {
            format!("{} {} {}", value(&found["left"]), found["op"].as_str().unwrap(), value(&found["right"]))
        }
        None => part.as_object().unwrap().keys().next().unwrap().clone(),
    });
    Some(format!("{}: {}", rule["chain"].as_str().unwrap(), words.collect::<Vec<_>>().join(", ")))
}

fn value(value: &Value) -> String {
    match value {
        Value::Object(object) if object.contains_key("prefix") => {
            format!("{}/{}", object["prefix"]["addr"].as_str().unwrap(), object["prefix"]["len"])
        }
        Value::Object(object) => object.values().map(self::value).collect::<Vec<_>>().join(" "),
        Value::Array(array) => format!("{{{}}}", array.iter().map(self::value).collect::<Vec<_>>().join(" ")),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[test]
fn without_an_uplink_only_namespaces_of_the_machine_are_reached() {
    check(
        None,
        &host("eth0"),
        &expect![[r#"
        guard: iifname == world-0, nfproto == ipv6, drop
        guard: iifname == world-0, saddr ip != 198.18.0.0/20, drop
        guard: iifname == world-0, daddr ip == {127.0.0.0/8 169.254.0.0/16}, drop
        cross: iifname == world-0, oifname == {eth0}, drop
        cross: iifname == world-0, oifkind == {veth bridge}, accept
        cross: iifname == world-0, drop
        cross: oifname == world-0, iifname == {eth0}, drop
        cross: oifname == world-0, iifkind == {veth bridge}, accept
        cross: oifname == world-0, drop
    "#]],
    );
}

#[test]
fn what_comes_to_a_simulated_host_is_for_its_way_to_the_world_alone() {
    check_at(
        &side(Some("outside")),
        None,
        &Seen::default(),
        &expect![[r#"
            guard: iifname == world-0, nfproto == ipv6, drop
            guard: iifname == world-0, saddr ip != 198.18.0.0/20, drop
            guard: iifname == world-0, daddr ip == {127.0.0.0/8 169.254.0.0/16}, drop
            cross: iifname == outside, oifname != world-0, drop
            cross: iifname == world-0, oifkind == {veth bridge}, accept
            cross: iifname == world-0, drop
            cross: oifname == world-0, iifkind == {veth bridge}, accept
            cross: oifname == world-0, drop
        "#]],
    );
}

#[test]
fn an_uplink_of_one_device_translates_and_admits_answers_there_alone() {
    check(
        Some(Uplink::Device("card".to_owned())),
        &host("eth0"),
        &expect![[r#"
        guard: iifname == world-0, nfproto == ipv6, drop
        guard: iifname == world-0, saddr ip != 198.18.0.0/20, drop
        guard: iifname == world-0, daddr ip == {127.0.0.0/8 169.254.0.0/16}, drop
        cross: iifname == world-0, oifname == {eth0}, drop
        cross: iifname == world-0, oifkind == {veth bridge}, accept
        cross: iifname == world-0, oifname == {card}, accept
        cross: iifname == world-0, drop
        cross: oifname == world-0, state in {established related}, accept
        cross: oifname == world-0, iifname == {eth0}, drop
        cross: oifname == world-0, iifkind == {veth bridge}, accept
        cross: oifname == world-0, drop
        cross: iifname == {card}, state in {established related}, accept
        cross: iifname == {card}, status in dnat, accept
        cross: iifname == {card}, drop
        leave: saddr ip == 198.18.0.0/20, oifname == {card}, masquerade
    "#]],
    );
}

#[test]
fn an_open_uplink_admits_every_device() {
    check(
        Some(Uplink::Any),
        &host("card"),
        &expect![[r#"
        guard: iifname == world-0, nfproto == ipv6, drop
        guard: iifname == world-0, saddr ip != 198.18.0.0/20, drop
        guard: iifname == world-0, daddr ip == {127.0.0.0/8 169.254.0.0/16}, drop
        cross: iifname == world-0, oifkind == {veth bridge}, accept
        cross: iifname == world-0, accept
        cross: iifname == world-0, drop
        cross: oifname == world-0, state in {established related}, accept
        cross: oifname == world-0, iifkind == {veth bridge}, accept
        cross: oifname == world-0, drop
        cross: iifname == {card}, state in {established related}, accept
        cross: iifname == {card}, status in dnat, accept
        cross: iifname == {card}, drop
        leave: saddr ip == 198.18.0.0/20, oifname == {card}, masquerade
        leave: saddr ip == 198.18.0.0/20, oifkind == {veth bridge}, return
        leave: saddr ip == 198.18.0.0/20, oifname != lo, masquerade
    "#]],
    );
}

#[test]
fn forwarding_is_switched_on_where_it_was_off_and_remembered() {
    let decided = |uplink: &str, before: &Walled| {
        decide(&side(None), Some(&Uplink::Device(uplink.to_owned())), &host("eth0"), before)
            .map(|(_, forwarding)| forwarding)
    };
    let noted = |forwarding: &Forwarding| Walled { forwarding: forwarding.clone(), own: None };
    let was = |device: &str| BTreeMap::from([(device.to_owned(), "0".to_owned())]);
    let first = decided("card", &Walled::default()).unwrap();
    assert_eq!(first, was("card"));
    // The next process sees the setting that the first one made.
    let mut later = host("eth0");
    later.forwarding.insert("card".to_owned(), "1".to_owned());
    let uplink = Uplink::Device("card".to_owned());
    assert_eq!(decide(&side(None), Some(&uplink), &later, &noted(&first)).unwrap().1, first);
    assert_eq!(decided("eth0", &noted(&first)).unwrap(), BTreeMap::new());
    let gone = decided("nowhere", &noted(&first)).unwrap_err().to_string();
    assert!(gone.contains("no device nowhere for --uplink"), "{gone}");
}

#[tokio::test]
async fn devices_of_the_way_go_on_to_forward_on_a_simulated_host() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(&dir.path().join("journal.redb")).unwrap();
    let way = host_device("lab-1");
    assert_eq!(forwarding(&journal, "lab-1").unwrap(), Vec::<String>::new());
    // The wall at the host has no uplink; the one on the machine has records of devices that are not the host's.
    journal.put(journal::WORLD, HOST, &Walled::default()).await.unwrap();
    assert_eq!(forwarding(&journal, "lab-1").unwrap(), Vec::<String>::new());
    let machine = Walled { forwarding: BTreeMap::from([("card".to_owned(), "0".to_owned())]), own: None };
    journal.put(journal::WORLD, MACHINE, &machine).await.unwrap();
    assert_eq!(forwarding(&journal, "lab-1").unwrap(), [way.clone(), outside::DEVICE.to_owned()]);
    let uplink = Walled { own: Some("0".to_owned()), ..Walled::default() };
    journal.remove(journal::WORLD, MACHINE).await.unwrap();
    journal.put(journal::WORLD, HOST, &uplink).await.unwrap();
    assert_eq!(forwarding(&journal, "lab-1").unwrap(), [way]);
}
