// SPDX-License-Identifier: Apache-2.0
//! Rules in a canonical form, in which equivalent rules are equal.

use std::collections::{BTreeMap, BTreeSet};

use berth_types::intent::{Direction, GroupSetIntent, PortRange, RuleIntent, RulePeer, SecurityGroupIntent};
use berth_types::{Ipv4Cidr, SecurityGroupId};

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// The other end of a rule, ordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    Cidr(Ipv4Cidr),
    Group(SecurityGroupId),
}

impl Peer {
    pub fn cidr(&self) -> Option<Ipv4Cidr> {
        match self {
            Self::Cidr(cidr) => Some(*cidr),
            Self::Group(_) => None,
        }
    }
}

/// One rule; ports are a range of 16-bit numbers, for ICMP type in the high and code in the low byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rule {
    pub protocol: Option<u8>,
    pub first: u16,
    pub last: u16,
    pub peer: Peer,
}

impl Rule {
    /// The rule, once for each range of a prefix list.
    pub fn of(rule: &RuleIntent) -> impl Iterator<Item = Self> + use<> {
        let (first, last) = match (rule.protocol, rule.ports) {
            (Some(TCP | UDP), PortRange::Ports(first, last)) => (first, last),
            (Some(ICMP), PortRange::Icmp(kind, code)) => {
                let first = u16::from(kind) << 8;
                code.map_or((first, first | 0xff), |code| (first | u16::from(code), first | u16::from(code)))
            }
            // Other protocols have no ports, and a rule for all protocols names none.
            _ => (0, u16::MAX),
        };
        let peers = match &rule.peer {
            RulePeer::Cidr(cidr) => vec![Peer::Cidr(*cidr)],
            RulePeer::Cidrs(cidrs) => cidrs.iter().map(|cidr| Peer::Cidr(*cidr)).collect(),
            RulePeer::Group(group) => vec![Peer::Group(group.clone())],
        };
        let protocol = rule.protocol;
        peers.into_iter().map(move |peer| Self { protocol, first, last, peer })
    }

    pub fn covers(&self, first: u16, last: u16) -> bool {
        self.first <= first && last <= self.last
    }
}

/// The distinct rules of a group set in one direction, in canonical order: the position is the rule's bit.
pub(super) fn of(
    set: &GroupSetIntent,
    groups: &BTreeMap<SecurityGroupId, SecurityGroupIntent>,
    direction: Direction,
) -> Vec<Rule> {
    let rules = set.groups.iter().filter_map(|id| groups.get(id)).flat_map(|group| group.rules.values());
    let distinct: BTreeSet<Rule> = rules.filter(|rule| rule.direction == direction).flat_map(Rule::of).collect();
    distinct.into_iter().collect()
}

/// `open_bit` of `bpf/verdict.h` for every protocol that some rule admits completely, from and to anywhere.
pub(super) fn open_bits(rules: &[Rule], direction: Direction) -> u32 {
    let shift = u32::from(direction == Direction::Ingress);
    let bits =
        rules.iter().filter(|rule| rule.covers(0, u16::MAX) && rule.peer.cidr().is_some_and(|cidr| cidr.prefix() == 0));
    bits.fold(0, |open, rule| {
        open | match rule.protocol {
            None => 0b101 << shift,
            Some(TCP) => 0b001 << shift,
            Some(UDP) => 0b100 << shift,
            Some(_) => 0,
        }
    })
}
