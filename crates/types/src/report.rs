// SPDX-License-Identifier: Apache-2.0
//! Reports of a node to the server: the complete present state of one task or interface in each.
//!
//! Reports may be lost, late or repeated; each one replaces the earlier ones about the same task or interface.

use serde::{Deserialize, Serialize};

use crate::mode::NetworkBinding;
use crate::{EniId, TaskId, TimestampMs};

/// The phase of a task on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStage {
    /// The namespace and the interface are being created.
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

/// The node's reason to end a task. A stop requested by the server has no cause here.
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
        /// `ErrorName: the step that failed and its object`.
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
    /// Exited, or will never be started.
    Stopped,
}

/// Result of a container's health check, as AWS shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthStatus {
    /// It passed.
    Healthy,
    /// It failed as many times in a row as allowed.
    Unhealthy,
    /// There is no result yet.
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
    /// Ports of the host that are forwarded to it, once it has started.
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
    /// Its phase.
    pub stage: TaskStage,
    /// Set once the node has decided to end it.
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

/// Free space of the data folder of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeSpace {
    /// Free part in percent.
    pub free_percent: u8,
    /// Below this percentage the host gets no new tasks.
    pub wanted_percent: u8,
}

impl FreeSpace {
    /// True if the host gets no new tasks.
    pub fn is_short(self) -> bool {
        self.free_percent < self.wanted_percent
    }
}

/// Whether the container runtime of a host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeReport {
    /// It answers.
    pub healthy: bool,
    /// Time of the last change between answering and not answering.
    pub since: TimestampMs,
}

/// State of an interface on its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EniState {
    /// Plugged, programmed and usable.
    Attached,
    /// Could not be plugged; the text names the step.
    Failed(String),
    /// Not on this host (any more): its address may be assigned again.
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

/// Use of a host's flow table. Interfaces pay for flows with rows: the first `floor` of each are its own, the others
/// are shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTable {
    /// Rows in use.
    pub used: u32,
    /// Rows there are.
    pub max: u32,
    /// Rows in use in the shared part.
    pub shared_used: u32,
    /// Rows in the shared part.
    pub shared_max: u32,
    /// Rows reserved for each interface.
    pub floor: u32,
}
