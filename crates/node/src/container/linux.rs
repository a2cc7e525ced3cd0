// SPDX-License-Identifier: Apache-2.0
//! The Linux part of a container's specification: capabilities, devices, namespaces, limits, memory file systems. Pure.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use berth_types::container::{Capabilities as Asked, IpcMode, PidMode, Tmpfs};
use berth_types::intent::{ContainerIntent, LaunchType, TaskIntent};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capabilities, Capability, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxDevice, LinuxDeviceBuilder,
    LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemory, LinuxMemoryBuilder, LinuxNamespace,
    LinuxNamespaceBuilder, LinuxNamespaceType, Mount, MountBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType,
    get_default_readonly_paths,
};

use super::machine::{self, HostDevice, Machine};

/// Docker's set.
const CAPABILITIES: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// Open files of a container of a Fargate task that says nothing about it.
const FARGATE_OPEN_FILES: u64 = 65_535;

/// Size of `/dev/shm`, unless said otherwise.
const SHARED_MEMORY_MIB: u32 = 64;

/// The capabilities of a container: Docker's, the added ones, without the dropped ones. A privileged one has all.
pub(super) fn capabilities(container: &ContainerIntent, machine: &Machine) -> Result<LinuxCapabilities, OciSpecError> {
    let given = Asked::default();
    let asked = container.linux.capabilities.as_ref().unwrap_or(&given);
    let names = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let (added, dropped) = (names(&asked.add), names(&asked.drop));
    let has = |list: &[String], word: &str| list.iter().any(|name| name.trim_start_matches("CAP_") == word);
    let wanted = |capability: &Capability| {
        let name = capability.to_string();
        if container.privileged {
            return machine.has(*capability);
        }
        if has(&dropped, &name) {
            return false;
        }
        let is_added = has(&added, &name) || has(&added, "ALL") && machine.has(*capability);
        is_added || CAPABILITIES.contains(capability) && !has(&dropped, "ALL")
    };
    capability_set(machine::CAPABILITIES.into_iter().filter(wanted))
}

/// The same set for everything that can hold capabilities at the start.
pub(super) fn capability_set(set: impl Iterator<Item = Capability>) -> Result<LinuxCapabilities, OciSpecError> {
    let set: Capabilities = set.collect();
    LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set)
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build()
}

/// Resource limits: those asked for, and the open files every Fargate container has. What a machine without the right
/// to raise limits cannot give of the latter is left out; what was asked for is tried and may fail.
pub(super) fn rlimits(
    task: &TaskIntent,
    container: &ContainerIntent,
    machine: &Machine,
) -> Result<Option<Vec<PosixRlimit>>, OciSpecError> {
    let mut limits = Vec::new();
    for ulimit in &container.ulimits {
        let Ok(kind) = format!("RLIMIT_{}", ulimit.name.to_uppercase()).parse::<PosixRlimitType>() else { continue };
        let value = |limit: i32| u64::try_from(limit).unwrap_or(u64::MAX);
        limits.push((kind, value(ulimit.soft), value(ulimit.hard)));
    }
    let is_open = |(kind, ..): &(PosixRlimitType, u64, u64)| *kind == PosixRlimitType::RlimitNofile;
    if task.launch_type == LaunchType::Fargate && !limits.iter().any(is_open) {
        let most = machine.open_files_max.unwrap_or(u64::MAX).min(FARGATE_OPEN_FILES);
        limits.push((PosixRlimitType::RlimitNofile, most, most));
    }
    let build = |(kind, soft, hard): (PosixRlimitType, u64, u64)| {
        PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build()
    };
    let limits: Vec<PosixRlimit> = limits.into_iter().map(build).collect::<Result<_, _>>()?;
    Ok(Some(limits).filter(|limits| !limits.is_empty()))
}

/// Memory limits. Swap beside them needs a limit it can be added to; without `maxSwap` swappiness means nothing.
pub(super) fn memory(
    task: &TaskIntent,
    container: &ContainerIntent,
    machine: &Machine,
) -> Result<LinuxMemory, OciSpecError> {
    let bytes = |mib: u32| i64::from(mib) << 20;
    let mut memory = LinuxMemoryBuilder::default();
    let limit = container.memory_mib;
    if let Some(limit) = limit {
        memory = memory.limit(bytes(limit));
    }
    if let Some(reservation) = container.memory_reservation_mib {
        memory = memory.reservation(bytes(reservation));
    }
    if let (Some(swap), Some(limit)) = (container.linux.max_swap_mib, limit.or(task.memory_mib))
        && machine.has_swap_limit
    {
        memory = memory.limit(bytes(limit)).swap(bytes(limit) + bytes(swap));
        if let Some(swappiness) = container.linux.swappiness {
            memory = memory.swappiness(swappiness);
        }
    }
    memory.build()
}

/// Kernel parameters. A container is in the task's network namespace, so those of the network hold for all of it.
pub(super) fn system_controls(container: &ContainerIntent) -> HashMap<String, String> {
    container.system_controls.iter().map(|control| (control.namespace.clone(), control.value.clone())).collect()
}

/// Which namespaces a container has of its own, and which it enters. `pause` is the process of the pause container.
pub(super) fn namespaces(
    task: &TaskIntent,
    netns: &Path,
    pause: Option<u32>,
    machine: &Machine,
) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let own = |kind| Some((kind, None));
    let of_pause = |kind, file: &str| match pause {
        Some(pause) => Some((kind, Some(PathBuf::from(format!("/proc/{pause}/ns/{file}"))))),
        None => Some((kind, None)),
    };
    let pid = match task.pid_mode {
        PidMode::Private => own(LinuxNamespaceType::Pid),
        PidMode::Task => of_pause(LinuxNamespaceType::Pid, "pid"),
        PidMode::Host => None,
    };
    let ipc = match task.ipc_mode {
        IpcMode::Private | IpcMode::None => own(LinuxNamespaceType::Ipc),
        IpcMode::Task => of_pause(LinuxNamespaceType::Ipc, "ipc"),
        IpcMode::Host => None,
    };
    let network = Some((LinuxNamespaceType::Network, Some(netns.to_owned())));
    let cgroup = own(LinuxNamespaceType::Cgroup).filter(|_| machine.has_unified_cgroups);
    let all = [pid, ipc, own(LinuxNamespaceType::Uts), own(LinuxNamespaceType::Mount), network, cgroup];
    build_namespaces(all.into_iter())
}

/// The namespaces of a pause container: all its own, in the network `netns`.
pub(super) fn own_namespaces(netns: &Path) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    build_namespaces(
        [
            Some((LinuxNamespaceType::Pid, None)),
            Some((LinuxNamespaceType::Ipc, None)),
            Some((LinuxNamespaceType::Uts, None)),
            Some((LinuxNamespaceType::Mount, None)),
            Some((LinuxNamespaceType::Network, Some(netns.to_owned()))),
        ]
        .into_iter(),
    )
}

fn build_namespaces(
    all: impl Iterator<Item = Option<(LinuxNamespaceType, Option<PathBuf>)>>,
) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let build = |(kind, path): (LinuxNamespaceType, Option<PathBuf>)| {
        let namespace = LinuxNamespaceBuilder::default().typ(kind);
        match path {
            Some(path) => namespace.path(path).build(),
            None => namespace.build(),
        }
    };
    all.flatten().map(build).collect()
}

/// Devices a container may use: the harmless ones every Linux program expects, and those it asked for. A privileged
/// one may use all.
pub(super) fn device_rules(privileged: bool, devices: &[HostDevice]) -> Result<Vec<LinuxDeviceCgroup>, OciSpecError> {
    let rule = |allow: bool, kind: LinuxDeviceType, major: Option<i64>, minor: Option<i64>, access: &str| {
        let mut rule = LinuxDeviceCgroupBuilder::default().allow(allow).typ(kind).access(access);
        if let Some(major) = major {
            rule = rule.major(major);
        }
        if let Some(minor) = minor {
            rule = rule.minor(minor);
        }
        rule.build()
    };
    if privileged {
        return Ok(vec![rule(true, LinuxDeviceType::A, None, None, "rwm")?]);
    }
    let mut rules = vec![
        rule(false, LinuxDeviceType::A, None, None, "rwm")?,
        rule(true, LinuxDeviceType::C, None, None, "m")?,
        rule(true, LinuxDeviceType::B, None, None, "m")?,
    ];
    // null, zero, full, random, urandom, tty, console, ptmx, and the terminals of devpts.
    let harmless = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];
    for (major, minor) in harmless {
        rules.push(rule(true, LinuxDeviceType::C, Some(major), Some(minor), "rwm")?);
    }
    rules.push(rule(true, LinuxDeviceType::C, Some(136), None, "rwm")?);
    for device in devices {
        rules.push(rule(true, kind(device), Some(device.major), Some(device.minor), &device.access)?);
    }
    Ok(rules)
}

/// Devices made in a container beside those the runtime makes in every one.
pub(super) fn device_nodes(devices: &[HostDevice]) -> Result<Vec<LinuxDevice>, OciSpecError> {
    let made_by_runtime =
        ["null", "zero", "full", "random", "urandom", "tty", "ptmx"].map(|name| format!("/dev/{name}"));
    let is_made = |device: &&HostDevice| made_by_runtime.iter().any(|made| device.path == Path::new(made));
    let build = |device: &HostDevice| {
        LinuxDeviceBuilder::default()
            .path(device.path.clone())
            .typ(kind(device))
            .major(device.major)
            .minor(device.minor)
            .file_mode(device.mode)
            .uid(device.uid)
            .gid(device.gid)
            .build()
    };
    devices.iter().filter(|device| !is_made(device)).map(build).collect()
}

fn kind(device: &HostDevice) -> LinuxDeviceType {
    if device.is_block { LinuxDeviceType::B } else { LinuxDeviceType::C }
}

pub(super) fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
        .build()
}

/// Where the kernel shows its devices.
const SYS: &str = "/sys";

/// The file systems every container has. Whoever mounts `/sys` first in a network namespace decides for all whether it
/// can be written to: where one container of a task may, none mounts it read-only, and the others get it so afterwards.
pub(super) fn system_mounts(privileged: bool, is_any_privileged: bool) -> Result<Vec<Mount>, OciSpecError> {
    let access = if privileged { "rw" } else { "ro" };
    let sys_access = if is_any_privileged { "rw" } else { "ro" };
    Ok(vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        mount(SYS, "sysfs", "sysfs", &["nosuid", "noexec", "nodev", sys_access])?,
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[access, "nosuid", "noexec", "nodev"])?,
    ])
}

/// Paths that an unprivileged container can only read.
pub(super) fn read_only_paths(task: &TaskIntent) -> Vec<String> {
    let is_any_privileged = task.containers.iter().any(|container| container.privileged);
    get_default_readonly_paths().into_iter().chain(is_any_privileged.then(|| SYS.to_owned())).collect()
}

/// `/dev/shm`: the container's own, that of its task in the folder `task_shm`, the host's, or none.
pub(super) fn shared_memory(
    mode: IpcMode,
    size_mib: Option<u32>,
    task_shm: &Path,
) -> Result<Option<Mount>, OciSpecError> {
    let size = format!("size={}m", size_mib.unwrap_or(SHARED_MEMORY_MIB));
    let bound = |source: &str| mount("/dev/shm", "bind", source, &["rbind", "rprivate", "rw"]);
    match mode {
        IpcMode::Private => {
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]).map(Some)
        }
        IpcMode::Task => bound(&task_shm.display().to_string()).map(Some),
        IpcMode::Host => bound("/dev/shm").map(Some),
        IpcMode::None => Ok(None),
    }
}

/// A memory file system a definition asks for, with Docker's options unless it names others.
pub(super) fn tmpfs(asked: &Tmpfs) -> Result<Mount, OciSpecError> {
    let size = format!("size={}m", asked.size_mib);
    let given: Vec<&str> = asked.mount_options.iter().flatten().map(String::as_str).collect();
    let given = given.into_iter().filter(|option| *option != "defaults");
    let options: Vec<&str> = ["noexec", "nosuid", "nodev"].into_iter().chain(given).chain([size.as_str()]).collect();
    mount(&asked.container_path, "tmpfs", "tmpfs", &options)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::machine::tests::MACHINE;
    use super::super::spec::tests::{container, task};
    use super::*;
    use berth_types::container::{LinuxParameters, Ulimit};

    fn held(add: &[&str], drop: &[&str], privileged: bool) -> Vec<String> {
        let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        let capabilities = Some(Asked { add: words(add), drop: words(drop) });
        let linux = LinuxParameters { capabilities, ..LinuxParameters::default() };
        let container = ContainerIntent { linux, privileged, ..container() };
        let held = capabilities_of(&container);
        held.effective().clone().unwrap().iter().map(ToString::to_string).collect()
    }

    fn capabilities_of(container: &ContainerIntent) -> LinuxCapabilities {
        super::capabilities(container, &MACHINE).unwrap()
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        assert_eq!(held(&[], &[], false).len(), CAPABILITIES.len());
        assert!(held(&["SYS_PTRACE"], &[], false).contains(&"SYS_PTRACE".to_owned()));
        assert!(!held(&[], &["CHOWN"], false).contains(&"CHOWN".to_owned()));
        assert_eq!(held(&["NET_ADMIN"], &["ALL"], false), ["NET_ADMIN"]);
        assert_eq!(held(&["ALL"], &["SYS_ADMIN"], false).len(), machine::CAPABILITIES.len() - 1);
        assert_eq!(held(&[], &["ALL"], true).len(), machine::CAPABILITIES.len(), "privileged means all");
        let poor = Machine { capabilities: 1, ..MACHINE };
        let all = ContainerIntent { privileged: true, ..container() };
        assert_eq!(super::capabilities(&all, &poor).unwrap().effective().clone().unwrap().len(), 1);
    }

    #[test]
    fn fargate_gives_65535_open_files_unless_told_otherwise() {
        let limits = |task: &TaskIntent, ulimits: Vec<Ulimit>, machine: &Machine| {
            let container = ContainerIntent { ulimits, ..container() };
            let limits = rlimits(task, &container, machine).unwrap().unwrap_or_default();
            limits.iter().map(|limit| format!("{} {} {}", limit.typ(), limit.soft(), limit.hard())).collect::<Vec<_>>()
        };
        let asked = || vec![Ulimit { name: "nofile".to_owned(), soft: 10, hard: -1 }];
        assert_eq!(limits(&task(), vec![], &MACHINE), ["RLIMIT_NOFILE 65535 65535"]);
        assert_eq!(limits(&task(), asked(), &MACHINE), ["RLIMIT_NOFILE 10 18446744073709551615"]);
        let bound = Machine { open_files_max: Some(20_000), ..MACHINE };
        assert_eq!(limits(&task(), vec![], &bound), ["RLIMIT_NOFILE 20000 20000"]);
        let ec2 = TaskIntent { launch_type: LaunchType::Ec2, ..task() };
        assert!(limits(&ec2, vec![], &MACHINE).is_empty());
    }

    #[test]
    fn every_limit_and_capability_a_definition_can_name_acts() {
        let ulimits = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack";
        let asked = |name: &str| Ulimit { name: name.to_owned(), soft: 1, hard: 1 };
        let container = ContainerIntent { ulimits: ulimits.split(' ').map(asked).collect(), ..container() };
        assert_eq!(rlimits(&task(), &container, &MACHINE).unwrap().unwrap().len(), 15);
        let names = "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID \
                     IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN \
                     NET_BIND_SERVICE NET_BROADCAST NET_RAW SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT \
                     SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME \
                     SYS_TTY_CONFIG WAKE_ALARM";
        for name in names.split_whitespace() {
            assert_eq!(held(&[name], &["ALL"], false), [name]);
        }
    }

    #[test]
    fn swap_is_counted_on_top_of_the_memory_limit() {
        let linux = LinuxParameters { max_swap_mib: Some(10), swappiness: Some(5), ..LinuxParameters::default() };
        let with = |memory_mib, machine: &Machine| {
            let container = ContainerIntent { memory_mib, linux: linux.clone(), ..container() };
            memory(&task(), &container, machine).unwrap()
        };
        let limited = with(Some(20), &MACHINE);
        assert_eq!((limited.limit(), limited.swap(), limited.swappiness()), (Some(20 << 20), Some(30 << 20), Some(5)));
        assert_eq!(with(None, &MACHINE).swap(), Some(522 << 20), "the task's limit counts");
        let without = Machine { has_swap_limit: false, ..MACHINE };
        assert_eq!((with(Some(20), &without).swap(), with(Some(20), &without).swappiness()), (None, None));
    }

    #[test]
    fn namespaces_follow_the_modes() {
        let names = |pid_mode, ipc_mode| {
            let task = TaskIntent { pid_mode, ipc_mode, ..task() };
            let all = namespaces(&task, Path::new("/n"), Some(7), &MACHINE).unwrap();
            let text = |one: &LinuxNamespace| format!("{} {:?}", one.typ(), one.path());
            all.iter().map(text).filter(|text| text.starts_with("pid") || text.starts_with("ipc")).collect::<Vec<_>>()
        };
        assert_eq!(names(PidMode::Private, IpcMode::None), ["pid None", "ipc None"]);
        let shared = ["pid Some(\"/proc/7/ns/pid\")", "ipc Some(\"/proc/7/ns/ipc\")"];
        assert_eq!(names(PidMode::Task, IpcMode::Task), shared);
        assert!(names(PidMode::Host, IpcMode::Host).is_empty());
        let kinds = |has_unified_cgroups| {
            let machine = Machine { has_unified_cgroups, ..MACHINE };
            let all = namespaces(&task(), Path::new("/n"), None, &machine).unwrap();
            all.iter().any(|one| one.typ() == LinuxNamespaceType::Cgroup)
        };
        assert_eq!((kinds(true), kinds(false)), (true, false), "as Docker's default for each version");
    }

    #[test]
    fn a_memory_file_system_has_dockers_options_and_its_own() {
        let mount_options = Some(vec!["exec".to_owned(), "mode=1770".to_owned()]);
        let asked = Tmpfs { container_path: "/run".to_owned(), size_mib: 8, mount_options };
        let options = tmpfs(&asked).unwrap().options().clone().unwrap().join(",");
        assert_eq!(options, "noexec,nosuid,nodev,exec,mode=1770,size=8m");
    }

    #[test]
    fn devices_have_rules_and_nodes() {
        let fuse = HostDevice {
            path: "/dev/fuse".into(),
            is_block: false,
            major: 10,
            minor: 229,
            mode: 0o666,
            uid: 0,
            gid: 0,
            access: "rw".to_owned(),
        };
        let null = HostDevice { path: "/dev/null".into(), ..fuse.clone() };
        let rules = device_rules(false, std::slice::from_ref(&fuse)).unwrap();
        let last = rules.last().unwrap();
        assert_eq!((last.major(), last.minor(), last.access().as_deref()), (Some(10), Some(229), Some("rw")));
        assert_eq!(device_nodes(&[fuse, null]).unwrap().len(), 1, "the runtime makes /dev/null itself");
        assert_eq!(device_rules(true, &[]).unwrap().len(), 1);
    }
}
