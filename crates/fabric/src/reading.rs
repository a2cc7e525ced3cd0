// SPDX-License-Identifier: Apache-2.0
//! A reference implementation of security groups: rule by rule, as the AWS documentation describes it. Pure and slow.
//!
//! `berth explain` evaluates the records this way, and the compiled tables are tested against it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use berth_types::intent::{Direction, GroupSetIntent, PortRange, RuleIntent, RulePeer, SecurityGroupIntent};
use berth_types::{GroupSetId, SecurityGroupId, SecurityGroupRuleId};

/// Security groups by id.
pub type Groups = BTreeMap<SecurityGroupId, SecurityGroupIntent>;
/// Group sets by id.
pub type Sets = BTreeMap<GroupSetId, GroupSetIntent>;

/// One packet at one gate.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Which gate.
    pub direction: Direction,
    /// The groups of the gate's interface.
    pub group_set: GroupSetId,
    /// Address of the other end.
    pub peer: Ipv4Addr,
    /// The groups of the other end; 0 for one that has none.
    pub peer_set: GroupSetId,
    /// `None`: a protocol that no rule names.
    pub protocol: Option<u8>,
    /// For ICMP type and code.
    pub port: u16,
}

/// True if the rule admits the packet, taken literally.
pub fn rule_admits(rule: &RuleIntent, sets: &Sets, q: &Question) -> bool {
    if rule.direction != q.direction || (rule.protocol.is_some() && rule.protocol != q.protocol) {
        return false;
    }
    let peer_matches = match &rule.peer {
        RulePeer::Cidr(range) => range.contains(q.peer),
        RulePeer::Cidrs(ranges) => ranges.iter().any(|range| range.contains(q.peer)),
        RulePeer::Group(group) => sets.get(&q.peer_set).is_some_and(|peer| peer.groups.contains(group)),
    };
    port_matches(rule.protocol, rule.ports, q.port) && peer_matches
}

/// True if a port, or for ICMP type and code, is one of those that a rule of this protocol names.
pub fn port_matches(protocol: Option<u8>, ports: PortRange, port: u16) -> bool {
    match (protocol, ports) {
        (Some(6 | 17), PortRange::Ports(first, last)) => (first..=last).contains(&port),
        (Some(1), PortRange::Icmp(kind, code)) => {
            let [packet_kind, packet_code] = port.to_be_bytes();
            kind == packet_kind && code.is_none_or(|code| code == packet_code)
        }
        _ => true,
    }
}

/// A rule with its id and its group's.
pub type Named<'a> = (&'a SecurityGroupId, &'a SecurityGroupRuleId, &'a RuleIntent);

/// Every rule of a group set, in both directions.
pub fn rules<'a>(sets: &'a Sets, groups: &'a Groups, set: GroupSetId) -> impl Iterator<Item = Named<'a>> {
    let own = sets.get(&set).into_iter().flat_map(|set| &set.groups);
    own.filter_map(|id| Some((id, groups.get(id)?)))
        .flat_map(|(group, rules)| rules.rules.iter().map(move |(id, rule)| (group, id, rule)))
}

/// The rules of the group set that admit the packet.
pub fn admitting<'a>(sets: &'a Sets, groups: &'a Groups, q: &'a Question) -> impl Iterator<Item = Named<'a>> {
    rules(sets, groups, q.group_set).filter(|(_, _, rule)| rule_admits(rule, sets, q))
}

/// True if any rule of the group set admits the packet.
pub fn admits(sets: &Sets, groups: &Groups, q: &Question) -> bool {
    admitting(sets, groups, q).next().is_some()
}
