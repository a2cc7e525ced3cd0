//! Ending a task: SIGTERM, after the time each container asked for SIGKILL, then everything of it is removed but its
//! logs. The interface is given back later, when the server says so. Every step can be done twice without harm.

use std::time::Duration;

use berth_types::mode::NetworkMode;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::Host;
use super::record::{ContainerRecord, TaskRecord};
use crate::Fault;
use crate::container::{cgroups, files};
use crate::containerd::{Exit, TaskState};
use crate::fault::{absent_is_fine, all_of};

const SIGKILL: u32 = 9;
/// Time for a killed process to be reported as over.
const KILL_LIMIT: Duration = Duration::from_secs(60);

/// Time for the news of an end that has happened already.
const NEWS_LIMIT: Duration = Duration::from_secs(5);

type Exits = watch::Receiver<Vec<(String, Exit)>>;

/// Ends and removes every container of a task, its cgroup and its folder.
pub(super) async fn stop(host: &Host, record: &TaskRecord, exits: Exits) -> Result<(), Fault> {
    let made = record.containers.iter().filter(|container| container.is_created);
    let ended = join_all(made.clone().map(|container| {
        let timeout_s = record.wanted(&container.name).map_or(30, |wanted| wanted.stop_timeout_s);
        end(host, container, Duration::from_secs(timeout_s.into()), exits.clone())
    }));
    all_of(ended.await)?;
    let removed = join_all(made.map(|container| host.containerd.remove_container(&container.runtime_id))).await;
    all_of(removed)?;
    // Nobody waits for these to be given back: the task is over when they are.
    if record.intent.network_mode != NetworkMode::Awsvpc {
        host.places.give_back(&record.id).await?;
    }
    let (task_dir, cgroups) = (host.config.task_dir(record.id.as_str()), host.cgroups.clone());
    let cgroup = cgroups::task_cgroup(&host.config.instance, record.id.as_str());
    let cleaned = tokio::task::spawn_blocking(move || all_of([cgroups.remove(&cgroup), files::remove_dir(&task_dir)]));
    cleaned.await.unwrap_or(Err(Fault::Ended("file remover")))
}

async fn end(host: &Host, container: &ContainerRecord, timeout: Duration, exits: Exits) -> Result<(), Fault> {
    let id = container.runtime_id.as_str();
    if container.exit.is_some() {
        return Ok(());
    }
    match host.containerd.task_state(id).await? {
        TaskState::Absent => return Ok(()),
        TaskState::Exited(_) => {
            // Its end is on its way to us; a report without it would be the last one.
            tokio::time::timeout(NEWS_LIMIT, exited(exits, id)).await.ok();
            return Ok(());
        }
        TaskState::Created => return absent_is_fine(host.containerd.kill_task(id, SIGKILL, true).await),
        TaskState::Running(_) => {}
    }
    absent_is_fine(host.containerd.kill_task(id, container.stop_signal, false).await)?;
    if tokio::time::timeout(timeout, exited(exits.clone(), id)).await.is_ok() {
        return Ok(());
    }
    tracing::info!(container = id, after_s = timeout.as_secs(), "container is killed");
    absent_is_fine(host.containerd.kill_task(id, SIGKILL, true).await)?;
    match tokio::time::timeout(KILL_LIMIT, exited(exits, id)).await {
        Ok(()) => Ok(()),
        Err(_) => Err(Fault::ContainerdSilent { call: "exit", on: id.to_owned(), after: KILL_LIMIT }),
    }
}

/// Returns when the container's end was told.
async fn exited(mut exits: Exits, id: &str) {
    let told = exits.wait_for(|exits| exits.iter().any(|(known, _)| known == id)).await.is_ok();
    if !told {
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
    let returned = host.namespaces.give_back(&host.network, &record.id).await;
    all_of([unplugged, returned])
}
