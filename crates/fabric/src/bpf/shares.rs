// SPDX-License-Identifier: Apache-2.0
//! Division of the flow table among the interfaces. Pure.

use super::layout::{SLOTS, Shares};

/// Memory of the host for one row: a row with its flow and its row of the ring takes at most a 64th of it.
const MEMORY_PER_ROW: u64 = 64 * 256;
/// Number of rows of the smallest and the largest table.
const ROWS: (u64, u64) = (1 << 18, 1 << 22);

/// Number of rows of the flow table on a host with this much memory.
pub fn rows_for(memory_bytes: u64) -> u32 {
    let fitting = (memory_bytes / MEMORY_PER_ROW).clamp(ROWS.0, ROWS.1);
    1 << fitting.ilog2()
}

/// Half of the rows are reserved, the same number for each slot; a 64th is kept for rows that are made concurrently.
pub fn division(rows: u32) -> Shares {
    let floor = rows / 2 / u32::from(SLOTS);
    Shares { floor, shared_max: rows - floor * u32::from(SLOTS) - rows / 64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_grows_with_the_host_and_every_slot_has_a_floor() {
        const GIB: u64 = 1 << 30;
        for (memory, rows, floor) in [(GIB, 1 << 18, 32), (24 * GIB, 1 << 20, 128), (512 * GIB, 1 << 22, 512)] {
            assert_eq!(rows_for(memory), rows);
            let shares = division(rows);
            assert_eq!(shares.floor, floor);
            assert!(floor * u32::from(SLOTS) + shares.shared_max < rows);
            assert!(shares.shared_max >= rows * 15 / 32);
        }
    }
}
