// SPDX-License-Identifier: Apache-2.0
//! A reference implementation of security groups, and the property that the compiled tables agree with it at every
//! step.
//!
//! `reading` evaluates the rules one by one as the AWS documentation describes it. The tables are looked up as in the
//! kernel, longest prefix first, and combined by the C of `bpf/verdict.h`. `crossing` sends packets through flow table
//! and both gates. Only for tests and for the fuzzer.

pub mod crossing;
pub mod worlds;

use berth_types::intent::{Direction, PortRange, RuleIntent, RulePeer};

use crate::compile::{Policy, Ruleset};
pub use crate::reading::{Groups, Question, Sets};
use crate::reading::{admits, rule_admits, rules};
use crate::verdict::{overlap, replies_are_open};

/// The verdict of a gate on a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It passes.
    pub admitted: bool,
    /// Its flow needs no tracking.
    pub untracked: bool,
}

/// The verdict of the reference implementation.
pub fn plain(sets: &Sets, groups: &Groups, q: &Question) -> Verdict {
    Verdict { admitted: admits(sets, groups, q), untracked: is_untracked(sets, groups, q) }
}

/// The verdict of the compiled tables for the group set in question.
pub fn fast(policy: &Policy, q: &Question) -> Verdict {
    let (tables, direction) = match q.direction {
        Direction::Egress => (&policy.egress, 0),
        Direction::Ingress => (&policy.ingress, 1),
    };
    let (admitted, world) = look_up(tables, q);
    let open = |protocol| replies_are_open(policy.open, direction, protocol);
    Verdict { admitted, untracked: world && q.protocol.is_some_and(open) }
}

fn is_world(rule: &RuleIntent) -> bool {
    match &rule.peer {
        RulePeer::Cidr(range) => range.prefix() == 0,
        RulePeer::Cidrs(ranges) => ranges.iter().any(|range| range.prefix() == 0),
        RulePeer::Group(_) => false,
    }
}

/// True if AWS would not track the flow: admitted from or to everywhere, with replies to everywhere.
fn is_untracked(sets: &Sets, groups: &Groups, q: &Question) -> bool {
    let rules: Vec<&RuleIntent> = rules(sets, groups, q.group_set).map(|(_, _, rule)| rule).collect();
    let admitted = rules.iter().any(|rule| is_world(rule) && rule_admits(rule, sets, q));
    let answered = rules.iter().any(|rule| {
        let is_whole = match (rule.protocol, rule.ports) {
            (None, _) | (_, PortRange::All) => true,
            (_, PortRange::Ports(first, last)) => (first, last) == (0, u16::MAX),
            (_, PortRange::Icmp(..)) => false,
        };
        rule.direction != q.direction
            && (rule.protocol.is_none() || rule.protocol == q.protocol)
            && is_whole
            && is_world(rule)
    });
    matches!(q.protocol, Some(6 | 17)) && admitted && answered
}

/// The result of `ask` in `bpf/gates.h`: admitted, and by a rule for everywhere.
fn look_up(tables: &Ruleset, q: &Question) -> (bool, bool) {
    let port = tables.port_row(q.protocol, q.port);
    let by_group = overlap(tables.members.get(&q.peer_set), port);
    (overlap(tables.address_row(q.peer), port) || by_group, overlap(tables.world_row(), port))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::bpf::layout::{Endpoint, EndpointKey};
    use crate::compile::compile;
    use crate::fabric::Held;
    use crate::fabric::testing::{Wanted, plan};
    use berth_types::intent::{GroupSetIntent, SecurityGroupIntent};
    use berth_types::{GroupSetId, Ipv4Cidr, SecurityGroupId, SecurityGroupRuleId, Vni};
    use proptest::prelude::*;

    fn group_id(n: u8) -> SecurityGroupId {
        SecurityGroupId::from_bits(n.into())
    }

    pub(crate) fn address(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, n >> 6, (n >> 4) & 3, n & 15)
    }

    prop_compose! {
        fn any_rule()(
            ingress in any::<bool>(),
            protocol in prop_oneof![
                1 => Just(None), 9 => Just(Some(6u8)), 2 => Just(Some(17)), 2 => Just(Some(1)), 1 => Just(Some(47)),
            ],
            whole in proptest::bool::weighted(0.2),
            // Ranges that share prefixes, and any other.
            (first, length) in prop_oneof![
                (0u16..4, 1u32..5).prop_map(|(n, bits)| (n << bits, (1 << bits) - 1)),
                (0u16..40, 0u16..20),
            ],
            (kind, code) in (0u8..4, proptest::option::of(0u8..3)),
            peer in prop_oneof![
                Just(RulePeer::Cidr(Ipv4Cidr::containing(Ipv4Addr::UNSPECIFIED, 0).unwrap())),
                (any::<u8>(), 8u8..=32).prop_map(|(n, bits)| RulePeer::Cidr(Ipv4Cidr::containing(address(n), bits).unwrap())),
                proptest::collection::vec((any::<u8>(), prop_oneof![1 => Just(0), 9 => 8u8..=32]), 0..4).prop_map(|ranges| {
                    let ranges = ranges.into_iter();
                    RulePeer::Cidrs(ranges.map(|(n, bits)| Ipv4Cidr::containing(address(n), bits).unwrap()).collect())
                }),
                (0u8..5).prop_map(|n| RulePeer::Group(group_id(n))),
            ],
        ) -> RuleIntent {
            let ports = match protocol {
                Some(6 | 17) if !whole => PortRange::Ports(first, first + length),
                Some(1) if !whole => PortRange::Icmp(kind, code),
                _ => PortRange::All,
            };
            let direction = if ingress { Direction::Ingress } else { Direction::Egress };
            RuleIntent { direction, protocol, ports, peer }
        }
    }

    pub(crate) fn any_groups() -> impl Strategy<Value = Groups> {
        proptest::collection::vec(proptest::collection::vec(any_rule(), 0..6), 5).prop_map(|groups| {
            let numbered = |rules: Vec<RuleIntent>| {
                (0u32..).zip(rules).map(|(n, rule)| (SecurityGroupRuleId::from_bits(n.into()), rule)).collect()
            };
            (0..).zip(groups).map(|(n, rules)| (group_id(n), SecurityGroupIntent { rules: numbered(rules) })).collect()
        })
    }

    /// Each set is a bit mask over five groups; the last one is of another VPC.
    pub(crate) fn any_sets() -> impl Strategy<Value = Sets> {
        proptest::collection::btree_map(1u16..7, 1u8..32, 2..6).prop_map(|masks| {
            let set = |id: u16, mask: u8| GroupSetIntent {
                vni: Vni(if id == 6 { 2 } else { 1 }),
                groups: (0..5).filter(|n| mask >> n & 1 == 1).map(group_id).collect(),
            };
            masks.into_iter().map(|(id, mask)| (GroupSetId(id), set(id, mask))).collect()
        })
    }

    prop_compose! {
        pub(crate) fn any_question()(
            ingress in any::<bool>(), own in 1u16..7, peer in any::<u8>(), peer_set in 0u16..7,
            protocol in prop_oneof![6 => Just(6u8), 2 => Just(17), 2 => Just(1), 1 => Just(47), 1 => Just(50)],
            port in 0u16..32, kind in 0u16..4, code in 0u16..3,
        ) -> Question {
            Question {
                direction: if ingress { Direction::Ingress } else { Direction::Egress },
                group_set: GroupSetId(own),
                peer: address(peer),
                peer_set: GroupSetId(peer_set),
                protocol: Some(protocol),
                port: match protocol { 6 | 17 => port, 1 => kind << 8 | code, _ => 0 },
            }
        }
    }

    proptest! {
        #[test]
        fn the_fast_verdict_agrees_with_the_plain_reading(
            groups in any_groups(), sets in any_sets(), questions in proptest::collection::vec(any_question(), 64),
        ) {
            let policies = compile(&sets, &groups).unwrap();
            for q in questions.iter().filter(|q| sets.contains_key(&q.group_set)) {
                prop_assert_eq!(fast(&policies[&q.group_set], q), plain(&sets, &groups, q), "{:?}", q);
            }
        }

        #[test]
        fn no_step_of_a_change_admits_or_drops_what_it_must_not(
            old in any_world(), new in any_world(), questions in proptest::collection::vec(any_crossing(), 48),
        ) {
            let mut held = Held::default();
            let (before, after) = (old.policies(), new.policies());
            for step in plan(&held, &old.wanted(&before)) {
                held.apply(&step);
            }
            held.forget_unused_rulesets();
            prop_assert!(plan(&held, &old.wanted(&before)).is_empty());
            for step in plan(&held, &new.wanted(&after)) {
                held.apply(&step);
                for q in &questions {
                    let (was, is, now) = (old.admits(q), new.admits(q), passes(&held, q));
                    prop_assert!(!now || was || is, "{step:?} admits {q:?}");
                    prop_assert!(now || !was || !is, "{step:?} drops {q:?}");
                }
            }
            held.forget_unused_rulesets();
            for q in &questions {
                prop_assert_eq!(passes(&held, q), new.admits(q));
            }
            prop_assert!(plan(&held, &new.wanted(&after)).is_empty());
        }
    }

    /// A VPC with up to four endpoints; the key is the last octet, after those a subnet keeps for itself.
    #[derive(Clone, Debug)]
    pub(crate) struct World {
        pub groups: Groups,
        pub sets: Sets,
        pub endpoints: BTreeMap<u8, GroupSetId>,
    }

    /// A packet between two endpoints.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Crossing {
        pub from: u8,
        pub to: u8,
        pub protocol: u8,
        pub port: u16,
    }

    prop_compose! {
        pub(crate) fn any_world()(
            groups in any_groups(), sets in any_sets(),
            carried in proptest::collection::btree_map(4u8..8, any::<proptest::sample::Index>(), 0..4),
        ) -> World {
            let ids: Vec<GroupSetId> = sets.keys().copied().filter(|id| id.0 != 6).collect();
            let endpoints = carried.into_iter().filter(|_| !ids.is_empty()).map(|(n, i)| (n, *i.get(&ids))).collect();
            World { groups, sets, endpoints }
        }
    }

    prop_compose! {
        pub(crate) fn any_crossing()(
            from in 4u8..8, to in 4u8..8, port in 0u16..32, protocol in prop_oneof![Just(6u8), Just(17)],
        ) -> Crossing {
            Crossing { from, to, protocol, port }
        }
    }

    fn questions(q: &Crossing, from: GroupSetId, to: GroupSetId) -> [Question; 2] {
        let Crossing { protocol, port, .. } = *q;
        let gate = |direction, group_set, peer, peer_set| Question {
            direction,
            group_set,
            peer: address(peer),
            peer_set,
            protocol: Some(protocol),
            port,
        };
        [gate(Direction::Egress, from, q.to, to), gate(Direction::Ingress, to, q.from, from)]
    }

    impl World {
        pub(crate) fn policies(&self) -> BTreeMap<GroupSetId, crate::compile::Policy> {
            compile(&self.sets, &self.groups).unwrap()
        }

        pub(crate) fn wanted<'a>(&self, policies: &'a BTreeMap<GroupSetId, crate::compile::Policy>) -> Wanted<'a> {
            let endpoint = |n: u8, set: GroupSetId| Endpoint {
                ifindex: u32::from(n) + 10,
                slot: n.into(),
                flags: 0,
                group_set: [set.0; 2],
                mac: [2, 0, 0, 0, 0, n],
                subnet: 0,
                rest: [0; 12],
            };
            let endpoints = self.endpoints.iter().map(|(&n, &set)| (key_of(n), endpoint(n, set))).collect();
            Wanted {
                policies,
                endpoints,
                cidrs: Default::default(),
                enis: Default::default(),
                ways: Default::default(),
            }
        }

        pub(crate) fn admits(&self, q: &Crossing) -> bool {
            let ends = (self.endpoints.get(&q.from), self.endpoints.get(&q.to));
            let (Some(&from), Some(&to)) = ends else {
                return false;
            };
            questions(q, from, to).iter().all(|q| admits(&self.sets, &self.groups, q))
        }
    }

    pub(crate) fn key_of(n: u8) -> EndpointKey {
        EndpointKey { vni: 1, address: address(n).octets() }
    }

    /// The decision of the data path with these maps.
    fn passes(held: &Held, q: &Crossing) -> bool {
        let side = held.side();
        let set_of = |n| held.endpoints.get(&key_of(n)).map(|endpoint| GroupSetId(endpoint.group_set[side]));
        let (Some(from), Some(to)) = (set_of(q.from), set_of(q.to)) else {
            return false;
        };
        let [egress, ingress] = questions(q, from, to);
        let gate = |q: &Question, direction: usize| {
            let ruleset = held.policies.get(&q.group_set).map_or(0, |policy| policy.ruleset[side][direction]);
            held.rulesets.get(&ruleset).is_some_and(|tables| look_up(tables, q).0)
        };
        gate(&egress, 0) && gate(&ingress, 1)
    }
}
