// SPDX-License-Identifier: Apache-2.0
//! Records and maps give the same answers while they have the same content, and differences are reported.
#![allow(clippy::too_many_lines, clippy::unwrap_used)]

use std::collections::BTreeMap;

use berth_types::explain::{Attached, Ends, Party};
use berth_types::intent::{Direction, HostIntent};
use berth_types::{EniId, GroupSetId, HostId, Ipv4Cidr, SubnetId, Vni, VpcId};
use proptest::prelude::*;

use super::*;
use crate::bpf::layout::{Eni, mask};
use crate::compile::{Names, compile};
use crate::fabric::Held;
use crate::fabric::testing::plan;
use crate::oracle::tests::{
    Crossing, World, address, any_crossing, any_groups, any_question, any_sets, any_world, key_of,
};
use crate::reading;

fn host() -> HostId {
    HostId::from_bits(1)
}

fn subnet() -> Ipv4Cidr {
    Ipv4Cidr::containing(address(0), 24).unwrap()
}

fn eni(n: u8) -> EniId {
    EniId::from_bits(n.into())
}

/// The maps of a test world: programmed, with every endpoint plugged.
fn programmed(world: &World) -> Programmed {
    let mut held = Held::default();
    let policies = world.policies();
    for step in plan(&held, &world.wanted(&policies)) {
        held.apply(&step);
    }
    held.cidrs.insert((Vni(1), Ipv4Cidr::containing(address(0), 16).unwrap()));
    for &n in world.endpoints.keys() {
        let entry = Eni {
            ifindex: u32::from(n) + 10,
            vni: 1,
            address: address(n).octets(),
            mask: mask(subnet()),
            router: subnet().gateway().octets(),
            ..Eni::default()
        };
        held.plugged.insert(eni(n), entry);
    }
    Programmed(held)
}

fn party(world: &World, n: u8) -> Option<Party> {
    let group_set = *world.endpoints.get(&n)?;
    Some(Party {
        eni: eni(n),
        address: address(n),
        subnet: SubnetId::from_bits(1),
        subnet_cidr: subnet(),
        task: None,
        security_groups: world.sets[&group_set].groups.clone(),
        group_set,
        attachment: Some(Attached { host: host(), is_usable: true }),
    })
}

/// `None` if there is no sender.
fn ends(world: &World, q: &Crossing) -> Option<Ends> {
    Some(Ends {
        vpc: VpcId::from_bits(1),
        vni: Vni(1),
        cidrs: vec![Ipv4Cidr::containing(address(0), 16).unwrap()],
        source: party(world, q.from)?,
        destination: address(q.to),
        receiver: party(world, q.to),
        group_sets: world.sets.iter().map(|(id, set)| (*id, set.clone())).collect(),
        security_groups: world.groups.clone(),
        ways: HostIntent::default(),
    })
}

fn packet(q: &Crossing) -> Packet {
    Packet { protocol: Some(q.protocol), port: q.port }
}

proptest! {
    #[test]
    fn every_bit_that_admits_leads_back_to_the_rules_that_admit(
        groups in any_groups(), sets in any_sets(), questions in proptest::collection::vec(any_question(), 64),
    ) {
        let policies = compile(&sets, &groups).unwrap();
        for q in questions.iter().filter(|q| sets.contains_key(&q.group_set)) {
            let policy = &policies[&q.group_set];
            let tables = match q.direction {
                Direction::Egress => &policy.egress,
                Direction::Ingress => &policy.ingress,
            };
            let names = Names::of(&sets[&q.group_set], &sets, &groups, q.direction);
            let admitting = tables.admitting(q.peer, q.peer_set, q.protocol, q.port);
            let mut by_bits: Vec<_> = admitting.bits().flat_map(|bit| names.of_bit(tables, bit)).collect();
            by_bits.sort();
            // A rule with several ranges has several bits.
            by_bits.dedup();
            let mut read: Vec<_> =
                reading::admitting(&sets, &groups, q).map(|(group, rule, _)| (group.clone(), rule.clone())).collect();
            read.sort();
            prop_assert_eq!(by_bits, read, "{:?}", q);
        }
    }

    #[test]
    fn records_and_maps_agree_with_each_other_and_with_the_oracle(
        world in any_world(), questions in proptest::collection::vec(any_crossing(), 32),
    ) {
        let programmed = programmed(&world);
        for q in &questions {
            let Some(ends) = ends(&world, q) else { continue };
            let explained = explain(&ends, packet(q), &programmed, &host());
            prop_assert_eq!(explained.warnings(), Vec::<String>::new(), "{:?}", q);
            let passes = explained.drop_reason().is_none();
            prop_assert_eq!(passes, q.from != q.to && world.admits(q), "{:?} {:?}", q, explained);
        }
    }

    #[test]
    fn rules_that_changed_since_the_maps_were_programmed_are_told_by_what_they_match(
        old in any_world(), groups in any_groups(), q in any_crossing(),
    ) {
        // The kernel still has the old rules; the records have others under the same ids.
        let programmed = programmed(&old);
        let new = World { groups, ..old.clone() };
        let Some(ends) = ends(&new, &q) else { return Ok(()) };
        let explained = explain(&ends, packet(&q), &programmed, &host());
        prop_assert_eq!(explained.drop_reason().is_none(), q.from != q.to && old.admits(&q));
        for asked in &explained.gates[2..] {
            let Answer::Pass(rules) = &asked.maps else { continue };
            // A rule is named only if it admits the packet by the records, too.
            let named = rules.iter().filter(|rule| matches!(rule, Deciding::Rule { .. }));
            for rule in named {
                let Answer::Pass(recorded) = &asked.records else { panic!("{rule} admits, the records deny") };
                prop_assert!(recorded.contains(rule), "{rule} is not in {recorded:?}");
            }
        }
    }
}

/// Two endpoints with rules that admit everything, and the maps as programmed.
fn open_world() -> (Ends, Programmed) {
    use berth_types::intent::{GroupSetIntent, PortRange, RuleIntent, RulePeer, SecurityGroupIntent};
    use berth_types::{SecurityGroupId, SecurityGroupRuleId};
    let group = SecurityGroupId::from_bits(1);
    let world_range = Ipv4Cidr::containing([0, 0, 0, 0].into(), 0).unwrap();
    let rule =
        |direction, protocol, ports| RuleIntent { direction, protocol, ports, peer: RulePeer::Cidr(world_range) };
    let rules = BTreeMap::from([
        (SecurityGroupRuleId::from_bits(1), rule(Direction::Egress, None, PortRange::All)),
        (SecurityGroupRuleId::from_bits(2), rule(Direction::Ingress, Some(6), PortRange::Ports(80, 81))),
    ]);
    let world = World {
        groups: BTreeMap::from([(group.clone(), SecurityGroupIntent { rules })]),
        sets: BTreeMap::from([(GroupSetId(1), GroupSetIntent { vni: Vni(1), groups: vec![group] })]),
        endpoints: BTreeMap::from([(4, GroupSetId(1)), (5, GroupSetId(1))]),
    };
    let ends = ends(&world, &Crossing { from: 4, to: 5, protocol: 6, port: 80 }).unwrap();
    (ends, programmed(&world))
}

fn told(ends: &Ends, programmed: &Programmed, protocol: Option<u8>, port: u16) -> String {
    let explained = explain(ends, Packet { protocol, port }, programmed, &host());
    let gates = explained.gates.iter().map(|asked| match asked.differs() {
        true => format!("{}: {} | {}\n", asked.gate.as_str(), asked.records, asked.maps),
        false => format!("{}: {}\n", asked.gate.as_str(), asked.records),
    });
    gates.collect()
}

#[test]
fn each_gate_has_its_reasons() {
    let (ends, maps) = open_world();
    let mut out = String::new();
    let mut tell = |what: &str, ends: &Ends, protocol, port| {
        out.push_str(&format!("--- {what}\n{}", told(ends, &maps, protocol, port)));
    };
    tell("tcp 80", &ends, Some(6), 80);
    tell("tcp 82", &ends, Some(6), 82);
    tell("a protocol nobody names", &ends, None, 0);
    let to = |text: &str| Ends { destination: text.parse().unwrap(), receiver: None, ..ends.clone() };
    tell("itself", &to("10.0.0.4"), Some(6), 80);
    tell("broadcast", &to("10.0.0.255"), Some(17), 80);
    tell("nobody", &to("10.0.0.77"), Some(6), 80);
    tell("elsewhere", &to("8.8.8.8"), Some(6), 80);
    tell("the router, tcp", &to("10.0.0.1"), Some(6), 80);
    tell("the router, echo request", &to("10.0.0.1"), Some(1), 8 << 8);
    let mut detached = ends.clone();
    detached.receiver.as_mut().unwrap().attachment = None;
    tell("an interface the records call detached", &detached, Some(6), 80);
    expect_test::expect![[r#"
        --- tcp 80
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001
        network_acl_out: pass
        route: pass
        target: pass
        network_acl_in: pass
        ingress: pass by sg-00000000000000001/sgr-00000000000000002
        --- tcp 82
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001
        network_acl_out: pass
        route: pass
        target: pass
        network_acl_in: pass
        ingress: drop (security_group_ingress)
        --- a protocol nobody names
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001
        network_acl_out: pass
        route: pass
        target: pass
        network_acl_in: pass
        ingress: drop (security_group_ingress)
        --- itself
        source: pass
        destination: drop (own_address)
        egress: not reached
        network_acl_out: not reached
        route: not reached
        target: not reached
        network_acl_in: not reached
        ingress: not reached
        --- broadcast
        source: pass
        destination: drop (multicast)
        egress: not reached
        network_acl_out: not reached
        route: not reached
        target: not reached
        network_acl_in: not reached
        ingress: not reached
        --- nobody
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001
        network_acl_out: pass
        route: pass
        target: drop (no_endpoint)
        network_acl_in: not reached
        ingress: not reached
        --- elsewhere
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001
        network_acl_out: pass
        route: drop (no_route)
        target: not reached
        network_acl_in: not reached
        ingress: not reached
        --- the router, tcp
        source: pass
        destination: drop (router)
        egress: not reached
        network_acl_out: not reached
        route: not reached
        target: not reached
        network_acl_in: not reached
        ingress: not reached
        --- the router, echo request
        source: pass
        destination: pass
        egress: not reached
        network_acl_out: not reached
        route: not reached
        target: not reached
        network_acl_in: not reached
        ingress: not reached
        --- an interface the records call detached
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001
        network_acl_out: pass
        route: pass
        target: drop (no_endpoint) | pass
        network_acl_in: not reached | pass
        ingress: not reached | pass by sg-00000000000000001/sgr-00000000000000002
    "#]]
    .assert_eq(&out);
}

#[test]
fn rows_that_are_not_what_the_records_say_are_told() {
    let mut out = String::new();
    let mut tell = |what: &str, change: &dyn Fn(&mut Held)| {
        let (ends, mut maps) = open_world();
        change(&mut maps.0);
        out.push_str(&format!("--- {what}\n{}", told(&ends, &maps, Some(6), 80)));
    };
    let ingress = |held: &Held| held.policies[&GroupSetId(1)].ruleset[held.side()][1];
    tell("the sender is not plugged", &|held| _ = held.plugged.remove(&eni(4)));
    tell("the receiver is not plugged", &|held| held.endpoints.get_mut(&key_of(5)).unwrap().ifindex = 0);
    tell("the receiver is gone", &|held| _ = held.endpoints.remove(&key_of(5)));
    tell("a policy is gone", &|held| _ = held.policies.remove(&GroupSetId(1)));
    tell("the row of the port is gone", &|held| held.rulesets.get_mut(&ingress(held)).unwrap().ports.clear());
    tell("the row of the port has another bit", &|held| {
        let tables = held.rulesets.get_mut(&ingress(held)).unwrap();
        tables.ports.values_mut().chain(tables.addresses.values_mut()).for_each(|row| row.0[0] = 1 << 7);
        let (prefix, row) = tables.ports.first_key_value().unwrap();
        let (prefix, row) = (crate::compile::PortPrefix { port: 9000, bits: 16, ..*prefix }, *row);
        tables.ports.insert(prefix, row);
    });
    expect_test::expect![[r#"
        --- the sender is not plugged
        source: pass | drop (not_programmed)
        destination: pass | not reached
        egress: pass by sg-00000000000000001/sgr-00000000000000001 | not reached
        network_acl_out: pass | not reached
        route: pass | not reached
        target: pass | not reached
        network_acl_in: pass | not reached
        ingress: pass by sg-00000000000000001/sgr-00000000000000002 | not reached
        --- the receiver is not plugged
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001
        network_acl_out: pass
        route: pass
        target: pass | drop (not_plugged)
        network_acl_in: pass | not reached
        ingress: pass by sg-00000000000000001/sgr-00000000000000002 | not reached
        --- the receiver is gone
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001
        network_acl_out: pass
        route: pass
        target: pass | drop (no_endpoint)
        network_acl_in: pass | not reached
        ingress: pass by sg-00000000000000001/sgr-00000000000000002 | not reached
        --- a policy is gone
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001 | drop (no_policy)
        network_acl_out: pass | not reached
        route: pass | not reached
        target: pass | not reached
        network_acl_in: pass | not reached
        ingress: pass by sg-00000000000000001/sgr-00000000000000002 | not reached
        --- the row of the port is gone
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001
        network_acl_out: pass
        route: pass
        target: pass
        network_acl_in: pass
        ingress: pass by sg-00000000000000001/sgr-00000000000000002 | drop (security_group_ingress)
        --- the row of the port has another bit
        source: pass
        destination: pass
        egress: pass by sg-00000000000000001/sgr-00000000000000001
        network_acl_out: pass
        route: pass
        target: pass
        network_acl_in: pass
        ingress: pass by sg-00000000000000001/sgr-00000000000000002 | pass by unrecorded rule 7 of ruleset 2
    "#]]
    .assert_eq(&out);
}
