//! Counters of an interface, for people and metrics.

use std::collections::BTreeMap;
use std::path::Path;

use berth_types::EniId;

use crate::DropReason;
use crate::bpf::layout::Counters;
use crate::bpf::{Maps, pins};
use crate::fault::Fault;

/// What passed an interface and what did not.
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
    /// Packets dropped, by reason; reasons that never happened are absent. A packet refused by the receiver's security
    /// groups counts at the receiver, everything else at the sender.
    pub drops: BTreeMap<DropReason, u64>,
}

impl EniStats {
    pub(crate) fn of(counters: &Counters) -> Self {
        let drops = DropReason::ALL.into_iter().zip(counters.drops).filter(|(_, count)| *count > 0);
        Self {
            packets_out: counters.packets_out,
            bytes_out: counters.bytes_out,
            packets_in: counters.packets_in,
            bytes_in: counters.bytes_in,
            drops: drops.collect(),
        }
    }

    /// Packets dropped for one reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(&reason).copied().unwrap_or(0)
    }
}

/// Counters of every plugged interface of a running instance, read from its pinned maps: no agent is asked.
///
/// `run_dir` is where the instance runs; it only names the instance in the error when there is none.
pub fn read_stats(instance: &str, run_dir: &Path) -> Result<Vec<(EniId, EniStats)>, Fault> {
    let maps = Maps::open(&pins::of_running(instance, run_dir)?)?;
    let mut all = Vec::new();
    for (id, entry) in maps.enis()? {
        all.push((id, EniStats::of(&maps.counters(entry.slot)?)));
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(all)
}
