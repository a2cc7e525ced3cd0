//! Settings of a node, and the places they name.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_types::FaultPoints;
use berth_types::link::Capacity;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::{Fault, Step, step};

/// Prepared namespaces kept for Fargate tasks unless said otherwise; half as many are kept for the EC2 launch type.
pub const PREPARED_NAMESPACES: usize = 8;

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

    /// True if the endpoint speaks without TLS.
    pub(crate) fn is_plain(&self) -> bool {
        self.endpoint.starts_with("http://")
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
}

/// As the ECS agent's.
impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            pull: PullBehavior::Default,
            cleanup_interval: Duration::from_secs(30 * 60),
            minimum_age: Duration::from_secs(60 * 60),
            removed_at_once: 5,
        }
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
    /// Folder with the executables `ecs-eni`, `ecs-bridge` and `ecs-ipam`.
    pub cni_dir: PathBuf,
    /// The program `berth-shim`, which containerd starts for each container.
    pub shim: PathBuf,
    /// What runs containers, `crun` or `runc`; crun when absent, unless only runc is installed.
    pub oci_runtime: Option<String>,
    /// What the host can hold; measured when absent.
    pub capacity: Option<Capacity>,
    /// Prepared namespaces to keep for Fargate tasks, and half as many for tasks of the EC2 launch type.
    pub prepared_namespaces: usize,
    /// Region told to tasks.
    pub region: String,
    /// Availability zone the host says it is in; the region's first when absent.
    pub availability_zone: Option<String>,
    /// Runtime that asks registries; the node's own when absent. Its threads may be in another network namespace, for a
    /// host that has no way out of its own.
    pub registries_on: Option<Handle>,
    /// Tasks of launch type EC2 do not reach the instance metadata address 169.254.169.254; those of Fargate never do.
    pub block_imds: bool,
    /// Told once the first intent of a server has been programmed: from then on tasks can be run here.
    pub ready: Option<Arc<Notify>>,
    /// Where a test wants the process to die.
    pub fault_points: FaultPoints<Step>,
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

    /// Folder of a task's logs. Stays when the task is gone.
    pub(crate) fn log_dir(&self, task: &str) -> PathBuf {
        self.node_dir().join("logs").join(task)
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

/// Where a host keeps who it is.
pub(crate) fn identity_file(data_dir: &Path) -> PathBuf {
    data_dir.join("node").join("identity.json")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mirror_needs_a_registry_and_a_url_without_path() {
        let mirror = Mirror::parse("docker.io=http://127.0.0.1:5001/").unwrap();
        assert_eq!((mirror.host(), mirror.is_plain()), (Some("127.0.0.1:5001"), true));
        for wrong in ["docker.io", "=http://a", "docker.io=ftp://a", "docker.io=http://a/b", "docker.io=http://"] {
            assert!(Mirror::parse(wrong).is_err(), "{wrong}");
        }
    }
}
