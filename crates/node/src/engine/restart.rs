// SPDX-License-Identifier: Apache-2.0
//! Starting the program of a container again in its place: the same container, file system and log. Every step can be
//! done twice: a node that was killed in the middle takes it up where it finds it.

use std::time::Duration;

use super::event::Outcome;
use super::host::NodeHost;
use super::record::TaskRecord;
use crate::Fault;
use crate::backoff::Backoff;
use crate::containerd::{Exit, TaskState};
use crate::fault::absent_is_fine;

/// Pauses between tries while containerd is away.
const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(30) };

/// Starts the program that ended with `before`. Tries again while containerd is away.
pub(super) async fn restart(
    host: &NodeHost,
    record: &TaskRecord,
    index: usize,
    before: Exit,
) -> Result<Outcome, Fault> {
    let mut failures = 0;
    loop {
        match try_restart(host, record, index, before).await {
            Err(fault) if fault.is_transient() => {
                failures += 1;
                tracing::warn!(task = %record.id, %fault, "the restart is tried again");
                tokio::time::sleep(TRY_AGAIN.after(failures)).await;
            }
            other => return other,
        }
    }
}

async fn try_restart(host: &NodeHost, record: &TaskRecord, index: usize, before: Exit) -> Result<Outcome, Fault> {
    let container = record.containers.get(index).ok_or(Fault::Ended("container"))?;
    let id = container.runtime_id.as_str();
    match host.containerd.task_state(id).await? {
        TaskState::Running(pid) => return Ok(Outcome::Found(pid)),
        TaskState::Created => return host.containerd.start_task(id).await.map(Outcome::Started),
        TaskState::Exited(exit) if exit.at > before.at => return Ok(Outcome::Ended(exit)),
        TaskState::Exited(_) => absent_is_fine(host.containerd.delete_task(id).await)?,
        // A containerd that died while it made the container again may have left its folder.
        TaskState::Absent => host.containerd.clear_bundle(id).await?,
    }
    let mounts = host.containerd.snapshot_mounts(id).await?;
    let io = host.io(record, &container.name);
    host.containerd.create_task(id, mounts, io).await?;
    host.containerd.start_task(id).await.map(Outcome::Started)
}
