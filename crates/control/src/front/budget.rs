// SPDX-License-Identifier: Apache-2.0
//! Bytes held for unverified callers: heads and bodies until their signature is verified.
//!
//! All of them share one budget. When it is used up, the request that has held its share longest is refused, so that a
//! caller who sends slowly on purpose loses against one who sends at the pace of the network.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::connections::Peer;
use crate::config::Limits;

/// The budget of one listener.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    /// Of one peer.
    peer_bytes_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    next: u64,
    /// Shares in the order of their start.
    shares: BTreeMap<u64, Holder>,
    by_peer: HashMap<Peer, usize>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    peer: Peer,
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
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let (bytes_max, peer_bytes_max) = (limits.unverified_bytes, limits.unverified_bytes_per_peer);
        Arc::new(Self { bytes_max, peer_bytes_max, held: Mutex::default() })
    }

    /// Bytes held at present.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// An empty share of a peer.
    pub(super) fn open(self: &Arc<Self>, peer: Peer) -> Share {
        let given_up = CancellationToken::new();
        let mut held = self.lock();
        let id = held.next;
        held.next += 1;
        held.shares.insert(id, Holder { bytes: 0, peer, given_up: given_up.clone() });
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
            if let Some(of_peer) = self.by_peer.get_mut(&holder.peer) {
                *of_peer -= holder.bytes;
                if *of_peer == 0 {
                    self.by_peer.remove(&holder.peer);
                }
            }
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
        let peer = own.peer.clone();
        held.bytes += bytes;
        *held.by_peer.entry(peer.clone()).or_default() += bytes;
        while held.by_peer.get(&peer).is_some_and(|bytes| *bytes > self.budget.peer_bytes_max)
            && let Some(oldest) = held.shares.iter().find(|(_, holder)| holder.peer == peer).map(|(id, _)| *id)
        {
            held.give_up(oldest);
        }
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

    fn peer(n: u128) -> Peer {
        Peer::Interface(berth_types::EniId::from_bits(n))
    }

    fn budget(unverified_bytes: usize, unverified_bytes_per_peer: usize) -> Arc<Budget> {
        Budget::new(&Limits { unverified_bytes, unverified_bytes_per_peer, ..Limits::default() })
    }

    #[test]
    fn a_peer_takes_from_its_own_shares_first() {
        let budget = budget(100, 50);
        let other = budget.open(peer(1));
        assert!(other.grow(40));
        let shares = [2, 2].map(|n| budget.open(peer(n)));
        assert!(shares[0].grow(30) && shares[1].grow(30));
        assert!(shares[0].given_up.is_cancelled() && !other.given_up.is_cancelled());
        assert!(!shares[1].grow(30), "more than there is for one");
        assert_eq!(budget.bytes(), 40);
        drop(other);
        assert_eq!((budget.bytes(), budget.lock().by_peer.len()), (0, 0));
    }

    #[test]
    fn the_oldest_share_gives_way_and_what_is_dropped_is_given_back() {
        let budget = budget(100, 100);
        let shares = [1, 2, 3].map(|n| budget.open(peer(n)));
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
