// SPDX-License-Identifier: Apache-2.0
//! Why a packet arrives or does not: the gates of the data path in their order, each evaluated twice.
//!
//! Once from the records (`records`, which reads the rules one by one) and once from the kernel's maps (`programmed`).
//! Where they differ the kernel decides, and a warning reports it. Pure except for [`Programmed::read`]. The packet is
//! the first of its connection and comes from the interface's own address; packets of an open connection are not
//! explained.

mod answer;
mod change;
mod programmed;
mod records;
#[cfg(test)]
mod tests;
mod way;

use std::net::Ipv4Addr;

use berth_types::explain::{Ends, Party, Source};
use berth_types::intent::Direction;
use berth_types::{HostId, SubnetId};

use crate::DropReason;
pub use answer::{Answer, Deciding, Gate, Packet, REPLY_PORT};
use change::Denied;
pub use change::{Change, Cure};
pub use programmed::Programmed;

/// One gate, evaluated twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The gate.
    pub gate: Gate,
    /// From the records.
    pub records: Answer,
    /// From the programmed maps.
    pub maps: Answer,
}

impl Asked {
    /// True if the kernel's maps differ from the records.
    pub fn differs(&self) -> bool {
        self.records != self.maps
    }
}

/// The explanation for a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The gates in order.
    pub gates: Vec<Asked>,
    /// The gates of the reply that decide on it: those without memory of its connection. Empty if the packet is dropped,
    /// nothing answers it, or its reply starts in another VPC.
    pub reply: Vec<Asked>,
}

impl Explanation {
    /// The kernel's drop reason of the reply; `None` if it arrives or there is none.
    pub fn reply_drop_reason(&self) -> Option<DropReason> {
        self.reply.iter().find_map(|asked| match asked.maps {
            Answer::Drop(reason) => Some(reason),
            Answer::Pass(_) | Answer::NotReached => None,
        })
    }

    /// The kernel's drop reason; `None` if the packet arrives.
    pub fn drop_reason(&self) -> Option<DropReason> {
        self.gates.iter().find_map(|asked| match asked.maps {
            Answer::Drop(reason) => Some(reason),
            Answer::Pass(_) | Answer::NotReached => None,
        })
    }

    /// The source address that a packet has beyond a gateway.
    pub fn leaves_as(&self) -> Option<Ipv4Addr> {
        self.gates.iter().find_map(|asked| match &asked.maps {
            Answer::Pass(by) => by.iter().find_map(|one| match one {
                Deciding::Translated(address) => Some(*address),
                _ => None,
            }),
            Answer::Drop(_) | Answer::NotReached => None,
        })
    }

    /// A sentence for each gate where records and kernel differ.
    pub fn warnings(&self) -> Vec<String> {
        let differing = self.gates.iter().chain(&self.reply).filter(|asked| asked.differs());
        let told = differing.map(|asked| {
            let Asked { gate, records, maps } = asked;
            format!("{}: the records say {records}, the programmed maps say {maps}", gate.as_str())
        });
        told.collect()
    }
}

/// Evaluates every gate for the first packet of a connection, and those of its reply. `host` is the one whose maps were
/// read.
pub fn explain(ends: &Ends, packet: Packet, programmed: &Programmed, host: &HostId) -> Explanation {
    let gates = asked(ends, packet, programmed, host);
    let is_dropped = gates.iter().any(|asked| matches!(asked.maps, Answer::Drop(_)));
    let reply = packet.reply().filter(|_| !is_dropped);
    let reply = reply.map(|reply| reply_gates(ends, packet, reply, programmed, host)).unwrap_or_default();
    Explanation { gates, reply }
}

/// The gates of a reply through a NAT gateway.
const NAT_REPLY: [Gate; 3] = [Gate::NetworkAclIn, Gate::NetworkAclOut, Gate::NetworkAclIn];

fn asked(ends: &Ends, packet: Packet, programmed: &Programmed, host: &HostId) -> Vec<Asked> {
    both(Gate::ALL, records::answers(ends, packet, host), programmed.answers(ends, packet))
}

fn both<const N: usize>(gates: [Gate; N], records: [Answer; N], maps: [Answer; N]) -> Vec<Asked> {
    let answers = records.into_iter().zip(maps);
    gates.into_iter().zip(answers).map(|(gate, (records, maps))| Asked { gate, records, maps }).collect()
}

/// The gates of a reply that decide without memory of its connection.
fn reply_gates(ends: &Ends, packet: Packet, reply: Packet, programmed: &Programmed, host: &HostId) -> Vec<Asked> {
    if let Some(id) = records::nat_gateway(ends, packet, host) {
        let records = records::back_through_nat(ends, reply, host, &id);
        return both(NAT_REPLY, records, programmed.back_through_nat(ends, reply));
    }
    let Some(turned) = turned(ends) else { return Vec::new() };
    let decides = |gate| matches!(gate, Gate::NetworkAclOut | Gate::Route | Gate::Target | Gate::NetworkAclIn);
    asked(&turned, reply, programmed, host).into_iter().filter(|asked| decides(asked.gate)).collect()
}

/// The ends of the reply; `None` if its sender is not known: in a peer VPC, or the router of a subnet.
fn turned(ends: &Ends) -> Option<Ends> {
    let is_at_own_address = |party: &&Party| party.address == ends.destination;
    let receiver = ends.receiver.as_ref().filter(is_at_own_address);
    match (&ends.source, receiver) {
        (Source::Interface(sender), Some(receiver)) => Some(Ends {
            source: Source::Interface(receiver.clone()),
            destination: sender.address,
            receiver: Some(sender.clone()),
            ..ends.clone()
        }),
        (Source::World(sender), Some(receiver)) => Some(Ends {
            source: Source::Interface(receiver.clone()),
            destination: *sender,
            receiver: None,
            public: None,
            ..ends.clone()
        }),
        (Source::Interface(sender), None) => {
            let is_inside = ends.ways.vpcs.values().any(|vpc| vpc.cidrs.iter().any(|it| it.contains(ends.destination)));
            let mut publics = ends.ways.public_addresses.iter().filter(|(_, it)| it.eni == sender.eni);
            let public = publics.next().map(|(public, _)| *public)?;
            (!is_inside).then(|| Ends {
                source: Source::World(ends.destination),
                destination: sender.address,
                public: Some(public),
                receiver: Some(sender.clone()),
                ..ends.clone()
            })
        }
        (Source::World(_), None) => None,
    }
}

/// Changes after which the packet and its reply pass every gate by the records, in the order of the gates: as few as
/// there are gates that drop, since each cures one and opens as little as it can. The last one has no change if none of
/// a record helps.
pub fn cures(ends: &Ends, packet: Packet, host: &HostId) -> Vec<Cure> {
    let mut ends = ends.clone();
    let mut cures = Vec::new();
    while cures.len() < CURES_MAX {
        let Some(cure) = first_cure(&ends, packet, host) else { break };
        let change = cure.change.clone();
        cures.push(cure);
        match change {
            Some(change) => change.apply(&mut ends),
            None => break,
        }
    }
    cures
}

/// More drops than the gates of a packet and its reply can have.
const CURES_MAX: usize = 16;

fn first_cure(ends: &Ends, packet: Packet, host: &HostId) -> Option<Cure> {
    let own = ends.sender().or(ends.receiver.as_ref())?;
    let forward = Gate::ALL.into_iter().zip(records::answers(ends, packet, host));
    if let Some((gate, reason)) = first_drop(forward) {
        let denied = Denied { ends, own, packet, gate, reason };
        let change = match nat_acl(ends, packet, host, gate, reason) {
            Some((subnet, direction, other)) => denied.acl(&subnet, direction, other),
            None => denied.change(),
        };
        return Some(Cure { gate, is_reply: false, reason, change });
    }
    let reply = packet.reply()?;
    if let Some(id) = records::nat_gateway(ends, packet, host) {
        let answers = records::back_through_nat(ends, reply, host, &id);
        let gateway = &ends.ways.nat_gateways.get(&id)?.subnet;
        let places = [
            (gateway, Direction::Ingress, ends.destination),
            (gateway, Direction::Egress, own.address),
            (&own.subnet, Direction::Ingress, ends.destination),
        ];
        let dropping =
            NAT_REPLY.into_iter().zip(answers).zip(places).find_map(|((gate, answer), place)| match answer {
                Answer::Drop(reason) => Some((gate, reason, place)),
                Answer::Pass(_) | Answer::NotReached => None,
            });
        let (gate, reason, (subnet, direction, other)) = dropping?;
        let change = Denied { ends, own, packet: reply, gate, reason }.acl(subnet, direction, other);
        return Some(Cure { gate, is_reply: true, reason, change });
    }
    let turned = turned(ends)?;
    let answers = Gate::ALL.into_iter().zip(records::answers(&turned, reply, host));
    let (gate, reason) = first_drop(answers)?;
    let own = turned.sender().or(turned.receiver.as_ref())?;
    let change = Denied { ends: &turned, own, packet: reply, gate, reason }.change();
    Some(Cure { gate, is_reply: true, reason, change })
}

fn first_drop(answers: impl Iterator<Item = (Gate, Answer)>) -> Option<(Gate, DropReason)> {
    let mut drops = answers.filter_map(|(gate, answer)| match answer {
        Answer::Drop(reason) => Some((gate, reason)),
        Answer::Pass(_) | Answer::NotReached => None,
    });
    drops.next()
}

/// The network ACL of a NAT gateway's subnet, if it is what drops the packet at its target.
fn nat_acl(
    ends: &Ends,
    packet: Packet,
    host: &HostId,
    gate: Gate,
    reason: DropReason,
) -> Option<(SubnetId, Direction, Ipv4Addr)> {
    let id = records::nat_gateway(ends, packet, host).filter(|_| gate == Gate::Target)?;
    let subnet = ends.ways.nat_gateways.get(&id)?.subnet.clone();
    match reason {
        DropReason::NetworkAclIn => Some((subnet, Direction::Ingress, ends.source_address())),
        DropReason::NetworkAclOut => Some((subnet, Direction::Egress, ends.destination)),
        _ => None,
    }
}
