// SPDX-License-Identifier: Apache-2.0
//! Ending a task: SIGTERM, after the time each container asked for SIGKILL, then everything of it is removed but its
//! logs. What does not end by containerd and the shim ends without them: by the cgroup, then with the shim. The interface
//! is given back later, when the server says so. Every step can be done twice without harm.

use std::collections::BTreeSet;
use std::time::Duration;

use berth_shim::ProcessHandle;
use berth_types::mode::NetworkMode;
use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::event::{Event, LaunchProgress};
use super::host::NodeHost;
use super::order;
use super::record::{ContainerRecord, States, TaskRecord};
use crate::blocking::blocking;
use crate::cgroups;
use crate::container::files;
use crate::containerd::{NAMESPACE, TaskState};
use crate::fault::{absent_is_fine, all_of};
use crate::{Fault, Step};

const SIGKILL: u32 = 9;
/// Maximum wait for the exit of a container whose shim was killed: containerd cleans up first.
const CLEANUP_LIMIT: Duration = Duration::from_secs(60);
/// Time for the news of an end that has happened already.
const NEWS_LIMIT: Duration = Duration::from_secs(5);

/// Ends and removes every container of a task, its cgroup and its folder.
pub(super) async fn stop(
    host: &NodeHost,
    record: &TaskRecord,
    states: &States,
    events: &mpsc::Sender<Event>,
) -> Result<(), Fault> {
    let made = record.containers.iter().enumerate().filter(|(_, container)| container.may_exist);
    // A container ends after those that depend on it.
    let over = watch::Sender::new(BTreeSet::new());
    let ended = join_all(made.clone().map(|(index, container)| {
        let mut others = over.subscribe();
        let (over, states) = (&over, states.clone());
        async move {
            let before: Vec<&str> = order::dependents(&record.intent, &container.name).collect();
            let is_made = |name: &str| record.containers.iter().any(|one| one.name == name && one.may_exist);
            let are_over = |over: &BTreeSet<&str>| before.iter().all(|name| over.contains(name) || !is_made(name));
            others.wait_for(are_over).await.ok();
            let timeout_s = record.wanted(&container.name).map_or(30, |wanted| wanted.stop_timeout_s);
            let ending = Ending { host, record, index, container, states: &states, events };
            let ended = ending.end(Duration::from_secs(timeout_s.into())).await;
            over.send_if_modified(|over| over.insert(container.name.as_str()));
            ended
        }
    }));
    all_of(ended.await)?;
    host.config.pass(Step::ContainersEnded);
    let removed = join_all(made.map(|(_, container)| host.containerd.remove_container(&container.runtime_id))).await;
    all_of(removed)?;
    let abandoned = join_all(record.abandoned.iter().map(|id| host.containerd.destroy_container(id))).await;
    all_of(abandoned)?;
    // No other step gives these back, so the task has stopped only when they are returned.
    if record.intent.network_mode != NetworkMode::Awsvpc {
        host.places.give_back(&record.id).await?;
        host.namespaces.give_back(&host.network, &record.id).await?;
    }
    let (config, cgroups, task) = (host.config.clone(), host.cgroups.clone(), record.id.clone());
    let namespaces = host.namespaces.clone();
    blocking("file remover", move || {
        let let_out = namespaces.let_out(&task);
        let uncaged = cgroups.remove(&cgroups::task_cgroup(&config.instance, task.as_str()));
        config.pass(Step::CgroupRemoved);
        let removed = files::remove_task_dir(&config.task_dir(task.as_str()));
        config.pass(Step::FilesRemoved);
        all_of([let_out, uncaged, removed])
    })
    .await
}

/// A container that is to end.
struct Ending<'a> {
    host: &'a NodeHost,
    record: &'a TaskRecord,
    index: usize,
    container: &'a ContainerRecord,
    states: &'a States,
    events: &'a mpsc::Sender<Event>,
}

impl Ending<'_> {
    /// Ends it; with its shim, if it has not ended some time after its stop timeout.
    async fn end(&self, timeout: Duration) -> Result<(), Fault> {
        let until = Instant::now() + timeout + self.host.config.patience.kill;
        let fault = match tokio::time::timeout_at(until, self.ask(timeout)).await {
            Ok(Err(fault @ Fault::ContainerdSilent { .. })) => Some(fault),
            Ok(ended) => return ended,
            Err(_) => None,
        };
        if fault.is_some() && tokio::time::timeout_at(until, self.exited()).await.is_ok() {
            return Ok(());
        }
        tracing::error!(
            container = self.id(),
            fault = fault.map(|fault| fault.to_string()),
            "container does not end; killing its cgroup"
        );
        self.force().await
    }

    fn id(&self) -> &str {
        &self.container.runtime_id
    }

    async fn ask(&self, timeout: Duration) -> Result<(), Fault> {
        let (host, id) = (self.host, self.id());
        if self.container.given_up.is_some() {
            return host.containerd.destroy_container(id).await;
        }
        if self.container.exit.is_some() {
            return Ok(());
        }
        match host.containerd.task_state(id).await? {
            TaskState::Absent => return Ok(()),
            // Killed before its program ran.
            TaskState::Exited(_) if !self.container.has_begun() => return Ok(()),
            TaskState::Exited(exit) => {
                // The news of it may have been missed; a report without it would be the last one.
                self.events.send(Event::Exited(id.to_owned(), exit)).await.ok();
                tokio::time::timeout(NEWS_LIMIT, self.exited()).await.ok();
                return Ok(());
            }
            TaskState::Created => return absent_is_fine(host.containerd.kill_task(id, SIGKILL, true).await),
            // An earlier node may have started it without a record in the journal; its exit counts.
            TaskState::Running(_) => {
                drop(self.events.send(Event::Progress(LaunchProgress::Starting(self.index))).await)
            }
        }
        absent_is_fine(host.containerd.kill_task(id, self.container.stop_signal, false).await)?;
        host.config.pass(Step::StopAsked);
        if tokio::time::timeout(timeout, self.exited()).await.is_ok() {
            return Ok(());
        }
        tracing::info!(container = id, after_s = timeout.as_secs(), "container is killed");
        absent_is_fine(host.containerd.kill_task(id, SIGKILL, true).await)?;
        self.exited().await;
        Ok(())
    }

    /// Kills the task's programs, and the shim if it does not report their exit. containerd notices the end of a shim and
    /// reports the exit of its containers.
    async fn force(&self) -> Result<(), Fault> {
        // Asked before: the parents of programs that have ended are not known any more.
        let shims = self.shims()?;
        let (cgroups, cgroup) = (self.host.cgroups.clone(), self.cgroup());
        if let Err(fault) = blocking("killer of containers", move || cgroups.end_programs(&cgroup)).await {
            tracing::error!(container = self.id(), %fault, "could not kill its programs");
        }
        let news_limit = NEWS_LIMIT.min(self.host.config.patience.kill);
        if tokio::time::timeout(news_limit, self.exited()).await.is_ok() {
            return Ok(());
        }
        for shim in shims {
            tracing::error!(
                container = self.id(),
                shim = shim.pid,
                "its shim does not report its exit; killing the shim"
            );
            shim.kill().map_err(Fault::system(format!("kill the shim {}", shim.pid)))?;
        }
        let told = tokio::time::timeout(CLEANUP_LIMIT, self.exited()).await;
        told.map_err(|_| Fault::ContainerdSilent { call: "exit", on: self.id().to_owned(), after: CLEANUP_LIMIT })
    }

    fn cgroup(&self) -> String {
        self.host.container_cgroup(&self.record.id, self.id())
    }

    /// Its shim: the process that listens at the socket of its group. One of an earlier version does not show itself
    /// there; it is the parent of the container's programs.
    fn shims(&self) -> Result<Vec<ProcessHandle>, Fault> {
        let host = self.host;
        let group = self.record.namespace.as_ref().map_or(self.id(), |held| &held.pause_id);
        let socket = berth_shim::server_socket(&host.config.containerd_socket(), NAMESPACE, group);
        if let Some(shim) = ProcessHandle::listening_at(&socket) {
            return Ok(vec![shim]);
        }
        let dir = host.cgroups.mark_dir(&cgroups::shims_cgroup(&host.config.instance));
        let all = cgroups::members(&dir).map_err(Fault::file("list", &dir))?;
        let programs = host.cgroups.programs(&self.cgroup()).into_iter();
        let parents: Vec<i32> = programs.filter_map(ProcessHandle::parent_of).map(|parent| parent.pid).collect();
        Ok(all.into_iter().filter(|shim| parents.contains(&shim.pid)).collect())
    }

    /// Returns when its exit is in the record.
    async fn exited(&self) {
        let id = self.id();
        let is_over =
            |states: &Vec<ContainerRecord>| states.iter().any(|one| one.runtime_id == id && one.exit.is_some());
        if self.states.clone().wait_for(is_over).await.is_err() {
            // The actor has ended, and nothing waits for this work any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Gives back the interface and the namespace of a task whose containers are gone.
pub(super) async fn release(host: &NodeHost, record: &TaskRecord) -> Result<(), Fault> {
    let unplugged = match &record.intent.eni {
        Some(eni) => host.network.unplug(eni).await,
        None => Ok(()),
    };
    host.config.pass(Step::InterfaceUnplugged);
    let returned = host.namespaces.give_back(&host.network, &record.id).await;
    all_of([unplugged, returned])
}
