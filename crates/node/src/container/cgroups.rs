//! cgroups, version 1 and 2: a parent for each task with the task's hard limits; the runtime makes the containers' below it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use berth_shim::ProcessHandle;
use berth_types::intent::TaskIntent;

use crate::Fault;

/// Length of the period in which a task may use its CPU time.
const PERIOD_US: u64 = 100_000;
/// Controllers a task's limits and measurements need.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "blkio", "pids"];

/// Hard limits of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// CPU time in each period.
    pub quota_us: Option<u64>,
    /// Weight against other tasks.
    pub shares: u64,
    /// Memory of all containers together.
    pub memory_bytes: Option<u64>,
}

/// The limits a task's size means.
pub(crate) fn limits(task: &TaskIntent) -> Limits {
    let of_containers: u32 = task.containers.iter().map(|container| container.cpu_units.max(2)).sum();
    Limits {
        quota_us: task.cpu_units.map(|units| (u64::from(units) * PERIOD_US / 1024).max(1000)),
        shares: u64::from(task.cpu_units.unwrap_or(of_containers).max(2)),
        memory_bytes: task.memory_mib.map(|mib| u64::from(mib) << 20),
    }
}

/// Name of the cgroup of all tasks of an instance.
pub(crate) fn instance_cgroup(instance: &str) -> String {
    format!("/berth/{instance}")
}

/// Name of a task's cgroup.
pub(crate) fn task_cgroup(instance: &str, task: &str) -> String {
    format!("{}/{task}", instance_cgroup(instance))
}

/// Where the cgroups of this machine are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// One hierarchy for each controller: their mount points by controller.
    V1(Vec<(&'static str, PathBuf)>),
    /// One hierarchy for all.
    V2(PathBuf),
}

impl Cgroups {
    /// Looks where they are mounted.
    pub fn detect() -> Result<Self, Fault> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(path).map_err(Fault::file("read", path))?;
        Self::find(&text).ok_or_else(|| {
            Fault::Setting(
                "no cgroups with the cpu and memory controllers are mounted; mount cgroup2 at /sys/fs/cgroup"
                    .to_owned(),
            )
        })
    }

    fn find(mountinfo: &str) -> Option<Self> {
        let mut v1 = Vec::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mount = left.split(' ').nth(4).map(PathBuf::from)?;
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) => v2 = v2.or(Some(mount)),
                (Some("cgroup"), Some(options)) => {
                    let held = CONTROLLERS.into_iter().filter(|name| options.split(',').any(|option| option == *name));
                    v1.extend(held.map(|name| (name, mount.clone())));
                }
                _ => {}
            }
        }
        let has = |name: &str| v1.iter().any(|(held, _)| *held == name);
        if has("cpu") && has("memory") { Some(Self::V1(v1)) } else { v2.map(Self::V2) }
    }

    /// Makes a task's cgroup with its limits, or sets the limits of the one that is there.
    pub fn make(&self, cgroup: &str, limits: Limits) -> Result<(), Fault> {
        match self {
            Self::V1(_) => {
                for dir in self.dirs(cgroup) {
                    fs::create_dir_all(&dir).map_err(Fault::file("create", &dir))?;
                }
                self.write_v1(cgroup, limits)
            }
            Self::V2(mount) => {
                make_v2(mount, cgroup)?;
                let dir = below(mount, cgroup);
                let quota = limits.quota_us.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
                write(&dir, "cpu.max", &format!("{quota} {PERIOD_US}"))?;
                // The mapping of shares (2 to 262144) to weight (1 to 10000) that runc and crun use.
                let weight = 1 + ((limits.shares.clamp(2, 262_144) - 2) * 9999) / 262_142;
                write(&dir, "cpu.weight", &weight.to_string())?;
                let memory = limits.memory_bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
                write(&dir, "memory.max", &memory)
            }
        }
    }

    fn write_v1(&self, cgroup: &str, limits: Limits) -> Result<(), Fault> {
        let cpu = self.dir("cpu", cgroup);
        write(&cpu, "cpu.shares", &limits.shares.to_string())?;
        let quota = limits.quota_us.map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
        write(&cpu, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
        write(&cpu, "cpu.cfs_quota_us", &quota)?;
        let memory = limits.memory_bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
        write(&self.dir("memory", cgroup), "memory.limit_in_bytes", &memory)
    }

    /// Removes a cgroup and those below it, with what runs in them still: the runtime may have been killed before it could
    /// note a program it had made. None there is as good.
    pub fn remove(&self, cgroup: &str) -> Result<(), Fault> {
        self.dirs(cgroup).iter().map(|dir| remove_tree(dir)).fold(Ok(()), Result::and)
    }

    /// Names of the cgroups directly below one, in any hierarchy.
    pub fn below(&self, cgroup: &str) -> BTreeSet<String> {
        let dirs = self.dirs(cgroup);
        let children = dirs.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok));
        let dirs = children.filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.map(|child| child.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Removes every cgroup of an instance, and `/berth` with the last instance.
    pub fn remove_instance(&self, instance: &str) -> Result<(), Fault> {
        self.remove(&instance_cgroup(instance))?;
        for dir in self.dirs("/berth") {
            match fs::remove_dir(&dir) {
                // Another instance has its own in there.
                Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy) => {}
                other => other.map_err(Fault::file("remove", &dir))?,
            }
        }
        Ok(())
    }

    /// Processes the kernel killed in this very cgroup for want of memory.
    pub fn out_of_memory_kills(&self, cgroup: &str) -> u64 {
        let file = match self {
            Self::V1(_) => self.dir("memory", cgroup).join("memory.oom_control"),
            Self::V2(mount) => below(mount, cgroup).join("memory.events"),
        };
        fs::read_to_string(file).ok().and_then(|text| keyed(&text, "oom_kill")).unwrap_or(0)
    }

    /// True if swap can be limited.
    pub fn has_swap_limit(&self) -> bool {
        match self {
            Self::V1(mounts) => mounts
                .iter()
                .any(|(name, mount)| *name == "memory" && mount.join("memory.memsw.limit_in_bytes").exists()),
            Self::V2(_) => true,
        }
    }

    /// Folder of a cgroup in the hierarchy of a controller.
    pub fn dir(&self, controller: &str, cgroup: &str) -> PathBuf {
        match self {
            Self::V2(mount) => below(mount, cgroup),
            Self::V1(mounts) => match mounts.iter().find(|(name, _)| *name == controller) {
                Some((_, mount)) => below(mount, cgroup),
                None => PathBuf::new(),
            },
        }
    }

    fn dirs(&self, cgroup: &str) -> Vec<PathBuf> {
        let mut dirs = match self {
            Self::V2(mount) => vec![below(mount, cgroup)],
            // The runtime makes a cgroup in every hierarchy, also in those we do not use; runc in a version 2 one, too.
            Self::V1(mounts) => {
                let parents = mounts.iter().filter_map(|(_, mount)| mount.parent()).flat_map(sub_dirs);
                parents.map(|mount| below(&mount, cgroup)).collect()
            }
        };
        dirs.sort();
        dirs.dedup();
        dirs
    }
}

fn sub_dirs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.join("cgroup.procs").exists()).collect()
}

fn below(mount: &Path, cgroup: &str) -> PathBuf {
    mount.join(cgroup.trim_start_matches('/'))
}

/// Makes a version 2 cgroup whose parents hand the controllers down.
fn make_v2(mount: &Path, cgroup: &str) -> Result<(), Fault> {
    let mut dir = mount.to_owned();
    for part in cgroup.split('/').filter(|part| !part.is_empty()) {
        write(&dir, "cgroup.subtree_control", "+cpu +memory +pids +io")?;
        dir.push(part);
        fs::create_dir_all(&dir).map_err(Fault::file("create", &dir))?;
    }
    // The containers are below the task's cgroup.
    write(&dir, "cgroup.subtree_control", "+cpu +memory +pids +io")
}

fn write(dir: &Path, file: &str, text: &str) -> Result<(), Fault> {
    let path = dir.join(file);
    fs::write(&path, text).map_err(Fault::file("write", &path))
}

fn remove_tree(dir: &Path) -> Result<(), Fault> {
    let below = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let below: Vec<PathBuf> = below.filter(|path| path.is_dir()).collect();
    below.iter().try_for_each(|path| remove_tree(path))?;
    let removed = match fs::remove_dir(dir) {
        Err(cause) if cause.kind() == io::ErrorKind::ResourceBusy => {
            end_programs(dir).map_err(Fault::file("end what runs in", dir))?;
            fs::remove_dir(dir)
        }
        other => other,
    };
    match removed {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Fault::file("remove", dir)),
    }
}

/// Kills the processes of a cgroup and waits for their end.
fn end_programs(dir: &Path) -> io::Result<()> {
    let list = || {
        let text = fs::read_to_string(dir.join("cgroup.procs"))?;
        io::Result::Ok(text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>())
    };
    let opened: Vec<ProcessHandle> = list()?.into_iter().filter_map(ProcessHandle::of).collect();
    // The id of one that ended before it was opened may be somebody else's by now.
    let here = list()?;
    for process in opened.iter().filter(|process| here.contains(&process.pid)) {
        tracing::warn!(pid = process.pid, cgroup = %dir.display(), "a program nobody knows is killed");
        process.kill()?;
        if !process.has_ended(ProcessHandle::KILL_LIMIT_MS)? {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {} does not end", process.pid)));
        }
    }
    Ok(())
}

/// The value after `key` in lines `key value`.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_quarter_of_a_core_is_a_quarter_of_each_period() {
        let task = crate::container::spec::tests::task();
        let expected = Limits { quota_us: Some(25_000), shares: 256, memory_bytes: Some(512 << 20) };
        assert_eq!(limits(&task), expected);
        let free = TaskIntent { cpu_units: None, memory_mib: None, ..task };
        assert_eq!(limits(&free), Limits { quota_us: None, shares: 2, memory_bytes: None });
    }

    #[test]
    fn both_versions_are_found() {
        let v2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        assert_eq!(Cgroups::find(v2), Some(Cgroups::V2("/sys/fs/cgroup".into())));
        let v1 = "30 23 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                  31 23 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                  29 23 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";
        let Some(Cgroups::V1(mounts)) = Cgroups::find(v1) else { panic!("version 1") };
        let names: Vec<&str> = mounts.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["cpu", "cpuacct", "memory"]);
        assert_eq!(Cgroups::find(""), None);
    }

    #[test]
    fn a_key_is_not_the_start_of_another() {
        assert_eq!(keyed("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), Some(3));
    }
}
