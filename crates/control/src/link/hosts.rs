// SPDX-License-Identifier: Apache-2.0
//! The hosts with an open stream, and the state that exists only while it is open.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_types::report::{EniReport, EniState, FlowTable};
use berth_types::{EniId, HostId};
use tokio_util::sync::CancellationToken;

/// The open sessions, and the seats that callers wait for.
#[derive(Default)]
pub(crate) struct Hosts {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sessions: BTreeMap<HostId, Open>,
    last_number: u64,
    /// Number of callers that wait for a seat.
    watchers: usize,
    /// Reasons why interfaces could not be plugged, while a caller waits for a seat.
    failures: BTreeMap<EniId, String>,
}

struct Open {
    number: u64,
    replaced: CancellationToken,
    programmed: u64,
    flow_table: Option<FlowTable>,
}

/// A session's place among the open ones.
pub(super) struct Session {
    pub(super) host: HostId,
    /// Cancelled when the same host sends another hello: the newer stream replaces the older one.
    pub(super) replaced: CancellationToken,
    number: u64,
}

impl Hosts {
    /// Number of open streams.
    pub(crate) fn connected(&self) -> usize {
        self.state().sessions.len()
    }

    /// True if the host has an open stream.
    pub(super) fn is_connected(&self, host: &HostId) -> bool {
        self.state().sessions.contains_key(host)
    }

    /// Generation of the last intent that the host's data path holds; 0 before its first report.
    pub(super) fn programmed(&self, host: &HostId) -> u64 {
        self.state().sessions.get(host).map_or(0, |open| open.programmed)
    }

    pub(super) fn begin(&self, host: &HostId) -> Session {
        let mut state = self.state();
        state.last_number += 1;
        let (number, replaced) = (state.last_number, CancellationToken::new());
        let open = Open { number, replaced: replaced.clone(), programmed: 0, flow_table: None };
        if let Some(older) = state.sessions.insert(host.clone(), open) {
            older.replaced.cancel();
        }
        Session { host: host.clone(), replaced, number }
    }

    /// Removes the session, unless a newer one has taken its place.
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

    pub(super) fn set_flow_table(&self, session: &Session, table: FlowTable) {
        let mut state = self.state();
        if let Some(open) = state.sessions.get_mut(&session.host).filter(|open| open.number == session.number) {
            open.flow_table = Some(table);
        }
    }

    /// The flow tables of the hosts that have reported them.
    pub(crate) fn flow_tables(&self) -> Vec<(HostId, FlowTable)> {
        let state = self.state();
        state.sessions.iter().filter_map(|(host, open)| Some((host.clone(), open.flow_table?))).collect()
    }

    /// Starts to record why interfaces fail, until the watch is dropped. Start it before the seat is created, because a
    /// host can fail before the caller learns the seat's id.
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
        // Every change is one assignment, so a panic elsewhere cannot leave a partial state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records why interfaces fail.
pub(super) struct Watch<'a>(&'a Hosts);

impl Watch<'_> {
    /// The reason why this one failed.
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
