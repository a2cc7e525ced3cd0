// SPDX-License-Identifier: Apache-2.0
//! Reports for the server: the last state of everything, and which of it has not been sent yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_types::link::ToServer;
use berth_types::report::{EniReport, EniState, FlowTable, FreeSpace, RuntimeReport, TaskReport};
use berth_types::{EniId, TaskId, TimestampMs};
use tokio::sync::Notify;

/// Reports on their way to the server. Each replaces what was said before about the same thing.
#[derive(Default)]
pub(crate) struct Reports {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<TaskId, TaskReport>,
    enis: BTreeMap<EniId, EniState>,
    unsent_tasks: BTreeSet<TaskId>,
    unsent_enis: BTreeMap<EniId, EniState>,
    programmed: Option<u64>,
    flow_table: Option<FlowTable>,
    unsent_flow_table: Option<FlowTable>,
    space: Option<FreeSpace>,
    unsent_space: Option<FreeSpace>,
    runtime: Option<RuntimeReport>,
    is_runtime_unsent: bool,
}

impl Reports {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task's present state.
    pub fn task(&self, report: TaskReport) {
        let mut state = self.state();
        if state.tasks.get(&report.task) != Some(&report) {
            state.unsent_tasks.insert(report.task.clone());
            state.tasks.insert(report.task.clone(), report);
            self.news.notify_one();
        }
    }

    /// An interface's present state.
    pub fn eni(&self, eni: &EniId, now: EniState) {
        let mut state = self.state();
        if state.enis.get(eni) != Some(&now) {
            state.enis.insert(eni.clone(), now.clone());
            state.unsent_enis.insert(eni.clone(), now);
            self.news.notify_one();
        }
    }

    /// The free space of the data folder.
    pub fn free_space(&self, now: FreeSpace) {
        let mut state = self.state();
        if state.space != Some(now) {
            (state.space, state.unsent_space) = (Some(now), Some(now));
            self.news.notify_one();
        }
    }

    /// The data path holds this generation.
    pub fn programmed(&self, generation: u64) {
        self.state().programmed = Some(generation);
        self.news.notify_one();
    }

    /// The flow table after a sweep.
    pub fn flow_table(&self, table: FlowTable) {
        let mut state = self.state();
        if state.flow_table.replace(table) != Some(table) {
            state.unsent_flow_table = Some(table);
            self.news.notify_one();
        }
    }

    /// Whether containerd answers at this time.
    pub fn runtime(&self, healthy: bool, now: TimestampMs) {
        let mut state = self.state();
        if state.runtime.is_none_or(|report| report.healthy != healthy) {
            state.runtime = Some(RuntimeReport { healthy, since: now });
            state.is_runtime_unsent = true;
            self.news.notify_one();
        }
    }

    /// The last report about containerd, for a new connection.
    pub fn said_of_runtime(&self) -> Option<RuntimeReport> {
        let mut state = self.state();
        state.is_runtime_unsent = false;
        state.runtime
    }

    /// The server has forgotten the task.
    pub fn forget_task(&self, task: &TaskId) {
        let mut state = self.state();
        state.tasks.remove(task);
        state.unsent_tasks.remove(task);
    }

    /// Forgets an interface; its last report is still sent.
    pub fn forget_eni(&self, eni: &EniId) {
        self.state().enis.remove(eni);
    }

    /// Everything, for a new connection; from here only changes are unsent, and the free space, which is no part of it.
    pub fn all(&self) -> (Vec<TaskReport>, Vec<EniReport>) {
        let mut state = self.state();
        state.unsent_tasks.clear();
        state.unsent_enis.clear();
        state.programmed = None;
        state.unsent_flow_table = state.flow_table;
        state.unsent_space = state.space;
        let enis = state.enis.iter().filter(|(_, now)| **now != EniState::Gone);
        let enis = enis.map(|(eni, now)| EniReport { eni: eni.clone(), state: now.clone() }).collect();
        (state.tasks.values().cloned().collect(), enis)
    }

    /// The unsent reports; waits until there is one.
    pub async fn unsent(&self) -> Vec<ToServer> {
        loop {
            let news = self.news.notified();
            let unsent = self.take_unsent();
            if !unsent.is_empty() {
                return unsent;
            }
            news.await;
        }
    }

    fn take_unsent(&self) -> Vec<ToServer> {
        let mut state = self.state();
        let tasks = std::mem::take(&mut state.unsent_tasks);
        let mut unsent: Vec<ToServer> = Vec::new();
        if std::mem::take(&mut state.is_runtime_unsent) {
            unsent.extend(state.runtime.map(ToServer::Runtime));
        }
        unsent.extend(state.programmed.take().map(|generation| ToServer::Programmed { generation }));
        unsent.extend(state.unsent_flow_table.take().map(ToServer::FlowTable));
        unsent.extend(state.unsent_space.take().map(ToServer::FreeSpace));
        let enis = std::mem::take(&mut state.unsent_enis).into_iter();
        // An interface is attached before its task runs, and gone after its task stopped.
        let (gone, here): (Vec<_>, Vec<_>) = enis.partition(|(_, now)| *now == EniState::Gone);
        let eni = |(eni, state)| ToServer::Eni(EniReport { eni, state });
        unsent.extend(here.into_iter().map(eni));
        unsent.extend(tasks.iter().filter_map(|id| state.tasks.get(id)).cloned().map(|r| ToServer::Task(Box::new(r))));
        unsent.extend(gone.into_iter().map(eni));
        unsent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_news_are_sent_and_a_new_connection_gets_all() {
        let reports = Reports::default();
        let (kept, gone) = (EniId::from_bits(1), EniId::from_bits(2));
        reports.eni(&kept, EniState::Attached);
        reports.eni(&gone, EniState::Gone);
        reports.eni(&kept, EniState::Attached);
        assert_eq!(reports.unsent().await.len(), 2);
        reports.programmed(7);
        assert!(matches!(reports.unsent().await[..], [ToServer::Programmed { generation: 7 }]));
        let table = FlowTable { used: 3, ..FlowTable::default() };
        reports.flow_table(table);
        reports.flow_table(table);
        assert!(matches!(reports.unsent().await[..], [ToServer::FlowTable(sent)] if sent == table));
        reports.runtime(true, TimestampMs(1));
        reports.runtime(true, TimestampMs(2));
        let said = RuntimeReport { healthy: true, since: TimestampMs(1) };
        assert!(matches!(reports.unsent().await[..], [ToServer::Runtime(report)] if report == said));
        assert_eq!(reports.said_of_runtime(), Some(said));
        let (_, enis) = reports.all();
        assert_eq!(enis, [EniReport { eni: kept, state: EniState::Attached }]);
        assert!(matches!(reports.unsent().await[..], [ToServer::FlowTable(sent)] if sent == table));
        let space = FreeSpace { free_percent: 9, wanted_percent: 10 };
        reports.free_space(space);
        reports.free_space(space);
        assert!(matches!(reports.unsent().await[..], [ToServer::FreeSpace(told)] if told == space));
        reports.all();
        let told = reports.unsent().await;
        assert!(matches!(told[..], [ToServer::FlowTable(_), ToServer::FreeSpace(told)] if told == space));
    }
}
