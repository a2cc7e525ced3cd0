//! Starting the program of a container again in its place: the same container, file system and log. Every step can be
//! done twice: a node that was killed in the middle takes it up where it finds it.

use super::Host;
use super::actor::pause_after;
use super::record::TaskRecord;
use crate::Fault;
use crate::containerd::{Exit, TaskState};
use crate::fault::absent_is_fine;

/// What became of a restart.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The program was started now, as this process.
    Started(u32),
    /// A node before this one had started it, as this process.
    Found(u32),
    /// A node before this one had started it, and it is over already.
    Ended(Exit),
}

/// Starts the program that ended with `before`. A containerd that goes away is waited for.
pub(super) async fn restart(host: &Host, record: &TaskRecord, index: usize, before: Exit) -> Result<Outcome, Fault> {
    let mut failures = 0;
    loop {
        match try_restart(host, record, index, before).await {
            Err(fault) if fault.is_transient() => {
                failures += 1;
                tracing::warn!(task = %record.id, %fault, "the restart is tried again");
                tokio::time::sleep(pause_after(failures)).await;
            }
            other => return other,
        }
    }
}

async fn try_restart(host: &Host, record: &TaskRecord, index: usize, before: Exit) -> Result<Outcome, Fault> {
    let container = record.containers.get(index).ok_or(Fault::Ended("container"))?;
    let id = container.runtime_id.as_str();
    match host.containerd.task_state(id).await? {
        TaskState::Running(pid) => return Ok(Outcome::Found(pid)),
        TaskState::Created => return host.containerd.start_task(id).await.map(Outcome::Started),
        TaskState::Exited(exit) if exit.at > before.at => return Ok(Outcome::Ended(exit)),
        TaskState::Exited(_) => absent_is_fine(host.containerd.delete_task(id).await)?,
        // A containerd that died while it made the container anew may have left its folder.
        TaskState::Absent => host.containerd.clear_bundle(id).await?,
    }
    let mounts = host.containerd.snapshot_mounts(id).await?;
    let io = host.io(record, &container.name);
    host.containerd.create_task(id, mounts, io).await?;
    host.containerd.start_task(id).await.map(Outcome::Started)
}
