// SPDX-License-Identifier: Apache-2.0
//! The clock of the program in the kernel, derived from the times in its flows.

use std::time::Instant;

/// A lower bound of the program's clock: from the times it has written, so never ahead.
#[derive(Debug)]
pub(super) struct Clock {
    opened: Instant,
    /// Added to the time since `opened`; `None` until a flow was seen.
    offset_ns: Option<i128>,
}

impl Clock {
    pub fn new() -> Self {
        Self { opened: Instant::now(), offset_ns: None }
    }

    fn elapsed_ns(&self) -> i128 {
        self.opened.elapsed().as_nanos() as i128
    }

    /// 0 until a flow was seen: at 0 every flow is alive.
    pub(super) fn now_ns(&self) -> u64 {
        self.offset_ns.map_or(0, |offset| u64::try_from(self.elapsed_ns() + offset).unwrap_or(0))
    }

    pub(super) fn saw(&mut self, seen_ns: u64) {
        let offset = i128::from(seen_ns) - self.elapsed_ns();
        self.offset_ns = self.offset_ns.max(Some(offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_never_ahead_of_what_was_seen() {
        let mut clock = Clock::new();
        assert_eq!(clock.now_ns(), 0);
        clock.saw(1_000_000_000_000);
        let first = clock.now_ns();
        assert!(first >= 1_000_000_000_000);
        clock.saw(5);
        assert!(clock.now_ns() >= first, "an old flow does not set it back");
    }
}
