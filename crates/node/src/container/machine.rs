// SPDX-License-Identifier: Apache-2.0
//! The facilities of this machine for containers, read each time a container is made. Decides nothing.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use oci_spec::runtime::Capability;

use crate::Fault;
use crate::cgroups::Cgroups;

/// Number of CAP_SYS_RESOURCE, without which no hard limit can be raised.
const SYS_RESOURCE: u32 = 24;

/// Devices of the host that no container gets: they belong to the host's own terminals and shared memory.
const KEPT_BACK: [&str; 7] = ["pts", "shm", "fd", "mqueue", "console", "hugepages", ".lxc"];

/// The capabilities in the order of their numbers in the kernel.
pub(crate) const CAPABILITIES: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// The facilities of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Numbers of the capabilities there are, as bits.
    pub capabilities: u64,
    /// Most open files a process can be given; `None` when this can be raised.
    pub open_files_max: Option<u64>,
    /// Swap is counted and can be limited.
    pub has_swap_limit: bool,
    /// Cgroups are of version 2: a container sees its own as the root of all.
    pub has_unified_cgroups: bool,
    /// AppArmor knows the profile of Docker's containers.
    pub has_docker_profile: bool,
}

/// Name of the profile Docker gives its containers.
pub(crate) const DOCKER_PROFILE: &str = "docker-default";

/// True if AppArmor is on and knows a profile.
pub(crate) fn has_profile(name: &str) -> bool {
    let is_on = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y");
    let known = || fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
    is_on && known().lines().any(|line| line.split(' ').next() == Some(name))
}

impl Machine {
    /// Looks.
    pub fn look(cgroups: &Cgroups) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let capabilities = bounding_set(&status);
        let open_files_max = match capabilities & (1 << SYS_RESOURCE) {
            0 => getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard),
            _ => None,
        };
        Self {
            capabilities,
            open_files_max,
            has_swap_limit: cgroups.has_swap_limit(),
            has_unified_cgroups: matches!(cgroups, Cgroups::V2(_)),
            has_docker_profile: has_profile(DOCKER_PROFILE),
        }
    }

    /// True if a container can be given this.
    pub fn has(&self, capability: Capability) -> bool {
        let number = CAPABILITIES.iter().position(|known| *known == capability);
        number.is_some_and(|number| self.capabilities & (1 << number) != 0)
    }
}

/// True if this program may have the kernel kill others first when memory is short.
pub(crate) fn can_be_spared() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    nix::unistd::geteuid().is_root() && bounding_set(&status) & (1 << SYS_RESOURCE) != 0
}

fn bounding_set(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX)
}

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostDevice {
    /// Its path in the container.
    pub path: PathBuf,
    /// A block device; else a character device.
    pub is_block: bool,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// `r`, `w` and `m`.
    pub access: String,
}

/// The device at a path of the host, or all devices in the folder there.
pub(crate) fn devices(host: &Path, container: &Path, access: &str) -> Result<Vec<HostDevice>, Fault> {
    let found = fs::metadata(host).map_err(Fault::file("find the device", host))?;
    if found.is_dir() {
        let mut devices = Vec::new();
        below(host, container, access, &mut devices);
        return Ok(devices);
    }
    read(host, container, access)
        .map(|device| vec![device])
        .ok_or_else(|| Fault::Content { path: host.to_owned(), problem: "is not a device".to_owned() })
}

/// All devices of the host, for a privileged container.
pub(crate) fn all_devices() -> Vec<HostDevice> {
    let mut devices = Vec::new();
    below(Path::new("/dev"), Path::new("/dev"), "rwm", &mut devices);
    devices
}

fn below(host: &Path, container: &Path, access: &str, devices: &mut Vec<HostDevice>) {
    for entry in fs::read_dir(host).into_iter().flatten().filter_map(Result::ok) {
        let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
        let is_kept_back = host == Path::new("/dev") && KEPT_BACK.iter().any(|kept| name == *kept);
        match kind.is_dir() {
            _ if is_kept_back || kind.is_symlink() => {}
            true => below(&entry.path(), &container.join(&name), access, devices),
            false => devices.extend(read(&entry.path(), &container.join(&name), access)),
        }
    }
}

fn read(host: &Path, container: &Path, access: &str) -> Option<HostDevice> {
    let found = fs::metadata(host).ok()?;
    let kind = found.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    Some(HostDevice {
        path: container.to_owned(),
        is_block: kind.is_block_device(),
        major: i64::try_from(nix::sys::stat::major(found.rdev())).ok()?,
        minor: i64::try_from(nix::sys::stat::minor(found.rdev())).ok()?,
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        access: access.to_owned(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) const MACHINE: Machine = Machine {
        capabilities: u64::MAX,
        open_files_max: None,
        has_swap_limit: true,
        has_unified_cgroups: true,
        has_docker_profile: true,
    };

    #[test]
    fn capabilities_are_read_as_bits() {
        let machine = Machine { capabilities: bounding_set("CapEff:\t0\nCapBnd:\t0000000000000003\n"), ..MACHINE };
        assert!(machine.has(Capability::Chown) && machine.has(Capability::DacOverride));
        assert!(!machine.has(Capability::SysAdmin));
    }

    #[test]
    fn a_device_is_found_and_something_else_is_refused() {
        let null = devices(Path::new("/dev/null"), Path::new("/dev/nothing"), "r").unwrap();
        assert_eq!((null[0].major, null[0].minor, null[0].path.to_str()), (1, 3, Some("/dev/nothing")));
        assert!(devices(Path::new("/etc/passwd"), Path::new("/x"), "r").is_err());
        assert!(all_devices().iter().any(|device| device.path == Path::new("/dev/null")));
    }
}
