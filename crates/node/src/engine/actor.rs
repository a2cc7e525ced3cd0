// SPDX-License-Identifier: Apache-2.0
//! One actor per task: it alone changes the task's record. Others send it events through a bounded channel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use berth_types::container::HealthCheck;
use berth_types::intent::{Desired, EniIntent, TaskIntent};
use berth_types::report::{EniState, StopCause, TaskStage};
use berth_types::{TaskId, TimestampMs};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::event::{EVENTS_MAX, Event, LaunchProgress, Outcome};
use super::health::Probe;
use super::host::NodeHost;
use super::launch::{LaunchFault, TaskLaunch, Without};
use super::plan::{self, Next, Seen, Work};
use super::reason::{RuntimeStep, StartReason};
use super::record::{ContainerRecord, TaskRecord};
use super::routes::Routes;
use super::{probe, restart, stop};
use crate::backoff::Backoff;
use crate::containerd::{Exit, TaskState};
use crate::{Fault, Step, clock, journal};

/// Pauses between tries of work that failed.
const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(30) };

/// A task's actor.
pub(super) struct Actor {
    host: Arc<NodeHost>,
    routes: Arc<Routes>,
    record: TaskRecord,
    events: mpsc::Receiver<Event>,
    own: mpsc::Sender<Event>,
    work: Option<(Work, JoinHandle<Result<(), WorkFault>>)>,
    cancel: CancellationToken,
    eni: watch::Sender<Option<EniIntent>>,
    states: watch::Sender<Vec<ContainerRecord>>,
    /// The health checks that run; dropping one ends it.
    checks: BTreeMap<usize, DropGuard>,
    is_listed: bool,
    is_eni_wanted: bool,
    /// The record comes from the journal: containers may exist already.
    is_resumed: bool,
    failures: u32,
}

enum WorkFault {
    Launch(LaunchFault),
    Other(Fault),
}

impl Actor {
    pub fn new(
        host: Arc<NodeHost>,
        routes: Arc<Routes>,
        mut record: TaskRecord,
        is_resumed: bool,
    ) -> (Self, mpsc::Sender<Event>) {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        // The journal knows the names of all containers, but not how far a killed launch came.
        record.containers.iter_mut().for_each(|container| container.may_exist |= is_resumed);
        if is_resumed && record.stage >= TaskStage::Pending && !record.released {
            tell_eni(&host, &record, EniState::Attached);
        }
        let actor = Self {
            host,
            routes,
            events,
            own: sender.clone(),
            work: None,
            cancel: CancellationToken::new(),
            eni: watch::Sender::new(record.eni.clone()),
            states: watch::Sender::new(record.containers.clone()),
            checks: BTreeMap::new(),
            is_listed: true,
            is_eni_wanted: true,
            is_resumed,
            failures: 0,
            record,
        };
        // Before anything is looked up: the first word to the server names every task and interface held here.
        actor.publish();
        (actor, sender)
    }

    /// Runs until the task has stopped, is released, and the server has forgotten it.
    pub async fn run(mut self) {
        self.register();
        if self.is_resumed {
            self.look_again().await;
            self.take_up();
        } else if let Err(fault) = self.write().await {
            // Nothing may be begun without a record in the journal; the task is reported as failed.
            self.fail(&StartReason::Resources(fault));
        }
        self.host.config.pass(Step::TaskNoted);
        self.publish();
        loop {
            match plan::next(self.seen()) {
                Next::Wait => {}
                Next::Begin(work) => self.begin(work).await,
                Next::CancelLaunch => self.cancel.cancel(),
                Next::End => break,
            }
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.note(event).await,
                    None => break,
                },
                (work, result) = finished(&mut self.work) => self.after(work, result).await,
            }
        }
        self.forget().await;
    }

    fn seen(&self) -> Seen {
        let asked = self.record.intent.desired == Desired::Stopped || !self.is_listed;
        Seen {
            stage: self.record.stage,
            work: self.work.as_ref().map(|(work, _)| *work),
            is_restarting: self.record.containers.iter().any(|container| container.restarting.is_some()),
            must_stop: asked || self.record.stop.is_some(),
            is_listed: self.is_listed,
            is_eni_wanted: self.is_eni_wanted,
            is_released: self.record.released,
        }
    }

    async fn note(&mut self, event: Event) {
        let before = self.record.report();
        let is_exit = matches!(event, Event::Exited(..));
        match event {
            Event::Wanted(intent, eni) => self.note_wanted(*intent, eni.map(|eni| *eni)).await,
            Event::Unlisted { is_eni_wanted } => {
                self.is_listed = false;
                self.is_eni_wanted = is_eni_wanted;
            }
            Event::Exited(runtime_id, exit) => self.note_exit(&runtime_id, exit).await,
            Event::LookAgain => self.look_again().await,
            Event::Progress(progress) => self.note_progress(progress).await,
            Event::Health(index, probe) => self.note_health(index, &probe),
            Event::Restarted(index, count, result) => self.note_restarted(index, count, result).await,
        }
        self.states.send_replace(self.record.containers.clone());
        if self.record.report() != before {
            self.publish();
            self.write_or_warn().await;
            if is_exit {
                self.host.config.pass(Step::ExitNoted);
            }
        }
    }

    async fn note_wanted(&mut self, intent: TaskIntent, eni: Option<EniIntent>) {
        self.is_listed = true;
        self.is_eni_wanted = eni.is_some();
        if let Some(eni) = eni
            && self.record.eni.as_ref() != Some(&eni)
        {
            self.record.eni = Some(eni.clone());
            self.eni.send_replace(Some(eni));
            self.write_or_warn().await;
        }
        if self.record.intent != intent {
            // A running task is never changed; only whether it should run may change.
            self.record.intent.desired = intent.desired;
            self.write_or_warn().await;
        }
    }

    async fn note_exit(&mut self, runtime_id: &str, exit: Exit) {
        if self.record.namespace.as_ref().is_some_and(|held| held.pause_id == runtime_id) {
            if self.record.stage < TaskStage::Stopping && self.record.stop.is_none() {
                let container = crate::pause::NAME.to_owned();
                self.record.stop = Some(StopCause::EssentialContainerExited { container });
            }
            return;
        }
        if self.record.is_known_exit(runtime_id, exit) || !self.record.is_end_of_program(runtime_id) {
            return;
        }
        let index = self.record.containers.iter().position(|container| container.runtime_id == runtime_id);
        if let Some(index) = index {
            self.checks.remove(&index);
            if self.is_listed && self.record.note_restart(runtime_id, exit) {
                tracing::info!(task = %self.record.id, container = runtime_id, code = exit.code, "container restarts");
                // Written first: the node after a crash starts it again.
                self.write_or_warn().await;
                self.restart(index);
                return;
            }
        }
        self.end(runtime_id, exit);
    }

    /// A program has ended and is not started again.
    fn end(&mut self, runtime_id: &str, exit: Exit) {
        const KILLED: i32 = 137;
        let is_asked = self.record.stage >= TaskStage::Stopping;
        let cgroup = self.host.container_cgroup(&self.record.id, runtime_id);
        let is_out_of_memory = exit.code == KILLED && !is_asked && self.host.cgroups.out_of_memory_kills(&cgroup) > 0;
        if self.record.note_exit(runtime_id, exit, is_out_of_memory) {
            tracing::info!(task = %self.record.id, container = runtime_id, code = exit.code, "container exited");
        }
    }

    fn restart(&self, index: usize) {
        let (host, record, events) = (self.host.clone(), self.record.clone(), self.own.clone());
        let container = &self.record.containers[index];
        let (count, Some(before)) = (container.restart_count, container.restarting) else { return };
        tokio::spawn(async move {
            let result = restart::restart(&host, &record, index, before).await;
            events.send(Event::Restarted(index, count, result)).await.ok();
        });
    }

    async fn note_restarted(&mut self, index: usize, count: u32, result: Result<Outcome, Fault>) {
        let Some(container) = self.record.containers.get_mut(index).filter(|one| one.restart_count == count) else {
            return;
        };
        let Some(before) = container.restarting else { return };
        let runtime_id = container.runtime_id.clone();
        // The time of its start is unknown; it was after the previous exit.
        let since = TimestampMs(before.at.0 + 1);
        let (started_at, pid, exit) = match result {
            Ok(Outcome::Started(pid)) => (clock::now(), Some(pid), None),
            Ok(Outcome::Found(pid)) => (since, Some(pid), None),
            Ok(Outcome::Ended(exit)) => (since, None, Some(exit)),
            Err(cause) => {
                let reason = StartReason::Runtime { step: RuntimeStep::Start, cause };
                container.reason = Some(reason.to_string());
                return self.end(&runtime_id, before);
            }
        };
        (container.restarting, container.started_at, container.pid) = (None, Some(started_at), pid);
        self.write_or_warn().await;
        match exit {
            None => self.check(index),
            // A restarted program that has already ended; its exit is newer than the noted one, so this recursion ends.
            Some(exit) => Box::pin(self.note_exit(&runtime_id, exit)).await,
        }
    }

    fn note_health(&mut self, index: usize, probe: &Probe) {
        let Some(container) = self.record.containers.get_mut(index) else { return };
        let wanted = self.record.intent.containers.iter().find(|wanted| wanted.name == container.name);
        let check = wanted.and_then(|wanted| wanted.health_check.as_ref());
        if let (Some(check), Some(health), Some(started_at), None) =
            (check, &container.health, container.started_at, container.exit)
        {
            let next = health.after(check, probe, started_at);
            if next.status != health.status {
                tracing::info!(task = %self.record.id, container = container.name, health = ?next.status, "health");
            }
            container.health = Some(next);
            self.host.directory.put(self.record.clone());
        }
    }

    /// Begins the health check of a container that runs, if it has one.
    fn check(&mut self, index: usize) {
        let Some(container) = self.record.containers.get(index) else { return };
        let Some(check) = self.record.wanted(&container.name).and_then(|wanted| wanted.health_check.clone()) else {
            return;
        };
        let launch_type = self.record.intent.launch_type;
        let Some(command) = probe::command(&check, launch_type, container.shell.as_deref()) else {
            let (task, name, kind) = (&self.record.id, &container.name, check.command.first());
            return tracing::warn!(%task, container = name, ?kind, "unknown kind of health check, which never runs");
        };
        let cancel = CancellationToken::new();
        let name = (index, container.runtime_id.clone());
        let check = HealthCheck { command, ..check };
        tokio::spawn(probe::watch(self.host.clone(), name, check, self.own.clone(), cancel.clone()));
        self.checks.insert(index, cancel.drop_guard());
    }

    /// Continues the restarts and health checks of an earlier node.
    fn take_up(&mut self) {
        for index in 0..self.record.containers.len() {
            let container = &self.record.containers[index];
            match (container.restarting, container.started_at, container.exit) {
                (Some(_), _, _) => self.restart(index),
                (None, Some(_), None) if self.record.stage < TaskStage::Stopping => self.check(index),
                (None, _, _) => {}
            }
        }
    }

    async fn note_progress(&mut self, progress: LaunchProgress) {
        match progress {
            LaunchProgress::PullStarted(at) => self.record.pull_started_at = self.record.pull_started_at.or(Some(at)),
            LaunchProgress::PullStopped(at) => self.record.pull_stopped_at = Some(at),
            LaunchProgress::ImageReady(index, image) => {
                if let Some(container) = self.record.containers.get_mut(index) {
                    container.take_image(&image);
                }
            }
            LaunchProgress::Namespace(held) => {
                self.routes.add(&held.pause_id, &self.own);
                self.record.namespace = Some(held);
                self.write_or_warn().await;
            }
            LaunchProgress::Attached => {
                self.reach(TaskStage::Pending);
                tell_eni(&self.host, &self.record, EniState::Attached);
            }
            LaunchProgress::Placed(places) => {
                for (container, place) in self.record.containers.iter_mut().zip(places) {
                    container.address = place.address;
                    container.bindings = place.bindings;
                }
                self.reach(TaskStage::Pending);
            }
            LaunchProgress::NotAttached(fault) => {
                tell_eni(&self.host, &self.record, EniState::Failed(fault.to_string()));
            }
            LaunchProgress::Renamed(index, runtime_id) => {
                self.routes.add(&runtime_id, &self.own);
                if let Some(old) = self.record.rename(index, runtime_id) {
                    self.routes.remove(&old);
                }
                self.write_or_warn().await;
            }
            LaunchProgress::Creating(index) => {
                if let Some(container) = self.record.containers.get_mut(index) {
                    container.may_exist = true;
                }
            }
            LaunchProgress::Created(index) => {
                if let Some(container) = self.record.containers.get_mut(index) {
                    container.created_at = Some(clock::now());
                }
            }
            LaunchProgress::GivenUp(failure) => self.record.give_up(&failure, clock::now()),
            LaunchProgress::Starting(index) => {
                if let Some(container) = self.record.containers.get_mut(index) {
                    container.may_have_begun = true;
                }
            }
            LaunchProgress::Started(index, pid) => {
                if let Some(container) = self.record.containers.get_mut(index) {
                    container.started_at.get_or_insert_with(clock::now);
                    container.pid = Some(pid);
                }
                if !self.checks.contains_key(&index) {
                    self.check(index);
                }
            }
        }
    }

    async fn begin(&mut self, work: Work) {
        let host = self.host.clone();
        let handle = match work {
            Work::Launch => {
                self.cancel = CancellationToken::new();
                let launch = TaskLaunch {
                    host,
                    record: self.record.clone(),
                    without: Without::of(&self.record),
                    eni: self.eni.subscribe(),
                    states: self.states.subscribe(),
                    progress: self.own.clone(),
                    cancel: self.cancel.clone(),
                    is_resumed: self.is_resumed,
                    interruptions: self.failures,
                };
                let pause = TRY_AGAIN.after(self.failures);
                tokio::spawn(async move {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = launch.cancel.cancelled() => {}
                    }
                    launch.run().await.map_err(WorkFault::Launch)
                })
            }
            Work::Stop => {
                self.reach(TaskStage::Stopping);
                self.checks.clear();
                self.publish();
                self.write_or_warn().await;
                self.host.config.pass(Step::StopNoted);
                let (record, pause) = (self.record.clone(), TRY_AGAIN.after(self.failures));
                let (states, own) = (self.states.subscribe(), self.own.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    stop::stop(&host, &record, &states, &own).await.map_err(WorkFault::Other)
                })
            }
            Work::Release => {
                let (record, pause) = (self.record.clone(), TRY_AGAIN.after(self.failures));
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    stop::release(&host, &record).await.map_err(WorkFault::Other)
                })
            }
        };
        self.work = Some((work, handle));
    }

    async fn after(&mut self, work: Work, result: Result<(), WorkFault>) {
        self.work = None;
        // Events that the work sent last come before its result.
        while let Ok(event) = self.events.try_recv() {
            self.note(event).await;
        }
        match (work, result) {
            (Work::Launch, Ok(())) => {
                self.failures = 0;
                self.reach(TaskStage::Running);
            }
            (Work::Launch, Err(WorkFault::Launch(LaunchFault::Cancelled))) => {}
            (Work::Launch, Err(WorkFault::Launch(LaunchFault::Interrupted(fault)))) => {
                self.failures += 1;
                // The interrupted launch may have made containers, which must be looked for.
                self.is_resumed = true;
                tracing::warn!(task = %self.record.id, %fault, "the launch is tried again");
            }
            (Work::Launch, Err(WorkFault::Launch(LaunchFault::Failed { reason }))) => self.fail(&reason),
            (Work::Launch, Err(WorkFault::Launch(LaunchFault::Container(failure)))) => {
                self.record.give_up(&failure, clock::now());
                self.fail(&failure.reason);
            }
            (Work::Stop, Ok(())) => {
                self.failures = 0;
                self.reach(TaskStage::Stopped);
                self.host.task_ended.notify_one();
            }
            (Work::Release, Ok(())) => {
                self.failures = 0;
                self.record.released = true;
                self.record.namespace = None;
            }
            (work, Err(WorkFault::Other(fault))) => {
                self.failures += 1;
                tracing::error!(task = %self.record.id, ?work, %fault, "will be tried again");
            }
            (Work::Stop | Work::Release, Err(WorkFault::Launch(_))) => {}
        }
        self.publish();
        self.write_or_warn().await;
        match work {
            Work::Launch if self.record.stage == TaskStage::Running => self.host.config.pass(Step::RunningNoted),
            Work::Stop if self.record.stage == TaskStage::Stopped => self.host.config.pass(Step::StoppedNoted),
            Work::Release if self.record.released => self.host.config.pass(Step::ReleasedNoted),
            Work::Launch | Work::Stop | Work::Release => {}
        }
        if self.record.released {
            tell_eni(&self.host, &self.record, EniState::Gone);
        }
    }

    fn fail(&mut self, reason: &StartReason) {
        let reason = reason.to_string();
        tracing::warn!(task = %self.record.id, reason, "task failed to start");
        if self.record.stop.is_none() {
            self.record.stop = Some(StopCause::FailedToStart { reason });
        }
    }

    fn reach(&mut self, stage: TaskStage) {
        if stage > self.record.stage {
            self.record.stage = stage;
            tracing::info!(task = %self.record.id, ?stage, "task");
        }
    }

    /// Compares the record with what containerd has: after a restart of either.
    async fn look_again(&mut self) {
        let started = self.record.containers.iter();
        let started = started.filter(|c| c.started_at.is_some() && c.exit.is_none() && c.restarting.is_none());
        let started: Vec<String> = started.map(|c| c.runtime_id.clone()).collect();
        let pause = self.record.namespace.as_ref().map(|held| held.pause_id.clone());
        for runtime_id in started.into_iter().chain(pause) {
            let exit = match self.host.containerd.task_state(&runtime_id).await {
                Ok(TaskState::Exited(exit)) => exit,
                Ok(TaskState::Absent) => {
                    if let Some(container) = self.record.by_runtime_id(&runtime_id) {
                        container.reason = Some(StartReason::Vanished.to_string());
                    }
                    // containerd itself reports 255 for a process whose exit it did not see.
                    Exit { code: 255, at: clock::now() }
                }
                Ok(TaskState::Created | TaskState::Running(_)) => continue,
                Err(fault) => {
                    tracing::warn!(task = %self.record.id, container = runtime_id, %fault, "state unknown");
                    continue;
                }
            };
            self.note_exit(&runtime_id, exit).await;
        }
    }

    fn register(&self) {
        for container in &self.record.containers {
            self.routes.add(&container.runtime_id, &self.own);
        }
        if let Some(held) = &self.record.namespace {
            self.routes.add(&held.pause_id, &self.own);
        }
    }

    fn publish(&self) {
        self.states.send_replace(self.record.containers.clone());
        self.host.directory.put(self.record.clone());
        self.host.reports.task(self.record.report());
    }

    async fn write(&self) -> Result<(), Fault> {
        self.host.journal.put(journal::TASKS, self.record.id.as_str(), &self.record).await
    }

    /// A record that is behind only means more to look up after a crash.
    async fn write_or_warn(&self) {
        if let Err(fault) = self.write().await {
            tracing::error!(task = %self.record.id, %fault, "the journal is behind");
        }
    }

    async fn forget(&self) {
        for container in &self.record.containers {
            self.routes.remove(&container.runtime_id);
        }
        self.host.directory.remove(&self.record.id);
        self.host.reports.forget_task(&self.record.id);
        if let Some(eni) = &self.record.intent.eni {
            self.host.reports.forget_eni(eni);
        }
        if let Err(fault) = self.host.journal.remove(journal::TASKS, self.record.id.as_str()).await {
            tracing::error!(task = %self.record.id, %fault, "could not remove a forgotten task from the journal");
        }
        self.host.config.pass(Step::TaskForgotten);
        tracing::info!(task = %self.record.id, "task is forgotten");
    }

    /// Its id.
    pub fn id(&self) -> &TaskId {
        &self.record.id
    }
}

/// Reports the state of a task's interface, if the task has one.
fn tell_eni(host: &NodeHost, record: &TaskRecord, state: EniState) {
    if let Some(eni) = &record.intent.eni {
        host.reports.eni(eni, state);
    }
}

/// Waits for the work under way; forever when there is none.
async fn finished(work: &mut Option<(Work, JoinHandle<Result<(), WorkFault>>)>) -> (Work, Result<(), WorkFault>) {
    match work {
        Some((work, handle)) => {
            let result = handle.await.unwrap_or(Err(WorkFault::Other(Fault::Ended("task worker"))));
            (*work, result)
        }
        None => std::future::pending().await,
    }
}
