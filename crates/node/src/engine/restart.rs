//! Starting the program of a container again in its place: the same container, file system and log. Every step can be
//! done twice: a node that was killed in the middle takes it up where it finds it.

use super::Host;
use super::record::TaskRecord;
use crate::Fault;
use crate::containerd::TaskState;
use crate::fault::absent_is_fine;

/// Starts it; answers its process.
pub(super) async fn restart(host: &Host, record: &TaskRecord, index: usize) -> Result<u32, Fault> {
    let container = record.containers.get(index).ok_or(Fault::Ended("container"))?;
    let id = container.runtime_id.as_str();
    match host.containerd.task_state(id).await? {
        TaskState::Running(pid) => return Ok(pid),
        TaskState::Created => return host.containerd.start_task(id).await,
        TaskState::Exited(_) => absent_is_fine(host.containerd.delete_task(id).await)?,
        TaskState::Absent => {}
    }
    let mounts = host.containerd.snapshot_mounts(id).await?;
    let io = host.io(record, &container.name);
    host.containerd.create_task(id, mounts, io).await?;
    host.containerd.start_task(id).await
}
