// SPDX-License-Identifier: Apache-2.0
//! Records and maps give the same answers while they have the same content, and differences are reported.
#![allow(clippy::too_many_lines, clippy::unwrap_used)]

use std::collections::BTreeMap;

use berth_types::explain::{Attached, Ends, Party, Source};
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
        source: Source::Interface(party(world, q.from)?),
        destination: address(q.to),
        public: None,
        receiver: party(world, q.to),
        group_sets: world.sets.iter().map(|(id, set)| (*id, set.clone())).collect(),
        security_groups: world.groups.clone(),
        ways: HostIntent::default(),
    })
}

fn packet(q: &Crossing) -> Packet {
    Packet { protocol: Some(q.protocol), port: q.port, is_reply: false }
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
    fn after_the_changes_the_packet_passes_and_nothing_else_was_changed(
        world in any_world(), questions in proptest::collection::vec(any_crossing(), 32),
    ) {
        for q in &questions {
            let Some(mut ends) = ends(&world, q) else { continue };
            let is_denied = records::answers(&ends, packet(q), &host()).iter().any(|it| matches!(it, Answer::Drop(_)));
            let found = cures(&ends, packet(q), &host());
            prop_assert_eq!(is_denied, !found.is_empty());
            for cure in &found {
                let Some(change) = &cure.change else { continue };
                prop_assert!(matches!(change, Change::Rule { .. }), "{change}");
                change.apply(&mut ends);
            }
            let answers = records::answers(&ends, packet(q), &host());
            let dropped = answers.iter().find(|it| matches!(it, Answer::Drop(_)));
            let is_hopeless = found.iter().any(|cure| cure.change.is_none());
            prop_assert_eq!(dropped.is_some(), is_hopeless, "{:?} {:?}", found, answers);
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
            // By the records an earlier gate drops it.
            if asked.records == Answer::NotReached {
                continue;
            }
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

/// Two subnets with a NAT gateway in the second one, whose table leads to an internet gateway; everything is denied that
/// can be.
fn closed_world() -> Ends {
    use berth_types::intent::{
        AclEntryIntent, NatGatewayIntent, NetworkAclIntent, PortRange, PublicAddressIntent, RouteIntent,
        RouteTableIntent, SubnetIntent, VpcIntent, WorldIntent,
    };
    use berth_types::{InternetGatewayId, NatGatewayId, NetworkAclId, RouteTableId};
    let (mut ends, _) = open_world();
    let all = Ipv4Cidr::containing([0, 0, 0, 0].into(), 0).unwrap();
    let subnet = |third: u8, table: u128, acl: u128| SubnetIntent {
        cidr: Ipv4Cidr::containing([10, 0, third, 0].into(), 24).unwrap(),
        route_table: Some(RouteTableId::from_bits(table)),
        network_acl: Some(NetworkAclId::from_bits(acl)),
    };
    let subnets = [(1, subnet(0, 1, 1)), (2, subnet(1, 2, 2))];
    let ways = &mut ends.ways;
    ways.vpcs.insert(
        Vni(1),
        VpcIntent {
            vpc: VpcId::from_bits(1),
            cidrs: ends.cidrs.clone(),
            subnets: subnets.into_iter().map(|(id, subnet)| (SubnetId::from_bits(id), subnet)).collect(),
            internet_gateway: Some(InternetGatewayId::from_bits(1)),
        },
    );
    let local = (ends.cidrs[0], RouteIntent::Local);
    for (id, route) in [(1, None), (2, Some((all, RouteIntent::InternetGateway(InternetGatewayId::from_bits(1)))))] {
        let routes = std::iter::once(local.clone()).chain(route).collect();
        ways.route_tables.insert(RouteTableId::from_bits(id), RouteTableIntent { vni: Vni(1), routes });
    }
    let deny = |number, direction| AclEntryIntent {
        number,
        direction,
        protocol: None,
        ports: PortRange::All,
        cidr: all,
        admits: false,
    };
    for id in [1, 2] {
        let entries = vec![deny(100, Direction::Egress), deny(1, Direction::Ingress)];
        ways.network_acls.insert(NetworkAclId::from_bits(id), NetworkAclIntent { vni: Vni(1), entries });
    }
    let (eni, private) = (EniId::from_bits(99), "10.0.1.9".parse().unwrap());
    let gateway = NatGatewayIntent {
        vni: Vni(1),
        subnet: SubnetId::from_bits(2),
        eni: eni.clone(),
        addresses: vec![private],
        host: host(),
        rate: None,
    };
    ways.nat_gateways.insert(NatGatewayId::from_bits(1), gateway);
    let owner = PublicAddressIntent { vni: Vni(1), eni, address: private, host: host() };
    ways.public_addresses.insert("198.18.0.9".parse().unwrap(), owner);
    let pool = Ipv4Cidr::containing([198, 18, 0, 0].into(), 20).unwrap();
    ways.worlds.insert(pool, WorldIntent { host_address: "198.18.0.1".parse().unwrap(), endpoints: None });
    ends
}

#[test]
fn each_gate_of_a_packet_and_its_reply_has_its_change() {
    let mut out = String::new();
    let mut tell = |what: &str, ends: &Ends| {
        out.push_str(&format!("--- {what}\n"));
        for cure in cures(ends, Packet { protocol: Some(6), port: 443, is_reply: false }, &host()) {
            let reply = if cure.is_reply { " of the reply" } else { "" };
            out.push_str(&format!("{}{reply}: {}: {}\n", cure.gate.as_str(), cure.reason, cure.text()));
        }
    };
    let closed = closed_world();
    let to = |ends: &Ends, text: &str| Ends { destination: text.parse().unwrap(), receiver: None, ..ends.clone() };
    tell("to the world, without a public address", &to(&closed, "203.0.113.1"));
    tell("to one address of it", &to(&closed, "192.0.2.7"));
    let mut public = closed.clone();
    let sender = closed.sender().unwrap().clone();
    let owner = berth_types::intent::PublicAddressIntent {
        vni: Vni(1),
        eni: sender.eni.clone(),
        address: sender.address,
        host: host(),
    };
    public.ways.public_addresses.insert("198.18.0.8".parse().unwrap(), owner);
    tell("to the world, with one", &to(&public, "203.0.113.1"));
    let from_world = |ends: &Ends, public: Option<&str>| Ends {
        source: Source::World("203.0.113.1".parse().unwrap()),
        destination: sender.address,
        public: public.map(|text| text.parse().unwrap()),
        receiver: Some(sender.clone()),
        ..ends.clone()
    };
    tell("from the world", &from_world(&public, Some("198.18.0.8")));
    tell("from the world, without a public address", &from_world(&closed, None));
    tell("in the subnet", &closed);
    expect_test::expect![[r#"
        --- to the world, without a public address
        network_acl_out: network_acl_out: aws ec2 create-network-acl-entry --network-acl-id acl-00000000000000001 --egress --rule-number 99 --protocol 6 --port-range From=443,To=443 --cidr-block 0.0.0.0/0 --rule-action allow
        route: no_route: aws ec2 create-route --route-table-id rtb-00000000000000001 --destination-cidr-block 0.0.0.0/0 --nat-gateway-id nat-00000000000000001
        target: network_acl_in: aws ec2 replace-network-acl-entry --network-acl-id acl-00000000000000002 --ingress --rule-number 1 --protocol 6 --port-range From=443,To=443 --cidr-block 10.0.0.4/32 --rule-action allow
        target: network_acl_out: aws ec2 create-network-acl-entry --network-acl-id acl-00000000000000002 --egress --rule-number 99 --protocol 6 --port-range From=443,To=443 --cidr-block 0.0.0.0/0 --rule-action allow
        network_acl_in of the reply: network_acl_in: aws ec2 create-network-acl-entry --network-acl-id acl-00000000000000002 --ingress --rule-number 11 --protocol 6 --port-range From=1024,To=65535 --cidr-block 0.0.0.0/0 --rule-action allow
        network_acl_out of the reply: network_acl_out: aws ec2 create-network-acl-entry --network-acl-id acl-00000000000000002 --egress --rule-number 98 --protocol 6 --port-range From=1024,To=65535 --cidr-block 10.0.0.4/32 --rule-action allow
        network_acl_in of the reply: network_acl_in: aws ec2 replace-network-acl-entry --network-acl-id acl-00000000000000001 --ingress --rule-number 1 --protocol 6 --port-range From=1024,To=65535 --cidr-block 0.0.0.0/0 --rule-action allow
        --- to one address of it
        network_acl_out: network_acl_out: aws ec2 create-network-acl-entry --network-acl-id acl-00000000000000001 --egress --rule-number 99 --protocol 6 --port-range From=443,To=443 --cidr-block 192.0.2.7/32 --rule-action allow
        route: no_route: aws ec2 create-route --route-table-id rtb-00000000000000001 --destination-cidr-block 192.0.2.7/32 --nat-gateway-id nat-00000000000000001
        target: network_acl_in: aws ec2 replace-network-acl-entry --network-acl-id acl-00000000000000002 --ingress --rule-number 1 --protocol 6 --port-range From=443,To=443 --cidr-block 10.0.0.4/32 --rule-action allow
        target: network_acl_out: aws ec2 create-network-acl-entry --network-acl-id acl-00000000000000002 --egress --rule-number 99 --protocol 6 --port-range From=443,To=443 --cidr-block 192.0.2.7/32 --rule-action allow
        network_acl_in of the reply: network_acl_in: aws ec2 create-network-acl-entry --network-acl-id acl-00000000000000002 --ingress --rule-number 11 --protocol 6 --port-range From=1024,To=65535 --cidr-block 192.0.2.7/32 --rule-action allow
        network_acl_out of the reply: network_acl_out: aws ec2 create-network-acl-entry --network-acl-id acl-00000000000000002 --egress --rule-number 98 --protocol 6 --port-range From=1024,To=65535 --cidr-block 10.0.0.4/32 --rule-action allow
        network_acl_in of the reply: network_acl_in: aws ec2 replace-network-acl-entry --network-acl-id acl-00000000000000001 --ingress --rule-number 1 --protocol 6 --port-range From=1024,To=65535 --cidr-block 192.0.2.7/32 --rule-action allow
        --- to the world, with one
        network_acl_out: network_acl_out: aws ec2 create-network-acl-entry --network-acl-id acl-00000000000000001 --egress --rule-number 99 --protocol 6 --port-range From=443,To=443 --cidr-block 0.0.0.0/0 --rule-action allow
        route: no_route: aws ec2 create-route --route-table-id rtb-00000000000000001 --destination-cidr-block 0.0.0.0/0 --gateway-id igw-00000000000000001
        network_acl_in of the reply: network_acl_in: aws ec2 replace-network-acl-entry --network-acl-id acl-00000000000000001 --ingress --rule-number 1 --protocol 6 --port-range From=1024,To=65535 --cidr-block 0.0.0.0/0 --rule-action allow
        --- from the world
        network_acl_in: network_acl_in: aws ec2 replace-network-acl-entry --network-acl-id acl-00000000000000001 --ingress --rule-number 1 --protocol 6 --port-range From=443,To=443 --cidr-block 0.0.0.0/0 --rule-action allow
        ingress: security_group_ingress: aws ec2 authorize-security-group-ingress --group-id sg-00000000000000001 --ip-permissions IpProtocol=6,FromPort=443,ToPort=443,IpRanges=[{CidrIp=0.0.0.0/0}]
        network_acl_out of the reply: network_acl_out: aws ec2 create-network-acl-entry --network-acl-id acl-00000000000000001 --egress --rule-number 99 --protocol 6 --port-range From=1024,To=65535 --cidr-block 0.0.0.0/0 --rule-action allow
        route of the reply: no_route: aws ec2 create-route --route-table-id rtb-00000000000000001 --destination-cidr-block 0.0.0.0/0 --gateway-id igw-00000000000000001
        --- from the world, without a public address
        destination: public_address_unused: give the receiver a public address (a Fargate task: assignPublicIp=ENABLED; another interface: `aws ec2 associate-address`)
        --- in the subnet
        ingress: security_group_ingress: aws ec2 authorize-security-group-ingress --group-id sg-00000000000000001 --ip-permissions IpProtocol=6,FromPort=443,ToPort=443,UserIdGroupPairs=[{GroupId=sg-00000000000000001}]
    "#]].assert_eq(&out);
}

fn told(ends: &Ends, programmed: &Programmed, protocol: Option<u8>, port: u16) -> String {
    let explained = explain(ends, Packet { protocol, port, is_reply: false }, programmed, &host());
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
