// SPDX-License-Identifier: Apache-2.0
//! The pause before what failed is tried again: it grows with each failure in a row, up to a maximum.

use std::time::Duration;

/// How pauses grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// Pause after the first failure; it doubles with each further one.
    pub first: Duration,
    /// Longest pause.
    pub max: Duration,
}

impl Backoff {
    /// The pause after this number of failures in a row; none before the first try.
    pub fn after(self, failures: u32) -> Duration {
        match failures {
            0 => Duration::ZERO,
            _ => self.first.saturating_mul(1u32 << (failures - 1).min(31)).min(self.max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(1) };
        let pauses = [0, 1, 2, 3, 4, 40, u32::MAX].map(|failures| backoff.after(failures).as_millis());
        assert_eq!(pauses, [0, 250, 500, 1000, 1000, 1000, 1000]);
    }
}
