// SPDX-License-Identifier: Apache-2.0
//! Bytes held for unverified callers: heads and bodies until their signature is verified.
//!
//! All of them share one budget. When it is used up, the request that has held its share longest is refused, so that a
//! caller who sends slowly on purpose loses against one who sends at the pace of the network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The budget of one listener.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    next: u64,
    /// Shares in the order of their start.
    shares: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    given_up: CancellationToken,
}

/// The bytes of one request; released when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    id: u64,
    given_up: CancellationToken,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, held: Mutex::default() })
    }

    /// Bytes held at present.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// An empty share.
    pub(super) fn open(self: &Arc<Self>) -> Share {
        let given_up = CancellationToken::new();
        let mut held = self.lock();
        let id = held.next;
        held.next += 1;
        held.shares.insert(id, Holder { bytes: 0, given_up: given_up.clone() });
        drop(held);
        Share { budget: self.clone(), id, given_up }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn give_up(&mut self, id: u64) {
        if let Some(holder) = self.shares.remove(&id) {
            self.bytes -= holder.bytes;
            holder.given_up.cancel();
        }
    }
}

impl Share {
    /// Adds this many bytes. False when the request must be refused.
    pub(super) fn grow(&self, bytes: usize) -> bool {
        let mut held = self.budget.lock();
        let Some(own) = held.shares.get_mut(&self.id) else { return false };
        own.bytes += bytes;
        held.bytes += bytes;
        while held.bytes > self.budget.bytes_max
            && let Some(oldest) = held.shares.keys().next().copied()
        {
            held.give_up(oldest);
        }
        held.shares.contains_key(&self.id)
    }

    /// Returns when the request must be refused.
    pub(super) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.lock().give_up(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_share_gives_way_and_what_is_dropped_is_given_back() {
        let budget = Budget::new(100);
        let shares = [budget.open(), budget.open(), budget.open()];
        assert!(shares[0].grow(40) && shares[1].grow(40));
        assert!(shares[2].grow(40));
        assert!(!shares[0].grow(1) && shares[0].given_up.is_cancelled());
        assert!(shares[1].grow(10));
        assert_eq!(budget.bytes(), 90);
        let [first, second, third] = shares;
        drop((first, third));
        assert_eq!(budget.bytes(), 50);
        assert!(!second.grow(60), "more than there is for all");
        assert_eq!(budget.bytes(), 0);
    }
}
