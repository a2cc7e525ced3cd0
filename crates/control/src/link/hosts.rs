//! Which hosts have an open stream, and what is known of them only while it is open.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_types::report::{EniReport, EniState};
use berth_types::{EniId, HostId};
use tokio_util::sync::CancellationToken;

/// The open sessions, and the seats somebody waits for.
#[derive(Default)]
pub(crate) struct Hosts {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sessions: BTreeMap<HostId, Open>,
    last_number: u64,
    /// How many callers wait for a seat.
    watchers: usize,
    /// Why interfaces could not be plugged, while somebody waits for a seat.
    failures: BTreeMap<EniId, String>,
}

struct Open {
    number: u64,
    replaced: CancellationToken,
    programmed: u64,
}

/// A session's place among the open ones.
pub(super) struct Session {
    pub(super) host: HostId,
    /// Cancelled when the same host says hello again: the newer stream is the one that lives.
    pub(super) replaced: CancellationToken,
    number: u64,
}

impl Hosts {
    /// How many streams are open.
    pub(crate) fn connected(&self) -> usize {
        self.state().sessions.len()
    }

    /// True if the host has an open stream.
    pub(super) fn is_connected(&self, host: &HostId) -> bool {
        self.state().sessions.contains_key(host)
    }

    /// Generation of the last intent the host's data path holds; 0 when it has not said yet.
    pub(super) fn programmed(&self, host: &HostId) -> u64 {
        self.state().sessions.get(host).map_or(0, |open| open.programmed)
    }

    pub(super) fn begin(&self, host: &HostId) -> Session {
        let mut state = self.state();
        state.last_number += 1;
        let (number, replaced) = (state.last_number, CancellationToken::new());
        let open = Open { number, replaced: replaced.clone(), programmed: 0 };
        if let Some(older) = state.sessions.insert(host.clone(), open) {
            older.replaced.cancel();
        }
        Session { host: host.clone(), replaced, number }
    }

    /// Forgets the session, unless a newer one has taken its place.
    pub(super) fn end(&self, session: &Session) {
        let mut state = self.state();
        if state.sessions.get(&session.host).is_some_and(|open| open.number == session.number) {
            state.sessions.remove(&session.host);
        }
    }

    pub(super) fn set_programmed(&self, session: &Session, generation: u64) {
        let mut state = self.state();
        if let Some(open) = state.sessions.get_mut(&session.host).filter(|open| open.number == session.number) {
            open.programmed = generation;
        }
    }

    /// Begins to remember why interfaces fail, until the watch is dropped. Begun before the seat is made, because a
    /// host can be quicker to fail than the caller to learn the seat's id.
    pub(super) fn watch(&self) -> Watch<'_> {
        self.state().watchers += 1;
        Watch(self)
    }

    pub(super) fn note_failure(&self, report: &EniReport) {
        let EniState::Failed(reason) = &report.state else { return };
        let mut state = self.state();
        if state.watchers > 0 {
            state.failures.insert(report.eni.clone(), reason.clone());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment, so a panic elsewhere cannot leave a half-made state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers why interfaces fail.
pub(super) struct Watch<'a>(&'a Hosts);

impl Watch<'_> {
    /// Why this one failed.
    pub(super) fn reason(&self, eni: &EniId) -> Option<String> {
        self.0.state().failures.get(eni).cloned()
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.watchers -= 1;
        if state.watchers == 0 {
            state.failures.clear();
        }
    }
}
