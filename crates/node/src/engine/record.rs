// SPDX-License-Identifier: Apache-2.0
//! The record of a task: written to the journal, shown at the metadata endpoint, reported to the server.

use std::net::Ipv4Addr;

use berth_types::intent::{ContainerIntent, Desired, EniIntent, LaunchType, TaskIntent};
use berth_types::mode::NetworkBinding;
use berth_types::report::{ContainerReport, ContainerStatus, StopCause, TaskReport, TaskStage};
use berth_types::{TaskId, TimestampMs};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::failure::{Failure, GivenUp};
use super::health::Health;
use super::reason::StartReason;
use super::{restart_policy, signal};
use crate::clock;
use crate::container::names;
use crate::containerd::Exit;
use crate::images::Image;
use crate::namespaces::HeldNamespace;

/// A task of this host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// The server's last intent.
    pub intent: TaskIntent,
    /// Its interface, once known.
    pub eni: Option<EniIntent>,
    /// Its stage.
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
    /// Its name as Docker would have it; empty for a container made by a version whose ids were names.
    #[serde(default)]
    pub(super) docker_name: String,
    /// It may exist in containerd.
    #[serde(rename = "is_created")]
    pub may_exist: bool,
    /// Its program may have been started.
    #[serde(default)]
    pub may_have_begun: bool,
    /// Digest of its image's manifest.
    pub image_digest: Option<String>,
    /// Digest of its image's configuration.
    pub image_id: Option<String>,
    /// Signal that asks it to end.
    pub stop_signal: u32,
    /// The shell its image names for health checks, instead of `/bin/sh -c`.
    #[serde(default)]
    pub shell: Option<Vec<String>>,
    /// When it was made.
    pub created_at: Option<TimestampMs>,
    /// When its program started.
    pub started_at: Option<TimestampMs>,
    /// Process of its program.
    pub pid: Option<u32>,
    /// How its program ended.
    pub exit: Option<Exit>,
    /// Its program never ran and never will.
    #[serde(default)]
    pub given_up: Option<GivenUp>,
    /// The reason of its failure, in AWS's words.
    pub reason: Option<String>,
    /// Times it was started again.
    #[serde(default)]
    pub restart_count: u32,
    /// Its program ended like this and is being started again.
    #[serde(default)]
    pub restarting: Option<Exit>,
    /// The last exit after which it was started again: this exit and older ones are known.
    #[serde(default)]
    pub previous_exit: Option<Exit>,
    /// The result of its health check.
    #[serde(default)]
    pub health: Option<Health>,
    /// Its address on the bridge, in network mode bridge.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub bindings: Vec<NetworkBinding>,
}

/// The containers' records as a launch or a stop sees them; the actor sends them after each event.
pub(super) type States = watch::Receiver<Vec<ContainerRecord>>;

const SIGTERM: u32 = 15;

impl TaskRecord {
    /// A task just accepted: every name it will use is chosen here, before anything exists.
    pub fn accept(id: TaskId, intent: TaskIntent, eni: Option<EniIntent>) -> Self {
        let mut ids: Vec<String> = Vec::new();
        for _ in &intent.containers {
            ids.push(fresh_id(&id, intent.launch_type, |taken| ids.iter().any(|one| one == taken)));
        }
        let containers = intent
            .containers
            .iter()
            .zip(ids)
            .map(|(container, runtime_id)| ContainerRecord {
                name: container.name.clone(),
                runtime_id,
                docker_name: names::docker_name(&intent, &container.name, &names::suffix()),
                may_exist: false,
                may_have_begun: false,
                image_digest: None,
                image_id: None,
                stop_signal: SIGTERM,
                shell: None,
                created_at: None,
                started_at: None,
                pid: None,
                exit: None,
                given_up: None,
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

    /// The ids of its containers in containerd, in order.
    pub fn runtime_ids(&self) -> Vec<String> {
        self.containers.iter().map(|container| container.runtime_id.clone()).collect()
    }

    /// The container with this id in containerd.
    pub fn by_runtime_id(&mut self, runtime_id: &str) -> Option<&mut ContainerRecord> {
        self.containers.iter_mut().find(|container| container.runtime_id == runtime_id)
    }

    /// An id in containerd that no container of the task has or had.
    pub fn fresh_runtime_id(&self) -> String {
        let in_use = |id: &str| self.containers.iter().any(|one| one.runtime_id == id);
        fresh_id(&self.id, self.intent.launch_type, |id| in_use(id) || self.abandoned.iter().any(|one| one == id))
    }

    /// Gives an absent container another id in containerd; returns the old one.
    pub fn rename(&mut self, index: usize, runtime_id: String) -> Option<String> {
        let container = self.containers.get_mut(index)?;
        let old = std::mem::replace(&mut container.runtime_id, runtime_id);
        (container.may_exist, container.may_have_begun) = (false, false);
        (container.created_at, container.pid) = (None, None);
        self.abandoned.push(old.clone());
        Some(old)
    }

    /// True if the end of this container's process is the end of its program: before the start it is only one that was
    /// being made, of which the launch hears by itself and whose exit code means nothing.
    pub fn is_end_of_program(&self, runtime_id: &str) -> bool {
        let mut of_it = self.containers.iter().filter(|container| container.runtime_id == runtime_id);
        of_it.any(ContainerRecord::has_begun)
    }

    /// Gives up a container whose program has not run.
    pub fn give_up(&mut self, failure: &Failure, at: TimestampMs) {
        if let Some(container) = self.containers.get_mut(failure.index).filter(|one| one.exit.is_none()) {
            container.given_up = Some(failure.given_up(at));
            container.reason = Some(failure.reason.to_string());
        }
    }

    /// Notes that a container's program ended and will be started again; false if it will not, or the exit is known.
    pub fn note_restart(&mut self, runtime_id: &str, exit: Exit) -> bool {
        let is_wanted =
            self.stage < TaskStage::Stopping && self.stop.is_none() && self.intent.desired == Desired::Running;
        let Some(at) = self.containers.iter().position(|container| container.runtime_id == runtime_id) else {
            return false;
        };
        let policy = self.wanted(&self.containers[at].name).and_then(|wanted| wanted.restart_policy.clone());
        let container = &mut self.containers[at];
        // The report of a start can come later than that of the exit; the start was after the previous exit.
        let started_at = match container.restarting {
            Some(before) => Some(before.at),
            None => container.started_at,
        };
        if !is_wanted || container.exit.is_some() || !restart_policy::restarts(policy.as_ref(), exit, started_at) {
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
        of_it.any(|one| {
            let is_previous = one.previous_exit.is_some_and(|previous| exit.at <= previous.at);
            one.exit.is_some() || one.given_up.is_some() || is_previous
        })
    }

    /// Notes the exit of a container's program; false if it is known.
    pub fn note_exit(&mut self, runtime_id: &str, exit: Exit, is_out_of_memory: bool) -> bool {
        let stopping = self.stage >= TaskStage::Stopping;
        let Some(container) = self.by_runtime_id(runtime_id).filter(|container| container.exit.is_none()) else {
            return false;
        };
        container.exit = Some(exit);
        container.restarting = None;
        if is_out_of_memory {
            container.reason = Some(StartReason::OutOfMemory.to_string());
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

    /// The report for the server.
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

/// Another id than those taken: the number of a Fargate task's container is short enough to come twice.
fn fresh_id(task: &TaskId, launch_type: LaunchType, is_taken: impl Fn(&str) -> bool) -> String {
    loop {
        let id = names::runtime_id(task, launch_type);
        if !is_taken(&id) {
            return id;
        }
    }
}

impl ContainerRecord {
    /// The name Docker would know it by.
    pub fn docker_name(&self) -> &str {
        if self.docker_name.is_empty() { &self.runtime_id } else { &self.docker_name }
    }

    /// Takes over the image's digests, shell and stop signal.
    pub fn take_image(&mut self, image: &Image) {
        self.image_digest = Some(image.digest.clone());
        self.image_id = Some(image.config_digest.clone());
        self.shell = image.config.shell.clone().filter(|shell| !shell.is_empty());
        let Some(written) = image.config.stop_signal.as_deref().filter(|written| !written.is_empty()) else { return };
        match signal::number(written) {
            Some(number) => self.stop_signal = number,
            None => {
                tracing::warn!(
                    container = self.name,
                    image = image.name,
                    written,
                    "no such stop signal; SIGTERM is used"
                );
            }
        }
    }

    /// Its state in AWS's words.
    pub fn status(&self, stage: TaskStage) -> ContainerStatus {
        match (self.exit, self.started_at) {
            (Some(_), _) => ContainerStatus::Stopped,
            (None, _) if self.given_up.is_some() => ContainerStatus::Stopped,
            (None, _) if stage == TaskStage::Stopped => ContainerStatus::Stopped,
            (None, Some(_)) => ContainerStatus::Running,
            (None, None) => ContainerStatus::Pending,
        }
    }

    /// True if its program may have been started.
    pub fn has_begun(&self) -> bool {
        self.may_have_begun || self.started_at.is_some()
    }

    /// The exit code that is reported.
    pub fn exit_code(&self) -> Option<i32> {
        let of_given_up = || self.given_up.and_then(|given_up| given_up.exit_code);
        self.exit.map(|exit| exit.code).or_else(of_given_up)
    }

    fn report(&self, stage: TaskStage) -> ContainerReport {
        ContainerReport {
            name: self.name.clone(),
            status: self.status(stage),
            runtime_id: self.created_at.map(|_| self.runtime_id.clone()),
            image_digest: self.image_digest.clone(),
            exit_code: self.exit_code(),
            reason: self.reason.clone(),
            network_bindings: self.started_at.map(|_| self.bindings.clone()).unwrap_or_default(),
            health: self.health.as_ref().map(|health| health.status),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::failure::FailedAt;
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
        assert!(!record.is_end_of_program("new"), "what a stop kills before its program ran has no exit code");
    }

    #[test]
    fn a_container_given_up_is_stopped_with_its_reason_and_its_task_goes_on() {
        let mut record = record();
        record.stage = TaskStage::Running;
        let side = record.containers[1].runtime_id.clone();
        let failure = |at| Failure { index: 1, reason: StartReason::Pull(crate::Fault::Setting("y".to_owned())), at };
        record.give_up(&failure(FailedAt::Runtime), TimestampMs(5));
        let told = &record.report().containers[1];
        assert_eq!((told.status, told.exit_code), (ContainerStatus::Stopped, None));
        assert_eq!((told.reason.as_deref(), &record.stop), (Some("CannotPullContainerError: y"), &None));
        assert!(record.is_known_exit(&side, Exit { code: 137, at: TimestampMs(9) }), "its clean-up is no end of it");
        record.give_up(&failure(FailedAt::Dependency), TimestampMs(5));
        assert_eq!(record.report().containers[1].exit_code, Some(143));
    }

    #[test]
    fn a_record_written_when_ids_were_names_can_be_read() {
        let mut text = serde_json::to_value(&record().containers[0]).unwrap();
        text["runtime_id"] = "ecs-web-3-app-00".into();
        for member in ["docker_name", "given_up", "shell"] {
            text.as_object_mut().unwrap().remove(member).unwrap();
        }
        let read: ContainerRecord = serde_json::from_value(text).unwrap();
        assert_eq!(read.docker_name(), "ecs-web-3-app-00");
        assert_eq!((read.given_up, read.shell), (None, None));
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
}
