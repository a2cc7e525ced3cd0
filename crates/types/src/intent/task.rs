// SPDX-License-Identifier: Apache-2.0
//! A task to run on a host, and its containers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::EniId;
use crate::container::{
    Dependency, ExtraHost, HealthCheck, IpcMode, LinuxParameters, LogIntent, PidMode, RestartPolicy, SystemControl,
    Ulimit, VolumeIntent, is_default,
};
use crate::mode::{ContainerLink, NetworkMode, Protocol};

/// Source of a task's capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LaunchType {
    /// A container instance of the cluster.
    Ec2,
    /// Any host, in slices of fixed size.
    Fargate,
}

impl LaunchType {
    /// The name AWS uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::Fargate => "FARGATE",
        }
    }
}

/// Desired state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Desired {
    /// Started and kept until an essential container exits.
    Running,
    /// Stopped: containers get SIGTERM, later SIGKILL.
    Stopped,
}

/// A task to run on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskIntent {
    /// Task ARN.
    pub arn: String,
    /// ARN of its cluster.
    pub cluster_arn: String,
    /// Family of its task definition.
    pub family: String,
    /// Revision of its task definition.
    pub revision: u32,
    /// Fargate or EC2.
    pub launch_type: LaunchType,
    /// Zone of its subnet.
    pub availability_zone: String,
    /// Desired state.
    pub desired: Desired,
    /// Network mode of its containers.
    #[serde(default)]
    pub network_mode: NetworkMode,
    /// Its interface, an entry of `HostIntent::enis` while attached; in network mode awsvpc only.
    #[serde(default)]
    pub eni: Option<EniId>,
    /// Host name inside the task: the interface's private DNS name, if it has one.
    pub hostname: Option<String>,
    /// Name servers and search domains for `/etc/resolv.conf`; outside of awsvpc, those of the host when absent.
    pub dns: DnsIntent,
    /// Hard limit of all containers together, CPU units (1024 = one core).
    pub cpu_units: Option<u32>,
    /// Hard limit of all containers together, MiB.
    pub memory_mib: Option<u32>,
    /// Storage its containers may write, without the layers of images, GiB; that of the host when absent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ephemeral_storage_gib: Option<u32>,
    /// Volumes that containers can mount.
    pub volumes: Vec<VolumeIntent>,
    /// Pid namespace of its containers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pid_mode: PidMode,
    /// IPC namespace of its containers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipc_mode: IpcMode,
    /// CPU architecture of the images, as in the task definition: `X86_64`, `ARM64`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu_architecture: Option<String>,
    /// In the order of the task definition.
    pub containers: Vec<ContainerIntent>,
}

/// Contents of `/etc/resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DnsIntent {
    /// `nameserver` lines.
    pub servers: Vec<Ipv4Addr>,
    /// `search` line.
    pub search: Vec<String>,
}

/// A container of a task, overrides already applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerIntent {
    /// Name in the task definition.
    pub name: String,
    /// `arn:aws:ecs:...:container/CLUSTER/TASK/UUID`.
    pub arn: String,
    /// Secret-free UUID naming the container at the metadata endpoint (`/v4/UUID`).
    pub endpoint_id: String,
    /// Image reference as the user wrote it.
    pub image: String,
    /// Replaces the image's entry point.
    pub entry_point: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Environment; later entries override earlier ones.
    pub environment: Vec<(String, String)>,
    /// The task ends when this container does.
    pub essential: bool,
    /// CPU weight in CPU units (Docker shares).
    pub cpu_units: u32,
    /// Hard memory limit.
    pub memory_mib: Option<u32>,
    /// Soft memory limit.
    pub memory_reservation_mib: Option<u32>,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout_s: u32,
    /// Replaces the image's working directory.
    pub working_directory: Option<String>,
    /// Replaces the image's user: `user`, `user:group`, `uid`, `uid:gid`, ...
    pub user: Option<String>,
    /// The root file system is mounted read-only.
    pub readonly_root_filesystem: bool,
    /// A terminal is allocated for the container.
    pub pseudo_terminal: bool,
    /// Labels added to the container.
    pub labels: BTreeMap<String, String>,
    /// Volumes of the task mounted into the container, including those that come from other containers' definitions.
    pub mounts: Vec<MountIntent>,
    /// Containers whose mounts it shares; the node adds the volumes that their images name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub volumes_from: Vec<VolumesFrom>,
    /// Ports of the definition: published in network mode bridge, reported in every mode.
    pub ports: Vec<PortIntent>,
    /// Links to other containers of the task (network mode bridge).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<ContainerLink>,
    /// Its host name; like the next four members, not in network mode awsvpc.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hostname: Option<String>,
    /// Lines added to its `/etc/hosts`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra_hosts: Vec<ExtraHost>,
    /// Name servers used instead of those of its task or host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dns_servers: Vec<IpAddr>,
    /// Search domains used instead of those of its task or host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dns_search_domains: Vec<String>,
    /// It has only loopback, whatever the mode of its task.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disable_networking: bool,
    /// Capabilities, devices, memory file systems and other Linux settings.
    #[serde(default, skip_serializing_if = "is_default")]
    pub linux: LinuxParameters,
    /// Resource limits of its processes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ulimits: Vec<Ulimit>,
    /// It is privileged: it has the rights of root on the host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// Its standard input stays open without a writer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interactive: bool,
    /// Its programs gain no privileges by set-user-id.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_new_privileges: bool,
    /// It may make all system calls.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seccomp_unconfined: bool,
    /// Kernel parameters; those of the network apply to the task.
    #[serde(default, skip_serializing_if = "is_default")]
    pub system_controls: Vec<SystemControl>,
    /// Containers that must reach a state before it starts, and that stop after it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub depends_on: Vec<Dependency>,
    /// Maximum seconds until it reaches the state others wait for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_timeout_s: Option<u32>,
    /// Its health check.
    #[serde(default, skip_serializing_if = "is_default")]
    pub health_check: Option<HealthCheck>,
    /// Its restart policy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart_policy: Option<RestartPolicy>,
    /// Destination of its output.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log: LogIntent,
}

/// A container whose mounts another one shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Name of the container whose mounts are shared.
    pub container: String,
    /// Mounted read-only.
    pub read_only: bool,
}

/// A task volume seen in a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountIntent {
    /// Name of the volume.
    pub volume: String,
    /// Path in the container.
    pub path: String,
    /// Mounted read-only.
    pub read_only: bool,
}

/// A port a container listens on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortIntent {
    /// Port number; the first port of a range.
    pub container_port: u16,
    /// Last port of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_container_port: Option<u16>,
    /// Port of the host; chosen by the host when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// Protocol.
    pub protocol: Protocol,
}
