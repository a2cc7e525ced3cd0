// SPDX-License-Identifier: Apache-2.0
//! The life cycle of a task on the server.
//!
//! Events may be seen late, twice or out of order, because each report is a whole state and reports may be lost. A
//! status therefore never goes back, and an event seen too early stays in the record and is considered again
//! ([`settle`]). Not here: the sources of events (`observe.rs`), the reasons why a task stops (`task.rs`).

use berth_state::ecs::{Task, TaskAttachmentStatus, TaskStatus, TaskStop};
use berth_types::intent::Desired;
use berth_types::report::{ContainerStatus, TaskStage};
use berth_types::{EniId, TimestampMs};

/// An event that advances a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Its interface is usable.
    EniAttached,
    /// Every container was started.
    ContainersUp,
    /// The task must stop.
    StopAsked,
    /// Its host stops its containers.
    ContainersStopping,
    /// No container is left.
    ContainersGone,
    /// Its host has removed its interface.
    EniGone,
}

/// The status after an event; `None` if the event changes nothing in this status.
fn after(status: TaskStatus, seen: Seen) -> Option<TaskStatus> {
    use TaskStatus::{Deactivating, Deprovisioning, Pending, Provisioning, Running, Stopped, Stopping};
    match (status, seen) {
        (Provisioning, Seen::EniAttached) => Some(Pending),
        (Pending, Seen::ContainersUp) => Some(Running),
        (Provisioning | Pending | Running, Seen::StopAsked) => Some(Deactivating),
        (Deactivating, Seen::ContainersStopping) => Some(Stopping),
        (Deactivating | Stopping, Seen::ContainersGone) => Some(Deprovisioning),
        (Deprovisioning, Seen::EniGone) => Some(Stopped),
        (Provisioning, Seen::ContainersUp | Seen::ContainersStopping | Seen::ContainersGone | Seen::EniGone)
        | (Pending, Seen::EniAttached | Seen::ContainersStopping | Seen::ContainersGone | Seen::EniGone)
        | (
            Running,
            Seen::EniAttached | Seen::ContainersUp | Seen::ContainersStopping | Seen::ContainersGone | Seen::EniGone,
        )
        | (Deactivating, Seen::EniAttached | Seen::ContainersUp | Seen::StopAsked | Seen::EniGone)
        | (
            Stopping,
            Seen::EniAttached | Seen::ContainersUp | Seen::StopAsked | Seen::ContainersStopping | Seen::EniGone,
        )
        | (
            Deprovisioning,
            Seen::EniAttached | Seen::ContainersUp | Seen::StopAsked | Seen::ContainersStopping | Seen::ContainersGone,
        )
        | (Stopped, _) => None,
    }
}

/// Changes of other records that follow from a new status of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// Nothing.
    Nothing,
    /// Detach its interface.
    Detach(EniId),
}

/// Records that the task must stop, and why. A reason recorded earlier stays.
pub(super) fn decide_stop(task: &mut Task, stop: TaskStop, now: TimestampMs) {
    if task.desired == Desired::Stopped {
        return;
    }
    task.desired = Desired::Stopped;
    task.times.stopping_at = Some(now);
    task.stop = Some(stop);
}

/// Advances the task as far as the known events allow. Each step increments its version.
pub(super) fn settle(task: &mut Task, now: TimestampMs) -> Follow {
    let mut follow = Follow::Nothing;
    while let Some(next) = known(task).into_iter().find_map(|seen| after(task.status, seen)) {
        task.status = next;
        task.version += 1;
        enter(task, now);
        if next == TaskStatus::Deprovisioning
            && let Some(eni) = task.eni()
        {
            follow = Follow::Detach(eni.id.clone());
        }
    }
    follow
}

/// The events that the record shows as seen.
fn known(task: &Task) -> Vec<Seen> {
    let mut seen = Vec::new();
    if task.desired == Desired::Stopped {
        seen.push(Seen::StopAsked);
    }
    match task.network.as_ref().map(|network| network.status) {
        Some(TaskAttachmentStatus::Attached) => seen.push(Seen::EniAttached),
        Some(TaskAttachmentStatus::Deleted) => seen.push(Seen::EniGone),
        Some(
            TaskAttachmentStatus::Precreated
            | TaskAttachmentStatus::Attaching
            | TaskAttachmentStatus::Detaching
            | TaskAttachmentStatus::Failed,
        ) => {}
        // There is no interface to wait for.
        None => seen.extend([Seen::EniAttached, Seen::EniGone]),
    }
    match task.stage {
        None | Some(TaskStage::Provisioning | TaskStage::Pending) => {}
        Some(TaskStage::Running) => seen.push(Seen::ContainersUp),
        Some(TaskStage::Stopping) => seen.push(Seen::ContainersStopping),
        Some(TaskStage::Stopped) => seen.push(Seen::ContainersGone),
    }
    seen
}

/// Sets the times and members that follow from a new status.
fn enter(task: &mut Task, now: TimestampMs) {
    match task.status {
        TaskStatus::Pending => task.times.connectivity_at = Some(now),
        TaskStatus::Running => task.times.started_at = Some(now),
        TaskStatus::Deprovisioning => {
            if let Some(network) = &mut task.network {
                network.status = match &network.eni {
                    Some(_) => TaskAttachmentStatus::Detaching,
                    None => TaskAttachmentStatus::Deleted,
                };
            }
            for container in &mut task.containers {
                container.status = ContainerStatus::Stopped;
            }
        }
        TaskStatus::Stopped => task.times.stopped_at = Some(now),
        TaskStatus::Provisioning | TaskStatus::Deactivating | TaskStatus::Stopping => {}
    }
}
