// SPDX-License-Identifier: Apache-2.0
//! Finds remains of removed interfaces in the maps, and unused pins. Pure; `Fabric::collect` removes them.
//!
//! Flows of an interface are removed with it. A process killed during the removal leaves flows without an interface:
//! they would occupy rows, and would belong to the next interface with the same row of counters.

use std::collections::BTreeSet;

use crate::bpf::layout::Flow;

/// Slot of packets that belong to no interface.
const NOBODY: u16 = 0;

/// The slots of plugged interfaces: entries of other slots are garbage.
#[derive(Debug)]
pub struct UsedSlots(pub BTreeSet<u16>);

impl UsedSlots {
    /// True if an end of the flow, or its owner, is removed.
    pub fn has_lost(&self, flow: &Flow) -> bool {
        !(flow.slot.into_iter().all(|slot| self.is_used(slot)) && self.has_owner(flow.owner))
    }

    /// True if the ring of this slot has an owner.
    pub fn has_owner(&self, slot: u32) -> bool {
        u16::try_from(slot).is_ok_and(|slot| self.is_used(slot))
    }

    fn is_used(&self, slot: u16) -> bool {
        slot == NOBODY || self.0.contains(&slot)
    }
}

/// Pins that do not belong to this program.
pub fn strays(found: &[String], known: &BTreeSet<String>) -> Vec<String> {
    found.iter().filter(|name| !known.contains(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_interface_that_is_gone_has_left_is_lost() {
        let used = UsedSlots(BTreeSet::from([1, 2]));
        let is_lost = |slot, owner| used.has_lost(&Flow { slot, owner, ..Flow::default() });
        assert!(!is_lost([1, 2], 1));
        assert!(!is_lost([0, 2], 2), "the other end is nobody's");
        assert!(is_lost([1, 7], 1));
        assert!(is_lost([7, 1], 1));
        assert!(is_lost([1, 2], 7));
        assert!(is_lost([1, 2], 1 << 16 | 1));
        assert!(used.has_owner(2) && !used.has_owner(7));
    }
}
