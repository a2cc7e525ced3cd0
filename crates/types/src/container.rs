// SPDX-License-Identifier: Apache-2.0
//! Settings of a container other than its image and command, shared by the record of a task definition and the intent
//! of a task. A member that was not given is absent; the code that uses it applies the default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// True for a value that a reader assumes when the member is absent.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A resource limit of a container's processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// e.g. `nofile`.
    pub name: String,
    /// The effective limit; a process may raise it up to `hard`.
    pub soft: i32,
    /// The upper bound; -1 means no limit.
    pub hard: i32,
}

/// Linux settings of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxParameters {
    /// Present if the definition names any capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Devices of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<Device>>,
    /// An init process forwards signals and reaps children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_process_enabled: Option<bool>,
    /// Swap in addition to the memory limit, MiB.
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

/// Changes to Docker's default set of capabilities, without `CAP_`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Added; `ALL` stands for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<Vec<String>>,
    /// Removed; `ALL` stands for all.
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
    /// The mount point.
    pub container_path: String,
    /// Its size, MiB.
    pub size_mib: u32,
    /// Mount options as in mount(8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_options: Option<Vec<String>>,
}

/// Options of a memory file system that are single words.
const TMPFS_WORDS: [&str; 22] = [
    "defaults",
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "sync",
    "async",
    "dirsync",
    "mand",
    "nomand",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
];

impl Tmpfs {
    /// Returns the first option that does not apply to a memory file system. `remount`, `bind` and the propagation
    /// options would change mounts made by the runtime.
    pub fn unfit_option(&self) -> Option<&str> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_fit = |option: &str| match option.split_once('=') {
            None => TMPFS_WORDS.contains(&option),
            Some(("mode", value)) => digits(value) && u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777),
            Some(("uid" | "gid", value)) => value.parse::<u32>().is_ok() && digits(value),
            Some(("nr_inodes" | "nr_blocks", value)) => {
                digits(value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(value))
            }
            Some(_) => false,
        };
        self.mount_options.iter().flatten().map(String::as_str).find(|option| !is_fit(option))
    }

    /// True if the mount would cover a path that the runtime mounts in every container to hide it from the host. Paths
    /// are compared as written, after `.` and `..` are resolved.
    pub fn covers_system(&self) -> bool {
        let mut parts: Vec<&str> = Vec::new();
        for part in self.container_path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        match parts.as_slice() {
            [] => true,
            ["dev", "shm", ..] => false,
            [first, ..] => ["proc", "sys", "dev"].contains(first),
        }
    }
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

/// The state of a container that satisfies a dependency on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Condition {
    /// It has started.
    Start,
    /// It has ended.
    Complete,
    /// It has ended with exit code 0.
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

/// A dependency on another container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub container: String,
    /// The state the other container must reach.
    pub condition: Condition,
}

/// A command that tests whether a container works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `CMD` and a command line, `CMD-SHELL` and a line for the shell, `NONE`, or any other words.
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

impl HealthCheck {
    /// True if the definition disables the check.
    pub fn is_none(&self) -> bool {
        self.command.first().is_some_and(|word| word == "NONE")
    }
}

/// Whether an exited container is started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// It is.
    pub enabled: bool,
    /// Exit codes after which it is not restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_exit_codes: Option<Vec<i32>>,
    /// Minimum run time in seconds before a restart.
    pub attempt_period_s: u32,
}

/// The pid namespace of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PidMode {
    /// Its own.
    #[default]
    Private,
    /// Shared by all containers of the task.
    Task,
    /// That of the host.
    Host,
}

/// The IPC namespace of a container: shared memory, semaphores and message queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpcMode {
    /// Its own.
    #[default]
    Private,
    /// Shared by all containers of the task.
    Task,
    /// That of the host.
    Host,
    /// Its own, without `/dev/shm`.
    None,
}

/// The destination of a container's output.
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
    /// Its backing.
    pub source: VolumeSource,
}

impl VolumeIntent {
    /// An empty folder that lives as long as the task.
    pub fn empty(name: &str) -> Self {
        Self { name: name.to_owned(), source: VolumeSource::Empty }
    }
}

/// The backing of a volume.
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
        /// It is created when it does not exist.
        autoprovision: bool,
        /// Stored with the volume.
        labels: BTreeMap<String, String>,
    },
}

/// The encodings of volumes: that of older journals, and the present one.
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
