// SPDX-License-Identifier: Apache-2.0
//! The verdict header: bytes become security groups and packets, each of which is evaluated by the C that the kernel
//! runs.
//!
//! Properties: the compiled tables, combined by the header, agree with the reference evaluation of the rules; a flow
//! has one key from both ends, and another one in another VPC; its state only gains bits; a dead flow can be reclaimed.

use std::net::Ipv4Addr;

use arbitrary::{Arbitrary, Result, Unstructured};
use berth_fabric::compile::compile;
use berth_fabric::oracle::{Groups, Question, Sets, fast, plain};
use berth_fabric::verdict::{Packet, flow_alive, flow_key, flow_reclaimable, flow_step, replies_are_open, tcp_opens};
use berth_types::intent::{Direction, GroupSetIntent, PortRange, RuleIntent, RulePeer, SecurityGroupIntent};
use berth_types::{GroupSetId, Ipv4Cidr, SecurityGroupId, SecurityGroupRuleId, Vni};

const GROUPS: u8 = 5;
const SETS: u16 = 6;
const RULES_PER_GROUP_MAX: u8 = 12;
const QUESTIONS_MAX: u8 = 32;

pub(crate) fn run(data: &[u8]) {
    // Too few bytes are not an input; the available ones have been evaluated.
    let _ = check(&mut Unstructured::new(data));
}

fn check(bytes: &mut Unstructured<'_>) -> Result<()> {
    check_flow(bytes)?;
    let (groups, sets) = (groups(bytes)?, sets(bytes)?);
    let policies = compile(&sets, &groups).expect("fewer rules than a set can hold");
    for _ in 0..bytes.int_in_range(0..=QUESTIONS_MAX)? {
        let q = question(bytes)?;
        if let Some(policy) = policies.get(&q.group_set) {
            assert_eq!(fast(policy, &q), plain(&sets, &groups, &q), "{q:?} with {sets:?} and {groups:?}");
        }
    }
    Ok(())
}

fn group(number: u8) -> SecurityGroupId {
    SecurityGroupId::from_bits(number.into())
}

/// Few addresses, so that rules and packets meet.
fn address(bytes: &mut Unstructured<'_>) -> Result<Ipv4Addr> {
    let number = u8::arbitrary(bytes)?;
    Ok(Ipv4Addr::new(10, number >> 6, (number >> 4) & 3, number & 15))
}

fn protocol(bytes: &mut Unstructured<'_>) -> Result<u8> {
    Ok(*bytes.choose(&[6, 6, 6, 17, 1, 47])?)
}

/// Mostly few ports, for the same reason.
fn port(bytes: &mut Unstructured<'_>) -> Result<u16> {
    match bytes.ratio(7, 8)? {
        true => bytes.int_in_range(0..=40),
        false => u16::arbitrary(bytes),
    }
}

fn direction(bytes: &mut Unstructured<'_>) -> Result<Direction> {
    Ok(if bool::arbitrary(bytes)? { Direction::Ingress } else { Direction::Egress })
}

fn rule(bytes: &mut Unstructured<'_>) -> Result<RuleIntent> {
    let protocol = if bytes.ratio(1, 12)? { None } else { Some(protocol(bytes)?) };
    let ports = match protocol {
        Some(6 | 17) if bytes.ratio(4, 5)? => {
            let (one, other) = (port(bytes)?, port(bytes)?);
            PortRange::Ports(one.min(other), one.max(other))
        }
        Some(1) if bytes.ratio(4, 5)? => {
            let code = if bool::arbitrary(bytes)? { Some(bytes.int_in_range(0..=2)?) } else { None };
            PortRange::Icmp(bytes.int_in_range(0..=3)?, code)
        }
        _ => PortRange::All,
    };
    let peer = match bytes.int_in_range(0..=3u8)? {
        0 => RulePeer::Group(group(bytes.int_in_range(0..=GROUPS - 1)?)),
        1 => RulePeer::Cidr(cidr(Ipv4Addr::UNSPECIFIED, 0)),
        2 => {
            let count = bytes.int_in_range(0..=3)?;
            let ranges = (0..count).map(|_| Ok(cidr(address(bytes)?, bytes.int_in_range(0..=32)?)));
            RulePeer::Cidrs(ranges.collect::<Result<_>>()?)
        }
        _ => RulePeer::Cidr(cidr(address(bytes)?, bytes.int_in_range(0..=32)?)),
    };
    Ok(RuleIntent { direction: direction(bytes)?, protocol, ports, peer })
}

fn cidr(address: Ipv4Addr, bits: u8) -> Ipv4Cidr {
    Ipv4Cidr::containing(address, bits).expect("at most 32 bits")
}

fn groups(bytes: &mut Unstructured<'_>) -> Result<Groups> {
    let mut groups = Groups::new();
    for number in 0..GROUPS {
        let rules = (0..bytes.int_in_range(0..=RULES_PER_GROUP_MAX)?)
            .map(|n| Ok((SecurityGroupRuleId::from_bits(n.into()), rule(bytes)?)))
            .collect::<Result<_>>()?;
        groups.insert(group(number), SecurityGroupIntent { rules });
    }
    Ok(groups)
}

/// The last set is of another VPC.
fn sets(bytes: &mut Unstructured<'_>) -> Result<Sets> {
    let mut sets = Sets::new();
    for id in 1..=SETS {
        let mask = bytes.int_in_range(0..=(1u8 << GROUPS) - 1)?;
        let groups: Vec<SecurityGroupId> = (0..GROUPS).filter(|n| mask >> n & 1 == 1).map(group).collect();
        if !groups.is_empty() {
            sets.insert(GroupSetId(id), GroupSetIntent { vni: Vni(if id == SETS { 2 } else { 1 }), groups });
        }
    }
    Ok(sets)
}

fn question(bytes: &mut Unstructured<'_>) -> Result<Question> {
    let protocol = protocol(bytes)?;
    Ok(Question {
        direction: direction(bytes)?,
        group_set: GroupSetId(bytes.int_in_range(1..=SETS)?),
        peer: address(bytes)?,
        peer_set: GroupSetId(bytes.int_in_range(0..=SETS)?),
        protocol: Some(protocol),
        port: match protocol {
            6 | 17 => port(bytes)?,
            1 => u16::from(bytes.int_in_range(0..=3u8)?) << 8 | u16::from(bytes.int_in_range(0..=2u8)?),
            _ => 0,
        },
    })
}

fn check_flow(bytes: &mut Unstructured<'_>) -> Result<()> {
    let packet = Packet {
        src: Arbitrary::arbitrary(bytes)?,
        dst: Arbitrary::arbitrary(bytes)?,
        sport: Arbitrary::arbitrary(bytes)?,
        dport: Arbitrary::arbitrary(bytes)?,
        icmp_id: Arbitrary::arbitrary(bytes)?,
        icmp_type: *bytes.choose(&[8, 13, 15, 17])?,
        proto: if bool::arbitrary(bytes)? { protocol(bytes)? } else { u8::arbitrary(bytes)? },
        ..Packet::default()
    };
    let vni = bytes.int_in_range(1..=0x00ff_fffe)?;
    if packet.src != packet.dst {
        assert_eq!(flow_key(&packet, vni), flow_key(&answer_to(&packet), vni), "{packet:?}");
        assert_ne!(flow_key(&packet, vni), flow_key(&packet, vni + 1), "two VPCs share a flow: {packet:?}");
        let other = Packet { proto: packet.proto.wrapping_add(1), ..packet };
        assert_ne!(flow_key(&packet, vni), flow_key(&other, vni), "two protocols share a flow: {packet:?}");
    }
    check_life(bytes, packet.proto)
}

/// The packet of the other end in reply.
fn answer_to(packet: &Packet) -> Packet {
    let mut answer = Packet { src: packet.dst, dst: packet.src, sport: packet.dport, dport: packet.sport, ..*packet };
    if packet.proto == 1 {
        answer.icmp_type = match packet.icmp_type {
            8 => 0,
            question => question + 1,
        };
    }
    answer
}

fn check_life(bytes: &mut Unstructured<'_>, protocol: u8) -> Result<()> {
    let mut state = u32::arbitrary(bytes)?;
    for _ in 0..bytes.int_in_range(0..=8u8)? {
        let (from_high, flags) = (bool::arbitrary(bytes)?, u8::arbitrary(bytes)?);
        let next = flow_step(state, from_high, protocol, flags);
        assert_eq!(next & state, state, "a flow forgot something");
        assert_eq!(flow_step(next, from_high, protocol, flags), next, "the same packet again says something new");
        // FIN, SYN, RST and ACK: only the second one alone is a first packet.
        assert_eq!(tcp_opens(flags), flags & 0b1_0111 == 0b10);
        state = next;
    }
    // Up to half a century apart, in either order.
    let (now, seen) = (u64::from(u32::arbitrary(bytes)?) << 28, u64::from(u32::arbitrary(bytes)?) << 28);
    let is_alive = flow_alive(now, seen, state, protocol);
    assert!(is_alive || flow_reclaimable(now, seen, state, protocol), "a dead flow that keeps its room");
    assert!(is_alive || now > seen, "a flow that was seen just now is dead");
    if is_alive {
        assert!(flow_alive(now.saturating_sub(1), seen, state, protocol), "a flow lived and then did before");
    }
    for way in [0, 1] {
        let is_open = replies_are_open(u32::arbitrary(bytes)? & 0b1111, way, protocol);
        assert!(!is_open || matches!(protocol, 6 | 17), "replies of a protocol without ports are open");
    }
    Ok(())
}
