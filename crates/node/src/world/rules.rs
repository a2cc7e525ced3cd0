// SPDX-License-Identifier: Apache-2.0
//! The table of nftables around the way to the world: which packets of tasks the host forwards, and which of others to
//! them. A value for `nft -j`, made whole each time and applied as one transaction. Pure.

use berth_types::Ipv4Cidr;
use serde_json::{Value, json};

/// Kinds of devices that lead to namespaces of the machine, unless they are known to lead outside.
const INSIDE_KINDS: [&str; 2] = ["veth", "bridge"];
/// Destinations that a packet of the world never has: what listens there is for the host and its bridges alone.
const NOT_FOR_THE_WORLD: [(&str, u8); 2] = [("127.0.0.0", 8), ("169.254.0.0", 16)];

/// What the table is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wall {
    /// The host's end of the way to the world.
    pub device: String,
    /// The device by which the way goes on: nothing else comes in by it than what is for the way.
    pub onward: Option<String>,
    /// Devices that lead out of the machine although their kind does not say so.
    pub outside: Vec<String>,
    /// Devices by which packets of tasks may leave the machine; none without an uplink.
    pub uplinks: Vec<String>,
    /// Packets of tasks may leave by every device.
    pub is_open: bool,
    /// Devices on which forwarding is on for the uplink only.
    pub switched_on: Vec<String>,
}

/// Name of an instance's table.
pub(super) fn table(instance: &str) -> String {
    format!("berth-{instance}-world")
}

/// Removes the table, if it exists.
pub(super) fn removal(table: &str) -> Value {
    json!({ "nftables": removed(table) })
}

/// What the table must hold, whatever it holds now.
pub(super) fn ruleset(table: &str, pool: Ipv4Cidr, wall: &Wall) -> Value {
    let has_uplink = wall.is_open || !wall.uplinks.is_empty();
    let mut chains = vec![
        ("guard", "filter", "prerouting", -300, guard(pool, wall)),
        ("cross", "filter", "forward", 0, cross(wall, has_uplink)),
    ];
    // Only translation needs the kernel to track connections.
    if has_uplink {
        chains.push(("leave", "nat", "postrouting", 100, leave(pool, wall)));
    }
    let mut steps = removed(table);
    steps.push(json!({"add": {"table": {"family": "inet", "name": table}}}));
    for (chain, kind, hook, priority, rules) in chains {
        steps.push(json!({"add": {"chain": {"family": "inet", "table": table, "name": chain, "type": kind,
            "hook": hook, "prio": priority, "policy": "accept"}}}));
        let rule = |expr| json!({"add": {"rule": {"family": "inet", "table": table, "chain": chain, "expr": expr}}});
        steps.extend(rules.into_iter().map(rule));
    }
    json!({ "nftables": steps })
}

fn removed(table: &str) -> Vec<Value> {
    let table = json!({"family": "inet", "name": table});
    vec![json!({"add": {"table": table}}), json!({"delete": {"table": table}})]
}

/// Packets of the world come from the pool, and never go to what the host has for itself.
fn guard(pool: Ipv4Cidr, wall: &Wall) -> Vec<Value> {
    let from = is("==", meta("iifname"), json!(wall.device));
    let own =
        json!({"set": NOT_FOR_THE_WORLD.map(|(address, bits)| json!({"prefix": {"addr": address, "len": bits}}))});
    vec![
        json!([from, is("==", meta("nfproto"), json!("ipv6")), {"drop": null}]),
        json!([from, is("!=", ip("saddr"), range(pool)), {"drop": null}]),
        json!([from, is("==", ip("daddr"), own), {"drop": null}]),
    ]
}

/// A device without a kind matches no comparison of kinds, so kinds are only ever admitted.
fn cross(wall: &Wall, has_uplink: bool) -> Vec<Value> {
    let (from, to) = (is("==", meta("iifname"), json!(wall.device)), is("==", meta("oifname"), json!(wall.device)));
    let barred: Vec<&String> = wall.outside.iter().filter(|device| !wall.uplinks.contains(device)).collect();
    let mut rules = Vec::new();
    if let Some(onward) = &wall.onward {
        let elsewhere = is("!=", meta("oifname"), json!(wall.device));
        rules.push(json!([is("==", meta("iifname"), json!(onward)), elsewhere, {"drop": null}]));
    }
    if !barred.is_empty() && !wall.is_open {
        rules.push(json!([from, is("==", meta("oifname"), json!({ "set": barred })), {"drop": null}]));
    }
    rules.push(json!([from, is("==", meta("oifkind"), json!({ "set": INSIDE_KINDS })), {"accept": null}]));
    if wall.is_open {
        rules.push(json!([from, {"accept": null}]));
    } else if !wall.uplinks.is_empty() {
        rules.push(json!([from, is("==", meta("oifname"), json!({ "set": wall.uplinks })), {"accept": null}]));
    }
    rules.push(json!([from, {"drop": null}]));
    if has_uplink {
        rules.push(json!([to, answers(), {"accept": null}]));
    }
    if !wall.outside.is_empty() {
        rules.push(json!([to, is("==", meta("iifname"), json!({ "set": wall.outside })), {"drop": null}]));
    }
    rules.push(json!([to, is("==", meta("iifkind"), json!({ "set": INSIDE_KINDS })), {"accept": null}]));
    rules.push(json!([to, {"drop": null}]));
    if !wall.switched_on.is_empty() {
        // A host that forwarded nothing from there before goes on to forward nothing but what is ours.
        let by = is("==", meta("iifname"), json!({ "set": wall.switched_on }));
        rules.push(json!([by, answers(), {"accept": null}]));
        rules.push(json!([by, translated(), {"accept": null}]));
        rules.push(json!([by, {"drop": null}]));
    }
    rules
}

/// What leaves the machine carries an address of the machine.
fn leave(pool: Ipv4Cidr, wall: &Wall) -> Vec<Value> {
    let from = is("==", ip("saddr"), range(pool));
    let mut rules = Vec::new();
    if !wall.uplinks.is_empty() {
        rules.push(json!([from, is("==", meta("oifname"), json!({ "set": wall.uplinks })), {"masquerade": null}]));
    }
    if wall.is_open {
        rules.push(json!([from, is("==", meta("oifkind"), json!({ "set": INSIDE_KINDS })), {"return": null}]));
        rules.push(json!([from, is("!=", meta("oifname"), json!("lo")), {"masquerade": null}]));
    }
    rules
}

fn answers() -> Value {
    json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}})
}

fn translated() -> Value {
    json!({"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}})
}

fn is(op: &str, left: Value, right: Value) -> Value {
    json!({"match": {"op": op, "left": left, "right": right}})
}

fn meta(key: &str) -> Value {
    json!({"meta": {"key": key}})
}

fn ip(field: &str) -> Value {
    json!({"payload": {"protocol": "ip", "field": field}})
}

fn range(range: Ipv4Cidr) -> Value {
    json!({"prefix": {"addr": range.network(), "len": range.prefix()}})
}
