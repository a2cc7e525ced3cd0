//! What a container may ask for beside its image and command: the same words in a task definition's record and in a
//! task's intent. What was not given stays absent; defaults are where they act.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// True for what a reader fills in by itself when it is left out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A resource limit of a container's processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// e.g. `nofile`.
    pub name: String,
    /// What holds; a process may raise it up to `hard`.
    pub soft: i32,
    /// What holds in the end; -1 is no limit.
    pub hard: i32,
}

/// Linux settings of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxParameters {
    /// Present when capabilities were given at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Devices of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<Device>>,
    /// An init process forwards signals and reaps children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_process_enabled: Option<bool>,
    /// Swap beside the memory limit, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_swap_mib: Option<u32>,
    /// Size of `/dev/shm`, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_memory_mib: Option<u32>,
    /// 0 (avoid swapping) to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u32>,
    /// Memory file systems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<Vec<Tmpfs>>,
}

/// Capabilities beside Docker's default set, without `CAP_`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Added; `ALL` stands for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<Vec<String>>,
    /// Taken away; `ALL` stands for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<Vec<String>>,
}

/// A device of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub host_path: String,
    /// Path in the container; the same when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_path: Option<String>,
    /// `read`, `write`, `mknod`; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
}

/// A memory file system in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Where it is mounted.
    pub container_path: String,
    /// Its size, MiB.
    pub size_mib: u32,
    /// As of mount(8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_options: Option<Vec<String>>,
}

/// A kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemControl {
    /// e.g. `net.ipv4.tcp_keepalive_time`.
    pub namespace: String,
    /// Its value.
    pub value: String,
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    /// Name.
    pub hostname: String,
    /// Address.
    pub ip_address: String,
}

/// When a container that another one waits for is far enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Condition {
    /// It was started.
    Start,
    /// It is over.
    Complete,
    /// It is over with exit code 0.
    Success,
    /// Its health check passed.
    Healthy,
}

impl Condition {
    /// Reads the name AWS uses.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Start, Self::Complete, Self::Success, Self::Healthy].into_iter().find(|one| one.as_str() == text)
    }

    /// The name AWS uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Complete => "COMPLETE",
            Self::Success => "SUCCESS",
            Self::Healthy => "HEALTHY",
        }
    }
}

/// A container another one waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub container: String,
    /// What it must have reached.
    pub condition: Condition,
}

/// A command that tells whether a container works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `CMD` and a command line, or `CMD-SHELL` and a line for the shell.
    pub command: Vec<String>,
    /// Seconds between two runs.
    pub interval_s: u32,
    /// Seconds after which a run counts as failed.
    pub timeout_s: u32,
    /// Failed runs in a row until the container is unhealthy.
    pub retries: u32,
    /// Seconds after the start in which failures do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period_s: Option<u32>,
}

/// Whether a container is started again in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// It is.
    pub enabled: bool,
    /// But not after these exit codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_exit_codes: Option<Vec<i32>>,
    /// Nor when it ran for fewer seconds than this.
    pub attempt_period_s: u32,
}

/// Whose processes a container sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PidMode {
    /// Its own.
    #[default]
    Private,
    /// Those of all containers of the task.
    Task,
    /// Those of the host.
    Host,
}

/// Whose shared memory, semaphores and message queues a container sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpcMode {
    /// Its own.
    #[default]
    Private,
    /// Those of all containers of the task.
    Task,
    /// Those of the host.
    Host,
    /// Its own, without `/dev/shm`.
    None,
}

/// Where the output of a container goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIntent {
    /// e.g. `json-file`.
    pub driver: String,
    /// As given.
    pub options: BTreeMap<String, String>,
}

impl Default for LogIntent {
    fn default() -> Self {
        Self { driver: "json-file".to_owned(), options: BTreeMap::new() }
    }
}

/// A volume of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenVolume")]
pub struct VolumeIntent {
    /// Its name in the task.
    pub name: String,
    /// What is behind it.
    pub source: VolumeSource,
}

impl VolumeIntent {
    /// An empty folder that lives as long as the task.
    pub fn empty(name: &str) -> Self {
        Self { name: name.to_owned(), source: VolumeSource::Empty }
    }
}

/// What is behind a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeSource {
    /// A folder that lives as long as the task.
    #[default]
    Empty,
    /// A path of the host.
    Host(String),
    /// A volume of the host that outlives the task.
    Shared {
        /// Its name on the host.
        name: String,
        /// It is made when it does not exist.
        autoprovision: bool,
        /// Kept with the volume.
        labels: BTreeMap<String, String>,
    },
}

/// How volumes were written in older journals, and how they are written now.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenVolume {
    Name(String),
    Whole { name: String, source: VolumeSource },
}

impl From<WrittenVolume> for VolumeIntent {
    fn from(written: WrittenVolume) -> Self {
        match written {
            WrittenVolume::Name(name) => Self { name, source: VolumeSource::Empty },
            WrittenVolume::Whole { name, source } => Self { name, source },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn volumes_of_older_journals_can_be_read() {
        let read: Vec<VolumeIntent> = serde_json::from_str(r#"["scratch"]"#).unwrap();
        assert_eq!(read, [VolumeIntent::empty("scratch")]);
        let host = VolumeIntent { name: "h".to_owned(), source: VolumeSource::Host("/srv".to_owned()) };
        let text = serde_json::to_string(&host).unwrap();
        assert_eq!(serde_json::from_str::<VolumeIntent>(&text).unwrap(), host);
    }

    #[test]
    fn conditions_have_the_names_of_aws() {
        assert_eq!(Condition::parse("HEALTHY"), Some(Condition::Healthy));
        assert_eq!(Condition::parse("healthy"), None);
    }
}
