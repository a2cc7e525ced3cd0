//! What the server should know: the last state of everything, and which of it has not been sent yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_types::link::ToServer;
use berth_types::report::{EniReport, EniState, TaskReport};
use berth_types::{EniId, TaskId};
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

    /// The data path holds this generation.
    pub fn programmed(&self, generation: u64) {
        self.state().programmed = Some(generation);
        self.news.notify_one();
    }

    /// The server has forgotten the task.
    pub fn forget_task(&self, task: &TaskId) {
        let mut state = self.state();
        state.tasks.remove(task);
        state.unsent_tasks.remove(task);
    }

    /// The interface is over; what was said about it last is still sent.
    pub fn forget_eni(&self, eni: &EniId) {
        self.state().enis.remove(eni);
    }

    /// Everything, for a new connection; from here only changes are unsent.
    pub fn all(&self) -> (Vec<TaskReport>, Vec<EniReport>) {
        let mut state = self.state();
        state.unsent_tasks.clear();
        state.unsent_enis.clear();
        state.programmed = None;
        let enis = state.enis.iter().filter(|(_, now)| **now != EniState::Gone);
        let enis = enis.map(|(eni, now)| EniReport { eni: eni.clone(), state: now.clone() }).collect();
        (state.tasks.values().cloned().collect(), enis)
    }

    /// What has not been sent; waits until there is something.
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
        unsent.extend(state.programmed.take().map(|generation| ToServer::Programmed { generation }));
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
        let (_, enis) = reports.all();
        assert_eq!(enis, [EniReport { eni: kept, state: EniState::Attached }]);
    }
}
