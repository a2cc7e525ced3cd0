//! Stored records of ECS.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use berth_types::container::{
    Dependency, ExtraHost, HealthCheck, LinuxParameters, RestartPolicy, SystemControl, Ulimit,
};
use berth_types::intent::{Desired, LaunchType};
use berth_types::link::Capacity;
use berth_types::mode::{HostPort, NetworkBinding, NetworkMode, Protocol};
use berth_types::report::{ContainerStatus, HealthStatus, TaskStage};
use berth_types::{EniId, HostId, InstanceId, MacAddress, SecurityGroupId, SubnetId, TaskId, TimestampMs};
use serde::{Deserialize, Serialize};

use super::load::{Need, Place, Progress, Share};
pub use super::name::{ClusterName, FamilyName, TaskDefinitionKey};
use crate::index::{Index, Stored};
use crate::vpc::record::Tags;

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
    pub container_insights: String,
    /// Names of the capacity providers it may use.
    pub capacity_providers: Vec<String>,
    /// Where tasks go that name neither a strategy nor a launch type; empty means launch type EC2.
    pub default_strategy: Vec<StrategyItem>,
    /// Tags.
    pub tags: Tags,
}

/// A capacity provider's part of a strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyItem {
    /// Name of the provider.
    pub provider: String,
    /// Tasks it gets before the weights count.
    pub base: u32,
    /// Its share of the others.
    pub weight: u32,
}

/// Whose setting it is, and which.
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

/// An account setting somebody set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountSetting {
    /// Whose, and which.
    pub key: AccountSettingKey,
    /// Its value.
    pub value: String,
}

/// Highest revision a family ever used; numbers are never given twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinitionFamily {
    /// Name.
    pub name: FamilyName,
    /// Last revision given.
    pub last_revision: u32,
}

/// A task definition as AWS would return it, defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskDefinition {
    /// Family and revision.
    pub key: TaskDefinitionKey,
    /// As given; `None` means bridge.
    pub network_mode: Option<String>,
    /// Launch types asked for.
    pub requires_compatibilities: Option<Vec<String>>,
    /// Launch types whose rules it satisfies.
    pub compatibilities: Vec<String>,
    /// Attributes a container instance must have.
    pub requires_attributes: Vec<String>,
    /// Task size, CPU units.
    pub cpu_units: Option<u32>,
    /// Task size, MiB.
    pub memory_mib: Option<u32>,
    /// Role ARNs are echoed.
    pub task_role_arn: Option<String>,
    /// Role ARNs are echoed.
    pub execution_role_arn: Option<String>,
    /// As given: cpuArchitecture, operatingSystemFamily.
    pub runtime_platform: Option<RuntimePlatform>,
    /// As given; `true` not in awsvpc mode.
    pub enable_fault_injection: Option<bool>,
    /// Expressions of its memberOf constraints.
    pub placement_constraints: Vec<String>,
    /// In order.
    pub volumes: Vec<Volume>,
    /// As given: `task` or `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_mode: Option<String>,
    /// As given: `task`, `host` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<String>,
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

/// Whether a definition can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinitionStatus {
    /// It can.
    Active,
    /// Deregistered: no new task.
    Inactive,
    /// Deleted, and kept for what refers to it.
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
    /// How its containers reach the network. What is registered is a name AWS knows.
    pub fn mode(&self) -> NetworkMode {
        self.network_mode.as_deref().and_then(NetworkMode::parse).unwrap_or(NetworkMode::Bridge)
    }

    /// The ports of a host that its tasks take there for themselves.
    pub fn host_ports(&self) -> Vec<HostPort> {
        let mappings = self.containers.iter().flat_map(|container| &container.port_mappings);
        match self.mode() {
            // 0 is any free port, which the host chooses.
            NetworkMode::Bridge | NetworkMode::Host => mappings
                .filter(|mapping| mapping.host_port != 0)
                .map(|mapping| HostPort { protocol: mapping.protocol, port: mapping.host_port })
                .collect(),
            NetworkMode::Awsvpc | NetworkMode::None => Vec::new(),
        }
    }

    /// Whether it can be used.
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
    /// e.g. `X86_64`.
    pub cpu_architecture: Option<String>,
    /// e.g. `LINUX`.
    pub operating_system_family: Option<String>,
}

/// A volume containers can mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// What is behind it.
    #[serde(default)]
    pub kind: VolumeKind,
}

/// What is behind a volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum VolumeKind {
    /// A folder that lives as long as the task.
    #[default]
    Empty,
    /// A path of the container instance.
    Host {
        /// The path.
        source_path: String,
    },
    /// A volume as Docker has them.
    Docker(DockerVolume),
}

/// A volume as Docker has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DockerVolume {
    /// `task` or `shared`.
    pub scope: String,
    /// As given.
    pub autoprovision: Option<bool>,
    /// As given; `None` means `local`.
    pub driver: Option<String>,
    /// As given.
    pub labels: Option<BTreeMap<String, String>>,
}

/// The volumes of another container, seen in this one.
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
    /// The task ends when it does.
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
    /// As given; `true` not in awsvpc mode.
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
    /// As given: `enabled` or `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_consistency: Option<String>,
}

/// A port mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Port in the container; of a range the first.
    pub container_port: u16,
    /// Last port of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_container_port: Option<u16>,
    /// Port outside; equal in modes awsvpc and host, 0 when dynamic.
    pub host_port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// As given.
    pub name: Option<String>,
    /// As given.
    pub app_protocol: Option<String>,
}

/// A volume seen in a container.
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
    /// e.g. `awslogs`.
    pub log_driver: String,
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
    /// The host that runs it; `None` when it never got one.
    pub host: Option<HostId>,
    /// Its network interface, in network mode awsvpc.
    #[serde(default)]
    pub network: Option<TaskNetwork>,
    /// Ports of its host that it takes, those the host chooses left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<HostPort>,
    /// Run it or end it.
    pub desired: Desired,
    /// How far it is, as AWS shows it.
    pub status: TaskStatus,
    /// Last stage its host reported.
    pub stage: Option<TaskStage>,
    /// Counts state changes, from 1.
    pub version: u64,
    /// Task size: the definition's or the override's.
    pub cpu_units: Option<u32>,
    /// Task size: the definition's or the override's.
    pub memory_mib: Option<u32>,
    /// What it takes of its host.
    pub need: Need,
    /// In the order of the definition.
    pub containers: Vec<TaskContainer>,
    /// Task-level overrides as given.
    pub overrides: TaskOverrides,
    /// e.g. `family:nginx`.
    pub group: String,
    /// As given.
    pub started_by: Option<String>,
    /// Token of RunTask, for idempotency, with a digest of the request.
    pub client_token: Option<(String, String)>,
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

/// What is remembered of the interface after it is gone.
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
    /// Being taken away.
    Detaching,
    /// Gone.
    Deleted,
    /// Never came.
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
    /// To be ended; its host has not begun to.
    Deactivating,
    /// Containers get SIGTERM, later SIGKILL.
    Stopping,
    /// No container left; the interface is being released.
    Deprovisioning,
    /// The end.
    Stopped,
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
    /// What its health check says; absent when it has none or nothing was heard yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
}

/// Overrides of one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerOverrides {
    /// True when the request named the container at all.
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
    /// Room for what the containers write, in GiB, instead of the definition's; Fargate only.
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
    /// It is registered there: the cluster exists and is ACTIVE.
    pub registered_at: Option<TimestampMs>,
    /// Set once deregistered by a user, until its node says hello anew.
    pub deregistered_at: Option<TimestampMs>,
    /// It gets no new tasks of launch type EC2.
    pub draining: bool,
    /// Its stream is open.
    pub connected: bool,
    /// Zone it is said to be in; a host serves all zones for Fargate. Its attribute `ecs.availability-zone` says the same.
    pub availability_zone: String,
    /// What it can hold.
    pub capacity: Capacity,
    /// ECS attributes of its own.
    pub attributes: BTreeMap<String, Option<String>>,
    /// ECS attributes users gave it.
    pub custom_attributes: BTreeMap<String, Option<String>>,
    /// Version of Berth on it.
    pub version: String,
    /// Version of containerd on it.
    pub runtime_version: String,
    /// Counts changes.
    pub record_version: u64,
    /// Tags.
    pub tags: Tags,
}

/// Status of a container instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceStatus {
    /// It takes tasks.
    Active,
    /// It takes no new tasks.
    Draining,
    /// It was deregistered.
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
    /// Its status as a container instance; `None` when it never was one of its cluster.
    pub fn instance_status(&self) -> Option<InstanceStatus> {
        self.registered_at?;
        Some(match (self.deregistered_at, self.draining) {
            (Some(_), _) => InstanceStatus::Inactive,
            (None, true) => InstanceStatus::Draining,
            (None, false) => InstanceStatus::Active,
        })
    }

    /// How placement sees it.
    fn place(&self) -> Place {
        let status = self.instance_status();
        let is_instance = matches!(status, Some(InstanceStatus::Active | InstanceStatus::Draining));
        Place {
            zone: is_instance.then(|| (self.cluster.clone(), Arc::from(self.availability_zone.as_str()))),
            is_open: status == Some(InstanceStatus::Active) && self.connected,
            capacity: self.capacity,
        }
    }

    /// An attribute with its value, of its own or given by a user.
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

macro_rules! keyed {
    ($($kind:ty, $field:ident => $key:ty);*) => {
        $(impl Stored for $kind {
            type Key = $key;
            fn key(&self) -> $key {
                self.$field.clone()
            }
        })*
    };
}

keyed!(AccountSetting, key => AccountSettingKey; Cluster, name => ClusterName; TaskDefinitionFamily, name => FamilyName);

impl Stored for TaskDefinition {
    type Key = TaskDefinitionKey;
    fn key(&self) -> TaskDefinitionKey {
        self.key.clone()
    }
    fn index(&self, index: &mut Index) {
        if let Some(at) = self.delete_requested_at {
            index.deleted_definitions.insert((at, self.key.clone()));
        }
    }
    fn unindex(&self, index: &mut Index) {
        if let Some(at) = self.delete_requested_at {
            index.deleted_definitions.remove(&(at, self.key.clone()));
        }
    }
}

impl Stored for Host {
    type Key = HostId;
    fn key(&self) -> HostId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        index.loads.host_came(&self.id, self.place());
    }
    fn unindex(&self, index: &mut Index) {
        index.loads.host_went(&self.id);
    }
    fn reindex(&self, old: &Self, index: &mut Index) {
        if old.place() != self.place() {
            old.unindex(index);
            self.index(index);
        }
    }
}

impl Task {
    /// How far it is, as counts tell it apart.
    pub fn progress(&self) -> Progress {
        match self.status {
            TaskStatus::Provisioning | TaskStatus::Pending => Progress::Pending,
            TaskStatus::Running => Progress::Running,
            TaskStatus::Deactivating | TaskStatus::Stopping | TaskStatus::Deprovisioning => Progress::Ending,
            TaskStatus::Stopped => Progress::Stopped,
        }
    }

    /// Room for what its containers write, in GiB, where it or its definition says so.
    pub fn storage_gib(&self, definition: &TaskDefinition) -> Option<u32> {
        let asked = self.overrides.ephemeral_storage_gib.or(definition.ephemeral_storage_gib);
        asked.filter(|_| self.launch_type == LaunchType::Fargate)
    }

    /// Its interface, if it has or had one.
    pub fn eni(&self) -> Option<&TaskEni> {
        self.network.as_ref()?.eni.as_ref()
    }

    /// What it takes of its host, until it has stopped.
    fn share(&self) -> Option<Share<'_>> {
        let host = self.host.as_ref().filter(|_| self.status != TaskStatus::Stopped)?;
        let (launch_type, group) = (self.launch_type, self.group.as_str());
        Some(Share { host, launch_type, group, need: self.need, ports: &self.ports })
    }

    fn index_share(&self, index: &mut Index) {
        if let Some(share) = self.share() {
            index.host_tasks.insert((share.host.clone(), self.id.clone()));
            index.loads.take(&share);
        }
    }

    fn unindex_share(&self, index: &mut Index) {
        if let Some(share) = self.share() {
            index.host_tasks.remove(&(share.host.clone(), self.id.clone()));
            index.loads.give_back(&share);
        }
    }

    fn index_rest(&self, index: &mut Index) {
        index.cluster_tasks.insert((self.cluster.clone(), self.id.clone()));
        index.definition_tasks.insert((self.definition.clone(), self.id.clone()));
        index.counts.add(&self.cluster, self.launch_type, self.progress());
        if let Some((token, _)) = &self.client_token {
            index.client_tokens.insert((token.clone(), self.id.clone()));
        }
        if let Some(at) = self.times.stopped_at {
            index.stopped_tasks.insert((at, self.id.clone()));
        }
    }

    fn unindex_rest(&self, index: &mut Index) {
        index.cluster_tasks.remove(&(self.cluster.clone(), self.id.clone()));
        index.definition_tasks.remove(&(self.definition.clone(), self.id.clone()));
        index.counts.remove(&self.cluster, self.launch_type, self.progress());
        if let Some((token, _)) = &self.client_token {
            index.client_tokens.remove(&(token.clone(), self.id.clone()));
        }
        if let Some(at) = self.times.stopped_at {
            index.stopped_tasks.remove(&(at, self.id.clone()));
        }
    }
}

impl Stored for Task {
    type Key = TaskId;
    fn key(&self) -> TaskId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        self.index_rest(index);
        self.index_share(index);
    }
    fn unindex(&self, index: &mut Index) {
        self.unindex_rest(index);
        self.unindex_share(index);
    }
    fn reindex(&self, old: &Self, index: &mut Index) {
        old.unindex_rest(index);
        self.index_rest(index);
        // Most changes of a task leave its share as it is, and to rank a host anew costs more than all the rest.
        if old.share() != self.share() {
            old.unindex_share(index);
            self.index_share(index);
        }
    }
}
