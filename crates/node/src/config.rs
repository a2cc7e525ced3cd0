// SPDX-License-Identifier: Apache-2.0
//! Settings of a node, and the places they name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_fabric::kernel::Namespace;
use berth_types::FaultPoints;
use berth_types::instance::InstanceInterface;
use berth_types::link::Capacity;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::{Fault, Step, step};

/// Prepared namespaces kept for Fargate tasks unless said otherwise; half as many are kept for the EC2 launch type.
pub const PREPARED_NAMESPACES: usize = 8;

/// Processes and threads a task may have unless said otherwise. As OpenShift's `podPidsLimit`; the kernel's own limit is
/// for all of the host.
pub const TASK_PIDS: u32 = 4096;

/// Most ids of processes Linux has.
const PIDS_MAX: u32 = 1 << 22;

/// Reads a limit of processes: a number, or `none`.
pub fn task_pids_limit(text: &str) -> Result<Option<u32>, Fault> {
    match text.parse::<u32>() {
        Ok(count) if (1..=PIDS_MAX).contains(&count) => Ok(Some(count)),
        Err(_) if text == "none" => Ok(None),
        Ok(_) | Err(_) => {
            Err(Fault::Setting(format!("invalid limit of processes {text:?}: write 1 to {PIDS_MAX}, or none")))
        }
    }
}

/// A registry asked instead of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The registry in image names, e.g. `docker.io`.
    pub registry: String,
    /// Where to ask instead, e.g. `http://127.0.0.1:5001`.
    pub endpoint: String,
}

impl Mirror {
    /// Reads `docker.io=http://127.0.0.1:5001`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::Setting(format!("invalid mirror {text:?}: write REGISTRY=http[s]://HOST[:PORT]"));
        let (registry, endpoint) = text.split_once('=').ok_or_else(wrong)?;
        let mirror = Self { registry: registry.to_owned(), endpoint: endpoint.trim_end_matches('/').to_owned() };
        let host = mirror.host().ok_or_else(wrong)?;
        if registry.is_empty() || host.is_empty() || host.contains('/') { Err(wrong()) } else { Ok(mirror) }
    }

    /// Host and port of the endpoint.
    pub(crate) fn host(&self) -> Option<&str> {
        self.endpoint.strip_prefix("http://").or_else(|| self.endpoint.strip_prefix("https://"))
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullBehavior {
    /// Always, and the cached one is used when that fails.
    #[default]
    Default,
    /// Always, and a pull that fails ends the task.
    Always,
    /// When it is not cached; images are cleaned up.
    Once,
    /// When it is not cached; images are kept for good.
    PreferCached,
}

impl PullBehavior {
    /// Reads `default`, `always`, `once` or `prefer-cached`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "default" => Ok(Self::Default),
            "always" => Ok(Self::Always),
            "once" => Ok(Self::Once),
            "prefer-cached" => Ok(Self::PreferCached),
            other => Err(Fault::Setting(format!(
                "invalid pull behavior {other:?}: write default, always, once or prefer-cached"
            ))),
        }
    }

    pub(crate) fn prefers_cached(self) -> bool {
        matches!(self, Self::Once | Self::PreferCached)
    }
}

/// How packets of tasks leave the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uplink {
    /// By every device that leads outside.
    Any,
    /// By this device alone.
    Device(String),
}

/// How images are pulled and cleaned up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSettings {
    /// When an image is pulled.
    pub pull: PullBehavior,
    /// Time between two clean-ups.
    pub cleanup_interval: Duration,
    /// Images used within this time are kept.
    pub minimum_age: Duration,
    /// Images forgotten in one clean-up.
    pub removed_at_once: usize,
    /// Limits of one image.
    pub limits: ImageLimits,
}

/// Limits of one image on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// Layers.
    pub layers: usize,
    /// Bytes of its blobs, as they are fetched.
    pub fetched_bytes: u64,
    /// Bytes of its files.
    pub unpacked_bytes: u64,
}

/// As many layers as Docker stacks; a few times the largest images in use.
impl Default for ImageLimits {
    fn default() -> Self {
        Self { layers: 127, fetched_bytes: 20 << 30, unpacked_bytes: 50 << 30 }
    }
}

/// As the ECS agent's.
impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            pull: PullBehavior::Default,
            cleanup_interval: Duration::from_secs(30 * 60),
            minimum_age: Duration::from_secs(60 * 60),
            removed_at_once: 5,
            limits: ImageLimits::default(),
        }
    }
}

/// How long logs of stopped tasks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Time since something was written last.
    pub max_age: Duration,
    /// Room for all of them.
    pub total_bytes_max: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(7 * 24 * 60 * 60), total_bytes_max: 1 << 30 }
    }
}

/// Time limits for components that may be stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Time between two questions whether containerd answers, and for each answer.
    pub heartbeat: Duration,
    /// Time for a container to end after its stop timeout, before its cgroup is killed and its shim with it.
    pub kill: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(10), kill: Duration::from_secs(30) }
    }
}

/// Settings of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Lasting data, e.g. `/var/lib/berth`.
    pub data_dir: PathBuf,
    /// Sockets, namespaces and other things that end with the machine, e.g. `/run/berth`.
    pub run_dir: PathBuf,
    /// Name of this installation on the machine.
    pub instance: String,
    /// ECS cluster the host joins as a container instance.
    pub cluster: String,
    /// The server's Unix socket.
    pub server_socket: PathBuf,
    /// Socket of a running containerd; a private one is supervised when absent.
    pub containerd: Option<PathBuf>,
    /// Registries to ask instead of others.
    pub mirrors: Vec<Mirror>,
    /// How images are pulled and cleaned up.
    pub images: ImageSettings,
    /// How long logs of stopped tasks are kept.
    pub logs: LogSettings,
    /// The host gets no new tasks with less of the data folder's file system free, in percent.
    pub free_space_min_percent: u8,
    /// Folder with the executables `ecs-eni`, `ecs-bridge` and `ecs-ipam`.
    pub cni_dir: PathBuf,
    /// The program `berth-shim`, which containerd starts for each container.
    pub shim: PathBuf,
    /// The runtime of containers, `crun` or `runc`; crun when absent, unless only runc is installed.
    pub oci_runtime: Option<String>,
    /// The capacity of the host; measured when absent.
    pub capacity: Option<Capacity>,
    /// Prepared namespaces to keep for Fargate tasks, and half as many for tasks of the EC2 launch type.
    pub prepared_namespaces: usize,
    /// Processes and threads a task may have; no limit when absent.
    pub task_pids_limit: Option<u32>,
    /// System calls a container may not make are written to the kernel's log when it tries.
    pub logs_refused_calls: bool,
    /// Time limits for components that may be stuck.
    pub patience: Patience,
    /// Region that tasks receive.
    pub region: String,
    /// Availability zone the host says it is in; the region's first when absent.
    pub availability_zone: Option<String>,
    /// Runtime that asks registries; the node's own when absent. Its threads may be in another network namespace, for a
    /// host that has no way out of its own.
    pub registries_on: Option<Handle>,
    /// The network of the machine that a simulated host is on, which is outside of it; absent for a host that is its
    /// machine.
    pub outside: Option<Arc<Namespace>>,
    /// Tasks of launch type EC2 do not reach the instance metadata address 169.254.169.254; those of Fargate never do.
    pub block_imds: bool,
    /// How packets of tasks leave the machine; not at all when absent.
    pub uplink: Option<Uplink>,
    /// The primary interface the host wants; none when absent.
    pub instance_interface: Option<InstanceInterface>,
    /// The program that answers at the regional endpoints; none answers when absent.
    pub edge: Option<EdgeProgram>,
    /// Containers have no variable that leads AWS's tools to the regional endpoints.
    pub no_endpoint_variable: bool,
    /// Notified when the first intent of a server has been programmed: from then on tasks can run here.
    pub ready: Option<Arc<Notify>>,
    /// The point at which a test makes the process die.
    pub fault_points: FaultPoints<Step>,
}

/// The program of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeProgram {
    /// Its file.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl NodeConfig {
    /// Refuses settings that cannot work, before anything is touched.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let name_is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.instance.is_empty() || !self.instance.chars().all(name_is_fit) {
            return Err(Fault::Setting(format!(
                "invalid instance name {:?}: use letters, digits and -",
                self.instance
            )));
        }
        if let Some(runtime) = self.oci_runtime.as_deref().filter(|name| !berth_shim::PROGRAMS.contains(name)) {
            let known = berth_shim::PROGRAMS.join(" or ");
            return Err(Fault::Setting(format!("invalid OCI runtime {runtime:?}: write {known}")));
        }
        for dir in [&self.data_dir, &self.run_dir, &self.cni_dir, &self.shim] {
            if !dir.is_absolute() {
                return Err(Fault::Setting(format!("{} must be an absolute path", dir.display())));
            }
        }
        self.mirrors.iter().try_for_each(|m| Mirror::parse(&format!("{}={}", m.registry, m.endpoint)).map(drop))
    }

    /// Passes a step of the work.
    pub(crate) fn pass(&self, step: Step) {
        step::pass(&self.fault_points, step);
    }

    pub(crate) fn node_dir(&self) -> PathBuf {
        self.data_dir.join("node")
    }

    pub(crate) fn identity_file(&self) -> PathBuf {
        identity_file(&self.data_dir)
    }

    pub(crate) fn journal_file(&self) -> PathBuf {
        journal_file(&self.data_dir)
    }

    pub(crate) fn ipam_file(&self) -> PathBuf {
        self.run_dir.join("eni-ipam.db")
    }

    /// Folder of a task: hosts, hostname, resolv.conf and volumes. Removed with the task.
    pub(crate) fn tasks_dir(&self) -> PathBuf {
        self.node_dir().join("tasks")
    }

    pub(crate) fn task_dir(&self, task: &str) -> PathBuf {
        self.tasks_dir().join(task)
    }

    /// Volumes that outlive the tasks that use them.
    pub(crate) fn shared_volumes_dir(&self) -> PathBuf {
        self.node_dir().join("volumes")
    }

    /// Empty file systems of which the storages of tasks are copies.
    pub(crate) fn storage_templates_dir(&self) -> PathBuf {
        self.node_dir().join("storages")
    }

    /// Folder of the logs of all tasks.
    pub(crate) fn logs_dir(&self) -> PathBuf {
        self.node_dir().join("logs")
    }

    /// Folder of a task's logs. Stays for a while when the task is gone.
    pub(crate) fn log_dir(&self, task: &str) -> PathBuf {
        self.logs_dir().join(task)
    }

    /// Pipes of processes that run in containers besides their programs.
    pub(crate) fn exec_dir(&self) -> PathBuf {
        self.run_dir.join("exec")
    }

    /// The shim, by the name under which containerd calls it.
    pub(crate) fn shim_name(&self) -> PathBuf {
        self.node_dir().join(berth_shim::NAME)
    }

    pub(crate) fn netns_dir(&self) -> PathBuf {
        self.run_dir.join("netns")
    }

    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.containerd.clone().unwrap_or_else(|| containerd_socket(&self.run_dir))
    }
}

/// Socket of the private containerd of the node with this run folder.
pub fn containerd_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("containerd").join("containerd.sock")
}

/// Journal of the node with this data folder: there from its first start until it is torn down.
pub fn journal_file(data_dir: &Path) -> PathBuf {
    data_dir.join("node").join("journal.redb")
}

/// The file with the host's identity.
pub(crate) fn identity_file(data_dir: &Path) -> PathBuf {
    data_dir.join("node").join("identity.json")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_limit_of_processes_is_one_the_kernel_knows() {
        assert_eq!((task_pids_limit("7").unwrap(), task_pids_limit("none").unwrap()), (Some(7), None));
        for wrong in ["0", "-1", "4194305", "max", ""] {
            assert!(task_pids_limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mirror_needs_a_registry_and_a_url_without_path() {
        let mirror = Mirror::parse("docker.io=http://127.0.0.1:5001/").unwrap();
        assert_eq!((mirror.host(), mirror.endpoint.as_str()), (Some("127.0.0.1:5001"), "http://127.0.0.1:5001"));
        for wrong in ["docker.io", "=http://a", "docker.io=ftp://a", "docker.io=http://a/b", "docker.io=http://"] {
            assert!(Mirror::parse(wrong).is_err(), "{wrong}");
        }
    }
}
