// SPDX-License-Identifier: Apache-2.0
//! Durations of the data path that AWS documents and tests may shorten.

use std::time::Duration;

/// Times of translated connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durations {
    /// A NAT gateway ends a connection without packets after this time.
    pub nat_idle: Duration,
    /// The port of a closed connection is given to no other private end for this time.
    pub nat_closed: Duration,
}

impl Default for Durations {
    fn default() -> Self {
        Self { nat_idle: Duration::from_secs(350), nat_closed: Duration::from_secs(60) }
    }
}

impl Durations {
    pub(super) fn nat_idle_ns(&self) -> u64 {
        ns(self.nat_idle)
    }

    pub(super) fn nat_closed_ns(&self) -> u64 {
        ns(self.nat_closed)
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
