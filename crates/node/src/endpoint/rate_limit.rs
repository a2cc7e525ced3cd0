// SPDX-License-Identifier: Apache-2.0
//! How often a task may ask: 40 requests a second, 60 at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

const PER_SECOND: f64 = 40.0;
const BURST: f64 = 60.0;
/// Clients remembered; those whose allowance is full again are forgotten first.
const CLIENTS_MAX: usize = 2048;

/// One allowance per client.
#[derive(Default)]
pub(super) struct Limits(Mutex<HashMap<IpAddr, Allowance>>);

#[derive(Clone, Copy)]
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn now(self, now: Instant) -> f64 {
        (self.left + now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND).min(BURST)
    }
}

impl Limits {
    /// True if the client may ask now.
    pub fn admit(&self, client: IpAddr, now: Instant) -> bool {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, allowance| allowance.now(now) < BURST);
        }
        let allowance = clients.entry(client).or_insert(Allowance { left: BURST, at: now });
        let left = allowance.now(now);
        let is_admitted = left >= 1.0;
        *allowance = Allowance { left: if is_admitted { left - 1.0 } else { left }, at: now };
        is_admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    #[test]
    fn sixty_at_once_then_forty_a_second() {
        let (limits, start) = (Limits::default(), Instant::now());
        let client = |n| IpAddr::V4(Ipv4Addr::new(169, 254, 172, n));
        let admitted = |n, at| (0..100).filter(|_| limits.admit(client(n), at)).count();
        assert_eq!(admitted(2, start), 60);
        assert_eq!(admitted(3, start), 60, "each task has its own");
        assert_eq!(admitted(2, start + Duration::from_secs(1)), 40);
    }
}
