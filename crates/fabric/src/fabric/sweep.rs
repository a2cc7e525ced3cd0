// SPDX-License-Identifier: Apache-2.0
//! The sweep of the flow table: dead flows are removed, and rows of the ring without a flow are given back.
//!
//! Every table that interfaces share has this form: rows of its own for each (the floor), a shared part under a limit
//! that shrinks as it fills (`may_share` in `bpf/verdict.h`), a sweep, and a gauge. The program counts the rows it
//! makes, the node those it gives back; a sweep counts the rows as well and corrects the node's numbers. Pure except
//! for [`Fabric::sweep`].

use std::collections::BTreeMap;

use berth_types::report::FlowTable;

use super::Fault;
use super::data_path::Fabric;
use crate::bpf::layout::{Control, Flow, FlowKey, Returned, Ring, RingKey, SLOTS};
use crate::verdict::{TRANSLATED, flow_alive, translation_alive};

/// Maximum number of flows, and of rows, that one sweep removes: other work waits for the fabric's thread meanwhile.
const REMOVALS_MAX: usize = 1 << 16;

/// The result of one sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Dead flows that were removed.
    pub flows: usize,
    /// Rows that were given back.
    pub rows: usize,
    /// True if some remain because of the limit of a sweep.
    pub has_more: bool,
    /// The table after it.
    pub table: FlowTable,
}

/// Rows of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rows {
    all: u32,
    shared: u32,
    /// Above the highest index.
    end: u32,
}

impl Rows {
    fn add(&mut self, index: u32, floor: u32) {
        self.all += 1;
        self.shared += u32::from(index >= floor);
        self.end = self.end.max(index + 1);
    }
}

/// The accounts of a slot after its rows were counted. The count is exact except for rows made meanwhile: within these
/// the sum of given-back rows has priority.
fn settle(before: &Ring, after: &Ring, old: &Returned, counted: &Rows, removed: &Rows) -> Returned {
    let meanwhile = after.made.wrapping_sub(before.made);
    let choose = |made: u32, counted: u32, summed: u32| {
        let by_count = made.wrapping_sub(counted);
        let error = (by_count.wrapping_sub(summed) as i32).unsigned_abs();
        if error > meanwhile || meanwhile == 0 { by_count } else { summed }
    };
    let end = after.end.wrapping_sub(old.shrunk);
    let is_quiet = meanwhile == 0 && before.end == after.end;
    Returned {
        rows: choose(after.made, counted.all, old.rows.wrapping_add(removed.all)),
        shared: choose(after.made_shared, counted.shared, old.shared.wrapping_add(removed.shared)),
        shrunk: if is_quiet { after.end.wrapping_sub(end.min(counted.end)) } else { old.shrunk },
    }
}

/// The sums of all slots.
fn sums(rings: &[Ring], returns: &[Returned]) -> Returned {
    let (mut rows, mut shared) = (rings[0].made, rings[0].made_shared);
    for (ring, returned) in rings.iter().zip(returns).skip(1) {
        rows = rows.wrapping_sub(ring.made.wrapping_sub(returned.rows));
        shared = shared.wrapping_sub(ring.made_shared.wrapping_sub(returned.shared));
    }
    Returned { rows, shared, shrunk: 0 }
}

fn is_alive(now_ns: u64, key: &FlowKey, flow: &Flow, durations: &Control) -> bool {
    if flow.state & TRANSLATED != 0 {
        return translation_alive(now_ns, flow.seen_ns, flow.state, durations);
    }
    flow_alive(now_ns, flow.seen_ns, flow.state, (key.vni_proto & 0xff) as u8)
}

/// The rows that pay for a flow: a bit for each.
#[derive(Default)]
struct Paying(BTreeMap<u32, Vec<u64>>);

impl Paying {
    fn insert(&mut self, row: RingKey) {
        let bits = self.0.entry(row.slot).or_default();
        let word = row.index as usize / 64;
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        bits[word] |= 1 << (row.index % 64);
    }

    fn contains(&self, row: RingKey) -> bool {
        let word = self.0.get(&row.slot).and_then(|bits| bits.get(row.index as usize / 64));
        word.is_some_and(|word| word >> (row.index % 64) & 1 == 1)
    }
}

impl Fabric {
    /// Removes dead flows and gives back rows of the ring without a flow, up to the limit of a sweep.
    pub fn sweep(&mut self) -> Result<Swept, Fault> {
        let now_ns = self.clock.now_ns();
        let (before, durations) = (self.maps.rings()?, self.maps.control()?);
        let (mut paying, mut dead, mut latest_ns) = (Paying::default(), Vec::new(), 0);
        self.maps.each_flow(|key, flow| {
            latest_ns = latest_ns.max(flow.seen_ns);
            if is_alive(now_ns, &key, &flow, &durations) || dead.len() == REMOVALS_MAX {
                paying.insert(RingKey { slot: flow.owner, index: flow.ring_index });
            } else {
                dead.push(key);
            }
        })?;
        if latest_ns > 0 {
            self.clock.saw(latest_ns);
        }
        let mut flows = 0;
        for key in &dead {
            flows += usize::from(self.remove_dead(key, now_ns, &durations)?);
        }
        let rows = self.give_back(&paying, &before)?;
        let has_more = dead.len() == REMOVALS_MAX || rows >= REMOVALS_MAX;
        Ok(Swept { flows, rows, has_more, table: self.maps.flow_table()? })
    }

    /// Removes a flow that was dead when it was read; false if it has been revived meanwhile.
    fn remove_dead(&mut self, key: &FlowKey, now_ns: u64, durations: &Control) -> Result<bool, Fault> {
        match self.maps.take_flow(key)? {
            Some(flow) if is_alive(now_ns, key, &flow, durations) => {
                self.maps.put_back_flow(key, &flow).map(|()| false)
            }
            taken => Ok(taken.is_some()),
        }
    }

    /// Removes rows without a flow and corrects the accounts. Returns their number.
    fn give_back(&mut self, paying: &Paying, before: &[Ring]) -> Result<usize, Fault> {
        let floor = self.maps.shares()?.floor;
        let mut counted = vec![Rows::default(); SLOTS.into()];
        let mut removed = counted.clone();
        let mut unpaid = Vec::new();
        let add = |rows: &mut [Rows], row: RingKey| {
            if let Some(rows) = rows.get_mut(row.slot as usize) {
                rows.add(row.index, floor);
            }
        };
        self.maps.each_row(|row, key| match paying.contains(row) || unpaid.len() == REMOVALS_MAX {
            true => add(&mut counted, row),
            false => unpaid.push((row, key)),
        })?;
        for (row, key) in &unpaid {
            let is_removed = self.remove_unpaid(row, key)?;
            add(if is_removed { &mut removed } else { &mut counted }, *row);
        }
        let (after, mut returns) = (self.maps.rings()?, self.maps.returns()?);
        for slot in 1..usize::from(SLOTS) {
            let settled = settle(&before[slot], &after[slot], &returns[slot], &counted[slot], &removed[slot]);
            if settled != returns[slot] {
                self.maps.set_returned(slot as u32, settled)?;
                returns[slot] = settled;
            }
        }
        let all = sums(&after, &returns);
        if all != returns[0] {
            self.maps.set_returned(0, all)?;
        }
        Ok(removed.iter().map(|rows| rows.all as usize).sum())
    }

    /// Removes a row whose flow was absent when the table was read; false if it has one now.
    fn remove_unpaid(&mut self, row: &RingKey, key: &FlowKey) -> Result<bool, Fault> {
        let pays = |flow: &Flow| flow.owner == row.slot && flow.ring_index == row.index;
        if self.maps.flow(key)?.as_ref().is_some_and(pays) {
            return Ok(false);
        }
        match self.maps.take_row(row)? {
            Some(other) if other != *key => self.maps.put_back_row(row, &other).map(|()| false),
            taken => Ok(taken.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_follow_what_is_counted_and_keep_up_with_rows_made_meanwhile() {
        let ring = |made, shared, end| Ring { cursor: 0, end, made, made_shared: shared };
        let rows = |all, shared, end| Rows { all, shared, end };
        let returned = |rows, shared, shrunk| Returned { rows, shared, shrunk };
        let quiet = |at: Ring, old, counted, removed| settle(&at, &at, &old, &counted, &removed);
        // 10 made, 4 left: 6 given back, and the ring ends behind the last one.
        assert_eq!(quiet(ring(10, 5, 10), returned(1, 1, 0), rows(4, 2, 7), rows(5, 2, 10)), returned(6, 3, 3));
        // A sweep that died before it wrote is compensated.
        assert_eq!(quiet(ring(10, 5, 10), returned(0, 0, 0), rows(4, 2, 10), rows(0, 0, 0)), returned(6, 3, 0));
        // Rows made by an earlier layout count, though this one has made none.
        let taken_over = quiet(ring(0, 0, 9), returned(0, 0, 0), rows(9, 4, 9), rows(0, 0, 0));
        assert_eq!(ring(0, 0, 9).rows_held(&taken_over), 9);
        // Two were made while the rows were counted; it is unknown whether the count includes them.
        let (before, after) = (ring(10, 5, 10), ring(12, 7, 12));
        for counted in [8, 9, 10] {
            let settled = settle(&before, &after, &returned(1, 0, 0), &rows(counted, 5, 12), &rows(1, 0, 3));
            assert_eq!(settled, returned(2, 0, 0));
        }
    }
}
