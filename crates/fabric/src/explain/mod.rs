//! Why a packet arrives or does not: the gates of the data path in their order, each asked twice.
//!
//! Once of the records (`records`, the plain reading of the rules) and once of what the kernel holds (`programmed`, the
//! maps read back). Where the two differ the kernel is what counts, and somebody should know. Pure but for
//! [`Programmed::read`].
//! The packet is the first of its connection and comes from the interface's own address; what an open connection may go
//! on doing is not told.

mod programmed;
mod records;
#[cfg(test)]
mod tests;

use std::fmt;

use berth_types::explain::Ends;
use berth_types::{HostId, SecurityGroupId, SecurityGroupRuleId};

use crate::DropReason;
pub use programmed::Programmed;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// IP protocol number; `None` stands for one that no rule names, so that only rules for all protocols admit it.
    pub protocol: Option<u8>,
    /// Port of the receiver; of ICMP type and code; 0 for other protocols.
    pub port: u16,
}

const ICMP: u8 = 1;
const ECHO_REQUEST: u16 = 8;

impl Packet {
    /// What a subnet's router answers: an echo request.
    fn is_echo_request(self) -> bool {
        self.protocol == Some(ICMP) && self.port >> 8 == ECHO_REQUEST
    }
}

/// Where a packet can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The sending interface is plugged and programmed.
    Source,
    /// The destination is an interface of the VPC on this host.
    Destination,
    /// The sender's security groups.
    Egress,
    /// The receiver's security groups.
    Ingress,
}

impl Gate {
    /// In the order in which a packet comes to them.
    pub const ALL: [Self; 4] = [Self::Source, Self::Destination, Self::Egress, Self::Ingress];

    /// A word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }
}

/// A rule that admits the packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deciding {
    /// A rule of the records.
    Rule {
        /// The group.
        group: SecurityGroupId,
        /// The rule.
        rule: SecurityGroupRuleId,
    },
    /// A rule the kernel holds and no record claims.
    Unrecorded {
        /// Number of the tables.
        ruleset: u32,
        /// The rule's bit.
        bit: usize,
    },
}

impl fmt::Display for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { group, rule } => write!(f, "{group}/{rule}"),
            Self::Unrecorded { ruleset, bit } => write!(f, "unrecorded rule {bit} of ruleset {ruleset}"),
        }
    }
}

/// What one gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// On to the next; at a gate of security groups by any of these rules alone.
    Pass(Vec<Deciding>),
    /// The end.
    Drop(DropReason),
    /// The packet does not come here.
    NotReached,
}

impl Answer {
    /// A gate without rules.
    fn open() -> Self {
        Self::Pass(Vec::new())
    }

    /// A gate of security groups: any rule will do, none is a denial.
    fn by_rules(mut admitting: Vec<Deciding>, denial: DropReason) -> Self {
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

/// The answers of all gates, in order.
type Answers = [Answer; 4];

/// One gate, asked twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The gate.
    pub gate: Gate,
    /// By the records.
    pub records: Answer,
    /// By the programmed maps.
    pub maps: Answer,
}

impl Asked {
    /// True if the kernel does not hold what the records say.
    pub fn differs(&self) -> bool {
        self.records != self.maps
    }
}

/// Why a packet arrives or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The gates in order.
    pub gates: Vec<Asked>,
}

impl Explanation {
    /// What the kernel would drop the packet for; `None` if it arrives.
    pub fn drop_reason(&self) -> Option<DropReason> {
        self.gates.iter().find_map(|asked| match asked.maps {
            Answer::Drop(reason) => Some(reason),
            Answer::Pass(_) | Answer::NotReached => None,
        })
    }

    /// A sentence for each gate where records and kernel differ.
    pub fn warnings(&self) -> Vec<String> {
        let differing = self.gates.iter().filter(|asked| asked.differs());
        let told = differing.map(|asked| {
            let Asked { gate, records, maps } = asked;
            format!("{}: the records say {records}, the programmed maps say {maps}", gate.as_str())
        });
        told.collect()
    }
}

/// Asks every gate about the first packet of a connection. `host` is the one whose maps were read.
pub fn explain(ends: &Ends, packet: Packet, programmed: &Programmed, host: &HostId) -> Explanation {
    let both = records::answers(ends, packet, host).into_iter().zip(programmed.answers(ends, packet));
    let gates = Gate::ALL.into_iter().zip(both).map(|(gate, (records, maps))| Asked { gate, records, maps });
    Explanation { gates: gates.collect() }
}
