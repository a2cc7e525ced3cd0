// SPDX-License-Identifier: Apache-2.0
//! The open connections of a listener: their limits, the choice of the one to close, and idle time-outs.
//!
//! When all places are taken, or all of one peer, the connection that has been idle longest is closed in favour of the
//! new one; connections without a verified request are closed first. A connection with a verified request in progress
//! is never closed. Not here: the protocol on a connection (`serve`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use berth_shapes::Service;
use berth_types::EniId;

use crate::config::Limits;

/// The connections of one listener.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: Limits,
    open: Mutex<Open>,
    /// Connections closed in favour of new ones.
    pub(crate) displaced: AtomicU64,
    /// New connections closed because every place has a verified request in progress.
    pub(crate) refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_id: HashMap<u64, Arc<Visit>>,
    by_peer: HashMap<Peer, usize>,
}

/// The origin of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// Source address.
    pub(super) address: IpAddr,
    /// The interface of a VPC that sends, if it is known.
    pub(super) eni: Option<EniId>,
    /// The only service that the connection's endpoint takes; all of them if absent.
    pub(super) service: Option<Service>,
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self { address, eni: None, service: None }
    }
}

/// The unit of a limit: an interface, an IPv4 address, or the network of an IPv6 address, whose last half any host can
/// choose freely.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    Interface(EniId),
    Address(IpAddr),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Visit {
    id: u64,
    source: Source,
    peer: Peer,
    limits: Limits,
    /// Closes the connection at once.
    pub(super) cut: CancellationToken,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    under_way: usize,
    verified_under_way: usize,
    has_asked: bool,
    was_verified: bool,
    /// Time of its acceptance, or of the end of its last request.
    since: Instant,
}

/// A request in progress on a connection.
#[derive(Debug)]
pub(super) struct UnderWay {
    visit: Arc<Visit>,
    is_verified: bool,
}

impl Connections {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default(), displaced: AtomicU64::new(0), refused: AtomicU64::new(0) })
    }

    /// Open connections.
    pub(crate) fn count(&self) -> usize {
        self.lock().by_id.len()
    }

    /// Admits a new connection, if necessary in place of another; `None` when no other may be closed. `cut` closes all.
    pub(super) fn admit(&self, source: impl Into<Source>, cut: &CancellationToken) -> Option<Arc<Visit>> {
        let source = source.into();
        let peer = peer_of(&source);
        let mut open = self.lock();
        let is_peer_full = open.by_peer.get(&peer).is_some_and(|count| *count >= self.limits.connections_per_peer);
        if is_peer_full || open.by_id.len() >= self.limits.connections {
            let Some(victim) = open.victim(is_peer_full.then_some(&peer)) else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            victim.cut.cancel();
            open.remove(&victim);
            self.displaced.fetch_add(1, Ordering::Relaxed);
        }
        let id = open.next;
        open.next += 1;
        let visit = Arc::new(Visit::new(id, source, self.limits, cut.child_token()));
        open.by_id.insert(id, visit.clone());
        *open.by_peer.entry(peer).or_default() += 1;
        Some(visit)
    }

    /// The connection has ended.
    pub(super) fn leave(&self, visit: &Visit) {
        self.lock().remove(visit);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The connection to close, of one peer's connections or of all.
    fn victim(&self, peer: Option<&Peer>) -> Option<Arc<Visit>> {
        let asked = self.by_id.values().filter(|visit| peer.is_none_or(|peer| visit.peer == *peer));
        let idle = asked.map(|visit| (*visit.state.borrow(), visit)).filter(|(state, _)| state.verified_under_way == 0);
        idle.min_by_key(|(state, visit)| (state.was_verified, state.since, visit.id)).map(|(_, visit)| visit.clone())
    }

    fn remove(&mut self, visit: &Visit) {
        if self.by_id.remove(&visit.id).is_none() {
            return;
        }
        if let Some(count) = self.by_peer.get_mut(&visit.peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&visit.peer);
            }
        }
    }
}

impl Visit {
    fn new(id: u64, source: Source, limits: Limits, cut: CancellationToken) -> Self {
        let state =
            State { under_way: 0, verified_under_way: 0, has_asked: false, was_verified: false, since: Instant::now() };
        Self { id, peer: peer_of(&source), source, limits, cut, state: watch::Sender::new(state) }
    }

    /// The head of a request is complete.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.state.send_modify(|state| {
            state.under_way += 1;
            state.has_asked = true;
        });
        UnderWay { visit: self.clone(), is_verified: false }
    }

    /// Returns when no request has been in progress for too long: since the connection was accepted, or since the last
    /// one.
    pub(super) async fn too_long_idle(&self) {
        self.idle_for(|state| if state.has_asked { self.limits.idle } else { self.limits.head }).await;
    }

    /// Returns when no request has been in progress for this long.
    pub(super) async fn quiet_for(&self, limit: Duration) {
        self.idle_for(|_| limit).await;
    }

    async fn idle_for(&self, limit: impl Fn(&State) -> Duration) {
        let mut states = self.state.subscribe();
        loop {
            let state = *states.borrow_and_update();
            if state.under_way > 0 {
                // The sender is `self`, so this cannot fail.
                let _ = states.changed().await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(state.since + limit(&state)) => return,
                _ = states.changed() => {}
            }
        }
    }
}

impl UnderWay {
    /// The unit of limits that the connection belongs to.
    pub(super) fn peer(&self) -> Peer {
        self.visit.peer.clone()
    }

    /// Origin of the connection.
    pub(super) fn source(&self) -> &Source {
        &self.visit.source
    }

    /// The caller is authenticated from here on.
    pub(super) fn verified(&mut self) {
        if !std::mem::replace(&mut self.is_verified, true) {
            self.visit.state.send_modify(|state| {
                state.verified_under_way += 1;
                state.was_verified = true;
            });
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.visit.state.send_modify(|state| {
            state.under_way -= 1;
            state.verified_under_way -= usize::from(self.is_verified);
            state.since = Instant::now();
        });
    }
}

fn peer_of(source: &Source) -> Peer {
    match (&source.eni, source.address.to_canonical()) {
        (Some(eni), _) => Peer::Interface(eni.clone()),
        (None, IpAddr::V4(address)) => Peer::Address(IpAddr::V4(address)),
        (None, IpAddr::V6(address)) => {
            Peer::Address(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn connections(connections: usize, connections_per_peer: usize) -> Arc<Connections> {
        Connections::new(Limits { connections, connections_per_peer, ..Limits::default() })
    }

    #[tokio::test]
    async fn the_longest_idle_gives_way_and_first_who_was_never_verified() {
        let (all, cut) = (connections(3, 3), CancellationToken::new());
        let visits = [A, A, B].map(|peer| all.admit(peer, &cut).unwrap());
        visits[0].begin().verified();
        let next = all.admit(B, &cut).unwrap();
        assert!(visits[1].cut.is_cancelled() && !visits[0].cut.is_cancelled() && !visits[2].cut.is_cancelled());
        let mut held: Vec<UnderWay> = [&visits[0], &visits[2], &next].map(Visit::begin).into();
        held.iter_mut().for_each(UnderWay::verified);
        assert!(all.admit(A, &cut).is_none(), "all have verified requests under way");
        held.clear();
        all.admit(A, &cut).unwrap();
        assert_eq!((all.count(), all.refused.load(Ordering::Relaxed)), (3, 1));
    }

    #[tokio::test]
    async fn a_peer_displaces_its_own_connections_only() {
        let (all, cut) = (connections(10, 2), CancellationToken::new());
        let other = all.admit(B, &cut).unwrap();
        let first = all.admit(A, &cut).unwrap();
        for _ in 0..5 {
            all.admit(A, &cut).unwrap();
        }
        assert!(first.cut.is_cancelled() && !other.cut.is_cancelled());
        assert_eq!(all.count(), 3);
        all.leave(&other);
        all.leave(&other);
        assert_eq!(all.count(), 2);
    }

    #[tokio::test]
    async fn who_has_not_asked_has_less_time() {
        let limits = Limits { head: Duration::ZERO, ..Limits::default() };
        let (all, cut) = (Connections::new(limits), CancellationToken::new());
        all.admit(A, &cut).unwrap().too_long_idle().await;
        let asked = all.admit(A, &cut).unwrap();
        drop(asked.begin());
        let idle = asked.too_long_idle();
        tokio::pin!(idle);
        assert!(futures_util::poll!(idle).is_pending());
    }

    #[tokio::test]
    async fn an_interface_is_a_peer_whatever_its_address_and_displaces_no_other() {
        let (all, cut) = (connections(10, 2), CancellationToken::new());
        let of = |n: u128| Source { eni: Some(EniId::from_bits(n)), ..Source::from(A) };
        let other = all.admit(of(1), &cut).unwrap();
        let first = all.admit(of(2), &cut).unwrap();
        for _ in 0..4 {
            all.admit(Source { address: B, ..of(2) }, &cut).unwrap();
        }
        assert!(first.cut.is_cancelled() && !other.cut.is_cancelled());
        assert_eq!(all.count(), 3);
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let peer = |text: &str| peer_of(&Source::from(text.parse::<IpAddr>().unwrap()));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), Peer::Address(A));
    }
}
