// SPDX-License-Identifier: Apache-2.0
//! Places for connections: each sender has at most its share, so that one task cannot take them all.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_types::EniId;

/// Open connections of one sender. The server keeps fewer, and closes the ones that are idle longest.
const OF_ONE: usize = 256;
/// Open connections of all senders together: two file descriptors each.
const OF_ALL: usize = 8192;

/// Who sends: an interface, or an address whose interface is not known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// An interface of this host.
    Interface(EniId),
    /// Another address, such as the host's.
    Address(Ipv4Addr),
}

/// The places of an edge.
#[derive(Debug, Default)]
pub struct Places {
    taken: Mutex<HashMap<Sender, usize>>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    sender: Sender,
}

impl Places {
    /// A place for one more connection of a sender; `None` if it has its share, or all are taken.
    pub fn take(self: &Arc<Self>, sender: Sender) -> Option<Place> {
        let mut taken = self.lock();
        let own = taken.get(&sender).copied().unwrap_or(0);
        if own >= OF_ONE || taken.values().sum::<usize>() >= OF_ALL {
            return None;
        }
        taken.insert(sender.clone(), own + 1);
        Some(Place { places: self.clone(), sender })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sender, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.sender) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_has_its_share_and_leaves_the_rest_to_others() {
        let places = Arc::new(Places::default());
        let one = Sender::Interface(EniId::from_bits(1));
        let mut held: Vec<_> = std::iter::from_fn(|| places.take(one.clone())).collect();
        assert_eq!(held.len(), OF_ONE);
        assert!(places.take(Sender::Interface(EniId::from_bits(2))).is_some());
        assert!(places.take(Sender::Address(Ipv4Addr::LOCALHOST)).is_some());
        held.pop();
        assert!(places.take(one).is_some());
        drop(held);
        assert!(places.lock().is_empty());
    }
}
