// SPDX-License-Identifier: Apache-2.0
//! Checks of this machine: whether it can run tasks, and the cure for each problem.

use std::path::Path;
use std::process::Command;

use crate::cgroups::Cgroups;
use crate::container::{loop_device, machine};
use crate::free_space;

/// Free part of the disk with less of which no task is placed, unless the node's settings say otherwise.
const FREE_PERCENT_MIN: u8 = 10;

/// One thing a node needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The subject of the check.
    pub name: &'static str,
    /// The result; an error text names the problem and its cure.
    pub found: Result<String, String>,
}

/// Looks at everything a node needs of the machine but the network (which the fabric's own doctor looks at).
pub fn doctor(data_dir: &Path) -> Vec<Check> {
    vec![
        Check { name: "root", found: root() },
        Check {
            name: "containerd",
            found: program("containerd", "install the containerd package, version 1.6 or later"),
        },
        Check { name: "OCI runtime", found: oci_runtime() },
        Check { name: "nft", found: program("nft", "install the nftables package; network mode bridge needs it") },
        Check { name: "cgroups", found: cgroups() },
        Check { name: "system calls", found: system_calls() },
        Check { name: "AppArmor", found: Ok(apparmor().to_owned()) },
        Check { name: "out of memory", found: Ok(out_of_memory().to_owned()) },
        Check { name: "overlayfs", found: overlayfs() },
        Check { name: "loop devices", found: loop_devices() },
        Check { name: "free space", found: free_space(data_dir) },
        Check {
            name: "mkfs.ext4",
            found: on_path("mkfs.ext4", "it belongs to the e2fsprogs package; Fargate tasks need it"),
        },
    ]
}

fn oci_runtime() -> Result<String, String> {
    program("crun", "install the crun package, version 1.8 or later").or_else(|missing| {
        let runc = program("runc", "or the runc package").map_err(|cause| format!("{missing}; {cause}"))?;
        Ok(format!("{runc}; crun starts containers with a third of the processor time"))
    })
}

fn loop_devices() -> Result<String, String> {
    match loop_device::free() {
        Ok(number) => Ok(format!("loop{number} is free")),
        Err(fault) => Err(format!("{fault}; Fargate tasks need one each")),
    }
}

/// Looks at the nearest folder that is there: the data folder may not be made yet.
fn free_space(data_dir: &Path) -> Result<String, String> {
    let folder = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    match free_space::free_percent(folder).map_err(|fault| fault.to_string())? {
        free @ 0..FREE_PERCENT_MIN => Err(format!(
            "{free} % of the disk of {} is free; no task is placed with less than {FREE_PERCENT_MIN} % (see \
             --free-space-min of `berth node`): remove files, or name another folder with --data",
            data_dir.display()
        )),
        free => Ok(format!("{free} % of the disk of {}", data_dir.display())),
    }
}

fn root() -> Result<String, String> {
    match nix::unistd::geteuid().is_root() {
        true => Ok("the node may run as root".to_owned()),
        false => Err("not root: start Berth with sudo, or as a system service".to_owned()),
    }
}

fn program(name: &str, cure: &str) -> Result<String, String> {
    match Command::new(name).arg("--version").output() {
        Ok(said) if said.status.success() => {
            let said = String::from_utf8_lossy(&said.stdout);
            Ok(said.lines().next().unwrap_or_default().to_owned())
        }
        Ok(said) => Err(format!("{name} --version ended with {}; {cure}", said.status)),
        Err(cause) => Err(format!("{name} does not run ({cause}); {cure}")),
    }
}

fn on_path(name: &str, cure: &str) -> Result<String, String> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&dirs).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.map(|path| path.display().to_string()).ok_or_else(|| format!("{name} is not in PATH; {cure}"))
}

fn cgroups() -> Result<String, String> {
    let cgroups = Cgroups::detect().map_err(|fault| fault.to_string())?;
    let dir = cgroups.dir("memory", &format!("/berth-doctor-{}", std::process::id()));
    std::fs::create_dir(&dir)
        .map_err(|cause| format!("cannot make {}: {cause}; run as root on the host", dir.display()))?;
    std::fs::remove_dir(&dir).map_err(|cause| format!("cannot remove {}: {cause}", dir.display()))?;
    Ok(match cgroups {
        Cgroups::V1(_) => "version 1".to_owned(),
        Cgroups::V2(_) => "version 2".to_owned(),
    })
}

/// Filters of system calls are in the kernel and in the runtime. What containers are refused shows in the kernel's log.
fn system_calls() -> Result<String, String> {
    let read = |file: &str| std::fs::read_to_string(Path::new("/proc/sys/kernel/seccomp").join(file));
    if read("actions_avail").is_err() {
        return Err("the kernel has no filters of system calls; use a kernel with CONFIG_SECCOMP_FILTER".to_owned());
    }
    let built = [("crun", "+SECCOMP"), ("runc", "libseccomp")].into_iter().find_map(|(runtime, word)| {
        let said = Command::new(runtime).arg("--version").output().ok()?;
        Some((runtime, String::from_utf8_lossy(&said.stdout).contains(word)))
    });
    match built {
        Some((runtime, false)) => {
            Err(format!("{runtime} is built without seccomp, so no container can be made; install the distribution's"))
        }
        Some((_, true)) | None => Ok(match read("actions_logged").is_ok_and(|logged| logged.contains("errno")) {
            true => "filtered; --log-refused-calls shows in dmesg (type=1326) what containers are refused".to_owned(),
            false => "filtered; what containers are refused cannot be logged: sysctl -w \
                      kernel.seccomp.actions_logged='kill_process kill_thread trap errno'"
                .to_owned(),
        }),
    }
}

fn apparmor() -> &'static str {
    match (Path::new("/sys/module/apparmor").exists(), machine::has_profile(machine::DOCKER_PROFILE)) {
        (_, true) => "containers have the profile docker-default",
        (true, false) => "no profile docker-default is loaded (Docker loads it when it starts): containers have none",
        (false, false) => "not in this kernel",
    }
}

fn out_of_memory() -> &'static str {
    match machine::can_be_spared() {
        true => "Berth's own processes are spared",
        false => "Berth's own processes are killed like any other: the capability SYS_RESOURCE is missing",
    }
}

fn overlayfs() -> Result<String, String> {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let is_known = known.lines().any(|line| line.split_whitespace().last() == Some("overlay"));
    if is_known || Path::new("/sys/module/overlay").exists() {
        return Ok("known to the kernel".to_owned());
    }
    Err("the kernel does not know overlayfs; run `modprobe overlay`, or use a kernel with CONFIG_OVERLAY_FS".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_its_cure() {
        let found = program("berth-no-such-program", "install it");
        assert!(found.is_err_and(|text| text.contains("install it")));
        assert!(on_path("sh", "install it").is_ok());
    }
}
