// SPDX-License-Identifier: Apache-2.0
//! Why a packet arrives or does not: the gates of the data path in their order, each evaluated twice.
//!
//! Once from the records (`records`, which reads the rules one by one) and once from the kernel's maps (`programmed`).
//! Where they differ the kernel decides, and a warning reports it. Pure except for [`Programmed::read`]. The packet is
//! the first of its connection and comes from the interface's own address; packets of an open connection are not
//! explained.

mod answer;
mod programmed;
mod records;
#[cfg(test)]
mod tests;
mod way;

use std::net::Ipv4Addr;

use berth_types::HostId;
use berth_types::explain::Ends;

use crate::DropReason;
pub use answer::{Answer, Deciding, Gate, Packet};
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
}

impl Explanation {
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
        let differing = self.gates.iter().filter(|asked| asked.differs());
        let told = differing.map(|asked| {
            let Asked { gate, records, maps } = asked;
            format!("{}: the records say {records}, the programmed maps say {maps}", gate.as_str())
        });
        told.collect()
    }
}

/// Evaluates every gate for the first packet of a connection. `host` is the one whose maps were read.
pub fn explain(ends: &Ends, packet: Packet, programmed: &Programmed, host: &HostId) -> Explanation {
    let both = records::answers(ends, packet, host).into_iter().zip(programmed.answers(ends, packet));
    let gates = Gate::ALL.into_iter().zip(both).map(|(gate, (records, maps))| Asked { gate, records, maps });
    Explanation { gates: gates.collect() }
}
