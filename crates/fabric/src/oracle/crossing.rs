// SPDX-License-Identifier: Apache-2.0
//! Packets between interfaces in sequence: the packets that the flow table admits and the decisions of both gates.
//!
//! The decisions are those of `bpf/verdict.h`; only the table around them is a model. The property: a packet that
//! passes is admitted by both gates in its own direction, or belongs to a connection with an earlier admitted packet.

use std::collections::{BTreeMap, BTreeSet};

use berth_types::GroupSetId;
use berth_types::intent::Direction;

use super::{Groups, Question, Sets, fast, plain};
use crate::bpf::layout::{Flow, FlowKey};
use crate::compile::Policy;
use crate::verdict::{
    FROM_HIGH, GATES, GateQuestion, GroupSets, Packet, flow_carries, flow_key, flow_step, question_of, tcp_opens,
};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// The longest idle time of any flow: five days.
const IDLE_MAX_NS: u64 = 432_000_000_000_000;

/// An interface.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Its address.
    pub address: [u8; 4],
    /// Its groups.
    pub group_set: GroupSetId,
}

/// A TCP segment or a datagram between two interfaces.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Sender.
    pub from: End,
    /// Receiver.
    pub to: End,
    /// True for TCP, false for UDP.
    pub is_tcp: bool,
    /// Source port, destination port.
    pub ports: (u16, u16),
    /// TCP flags.
    pub flags: u8,
    /// Time since the previous packet.
    pub after_ns: u64,
}

impl Sent {
    fn packet(&self) -> Packet {
        Packet {
            src: self.from.address,
            dst: self.to.address,
            sport: self.ports.0.to_be_bytes(),
            dport: self.ports.1.to_be_bytes(),
            proto: if self.is_tcp { TCP } else { UDP },
            tcp_flags: if self.is_tcp { self.flags } else { 0 },
            ..Packet::default()
        }
    }

    fn group_sets(&self) -> GroupSets {
        let (sender, receiver) = (self.from.group_set.0.into(), self.to.group_set.0.into());
        GroupSets { sender, sender_as_peer: sender, receiver, receiver_as_peer: receiver, side: 0 }
    }

    /// True if the rules of both ends, read one by one, admit the packet as the first of a connection.
    fn is_admitted(&self, sets: &Sets, groups: &Groups) -> bool {
        let protocol = Some(if self.is_tcp { TCP } else { UDP });
        let ask = |direction, own: End, peer: End| {
            let (peer, peer_set, port) = (peer.address.into(), peer.group_set, self.ports.1);
            plain(sets, groups, &Question { direction, group_set: own.group_set, peer, peer_set, protocol, port })
        };
        ask(Direction::Egress, self.from, self.to).admitted && ask(Direction::Ingress, self.to, self.from).admitted
    }
}

/// Protocol and both ends of a connection, from either side.
type Connection = (bool, BTreeSet<([u8; 4], u16)>);

/// How a packet passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    ByFlow,
    ByRules,
}

/// The data path: a flow table, and gates with compiled rules.
struct Path<'a> {
    policies: &'a BTreeMap<GroupSetId, Policy>,
    flows: BTreeMap<FlowKey, Flow>,
    now_ns: u64,
}

impl Path<'_> {
    /// `cross` in `bpf/fabric.bpf.c`.
    fn cross(&mut self, sent: &Sent) -> Option<Passed> {
        self.now_ns += sent.after_ns;
        let packet = sent.packet();
        let from_high = device_of(packet.src) > device_of(packet.dst);
        let key = flow_key(&packet, 1);
        let step = |state| flow_step(state, from_high, packet.proto, packet.tcp_flags);
        let known = self.flows.get_mut(&key);
        if let Some(flow) = known.filter(|flow| flow_carries(flow, &packet, device_of(packet.src), self.now_ns)) {
            (flow.state, flow.seen_ns) = (step(flow.state), self.now_ns);
            return Some(Passed::ByFlow);
        }
        if !GATES.into_iter().all(|gate| self.admits(&question_of(&packet, &sent.group_sets(), gate))) {
            return None;
        }
        let state = step(if from_high { FROM_HIGH } else { 0 });
        let ifindex = [device_of(key.low), device_of(key.high)];
        let flow = Flow { seen_ns: self.now_ns, ifindex, state, ..Flow::default() };
        self.flows.insert(key, flow);
        Some(Passed::ByRules)
    }

    /// `ask` in `bpf/gates.h`.
    fn admits(&self, asked: &GateQuestion) -> bool {
        let q = Question {
            direction: if asked.direction == GATES[0] { Direction::Egress } else { Direction::Ingress },
            group_set: GroupSetId(asked.group_set as u16),
            peer: asked.peer.into(),
            peer_set: GroupSetId(asked.peer_group_set as u16),
            protocol: Some(asked.proto),
            port: u16::from_be_bytes(asked.port),
        };
        self.policies.get(&q.group_set).is_some_and(|policy| fast(policy, &q).admitted)
    }
}

/// Device of an address; ordered as in the program, which compares addresses as they lie in memory.
fn device_of(address: [u8; 4]) -> u32 {
    u32::from_ne_bytes(address)
}

/// Sends the packets in their order; fails with the first one that violates the property.
pub fn check(
    sets: &Sets,
    groups: &Groups,
    policies: &BTreeMap<GroupSetId, Policy>,
    packets: &[Sent],
) -> Result<(), String> {
    let mut path = Path { policies, flows: BTreeMap::new(), now_ns: 1 };
    // Connections of which the rules have admitted a packet, with the time of the last packet.
    let mut opened: BTreeMap<Connection, u64> = BTreeMap::new();
    for sent in packets {
        let passed = path.cross(sent);
        let is_admitted = sent.is_admitted(sets, groups);
        let ends = BTreeSet::from([(sent.from.address, sent.ports.0), (sent.to.address, sent.ports.1)]);
        let connection = (sent.is_tcp, ends);
        let last = opened.get(&connection);
        let must_be_admitted = sent.is_tcp && tcp_opens(sent.flags);
        let is_known = !must_be_admitted && last.is_some_and(|last| path.now_ns - last < IDLE_MAX_NS);
        match passed {
            Some(Passed::ByRules) if !is_admitted => return Err(format!("no rule admits {sent:?}")),
            Some(Passed::ByFlow) if !is_known => return Err(format!("no connection has {sent:?}")),
            None if is_admitted => return Err(format!("the rules admit {sent:?}")),
            Some(_) => drop(opened.insert(connection, path.now_ns)),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::oracle::tests::{World, address, any_world};

    const SYN: u8 = 2;
    const ACK: u8 = 16;

    prop_compose! {
        /// Few ends and ports, so that packets meet; the second port is mostly one that rules name.
        fn any_sent()(
            ends in any::<(Index, Index)>(), is_tcp in proptest::bool::weighted(0.8), ports in (0u16..6, 0u16..6),
            flags in prop_oneof![3 => Just(SYN), 3 => Just(SYN | ACK), 5 => Just(ACK), 1 => Just(ACK | 1),
                1 => Just(4u8), 1 => Just(0), 1 => any::<u8>()],
            seconds in prop_oneof![20 => Just(0u64), 2 => 25u64..200, 1 => 400_000u64..500_000],
        ) -> (Index, Index, Sent) {
            let end = End { address: [0; 4], group_set: GroupSetId(0) };
            let after_ns = seconds * 1_000_000_000;
            (ends.0, ends.1, Sent { from: end, to: end, is_tcp, ports, flags, after_ns })
        }
    }

    fn ends_of(world: &World) -> Vec<End> {
        let end = |(&n, &group_set): (&u8, &GroupSetId)| End { address: address(n).octets(), group_set };
        world.endpoints.iter().map(end).collect()
    }

    proptest! {
        #[test]
        fn what_passes_was_admitted_in_its_own_direction_or_belongs_to_what_was(
            world in any_world(), packets in proptest::collection::vec(any_sent(), 200),
        ) {
            let ends = ends_of(&world);
            prop_assume!(ends.len() > 1);
            let packets: Vec<Sent> = packets
                .into_iter()
                .map(|(from, to, sent)| Sent { from: *from.get(&ends), to: *to.get(&ends), ..sent })
                .filter(|sent| sent.from.address != sent.to.address)
                .collect();
            let checked = check(&world.sets, &world.groups, &world.policies(), &packets);
            prop_assert!(checked.is_ok(), "{checked:?}");
        }
    }
}
