//! The life of a task, seen from the server.
//!
//! What is seen may come late, twice or out of order, because each report says a whole state and reports may be lost.
//! A status therefore never goes back, and what was seen too early is remembered in the record and looked at again
//! ([`settle`]). Not here: who sees what (`observe.rs`), why a task stops (`task.rs`).

use berth_types::intent::Desired;
use berth_types::report::{ContainerStatus, TaskStage};
use berth_types::{EniId, TimestampMs};

use super::record::{Task, TaskAttachmentStatus, TaskStatus, TaskStop};

/// Something that moves a task on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Its interface is usable.
    EniAttached,
    /// Every container was started.
    ContainersUp,
    /// It was decided that it must end.
    StopAsked,
    /// Its host stops its containers.
    ContainersStopping,
    /// No container is left.
    ContainersGone,
    /// Its host has let go of its interface.
    EniGone,
}

impl TaskStatus {
    /// Where the task is after this was seen. `None` means: it changes nothing now.
    pub fn after(self, seen: Seen) -> Option<Self> {
        use TaskStatus::{Deactivating, Deprovisioning, Pending, Provisioning, Running, Stopped, Stopping};
        match (self, seen) {
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
                Seen::EniAttached
                | Seen::ContainersUp
                | Seen::ContainersStopping
                | Seen::ContainersGone
                | Seen::EniGone,
            )
            | (Deactivating, Seen::EniAttached | Seen::ContainersUp | Seen::StopAsked | Seen::EniGone)
            | (
                Stopping,
                Seen::EniAttached | Seen::ContainersUp | Seen::StopAsked | Seen::ContainersStopping | Seen::EniGone,
            )
            | (
                Deprovisioning,
                Seen::EniAttached
                | Seen::ContainersUp
                | Seen::StopAsked
                | Seen::ContainersStopping
                | Seen::ContainersGone,
            )
            | (Stopped, _) => None,
        }
    }

    /// The name AWS uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// What has to be done to other records after a task moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// Nothing.
    Nothing,
    /// Its interface is to be taken away.
    Detach(EniId),
}

/// Decides that the task ends, for this reason. The first reason stays.
pub(super) fn decide_stop(task: &mut Task, stop: TaskStop, now: TimestampMs) {
    if task.desired == Desired::Stopped {
        return;
    }
    task.desired = Desired::Stopped;
    task.times.stopping_at = Some(now);
    task.stop = Some(stop);
}

/// Moves the task as far as what is known of it allows. Each step counts in its version.
pub(super) fn settle(task: &mut Task, now: TimestampMs) -> Follow {
    let mut follow = Follow::Nothing;
    while let Some(next) = known(task).into_iter().find_map(|seen| task.status.after(seen)) {
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

/// Everything the record says was seen.
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

/// What becomes true with a new status.
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
