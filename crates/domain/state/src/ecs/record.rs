// SPDX-License-Identifier: Apache-2.0
//! Stored records of ECS.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use berth_types::container::{
    Dependency, ExtraHost, HealthCheck, LinuxParameters, RestartPolicy, SystemControl, Ulimit,
};
use berth_types::instance::InstanceInterface;
use berth_types::intent::{Desired, LaunchType};
use berth_types::link::Capacity;
use berth_types::mode::{HostPort, NetworkBinding, NetworkMode, Protocol};
use berth_types::report::{ContainerStatus, HealthStatus, RuntimeReport, TaskStage};
use berth_types::{EniId, HostId, InstanceId, MacAddress, SecurityGroupId, SubnetId, TaskId, TimestampMs};
use serde::{Deserialize, Serialize};

use super::counts::Progress;
pub use super::name::{ClusterName, FamilyName, TaskDefinitionKey};
use super::need::Need;
use super::words::{
    AppProtocol, Compatibility, ContainerInsights, CpuArchitecture, DockerScope, IpcMode, LogDriver,
    OperatingSystemFamily, PidMode, VersionConsistency,
};
use crate::{ClientToken, Tags};

/// Ephemeral storage of a Fargate task that asks for none.
pub const EPHEMERAL_STORAGE_GIB: u32 = 20;

/// A cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Name.
    pub name: ClusterName,
    /// Time of creation.
    pub created_at: TimestampMs,
    /// Set once deleted: the cluster shows as INACTIVE.
    pub deleted_at: Option<TimestampMs>,
    /// Setting containerInsights.
    pub container_insights: ContainerInsights,
    /// Names of the capacity providers it may use.
    pub capacity_providers: Vec<String>,
    /// Strategy of tasks that name neither a strategy nor a launch type; empty means launch type EC2.
    pub default_strategy: Vec<StrategyItem>,
    /// Tags.
    pub tags: Tags,
}

/// A capacity provider's part of a strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyItem {
    /// Name of the provider.
    pub provider: String,
    /// Number of tasks it gets before the weights apply.
    pub base: u32,
    /// Relative share of the remaining tasks.
    pub weight: u32,
}

/// Key of an account setting: principal and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountSettingKey {
    /// ARN of a principal; the root's setting holds for the account.
    pub principal: String,
    /// e.g. `containerInsights`.
    pub name: String,
}

impl fmt::Display for AccountSettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.principal, self.name)
    }
}

/// An account setting with an explicit value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountSetting {
    /// Principal and name.
    pub key: AccountSettingKey,
    /// Its value.
    pub value: String,
}

/// Highest revision a family ever used; revision numbers are never reused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinitionFamily {
    /// Name.
    pub name: FamilyName,
    /// Last revision assigned.
    pub last_revision: u32,
}

/// A task definition as AWS would return it, defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinition {
    /// Family and revision.
    pub key: TaskDefinitionKey,
    /// As given; `None` means bridge.
    pub network_mode: Option<NetworkMode>,
    /// Launch types asked for.
    pub requires_compatibilities: Option<Vec<LaunchType>>,
    /// Launch types whose rules it satisfies.
    pub compatibilities: Vec<Compatibility>,
    /// Attributes a container instance must have.
    pub requires_attributes: Vec<String>,
    /// Task size, CPU units.
    pub cpu_units: Option<u32>,
    /// Task size, MiB.
    pub memory_mib: Option<u32>,
    /// Role ARN, returned as given.
    pub task_role_arn: Option<String>,
    /// Role ARN, returned as given.
    pub execution_role_arn: Option<String>,
    /// As given.
    pub runtime_platform: Option<RuntimePlatform>,
    /// As given; never `true` in awsvpc mode.
    pub enable_fault_injection: Option<bool>,
    /// Expressions of its memberOf constraints.
    pub placement_constraints: Vec<String>,
    /// In order.
    pub volumes: Vec<Volume>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_mode: Option<PidMode>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<IpcMode>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage_gib: Option<u32>,
    /// In order.
    pub containers: Vec<ContainerDefinition>,
    /// Time of registration.
    pub registered_at: TimestampMs,
    /// ARN of the caller.
    pub registered_by: String,
    /// Set once deregistered: INACTIVE.
    pub deregistered_at: Option<TimestampMs>,
    /// Set once deleted: DELETE_IN_PROGRESS, until nothing refers to it.
    pub delete_requested_at: Option<TimestampMs>,
    /// Tags.
    pub tags: Tags,
}

/// Status of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinitionStatus {
    /// Usable for new tasks.
    Active,
    /// Deregistered; unusable for new tasks.
    Inactive,
    /// Deleted, and kept while tasks refer to it.
    DeleteInProgress,
}

impl DefinitionStatus {
    /// The name AWS uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
        }
    }
}

impl TaskDefinition {
    /// Network mode of its containers.
    pub fn mode(&self) -> NetworkMode {
        self.network_mode.unwrap_or(NetworkMode::Bridge)
    }

    /// Host ports that each of its tasks reserves.
    pub fn host_ports(&self) -> Vec<HostPort> {
        let mappings = self.containers.iter().flat_map(|container| &container.port_mappings);
        match self.mode() {
            // 0 is any free port; the host chooses it.
            NetworkMode::Bridge | NetworkMode::Host => mappings
                .filter(|mapping| mapping.host_port != 0)
                .map(|mapping| HostPort { protocol: mapping.protocol, port: mapping.host_port })
                .collect(),
            NetworkMode::Awsvpc | NetworkMode::None => Vec::new(),
        }
    }

    /// Status.
    pub fn status(&self) -> DefinitionStatus {
        match (self.deregistered_at, self.delete_requested_at) {
            (_, Some(_)) => DefinitionStatus::DeleteInProgress,
            (Some(_), None) => DefinitionStatus::Inactive,
            (None, None) => DefinitionStatus::Active,
        }
    }
}

/// Platform a definition is made for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuntimePlatform {
    /// As given.
    pub cpu_architecture: Option<CpuArchitecture>,
    /// As given.
    pub operating_system_family: Option<OperatingSystemFamily>,
}

/// A volume containers can mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Source of its contents.
    #[serde(default)]
    pub kind: VolumeKind,
}

/// Source of a volume's contents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum VolumeKind {
    /// A folder with the lifetime of the task.
    #[default]
    Empty,
    /// A path of the container instance.
    Host {
        /// The path.
        source_path: String,
    },
    /// A Docker volume.
    Docker(DockerVolume),
}

/// A Docker volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DockerVolume {
    /// Lifetime.
    pub scope: DockerScope,
    /// As given.
    pub autoprovision: Option<bool>,
    /// As given; `None` means `local`.
    pub driver: Option<String>,
    /// As given.
    pub labels: Option<BTreeMap<String, String>>,
}

/// The volumes of another container, mounted in this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Name of the other container.
    pub source_container: String,
    /// As given.
    pub read_only: Option<bool>,
}

/// A container of a task definition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerDefinition {
    /// Name.
    pub name: String,
    /// Image reference as given.
    pub image: String,
    /// CPU units.
    pub cpu_units: u32,
    /// Hard limit, MiB.
    pub memory_mib: Option<u32>,
    /// Soft limit, MiB.
    pub memory_reservation_mib: Option<u32>,
    /// The task stops when this container exits.
    pub essential: bool,
    /// In order, with defaults filled in.
    pub port_mappings: Vec<PortMapping>,
    /// Links are accepted in bridge mode only.
    pub links: Option<Vec<String>>,
    /// As given.
    pub entry_point: Option<Vec<String>>,
    /// As given.
    pub command: Option<Vec<String>>,
    /// In order.
    pub environment: Vec<(String, String)>,
    /// In order.
    pub mount_points: Vec<MountPoint>,
    /// As given.
    pub stop_timeout_s: Option<u32>,
    /// As given.
    pub working_directory: Option<String>,
    /// As given.
    pub user: Option<String>,
    /// As given.
    pub readonly_root_filesystem: Option<bool>,
    /// As given.
    pub pseudo_terminal: Option<bool>,
    /// As given.
    pub interactive: Option<bool>,
    /// As given.
    pub privileged: Option<bool>,
    /// As given; never `true` in awsvpc mode.
    pub disable_networking: Option<bool>,
    /// As given.
    pub docker_labels: Option<BTreeMap<String, String>>,
    /// As given.
    pub log_configuration: Option<LogConfiguration>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux_parameters: Option<LinuxParameters>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ulimits: Option<Vec<Ulimit>>,
    /// In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub system_controls: Vec<SystemControl>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_security_options: Option<Vec<String>>,
    /// As given; not in awsvpc mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// As given; not in awsvpc mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_hosts: Option<Vec<ExtraHost>>,
    /// As given; not in awsvpc mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_servers: Option<Vec<String>>,
    /// As given; not in awsvpc mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_search_domains: Option<Vec<String>>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depends_on: Option<Vec<Dependency>>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timeout_s: Option<u32>,
    /// With defaults filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// With its default filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,
    /// In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumesFrom>,
    /// As given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_consistency: Option<VersionConsistency>,
}

/// A port mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Port in the container; the first of a range.
    pub container_port: u16,
    /// Last port of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_container_port: Option<u16>,
    /// Port of the host; equal to the container's in modes awsvpc and host, 0 when dynamic.
    pub host_port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// As given.
    pub name: Option<String>,
    /// As given.
    pub app_protocol: Option<AppProtocol>,
}

/// Mount of a volume in a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Name of the volume.
    pub source_volume: String,
    /// Path in the container.
    pub container_path: String,
    /// As given.
    pub read_only: Option<bool>,
}

/// A log driver with its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogConfiguration {
    /// The driver.
    pub log_driver: LogDriver,
    /// As given.
    pub options: Option<BTreeMap<String, String>>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Id.
    pub id: TaskId,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its definition.
    pub definition: TaskDefinitionKey,
    /// Fargate or EC2.
    pub launch_type: LaunchType,
    /// The capacity provider a strategy chose.
    pub capacity_provider: Option<String>,
    /// The host that runs it; `None` if none was assigned.
    pub host: Option<HostId>,
    /// Its network interface, in network mode awsvpc.
    #[serde(default)]
    pub network: Option<TaskNetwork>,
    /// Host ports that it reserves, without those the host chooses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<HostPort>,
    /// Desired status: running or stopped.
    pub desired: Desired,
    /// Status as AWS shows it.
    pub status: TaskStatus,
    /// Last stage its host reported.
    pub stage: Option<TaskStage>,
    /// Counts state changes, from 1.
    pub version: u64,
    /// Task size: the definition's or the override's.
    pub cpu_units: Option<u32>,
    /// Task size: the definition's or the override's.
    pub memory_mib: Option<u32>,
    /// Resources that it reserves on its host.
    pub need: Need,
    /// In the order of the definition.
    pub containers: Vec<TaskContainer>,
    /// Task-level overrides as given.
    pub overrides: TaskOverrides,
    /// e.g. `family:nginx`.
    pub group: String,
    /// As given.
    pub started_by: Option<String>,
    /// Token of RunTask, for idempotency.
    pub client_token: Option<ClientToken>,
    /// Why it stopped.
    pub stop: Option<TaskStop>,
    /// As given.
    pub enable_ecs_managed_tags: bool,
    /// Times of its life.
    pub times: TaskTimes,
    /// Tags.
    pub tags: Tags,
}

/// The network of a task: fixed when the task is accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskNetwork {
    /// UUID of the attachment.
    pub attachment: String,
    /// Status AWS shows of the attachment.
    pub status: TaskAttachmentStatus,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Zone of the subnet.
    pub availability_zone: String,
    /// Its groups.
    pub security_groups: Vec<SecurityGroupId>,
    /// Absent when no interface could be made.
    pub eni: Option<TaskEni>,
}

/// Facts about a task's interface, kept after the interface is deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskEni {
    /// Id.
    pub id: EniId,
    /// Hardware address.
    pub mac: MacAddress,
    /// Private address.
    pub address: Ipv4Addr,
    /// Present when the VPC has DNS hostnames.
    pub private_dns_name: Option<String>,
}

/// Status of a task's attachment as AWS shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskAttachmentStatus {
    /// The task was accepted.
    Precreated,
    /// The interface exists and is being plugged.
    Attaching,
    /// Usable.
    Attached,
    /// Being detached.
    Detaching,
    /// Deleted.
    Deleted,
    /// Could not be attached.
    Failed,
}

/// Status of a task as AWS shows it, in order of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskStatus {
    /// Accepted; the interface is being made.
    Provisioning,
    /// Interface attached; images are pulled, containers started.
    Pending,
    /// All containers started.
    Running,
    /// To be stopped; its host has not begun to stop it.
    Deactivating,
    /// Containers get SIGTERM, later SIGKILL.
    Stopping,
    /// No container left; the interface is being released.
    Deprovisioning,
    /// Final status.
    Stopped,
}

impl TaskStatus {
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

/// Why a task stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskStop {
    /// e.g. `UserInitiated`.
    pub code: String,
    /// e.g. `Task stopped by user`.
    pub reason: String,
}

/// Times of a task's life; absent until reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskTimes {
    /// Accepted.
    pub created_at: TimestampMs,
    /// Its host was reached.
    pub connectivity_at: Option<TimestampMs>,
    /// First pull began.
    pub pull_started_at: Option<TimestampMs>,
    /// Last pull ended.
    pub pull_stopped_at: Option<TimestampMs>,
    /// RUNNING.
    pub started_at: Option<TimestampMs>,
    /// Desired status became STOPPED.
    pub stopping_at: Option<TimestampMs>,
    /// First essential container ended.
    pub execution_stopped_at: Option<TimestampMs>,
    /// STOPPED.
    pub stopped_at: Option<TimestampMs>,
}

/// A container of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskContainer {
    /// UUID in its ARN.
    pub id: String,
    /// UUID naming it at the metadata endpoint.
    pub endpoint_id: String,
    /// Name in the definition.
    pub name: String,
    /// Overrides as given for this container.
    pub overrides: ContainerOverrides,
    /// State.
    pub status: ContainerStatus,
    /// Id in the container runtime.
    pub runtime_id: Option<String>,
    /// Digest of the image that runs.
    pub image_digest: Option<String>,
    /// After exit.
    pub exit_code: Option<i32>,
    /// Error text.
    pub reason: Option<String>,
    /// Ports of the host that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_bindings: Vec<NetworkBinding>,
    /// Result of its health check; absent without a check and before the first report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
}

/// Overrides of one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerOverrides {
    /// True if the request named the container.
    pub given: bool,
    /// Replaces the command.
    pub command: Option<Vec<String>>,
    /// Merged by name.
    pub environment: Option<Vec<(String, String)>>,
    /// Replaces the container's CPU units.
    pub cpu_units: Option<u32>,
    /// Replaces the hard limit.
    pub memory_mib: Option<u32>,
    /// Replaces the soft limit.
    pub memory_reservation_mib: Option<u32>,
}

/// Overrides at task level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskOverrides {
    /// As given.
    pub cpu: Option<String>,
    /// As given.
    pub memory: Option<String>,
    /// As given; without effect.
    pub execution_role_arn: Option<String>,
    /// Ephemeral storage in GiB, instead of the definition's; Fargate only.
    #[serde(default)]
    pub ephemeral_storage_gib: Option<u32>,
}

/// A host, shown as a container instance of its cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Id; also the container instance id.
    pub id: HostId,
    /// Instance id AWS clients see.
    pub instance: InstanceId,
    /// Cluster it wants to join.
    pub cluster: ClusterName,
    /// Time of its registration in the cluster, which must exist and be ACTIVE.
    pub registered_at: Option<TimestampMs>,
    /// Set once deregistered by a user, until its node sends `Hello` again.
    pub deregistered_at: Option<TimestampMs>,
    /// It gets no new tasks of launch type EC2.
    pub draining: bool,
    /// Its stream is open.
    pub connected: bool,
    /// Free space of its disk is below the limit: it gets no new tasks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub short_of_space: bool,
    /// Configured zone, equal to its attribute `ecs.availability-zone`; a host serves all zones for Fargate.
    pub availability_zone: String,
    /// Its capacity.
    pub capacity: Capacity,
    /// ECS attributes that are not set by users.
    pub attributes: BTreeMap<String, Option<String>>,
    /// ECS attributes set by users.
    pub custom_attributes: BTreeMap<String, Option<String>>,
    /// Version of Berth on it.
    pub version: String,
    /// Version of containerd on it.
    pub runtime_version: String,
    /// Last report on its container runtime; nodes of 0.1.0 send none.
    #[serde(default)]
    pub runtime: Option<RuntimeHealth>,
    /// Its last wishes for its primary interface. The present interface may be another one: users move it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_interface: Option<InstanceInterface>,
    /// Counts changes.
    pub record_version: u64,
    /// Tags.
    pub tags: Tags,
}

/// Report of a host on its container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeHealth {
    /// The report.
    pub report: RuntimeReport,
    /// Time of the report.
    pub told_at: TimestampMs,
}

/// Status of a container instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceStatus {
    /// Accepts tasks.
    Active,
    /// Accepts no new tasks.
    Draining,
    /// Deregistered.
    Inactive,
}

impl InstanceStatus {
    /// The name AWS uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
            Self::Inactive => "INACTIVE",
        }
    }
}

impl Host {
    /// Its status as a container instance; `None` if it was never registered in its cluster.
    pub fn instance_status(&self) -> Option<InstanceStatus> {
        self.registered_at?;
        Some(match (self.deregistered_at, self.draining) {
            (Some(_), _) => InstanceStatus::Inactive,
            (None, true) => InstanceStatus::Draining,
            (None, false) => InstanceStatus::Active,
        })
    }

    /// Value of an attribute, its own or set by a user.
    pub fn attribute(&self, name: &str) -> Option<Option<&str>> {
        let found = self.attributes.get(name).or_else(|| self.custom_attributes.get(name))?;
        Some(found.as_deref())
    }

    /// All attributes by name.
    pub fn all_attributes(&self) -> BTreeMap<&str, Option<&str>> {
        let all = self.custom_attributes.iter().chain(&self.attributes);
        all.map(|(name, value)| (name.as_str(), value.as_deref())).collect()
    }
}

impl Task {
    /// Progress, as distinguished by the counts.
    pub fn progress(&self) -> Progress {
        match self.status {
            TaskStatus::Provisioning | TaskStatus::Pending => Progress::Pending,
            TaskStatus::Running => Progress::Running,
            TaskStatus::Deactivating | TaskStatus::Stopping | TaskStatus::Deprovisioning => Progress::Ending,
            TaskStatus::Stopped => Progress::Stopped,
        }
    }

    /// Ephemeral storage in GiB; Fargate only.
    pub fn storage_gib(&self, definition: &TaskDefinition) -> Option<u32> {
        let asked = self.overrides.ephemeral_storage_gib.or(definition.ephemeral_storage_gib);
        (self.launch_type == LaunchType::Fargate).then_some(asked.unwrap_or(EPHEMERAL_STORAGE_GIB))
    }

    /// Its interface, if it has or had one.
    pub fn eni(&self) -> Option<&TaskEni> {
        self.network.as_ref()?.eni.as_ref()
    }
}
