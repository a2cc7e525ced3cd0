// SPDX-License-Identifier: Apache-2.0
//! The instance's table of nftables: ports of the host that lead to containers, addresses that leave the bridge, and
//! the walls around it. A value for `nft -j`, made whole each time and applied as one transaction. Pure.

use std::net::Ipv4Addr;

use berth_fabric::cni::bridge::BRIDGE_DEFAULT;
use berth_fabric::primary;
use berth_fabric::world::host_device;
use berth_types::mode::{NetworkBinding, Protocol};
use serde_json::{Value, json};

use super::place::{Bridge, NetworkPlace};
use crate::network::{HOST_DEVICES, METADATA_ADDRESS};

/// Name of an instance's table.
pub(super) fn table(instance: &str) -> String {
    format!("berth-{instance}")
}

/// Removes the table, if it exists.
pub(super) fn removal(table: &str) -> Value {
    let table = json!({"family": "inet", "name": table});
    json!({"nftables": [{"add": {"table": table}}, {"delete": {"table": table}}]})
}

/// What the table must hold, whatever it holds now.
pub(super) fn ruleset<'a>(instance: &str, bridge: &Bridge, places: impl Iterator<Item = &'a NetworkPlace>) -> Value {
    let table = table(instance);
    let published: Vec<Value> = places
        .filter_map(|place| Some((place.address?, &place.bindings)))
        .flat_map(|(address, bindings)| bindings.iter().flat_map(move |binding| publish(address, binding)))
        .collect();
    // A host that forwarded nothing before goes on to forward nothing but what is ours.
    let others = if bridge.ip_forward == "0" { "drop" } else { "accept" };
    let chains = [
        ("guard", "filter", "prerouting", -300, "accept", guard(bridge)),
        ("mark", "filter", "prerouting", -150, "accept", mark(bridge)),
        ("publish", "nat", "prerouting", -100, "accept", [from_outside(), published.clone()].concat()),
        ("publish-local", "nat", "output", -100, "accept", [unless_local(), published].concat()),
        ("leave", "nat", "postrouting", 100, "accept", leave(bridge)),
        ("cross", "filter", "forward", 0, others, cross(bridge, &host_device(instance))),
    ];
    let named = json!({"family": "inet", "name": table});
    let mut steps = vec![json!({"add": {"table": named}})];
    steps.extend(chains.iter().map(|(name, kind, hook, priority, policy, _)| {
        json!({"add": {"chain": {"family": "inet", "table": table, "name": name, "type": kind, "hook": hook,
            "prio": priority, "policy": policy}}})
    }));
    steps.push(json!({"flush": {"table": named}}));
    for (chain, .., rules) in chains {
        let rule = |expr| json!({"add": {"rule": {"family": "inet", "table": table, "chain": chain, "expr": expr}}});
        steps.extend(rules.into_iter().map(rule));
    }
    json!({ "nftables": steps })
}

/// Before anything is translated: nobody reaches an address of the bridge but through the ports of the host, and no
/// container reaches what listens on the host's loopback.
fn guard(bridge: &Bridge) -> Vec<Value> {
    let network = prefix(bridge);
    // The host itself talks to its own address on the bridge through loopback.
    let inside = json!({"set": [bridge.name, "lo"]});
    vec![
        json!([is("!=", meta("iifname"), inside), is("==", ip("daddr"), network.clone()), {"drop": null}]),
        json!([is("==", meta("iifname"), json!(bridge.name)), is("==", ip("daddr"), loopback()), {"drop": null}]),
        json!([is("==", meta("iifname"), json!(bridge.name)), is("!=", ip("saddr"), network), {"drop": null}]),
    ]
}

/// Answers of connections that came in by the host's primary interface leave by it.
fn mark(bridge: &Bridge) -> Vec<Value> {
    let mark = |of: &str| json!({of: {"key": "mark"}});
    let own = |of: &str| json!({"&": [mark(of), primary::MARK_MASK]});
    let put = |of: &str| {
        let others = json!({"&": [mark(of), !primary::MARK_MASK]});
        json!({"mangle": {"key": mark(of), "value": {"|": [others, primary::MARK]}}})
    };
    vec![
        json!([is("==", meta("iifname"), json!(HOST_DEVICES)), put("ct")]),
        json!([is("==", meta("iifname"), json!(bridge.name)), is("==", own("ct"), json!(primary::MARK)), put("meta")]),
    ]
}

/// Tasks of other network modes see the metadata endpoint on their bridge and nothing else of the host.
fn from_outside() -> Vec<Value> {
    [unless_local(), vec![json!([is("==", meta("iifname"), json!(BRIDGE_DEFAULT)), {"return": null}])]].concat()
}

/// Ports are published on every address of the host but the metadata endpoint's.
fn unless_local() -> Vec<Value> {
    let kind = json!({"fib": {"result": "type", "flags": ["daddr"]}});
    vec![
        json!([is("!=", kind, json!("local")), {"return": null}]),
        json!([is("==", ip("daddr"), json!(METADATA_ADDRESS)), {"return": null}]),
    ]
}

fn publish(address: Ipv4Addr, binding: &NetworkBinding) -> Vec<Value> {
    let protocol = match binding.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let one = |(offset, outside): (u16, berth_types::mode::HostPort)| {
        let inside = binding.container_port.saturating_add(offset);
        let port = json!({"payload": {"protocol": protocol, "field": "dport"}});
        json!([is("==", port, json!(outside.port)), {"dnat": {"family": "ip", "addr": address, "port": inside}}])
    };
    (0..).zip(binding.host_ports()).map(one).collect()
}

/// What leaves the bridge carries an address of the host; so does what comes back in through a published port, or the
/// answer would not find its way back.
fn leave(bridge: &Bridge) -> Vec<Value> {
    let network = prefix(bridge);
    let out = |op: &str| is(op, meta("oifname"), json!(bridge.name));
    vec![
        json!([out("!="), is("==", ip("saddr"), network.clone()), {"masquerade": null}]),
        json!([out("=="), is("==", ip("saddr"), loopback()), {"masquerade": null}]),
        json!([out("=="), is("==", ip("saddr"), network), translated(), {"masquerade": null}]),
    ]
}

/// Other tables judge the packets of the world that are not for the bridge.
fn cross(bridge: &Bridge, world: &str) -> Vec<Value> {
    let (from, to) = (is("==", meta("iifname"), json!(bridge.name)), is("==", meta("oifname"), json!(bridge.name)));
    let answers = json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}});
    vec![
        json!([is("==", meta("nfproto"), json!("ipv6")), {"accept": null}]),
        json!([from, is("==", meta("oifname"), json!(BRIDGE_DEFAULT)), {"drop": null}]),
        json!([from, {"accept": null}]),
        json!([to, answers, {"accept": null}]),
        json!([to, translated(), {"accept": null}]),
        json!([to, {"drop": null}]),
        json!([is("==", meta("iifname"), json!(world)), {"accept": null}]),
        json!([is("==", meta("oifname"), json!(world)), {"accept": null}]),
    ]
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

fn prefix(bridge: &Bridge) -> Value {
    json!({"prefix": {"addr": bridge.network.network(), "len": bridge.network.prefix_len()}})
}

fn loopback() -> Value {
    json!({"prefix": {"addr": "127.0.0.0", "len": 8}})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use berth_types::TaskId;
    use berth_types::mode::NetworkMode;
    use expect_test::expect;

    /// A container that publishes ports of both protocols, and a range.
    fn place() -> NetworkPlace {
        let binding = |host_port, container_port, last, protocol| NetworkBinding {
            bind_ip: Ipv4Addr::UNSPECIFIED,
            container_port,
            host_port,
            protocol,
            last_container_port: last,
        };
        NetworkPlace {
            task: TaskId::from_bits(1),
            container: "app".to_owned(),
            mode: NetworkMode::Bridge,
            namespace: None,
            link: None,
            address: Some(Ipv4Addr::new(172, 17, 0, 2)),
            bindings: vec![
                binding(8080, 80, None, Protocol::Tcp),
                binding(32768, 53, None, Protocol::Udp),
                binding(40000, 90, Some(91), Protocol::Tcp),
            ],
        }
    }

    #[test]
    fn a_published_port_leads_to_its_container() {
        let place = place();
        let bridge = Bridge {
            name: "berth0".to_owned(),
            network: "172.17.0.0/16".parse().unwrap(),
            ip_forward: "0".to_owned(),
            forwarding: Vec::new(),
        };
        let value = ruleset("x", &bridge, [&place].into_iter());
        let steps = value["nftables"].as_array().unwrap();
        let line = |step: &Value| match (&step["add"]["rule"], &step["add"]["chain"]) {
            (Value::Null, Value::Null) => step.to_string(),
            (Value::Null, chain) => format!("{} {} {}", chain["name"], chain["hook"], chain["policy"]),
            (rule, _) => format!("{} {}", rule["chain"], words(&rule["expr"])),
        };
        let text: Vec<String> = steps.iter().map(line).collect();
        expect![[r#"
            {add:{table:{family:inet,name:berth-x}}}
            guard prerouting accept
            mark prerouting accept
            publish prerouting accept
            publish-local output accept
            leave postrouting accept
            cross forward drop
            {flush:{table:{family:inet,name:berth-x}}}
            guard iifname != [berth0,lo]; daddr.ip == 172.17.0.0.16; {drop:null}
            guard iifname == berth0; daddr.ip == 127.0.0.0.8; {drop:null}
            guard iifname == berth0; saddr.ip != 172.17.0.0.16; {drop:null}
            mark iifname == eni*; {mangle:{key:{ct:{key:mark}},value:{|:[{&:[{ct:{key:mark}},4278255615]},6422528]}}}
            mark iifname == berth0; [{ct:{key:mark}},16711680] == 6422528; {mangle:{key:{meta:{key:mark}},value:{|:[{&:[{meta:{key:mark}},4278255615]},6422528]}}}
            publish [daddr].type != local; {return:null}
            publish daddr.ip == 169.254.170.2; {return:null}
            publish iifname == ecs-bridge; {return:null}
            publish dport.tcp == 8080; {dnat:{addr:172.17.0.2,family:ip,port:80}}
            publish dport.udp == 32768; {dnat:{addr:172.17.0.2,family:ip,port:53}}
            publish dport.tcp == 40000; {dnat:{addr:172.17.0.2,family:ip,port:90}}
            publish dport.tcp == 40001; {dnat:{addr:172.17.0.2,family:ip,port:91}}
            publish-local [daddr].type != local; {return:null}
            publish-local daddr.ip == 169.254.170.2; {return:null}
            publish-local dport.tcp == 8080; {dnat:{addr:172.17.0.2,family:ip,port:80}}
            publish-local dport.udp == 32768; {dnat:{addr:172.17.0.2,family:ip,port:53}}
            publish-local dport.tcp == 40000; {dnat:{addr:172.17.0.2,family:ip,port:90}}
            publish-local dport.tcp == 40001; {dnat:{addr:172.17.0.2,family:ip,port:91}}
            leave oifname != berth0; saddr.ip == 172.17.0.0.16; {masquerade:null}
            leave oifname == berth0; saddr.ip == 127.0.0.0.8; {masquerade:null}
            leave oifname == berth0; saddr.ip == 172.17.0.0.16; status in dnat; {masquerade:null}
            cross nfproto == ipv6; {accept:null}
            cross iifname == berth0; oifname == ecs-bridge; {drop:null}
            cross iifname == berth0; {accept:null}
            cross oifname == berth0; state in [established,related]; {accept:null}
            cross oifname == berth0; status in dnat; {accept:null}
            cross oifname == berth0; {drop:null}
            cross iifname == world-fd0c5087; {accept:null}
            cross oifname == world-fd0c5087; {accept:null}"#]]
        .assert_eq(&text.join("\n").replace('"', ""));
    }

    /// A rule in fewer words.
    fn words(expr: &Value) -> String {
        let one = |part: &Value| match &part["match"] {
            Value::Null => part.to_string(),
            found => {
                let short = |value: &Value| match value {
                    Value::Object(inner) => {
                        let inner: Vec<String> = inner
                            .values()
                            .flat_map(|value| {
                                value.as_object().map(|o| o.values().cloned().collect()).unwrap_or(vec![value.clone()])
                            })
                            .map(|value| value.to_string())
                            .collect();
                        inner.join(".")
                    }
                    other => other.to_string(),
                };
                format!("{} {} {}", short(&found["left"]), found["op"], short(&found["right"]))
            }
        };
        expr.as_array().unwrap().iter().map(one).collect::<Vec<_>>().join("; ")
    }
}
