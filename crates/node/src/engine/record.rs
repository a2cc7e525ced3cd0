//! What the node knows of a task: written to the journal, shown at the metadata endpoint, reported to the server.

use std::net::Ipv4Addr;

use berth_types::intent::{ContainerIntent, Desired, EniIntent, TaskIntent};
use berth_types::mode::NetworkBinding;
use berth_types::report::{ContainerReport, ContainerStatus, StopCause, TaskReport, TaskStage};
use berth_types::{TaskId, TimestampMs};
use serde::{Deserialize, Serialize};

use super::health::Health;
use super::order;
use crate::clock;
use crate::container::names;
use crate::containerd::Exit;
use crate::namespaces::HeldNamespace;

/// A task of this host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// What the server wanted last.
    pub intent: TaskIntent,
    /// Its interface, once known.
    pub eni: Option<EniIntent>,
    /// How far it is.
    pub stage: TaskStage,
    /// Why the node ended it by itself.
    pub stop: Option<StopCause>,
    /// In the order of the task definition.
    pub containers: Vec<ContainerRecord>,
    /// Ids in containerd that its containers had before a launch was interrupted: something of them may be left.
    #[serde(default)]
    pub abandoned: Vec<String>,
    /// Its network namespace, once taken.
    pub namespace: Option<HeldNamespace>,
    /// The interface has been given back, or never was here.
    pub released: bool,
    /// First pull began.
    pub pull_started_at: Option<TimestampMs>,
    /// Last pull ended.
    pub pull_stopped_at: Option<TimestampMs>,
    /// First essential container ended.
    pub execution_stopped_at: Option<TimestampMs>,
}

/// A container of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    /// Name in the task definition.
    pub name: String,
    /// Id in containerd, chosen before it exists.
    pub runtime_id: String,
    /// It may exist in containerd.
    pub is_created: bool,
    /// Its program may have been started.
    #[serde(default)]
    pub may_have_begun: bool,
    /// Digest of its image's manifest.
    pub image_digest: Option<String>,
    /// Digest of its image's configuration.
    pub image_id: Option<String>,
    /// Signal that asks it to end.
    pub stop_signal: u32,
    /// When it was made.
    pub created_at: Option<TimestampMs>,
    /// When its program started.
    pub started_at: Option<TimestampMs>,
    /// Process of its program.
    pub pid: Option<u32>,
    /// How its program ended.
    pub exit: Option<Exit>,
    /// What went wrong with it, in AWS's words.
    pub reason: Option<String>,
    /// Times it was started again.
    #[serde(default)]
    pub restart_count: u32,
    /// Its program ended like this and is being started again.
    #[serde(default)]
    pub restarting: Option<Exit>,
    /// The last end after which it was started again: news of it, or of an older one, is no news.
    #[serde(default)]
    pub previous_exit: Option<Exit>,
    /// What its health check says.
    #[serde(default)]
    pub health: Option<Health>,
    /// Its address on the bridge, in network mode bridge.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub bindings: Vec<NetworkBinding>,
}

const SIGTERM: u32 = 15;

impl TaskRecord {
    /// A task just accepted: every name it will use is chosen here, before anything exists.
    pub fn accept(id: TaskId, intent: TaskIntent, eni: Option<EniIntent>) -> Self {
        let containers = intent
            .containers
            .iter()
            .map(|container| ContainerRecord {
                name: container.name.clone(),
                runtime_id: names::runtime_id(&intent, &container.name, &names::suffix()),
                is_created: false,
                may_have_begun: false,
                image_digest: None,
                image_id: None,
                stop_signal: SIGTERM,
                created_at: None,
                started_at: None,
                pid: None,
                exit: None,
                reason: None,
                restart_count: 0,
                restarting: None,
                previous_exit: None,
                health: container.health_check.as_ref().map(|_| Health::unknown(clock::now())),
                address: None,
                bindings: Vec::new(),
            })
            .collect();
        Self {
            id,
            intent,
            eni,
            stage: TaskStage::Provisioning,
            stop: None,
            containers,
            abandoned: Vec::new(),
            namespace: None,
            released: false,
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
        }
    }

    /// The intent of a container by its name.
    pub fn wanted(&self, name: &str) -> Option<&ContainerIntent> {
        self.intent.containers.iter().find(|container| container.name == name)
    }

    /// The container with this id in containerd.
    pub fn by_runtime_id(&mut self, runtime_id: &str) -> Option<&mut ContainerRecord> {
        self.containers.iter_mut().find(|container| container.runtime_id == runtime_id)
    }

    /// Gives a container that is not there another id in containerd; answers the one it had.
    pub fn rename(&mut self, index: usize, runtime_id: String) -> Option<String> {
        let container = self.containers.get_mut(index)?;
        let old = std::mem::replace(&mut container.runtime_id, runtime_id);
        (container.is_created, container.may_have_begun) = (false, false);
        (container.created_at, container.pid) = (None, None);
        self.abandoned.push(old.clone());
        Some(old)
    }

    /// True if the end of this container's process is the end of its program: before the start it is only one that was
    /// being made, of which the launch hears by itself.
    pub fn is_end_of_program(&self, runtime_id: &str) -> bool {
        let mut of_it = self.containers.iter().filter(|container| container.runtime_id == runtime_id);
        of_it.any(|one| self.stage >= TaskStage::Stopping || one.may_have_begun || one.started_at.is_some())
    }

    /// Notes that a container's program ended and will be started again; false when it will not, or is news of old.
    pub fn note_restart(&mut self, runtime_id: &str, exit: Exit) -> bool {
        let is_wanted =
            self.stage < TaskStage::Stopping && self.stop.is_none() && self.intent.desired == Desired::Running;
        let Some(at) = self.containers.iter().position(|container| container.runtime_id == runtime_id) else {
            return false;
        };
        let policy = self.wanted(&self.containers[at].name).and_then(|wanted| wanted.restart_policy.clone());
        let container = &mut self.containers[at];
        // The news of a start can come later than that of the end: it was after the end before.
        let started_at = match container.restarting {
            Some(before) => Some(before.at),
            None => container.started_at,
        };
        if !is_wanted || container.exit.is_some() || !order::restarts(policy.as_ref(), exit, started_at) {
            return false;
        }
        container.restarting = Some(exit);
        container.previous_exit = Some(exit);
        container.restart_count += 1;
        container.pid = None;
        container.health = container.health.as_ref().map(|_| Health::unknown(exit.at));
        true
    }

    /// True if this end of a program has been noted before.
    pub fn is_known_exit(&self, runtime_id: &str, exit: Exit) -> bool {
        let mut of_it = self.containers.iter().filter(|container| container.runtime_id == runtime_id);
        of_it.any(|one| one.exit.is_some() || one.previous_exit.is_some_and(|previous| exit.at <= previous.at))
    }

    /// Notes the end of a container's program; true if this is news.
    pub fn note_exit(&mut self, runtime_id: &str, exit: Exit, is_out_of_memory: bool) -> bool {
        let stopping = self.stage >= TaskStage::Stopping;
        let Some(container) = self.by_runtime_id(runtime_id).filter(|container| container.exit.is_none()) else {
            return false;
        };
        container.exit = Some(exit);
        container.restarting = None;
        if is_out_of_memory {
            container.reason = Some("OutOfMemoryError: Container killed due to memory usage".to_owned());
        }
        let name = container.name.clone();
        if self.wanted(&name).is_some_and(|container| container.essential) {
            self.execution_stopped_at.get_or_insert(exit.at);
            if !stopping && self.stop.is_none() {
                self.stop = Some(StopCause::EssentialContainerExited { container: name });
            }
        }
        true
    }

    /// What the server is told.
    pub fn report(&self) -> TaskReport {
        TaskReport {
            task: self.id.clone(),
            stage: self.stage,
            stop: self.stop.clone(),
            containers: self.containers.iter().map(|container| container.report(self.stage)).collect(),
            pull_started_at: self.pull_started_at,
            pull_stopped_at: self.pull_stopped_at,
            execution_stopped_at: self.execution_stopped_at,
        }
    }
}

impl ContainerRecord {
    /// Its state in AWS's words.
    pub fn status(&self, stage: TaskStage) -> ContainerStatus {
        match (self.exit, self.started_at) {
            (Some(_), _) => ContainerStatus::Stopped,
            (None, _) if stage == TaskStage::Stopped => ContainerStatus::Stopped,
            (None, Some(_)) => ContainerStatus::Running,
            (None, None) => ContainerStatus::Pending,
        }
    }

    fn report(&self, stage: TaskStage) -> ContainerReport {
        ContainerReport {
            name: self.name.clone(),
            status: self.status(stage),
            runtime_id: self.created_at.map(|_| self.runtime_id.clone()),
            image_digest: self.image_digest.clone(),
            exit_code: self.exit.map(|exit| exit.code),
            reason: self.reason.clone(),
            network_bindings: self.started_at.map(|_| self.bindings.clone()).unwrap_or_default(),
            health: self.health.as_ref().map(|health| health.status),
        }
    }
}

/// The number of a signal as images write it: `SIGQUIT`, `QUIT` or `3`.
pub(crate) fn signal_number(written: &str) -> Option<u32> {
    if let Ok(number) = written.parse::<u32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = if written.starts_with("SIG") { written.to_owned() } else { format!("SIG{written}") };
    if let Some(offset) = name.strip_prefix("SIGRTMIN") {
        let offset: u32 = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse().ok()? };
        return (offset <= 30).then_some(34 + offset);
    }
    name.parse::<nix::sys::signal::Signal>().ok().and_then(|signal| u32::try_from(signal as i32).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::container::spec::tests::{container, task};
    use berth_types::container::RestartPolicy;

    fn record() -> TaskRecord {
        let mut intent = task();
        let side = ContainerIntent { name: "side".to_owned(), essential: false, ..container() };
        intent.containers.push(side);
        TaskRecord::accept(TaskId::from_bits(7), intent, None)
    }

    #[test]
    fn only_an_essential_container_ends_its_task() {
        let mut record = record();
        let exit = Exit { code: 3, at: TimestampMs(9) };
        let (app, side) = (record.containers[0].runtime_id.clone(), record.containers[1].runtime_id.clone());
        assert!(record.note_exit(&side, exit, false));
        assert_eq!(record.stop, None);
        assert!(record.note_exit(&app, exit, false));
        assert!(!record.note_exit(&app, exit, false), "told twice");
        assert_eq!(record.stop, Some(StopCause::EssentialContainerExited { container: "app".to_owned() }));
        assert_eq!(record.report().containers[0].exit_code, Some(3));
        assert_eq!(record.execution_stopped_at, Some(TimestampMs(9)));
    }

    #[test]
    fn a_restart_is_no_end_and_its_news_counts_once() {
        let mut record = record();
        let attempt_period_s = 1;
        record.intent.containers[0].restart_policy =
            Some(RestartPolicy { enabled: true, ignored_exit_codes: None, attempt_period_s });
        let app = record.containers[0].runtime_id.clone();
        record.containers[0].started_at = Some(TimestampMs(0));
        let exit = Exit { code: 3, at: TimestampMs(2000) };
        assert!(!record.is_known_exit(&app, exit));
        assert!(record.note_restart(&app, exit));
        assert!(record.is_known_exit(&app, exit));
        assert_eq!(record.report().containers[0].status, ContainerStatus::Running);
        assert_eq!(record.report().containers[0].exit_code, None);
        let at_once = Exit { code: 3, at: TimestampMs(2100) };
        assert!(!record.is_known_exit(&app, at_once));
        assert!(!record.note_restart(&app, at_once), "it ran too short");
        record.containers[0].restarting = None;
        record.containers[0].started_at = Some(TimestampMs(2200));
        assert!(!record.is_known_exit(&app, at_once), "the news of its start came after its end");
        assert!(record.note_exit(&app, at_once, false));
        assert_eq!((record.containers[0].restart_count, record.containers[0].restarting), (1, None));
        record.containers[0].exit = None;
        record.stage = TaskStage::Stopping;
        assert!(!record.note_restart(&app, Exit { code: 0, at: TimestampMs(9000) }), "the task is being stopped");
    }

    #[test]
    fn a_container_made_anew_has_another_id_and_no_end_before_it_began() {
        let mut record = record();
        let old = record.containers[0].runtime_id.clone();
        record.containers[0].may_have_begun = true;
        assert!(record.is_end_of_program(&old));
        assert_eq!(record.rename(0, "new".to_owned()), Some(old.clone()));
        assert_eq!(record.abandoned, std::slice::from_ref(&old));
        assert!(!record.is_end_of_program(&old) && !record.is_end_of_program("new"));
        record.containers[0].may_have_begun = true;
        assert!(record.is_end_of_program("new") && !record.is_end_of_program(&old));
        record.containers[0].may_have_begun = false;
        record.stage = TaskStage::Stopping;
        assert!(record.is_end_of_program("new"), "the stop waits for its end");
    }

    #[test]
    fn an_exit_that_was_asked_for_is_no_cause() {
        let mut record = record();
        record.stage = TaskStage::Stopping;
        let app = record.containers[0].runtime_id.clone();
        record.note_exit(&app, Exit { code: 137, at: TimestampMs(1) }, false);
        assert_eq!(record.stop, None);
    }

    #[test]
    fn a_container_that_never_started_is_stopped_with_its_task() {
        let mut record = record();
        assert_eq!(record.report().containers[0].status, ContainerStatus::Pending);
        record.stage = TaskStage::Stopped;
        let report = record.report();
        assert_eq!((report.containers[0].status, report.containers[0].exit_code), (ContainerStatus::Stopped, None));
        assert_eq!(report.containers[0].runtime_id, None);
    }

    #[test]
    fn signals_have_names_and_numbers() {
        let number = |text: &str| signal_number(text);
        assert_eq!(number("SIGQUIT"), Some(3));
        assert_eq!(number("WINCH"), Some(28));
        assert_eq!(number("15"), Some(15));
        assert_eq!(number("SIGRTMIN+3"), Some(37));
        assert_eq!(number("SIGNONE"), None);
    }
}
