//! What a node tells the server: the present state of a task or an interface, whole, every time.
//!
//! Reports may be lost, late or repeated; each one replaces what was said before about the same thing.

use serde::{Deserialize, Serialize};

use crate::mode::NetworkBinding;
use crate::{EniId, TaskId, TimestampMs};

/// Where a task stands on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStage {
    /// The namespace and the interface are being made.
    Provisioning,
    /// Images are pulled, containers created and started.
    Pending,
    /// Every container runs (or has run and was not essential).
    Running,
    /// Containers are being stopped.
    Stopping,
    /// No container is left, nor its cgroups, mounts and snapshots; the interface may still be plugged.
    Stopped,
}

/// Why the node itself ended a task. A stop asked for by the server has no cause here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// An essential container exited.
    EssentialContainerExited {
        /// Its name.
        container: String,
    },
    /// A step before RUNNING failed; the text is the user's `stoppedReason`, e.g. `CannotPullContainerError: ...`.
    FailedToStart {
        /// `ErrorName: what failed on which thing`.
        reason: String,
    },
}

/// State of a container as AWS shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ContainerStatus {
    /// Not started yet.
    #[default]
    Pending,
    /// Started.
    Running,
    /// Exited, or never to be started.
    Stopped,
}

/// What a container's health check says, as AWS shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthStatus {
    /// It passed.
    Healthy,
    /// It failed as often in a row as it may.
    Unhealthy,
    /// It has not been decided yet.
    Unknown,
}

impl HealthStatus {
    /// The name AWS uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// One container of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerReport {
    /// Name in the task definition.
    pub name: String,
    /// Its state.
    pub status: ContainerStatus,
    /// Id in the container runtime, once created.
    pub runtime_id: Option<String>,
    /// `sha256:...` of the image manifest that runs.
    pub image_digest: Option<String>,
    /// After exit.
    pub exit_code: Option<i32>,
    /// Error text in AWS's words, e.g. `OutOfMemoryError: Container killed due to memory usage`.
    pub reason: Option<String>,
    /// Ports of the host that lead to it, once it was started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_bindings: Vec<NetworkBinding>,
    /// Absent when it has no health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
}

/// A task as its host sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Which task.
    pub task: TaskId,
    /// How far it is.
    pub stage: TaskStage,
    /// Set once the node decided to end it by itself.
    pub stop: Option<StopCause>,
    /// All containers of the task, in order.
    pub containers: Vec<ContainerReport>,
    /// First image pull began.
    pub pull_started_at: Option<TimestampMs>,
    /// Last image pull ended.
    pub pull_stopped_at: Option<TimestampMs>,
    /// The first essential container stopped.
    pub execution_stopped_at: Option<TimestampMs>,
}

/// State of an interface on its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EniState {
    /// Plugged, programmed and usable.
    Attached,
    /// Could not be plugged; the text names the step.
    Failed(String),
    /// Not on this host (any more): its address may be given to somebody else.
    Gone,
}

/// An interface as its host sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EniReport {
    /// Which interface.
    pub eni: EniId,
    /// Its state.
    pub state: EniState,
}
