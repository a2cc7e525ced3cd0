// SPDX-License-Identifier: Apache-2.0
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
/// Controllers a task's limits, measurements and devices need.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "memory", "blkio", "pids", "devices"];

/// Hard limits of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// CPU time in each period.
    pub quota_us: Option<u64>,
    /// Weight against other tasks.
    pub shares: u64,
    /// Memory of all containers together.
    pub memory_bytes: Option<u64>,
    /// Processes and threads of all containers together.
    pub pids: Option<u32>,
}

/// The limits a task's size means, and how many processes any task may have.
pub(crate) fn limits(task: &TaskIntent, pids: Option<u32>) -> Limits {
    let of_containers: u32 = task.containers.iter().map(|container| container.cpu_units.max(2)).sum();
    Limits {
        quota_us: task.cpu_units.map(|units| (u64::from(units) * PERIOD_US / 1024).max(1000)),
        shares: u64::from(task.cpu_units.unwrap_or(of_containers).max(2)),
        memory_bytes: task.memory_mib.map(|mib| u64::from(mib) << 20),
        pids,
    }
}

/// Name of the cgroup of all tasks of an instance.
pub(crate) fn instance_cgroup(instance: &str) -> String {
    format!("/berth/{instance}")
}

/// Name of the cgroup of an instance's own containerd.
pub(crate) fn containerd_cgroup(instance: &str) -> String {
    format!("{}/containerd", instance_cgroup(instance))
}

/// Name of the cgroup of the shims.
pub(crate) fn shims_cgroup(instance: &str) -> String {
    format!("{}/shims", instance_cgroup(instance))
}

/// Name of the cgroup of the process that answers at the regional endpoints.
pub(crate) fn edge_cgroup(instance: &str) -> String {
    format!("{}/edge", instance_cgroup(instance))
}

/// Name of a task's cgroup.
pub(crate) fn task_cgroup(instance: &str, task: &str) -> String {
    format!("{}/{task}", instance_cgroup(instance))
}

/// Name of the cgroup of pause programs inside a task's, or inside the instance's for those no task has yet.
pub(crate) fn pause_cgroup(parent: &str) -> String {
    format!("{parent}/pause")
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
                    crate::folders::open_folder(&dir)?;
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
                write(&dir, "memory.max", &memory)?;
                write(&dir, "pids.max", &limit(limits.pids))
            }
        }
    }

    /// Makes the cgroup of pause programs inside another one. No device can be used or made in it.
    pub fn make_pause(&self, parent: &str) -> Result<(), Fault> {
        let cgroup = pause_cgroup(parent);
        let dirs = self.controlled(&cgroup);
        if let Self::V2(mount) = self {
            make_v2(mount, parent)?;
        }
        for dir in &dirs {
            crate::folders::open_folder(dir)?;
        }
        match self {
            Self::V1(_) => write(&self.found("devices", &cgroup)?, "devices.deny", "a"),
            Self::V2(mount) => {
                let dir = below(mount, &cgroup);
                berth_fabric::kernel::deny_devices(&dir).map_err(Fault::file("deny devices in", &dir))
            }
        }
    }

    /// Puts a process into a cgroup.
    pub fn admit(&self, pid: u32, cgroup: &str) -> Result<(), Fault> {
        self.controlled(cgroup).iter().try_for_each(|dir| write(dir, "cgroup.procs", &pid.to_string()))
    }

    /// Moves what runs in one cgroup to another one. Nothing is there to be moved from a cgroup that does not exist.
    pub fn move_all(&self, from: &str, to: &str) -> Result<(), Fault> {
        self.processes(from).into_iter().try_for_each(|pid| match self.admit(pid, to) {
            // It has ended.
            Err(_) if !self.processes(from).contains(&pid) => Ok(()),
            moved => moved,
        })
    }

    /// The processes of this very cgroup.
    pub fn processes(&self, cgroup: &str) -> BTreeSet<u32> {
        let list = fs::read_to_string(self.dir("devices", cgroup).join("cgroup.procs")).unwrap_or_default();
        list.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Folders of a cgroup in the hierarchies of [`CONTROLLERS`], each once.
    fn controlled(&self, cgroup: &str) -> Vec<PathBuf> {
        match self {
            Self::V1(mounts) => {
                let mounts: BTreeSet<&PathBuf> = mounts.iter().map(|(_, mount)| mount).collect();
                mounts.into_iter().map(|mount| below(mount, cgroup)).collect()
            }
            Self::V2(mount) => vec![below(mount, cgroup)],
        }
    }

    /// Folder of a cgroup in the hierarchy of a controller that must be there.
    fn found(&self, controller: &str, cgroup: &str) -> Result<PathBuf, Fault> {
        Some(self.dir(controller, cgroup)).filter(|dir| dir.is_absolute()).ok_or_else(|| {
            let cure = format!("mount -t cgroup -o {controller} {controller} /sys/fs/cgroup/{controller}");
            Fault::Setting(format!("no cgroups with the {controller} controller are mounted: {cure}"))
        })
    }

    fn write_v1(&self, cgroup: &str, limits: Limits) -> Result<(), Fault> {
        let cpu = self.dir("cpu", cgroup);
        write(&cpu, "cpu.shares", &limits.shares.to_string())?;
        let quota = limits.quota_us.map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
        write(&cpu, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
        write(&cpu, "cpu.cfs_quota_us", &quota)?;
        let memory = limits.memory_bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
        write(&self.dir("memory", cgroup), "memory.limit_in_bytes", &memory)?;
        match limits.pids {
            // Without a limit the controller need not be there.
            None if !self.dir("pids", cgroup).is_absolute() => Ok(()),
            pids => write(&self.found("pids", cgroup)?, "pids.max", &limit(pids)),
        }
    }

    /// Removes a cgroup and those below it, with what runs in them still: the runtime may have been killed before it could
    /// note a program it had made. None there is as good.
    pub fn remove(&self, cgroup: &str) -> Result<(), Fault> {
        self.dirs(cgroup).iter().map(|dir| remove_tree(dir)).fold(Ok(()), Result::and)
    }

    /// Makes a cgroup that only says which processes belong together: without limits, in one hierarchy. Answers its
    /// folder.
    pub fn make_mark(&self, cgroup: &str) -> Result<PathBuf, Fault> {
        let dir = self.mark_dir(cgroup);
        fs::create_dir_all(&dir).map_err(Fault::file("create", &dir))?;
        Ok(dir)
    }

    /// Folder of such a cgroup. Of version 1, the hierarchy that changes least for its processes.
    pub fn mark_dir(&self, cgroup: &str) -> PathBuf {
        let has = |name: &&str| matches!(self, Self::V1(mounts) if mounts.iter().any(|(held, _)| held == name));
        self.dir(["pids", "cpuacct"].into_iter().find(has).unwrap_or("memory"), cgroup)
    }

    /// Kills what runs in a cgroup and below it, and waits for its end. The cgroup stays.
    pub fn end_programs(&self, cgroup: &str) -> Result<(), Fault> {
        self.dirs(cgroup).iter().try_for_each(|dir| end_tree(dir))
    }

    /// Processes in a cgroup and below it.
    pub fn programs(&self, cgroup: &str) -> Vec<i32> {
        let mut programs: Vec<i32> = self.dirs(cgroup).iter().flat_map(|dir| members_of_tree(dir)).collect();
        programs.sort_unstable();
        programs.dedup();
        programs
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

    /// Number of processes of this cgroup itself that the kernel killed because of its memory limit.
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
        crate::folders::open_folder(&dir)?;
    }
    // The containers are below the task's cgroup.
    write(&dir, "cgroup.subtree_control", "+cpu +memory +pids +io")
}

fn limit(count: Option<u32>) -> String {
    count.map_or_else(|| "max".to_owned(), |count| count.to_string())
}

fn write(dir: &Path, file: &str, text: &str) -> Result<(), Fault> {
    let path = dir.join(file);
    fs::write(&path, text).map_err(Fault::file("write", &path))
}

fn remove_tree(dir: &Path) -> Result<(), Fault> {
    dirs_in(dir).iter().try_for_each(|path| remove_tree(path))?;
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

/// Kills the processes of a cgroup and waits for their end. One that was starting others is killed before its last
/// child is: the list is read again until it is empty.
fn end_programs(dir: &Path) -> io::Result<()> {
    loop {
        let killed = members(dir)?;
        if killed.is_empty() {
            return Ok(());
        }
        for process in &killed {
            tracing::warn!(pid = process.pid, cgroup = %dir.display(), "a program is killed with its cgroup");
            process.kill()?;
        }
        for process in killed {
            if !process.has_ended(ProcessHandle::KILL_LIMIT_MS)? {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {} does not end", process.pid)));
            }
        }
    }
}

/// The processes of a cgroup. A cgroup that is not there has none.
pub(crate) fn members(dir: &Path) -> io::Result<Vec<ProcessHandle>> {
    let opened: Vec<ProcessHandle> = listed(dir)?.into_iter().filter_map(ProcessHandle::of).collect();
    // The id of one that ended before it was opened may be another process's.
    let here = listed(dir)?;
    Ok(opened.into_iter().filter(|process| here.contains(&process.pid)).collect())
}

/// Moves a process into a cgroup.
pub(crate) fn join(dir: &Path, process: &ProcessHandle) -> Result<(), Fault> {
    write(dir, "cgroup.procs", &process.pid.to_string())
}

fn listed(dir: &Path) -> io::Result<Vec<i32>> {
    match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        // A cgroup that is removed between opening and reading its list has none either.
        Err(cause)
            if cause.kind() == io::ErrorKind::NotFound
                || cause.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32) =>
        {
            Ok(Vec::new())
        }
        Err(cause) => Err(cause),
    }
}

fn end_tree(dir: &Path) -> Result<(), Fault> {
    // Of version 1: a frozen process does not end. Other hierarchies have no such file.
    let frozen = dir.join("freezer.state");
    if frozen.exists() {
        fs::write(&frozen, "THAWED").map_err(Fault::file("write", &frozen))?;
    }
    end_programs(dir).map_err(Fault::file("end what runs in", dir))?;
    dirs_in(dir).iter().try_for_each(|below| end_tree(below))
}

fn members_of_tree(dir: &Path) -> Vec<i32> {
    let below = dirs_in(dir);
    listed(dir).unwrap_or_default().into_iter().chain(below.iter().flat_map(|dir| members_of_tree(dir))).collect()
}

fn dirs_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).collect()
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
        let expected = Limits { quota_us: Some(25_000), shares: 256, memory_bytes: Some(512 << 20), pids: Some(9) };
        assert_eq!(limits(&task, Some(9)), expected);
        let free = TaskIntent { cpu_units: None, memory_mib: None, ..task };
        assert_eq!(limits(&free, None), Limits { quota_us: None, shares: 2, memory_bytes: None, pids: None });
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
