// SPDX-License-Identifier: Apache-2.0
//! Packets, gates, and the answer of a gate.

use std::fmt;
use std::net::Ipv4Addr;

use berth_types::{Ipv4Cidr, NetworkAclId, RouteTableId, SecurityGroupId, SecurityGroupRuleId};

use crate::DropReason;

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// IP protocol number; `None` stands for one that no rule names, which only rules for all protocols admit.
    pub protocol: Option<u8>,
    /// Port of the receiver; for ICMP type and code; 0 for other protocols.
    pub port: u16,
    /// True for an answer within a connection: security groups admit it, routes and network ACLs decide.
    pub is_reply: bool,
}

/// The port to which replies are sent: one of those that clients take.
pub const REPLY_PORT: u16 = 40_000;

const TCP: u8 = 6;
const UDP: u8 = 17;

const ICMP: u8 = 1;
const ECHO_REQUEST: u16 = 8;

impl Packet {
    /// The answer to the packet; `None` if nothing answers it.
    pub(super) fn reply(self) -> Option<Self> {
        let port = match self.protocol {
            Some(TCP | UDP) => REPLY_PORT,
            // An echo reply has type 0.
            Some(ICMP) if self.is_echo_request() => 0,
            Some(ICMP) => return None,
            Some(_) | None => 0,
        };
        Some(Self { port, is_reply: true, ..self })
    }

    /// The request that a subnet's router answers: an echo request.
    pub(super) fn is_echo_request(self) -> bool {
        self.protocol == Some(ICMP) && self.port >> 8 == ECHO_REQUEST
    }
}

/// The gates at which a packet can be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The sending interface is plugged and programmed.
    Source,
    /// The destination is an address that packets may be sent to.
    Destination,
    /// The sender's security groups.
    Egress,
    /// The network ACL of the sender's subnet; packets inside a subnet meet none.
    NetworkAclOut,
    /// The route table of the sender's subnet.
    Route,
    /// The target of the route: an interface on this host, an internet gateway, a NAT gateway with its own subnet's
    /// routes and network ACL.
    Target,
    /// The network ACL of the receiver's subnet.
    NetworkAclIn,
    /// The receiver's security groups.
    Ingress,
}

impl Gate {
    /// All gates in the order of a packet.
    pub const ALL: [Self; 8] = [
        Self::Source,
        Self::Destination,
        Self::Egress,
        Self::NetworkAclOut,
        Self::Route,
        Self::Target,
        Self::NetworkAclIn,
        Self::Ingress,
    ];

    /// A word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Egress => "egress",
            Self::NetworkAclOut => "network_acl_out",
            Self::Route => "route",
            Self::Target => "target",
            Self::NetworkAclIn => "network_acl_in",
            Self::Ingress => "ingress",
        }
    }
}

/// A rule, an entry, a route or a gateway that lets the packet continue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deciding {
    /// A rule in the records.
    Rule {
        /// The group.
        group: SecurityGroupId,
        /// The rule.
        rule: SecurityGroupRuleId,
    },
    /// A rule in the kernel's maps without a record.
    Unrecorded {
        /// Number of the ruleset.
        ruleset: u32,
        /// The rule's bit.
        bit: usize,
    },
    /// An entry of a network ACL.
    AclEntry {
        /// The ACL.
        acl: NetworkAclId,
        /// Number of the entry.
        entry: u16,
    },
    /// A route.
    Route {
        /// The table; none if the subnet has none and its VPC's ranges count.
        table: Option<RouteTableId>,
        /// Its destination.
        destination: Ipv4Cidr,
        /// Its target, e.g. `local` or the id of a gateway.
        target: String,
    },
    /// A gateway that gives the packet this source address.
    Translated(Ipv4Addr),
    /// The internet gateway that gives a packet from the world this destination address.
    Arrives(Ipv4Addr),
}

impl fmt::Display for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { group, rule } => write!(f, "{group}/{rule}"),
            Self::Unrecorded { ruleset, bit } => write!(f, "unrecorded rule {bit} of ruleset {ruleset}"),
            Self::AclEntry { acl, entry } => write!(f, "{acl}/{entry}"),
            Self::Route { table: Some(table), destination, target } => write!(f, "{table}: {destination} -> {target}"),
            Self::Route { table: None, destination, target } => write!(f, "{destination} -> {target}"),
            Self::Translated(address) => write!(f, "leaves as {address}"),
            Self::Arrives(address) => write!(f, "stands for {address}"),
        }
    }
}

/// The answer of one gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The packet passes; at a gate of security groups, each of these rules admits it.
    Pass(Vec<Deciding>),
    /// The end.
    Drop(DropReason),
    /// The packet does not reach this gate.
    NotReached,
}

impl Answer {
    /// A gate without rules.
    pub(super) fn open() -> Self {
        Self::Pass(Vec::new())
    }

    /// A gate of security groups: one matching rule admits, none denies.
    pub(super) fn by_rules(mut admitting: Vec<Deciding>, denial: DropReason) -> Self {
        admitting.sort();
        if admitting.is_empty() { Self::Drop(denial) } else { Self::Pass(admitting) }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass(rules) if rules.is_empty() => f.write_str("pass"),
            Self::Pass(rules) => {
                let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
                write!(f, "pass by {}", rules.join(", "))
            }
            Self::Drop(reason) => write!(f, "drop ({reason})"),
            Self::NotReached => f.write_str("not reached"),
        }
    }
}

/// Answers of the first gates, and none of the others.
pub(super) fn until<const N: usize>(first: [Answer; N]) -> Answers {
    let mut first = first.into_iter();
    std::array::from_fn(|_| first.next().unwrap_or(Answer::NotReached))
}

/// The answers of all gates, in order.
pub(super) type Answers = [Answer; 8];
