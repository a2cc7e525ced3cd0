//! Ending a task: SIGTERM, after the time each container asked for SIGKILL, then everything of it is removed but its
//! logs. The interface is given back later, when the server says so. Every step can be done twice without harm.

use std::collections::BTreeSet;
use std::time::Duration;

use berth_types::mode::NetworkMode;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::record::{ContainerRecord, TaskRecord};
use super::{Host, order};
use crate::blocking::blocking;
use crate::container::{cgroups, files};
use crate::containerd::TaskState;
use crate::fault::{absent_is_fine, all_of};
use crate::{Fault, Step};

const SIGKILL: u32 = 9;
/// Time for a killed process to be reported as over.
const KILL_LIMIT: Duration = Duration::from_secs(60);

/// Time for the news of an end that has happened already.
const NEWS_LIMIT: Duration = Duration::from_secs(5);

/// What the task's actor knows of its containers.
pub(super) type States = watch::Receiver<Vec<ContainerRecord>>;

/// Ends and removes every container of a task, its cgroup and its folder.
pub(super) async fn stop(host: &Host, record: &TaskRecord, states: States) -> Result<(), Fault> {
    let made = record.containers.iter().filter(|container| container.is_created);
    // Nobody is ended before those who depend on it.
    let over = watch::Sender::new(BTreeSet::new());
    let ended = join_all(made.clone().map(|container| {
        let mut others = over.subscribe();
        let (over, states) = (&over, states.clone());
        async move {
            let before: Vec<&str> = order::dependents(&record.intent, &container.name).collect();
            let is_made = |name: &str| record.containers.iter().any(|one| one.name == name && one.is_created);
            let are_over = |over: &BTreeSet<&str>| before.iter().all(|name| over.contains(name) || !is_made(name));
            others.wait_for(are_over).await.ok();
            let timeout_s = record.wanted(&container.name).map_or(30, |wanted| wanted.stop_timeout_s);
            let ended = end(host, container, Duration::from_secs(timeout_s.into()), states).await;
            over.send_if_modified(|over| over.insert(container.name.as_str()));
            ended
        }
    }));
    all_of(ended.await)?;
    host.config.pass(Step::ContainersEnded);
    let removed = join_all(made.map(|container| host.containerd.remove_container(&container.runtime_id))).await;
    all_of(removed)?;
    let abandoned = join_all(record.abandoned.iter().map(|id| host.containerd.destroy_container(id))).await;
    all_of(abandoned)?;
    // Nobody waits for these to be given back: the task is over when they are.
    if record.intent.network_mode != NetworkMode::Awsvpc {
        host.places.give_back(&record.id).await?;
        host.namespaces.give_back(&host.network, &record.id).await?;
    }
    let (config, cgroups, task) = (host.config.clone(), host.cgroups.clone(), record.id.clone());
    blocking("file remover", move || {
        let uncaged = cgroups.remove(&cgroups::task_cgroup(&config.instance, task.as_str()));
        config.pass(Step::CgroupRemoved);
        let removed = files::remove_task_dir(&config.task_dir(task.as_str()));
        config.pass(Step::FilesRemoved);
        all_of([uncaged, removed])
    })
    .await
}

async fn end(host: &Host, container: &ContainerRecord, timeout: Duration, states: States) -> Result<(), Fault> {
    let id = container.runtime_id.as_str();
    if container.exit.is_some() {
        return Ok(());
    }
    match host.containerd.task_state(id).await? {
        TaskState::Absent => return Ok(()),
        TaskState::Exited(_) => {
            // Its end is on its way to us; a report without it would be the last one.
            tokio::time::timeout(NEWS_LIMIT, exited(states, id)).await.ok();
            return Ok(());
        }
        TaskState::Created => return absent_is_fine(host.containerd.kill_task(id, SIGKILL, true).await),
        TaskState::Running(_) => {}
    }
    absent_is_fine(host.containerd.kill_task(id, container.stop_signal, false).await)?;
    host.config.pass(Step::StopAsked);
    if tokio::time::timeout(timeout, exited(states.clone(), id)).await.is_ok() {
        return Ok(());
    }
    tracing::info!(container = id, after_s = timeout.as_secs(), "container is killed");
    absent_is_fine(host.containerd.kill_task(id, SIGKILL, true).await)?;
    match tokio::time::timeout(KILL_LIMIT, exited(states, id)).await {
        Ok(()) => Ok(()),
        Err(_) => Err(Fault::ContainerdSilent { call: "exit", on: id.to_owned(), after: KILL_LIMIT }),
    }
}

/// Returns when the container's end was told.
async fn exited(mut states: States, id: &str) {
    let is_over = |states: &Vec<ContainerRecord>| states.iter().any(|one| one.runtime_id == id && one.exit.is_some());
    if states.wait_for(is_over).await.is_err() {
        // The actor is gone, and with it everybody who waits.
        std::future::pending::<()>().await;
    }
}

/// Gives back the interface and the namespace of a task whose containers are gone.
pub(super) async fn release(host: &Host, record: &TaskRecord) -> Result<(), Fault> {
    let unplugged = match &record.intent.eni {
        Some(eni) => host.network.unplug(eni).await,
        None => Ok(()),
    };
    host.config.pass(Step::InterfaceUnplugged);
    let returned = host.namespaces.give_back(&host.network, &record.id).await;
    all_of([unplugged, returned])
}
