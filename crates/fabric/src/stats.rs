// SPDX-License-Identifier: Apache-2.0
//! Counters of an interface, for command line and metrics.

use std::collections::BTreeMap;
use std::path::Path;

use berth_types::EniId;
use berth_types::report::FlowTable;

use crate::DropReason;
use crate::bpf::layout::Counters;
use crate::bpf::{Maps, pins};
use crate::fault::Fault;

/// Packets that an interface passed and dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EniStats {
    /// Packets the interface sent that were delivered.
    pub packets_out: u64,
    /// Bytes of these, with Ethernet headers.
    pub bytes_out: u64,
    /// Packets delivered to the interface.
    pub packets_in: u64,
    /// Bytes of these, with Ethernet headers.
    pub bytes_in: u64,
    /// Packets dropped, by reason; reasons without drops are absent. A packet refused by the receiver's security groups
    /// counts at the receiver, any other at the sender.
    pub drops: BTreeMap<DropReason, u64>,
    /// Rows of the flow table that the interface holds: its flows, including ended ones that are not removed yet.
    pub flows: u32,
}

impl EniStats {
    /// Counters and rows of a slot.
    pub(crate) fn read(maps: &Maps, slot: u16) -> Result<Self, Fault> {
        Ok(Self { flows: maps.rows_held(slot)?, ..Self::of(&maps.counters(slot)?) })
    }

    fn of(counters: &Counters) -> Self {
        let drops = DropReason::ALL.into_iter().zip(counters.drops).filter(|(_, count)| *count > 0);
        Self {
            packets_out: counters.packets_out,
            bytes_out: counters.bytes_out,
            packets_in: counters.packets_in,
            bytes_in: counters.bytes_in,
            drops: drops.collect(),
            flows: 0,
        }
    }

    /// Packets dropped for one reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(&reason).copied().unwrap_or(0)
    }
}

/// Counters of every plugged interface of a running instance, read from its pinned maps, without its node.
///
/// `run_dir` is the instance's run folder; it only names the instance in the error when there is none.
pub fn read_stats(instance: &str, run_dir: &Path) -> Result<Vec<(EniId, EniStats)>, Fault> {
    let maps = Maps::open(&pins::of_running(instance, run_dir)?)?;
    let mut all = Vec::new();
    for (id, entry) in maps.enis()? {
        all.push((id, EniStats::read(&maps, entry.slot)?));
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(all)
}

/// The use of the flow table of a running instance, read from its pinned maps.
pub fn read_flow_table(instance: &str, run_dir: &Path) -> Result<FlowTable, Fault> {
    Maps::open(&pins::of_running(instance, run_dir)?)?.flow_table()
}
