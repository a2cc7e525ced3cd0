// SPDX-License-Identifier: Apache-2.0
//! Events of hosts: connections, and reports of tasks and interfaces.

use std::collections::BTreeMap;

use berth_state::ecs::{Task, TaskStatus};
use berth_types::link::{Capacity, Hello, PROTOCOL_VERSION};
use berth_types::report::{ContainerReport, ContainerStatus, EniReport, EniState, StopCause, TaskReport, TaskStage};
use berth_types::{HostId, InstanceId, TaskId};
use serde_json::Value;

use crate::requests::{fargate_definition, merged, run_request};
use crate::{World, line};

impl World {
    /// Like [`World::with_cluster`], with `host-1`: two cores, 2 GiB and three interfaces.
    pub fn with_host() -> Self {
        let mut world = Self::with_cluster();
        world.connect(&hello(1));
        world
    }

    /// A host connects.
    ///
    /// # Panics
    /// The host is refused.
    pub fn connect(&mut self, hello: &Hello) {
        let change = berth_ecs::host_connected(&self.snap, hello, &self.env()).unwrap();
        self.apply(change);
    }

    /// A host disconnects.
    pub fn disconnect(&mut self, host: &HostId) {
        let change = berth_ecs::host_disconnected(&self.snap, host, &self.env());
        self.apply(change);
    }

    /// The host of the task reports it.
    ///
    /// # Panics
    /// The task has no host.
    pub fn task_report(&mut self, report: &TaskReport) {
        let env = self.env();
        let host = self.snap.ecs().tasks.get(&report.task).and_then(|task| task.host.clone()).unwrap();
        let change = berth_ecs::observe_task(&self.snap, &host, report, &env);
        self.apply(change);
    }

    /// The host of the task reports this state of its interface.
    ///
    /// # Panics
    /// The task has no host or no interface.
    pub fn eni(&mut self, task: &TaskId, state: EniState) {
        let env = self.env();
        let known = self.snap.ecs().tasks[task].clone();
        let eni = known.eni().unwrap().id.clone();
        let change = berth_ecs::observe_eni(&self.snap, known.host.as_ref().unwrap(), &EniReport { eni, state }, &env);
        self.apply(change);
    }

    /// The host of the task reports this stage, with containers to match.
    ///
    /// # Panics
    /// The task has no host.
    pub fn stage(&mut self, task: &TaskId, stage: TaskStage, stop: Option<StopCause>) {
        self.task_report(&report(&self.snap.ecs().tasks[task].clone(), stage, stop));
    }

    /// Registers the definition `nginx` (Fargate and EC2, size 256/512) and runs it, with this change to the request.
    ///
    /// # Panics
    /// RunTask is refused.
    pub fn run(&mut self, patch: Value) -> Vec<TaskId> {
        self.register();
        let answer = self.call("RunTask", merged(run_request(), patch)).unwrap();
        let id =
            |task: &Value| self.meant(task["taskArn"].as_str().unwrap()).rsplit('/').next().unwrap().parse().unwrap();
        answer["tasks"].as_array().unwrap().iter().map(id).collect()
    }

    /// Registers the definition `nginx`.
    ///
    /// # Panics
    /// It is refused.
    pub fn register(&mut self) {
        self.call("RegisterTaskDefinition", fargate_definition()).unwrap();
    }

    /// The task with this name or id.
    ///
    /// # Panics
    /// It is not the name of a task.
    pub fn task(&self, name: &str) -> TaskId {
        self.meant(name).parse().unwrap_or_else(|_| panic!("{name} is not the name of a task"))
    }

    /// The status of a task.
    ///
    /// # Panics
    /// There is no such task.
    pub fn status(&self, task: &TaskId) -> TaskStatus {
        self.snap.ecs().tasks[task].status
    }

    /// An event of a transcript: see the language in the module `line`.
    pub(crate) fn event(&mut self, subject: &str, words: &str) {
        if let Some(number) = subject.strip_prefix("host-") {
            let number = number.parse().unwrap();
            return match words {
                "connects" => self.connect(&hello(number)),
                "disconnects" => self.disconnect(&HostId::from_bits(number)),
                _ => panic!("{subject} {words}: no such event"),
            };
        }
        let task = self.task(subject);
        match words.split_once(' ') {
            Some(("reports", words)) => match words.split_once(' ') {
                Some((name, reason)) => self.stage(&task, stage(name), Some(cause(reason))),
                None => self.stage(&task, stage(words), None),
            },
            Some(("interface", state)) => self.eni(&task, eni_state(state)),
            _ => panic!("{subject} {words}: no such event"),
        }
    }
}

fn stage(name: &str) -> TaskStage {
    match name {
        "PROVISIONING" => TaskStage::Provisioning,
        "PENDING" => TaskStage::Pending,
        "RUNNING" => TaskStage::Running,
        "STOPPING" => TaskStage::Stopping,
        "STOPPED" => TaskStage::Stopped,
        _ => panic!("{name} is not a stage of a task"),
    }
}

fn cause(words: &str) -> StopCause {
    match words.split_once('=') {
        Some(("exited", container)) => StopCause::EssentialContainerExited { container: container.to_owned() },
        Some(("failed", reason)) => StopCause::FailedToStart { reason: line::text(reason).0 },
        _ => panic!("{words}: no such reason"),
    }
}

fn eni_state(words: &str) -> EniState {
    match words.split_once('=') {
        None if words == "ATTACHED" => EniState::Attached,
        None if words == "GONE" => EniState::Gone,
        Some(("failed", reason)) => EniState::Failed(line::text(reason).0),
        _ => panic!("{words}: no such state of an interface"),
    }
}

/// The greeting of the host with this number: two cores, 2 GiB and three interfaces, in the cluster `default`.
pub fn hello(number: u128) -> Hello {
    let capability = |name: &str| (name.to_owned(), None);
    Hello {
        protocol: PROTOCOL_VERSION,
        host: HostId::from_bits(number),
        instance: InstanceId::from_bits(number),
        cluster: "default".to_owned(),
        version: "0.1.0".to_owned(),
        runtime_version: "1.6.20".to_owned(),
        capacity: Capacity { cpu_units: 2048, memory_mib: 2048, enis: 3 },
        attributes: BTreeMap::from([
            capability("ecs.capability.task-eni"),
            capability("ecs.capability.task-cpu-mem-limit"),
            capability("com.amazonaws.ecs.capability.docker-remote-api.1.18"),
            capability("com.amazonaws.ecs.capability.docker-remote-api.1.19"),
            ("ecs.cpu-architecture".to_owned(), Some("x86_64".to_owned())),
        ]),
        runtime: None,
        instance_interface: None,
        tasks: Vec::new(),
        enis: Vec::new(),
    }
}

/// The report of a task in this stage, with containers to match.
pub fn report(task: &Task, stage: TaskStage, stop: Option<StopCause>) -> TaskReport {
    let status = match stage {
        TaskStage::Provisioning | TaskStage::Pending => ContainerStatus::Pending,
        TaskStage::Running | TaskStage::Stopping => ContainerStatus::Running,
        TaskStage::Stopped => ContainerStatus::Stopped,
    };
    let container = |name: &String| ContainerReport {
        name: name.clone(),
        status,
        runtime_id: (status != ContainerStatus::Pending).then(|| format!("{name}-runtime")),
        image_digest: None,
        exit_code: (status == ContainerStatus::Stopped).then_some(0),
        reason: None,
        network_bindings: Vec::new(),
        health: None,
    };
    TaskReport {
        task: task.id.clone(),
        stage,
        stop,
        containers: task.containers.iter().map(|one| container(&one.name)).collect(),
        pull_started_at: None,
        pull_stopped_at: None,
        execution_stopped_at: None,
    }
}
