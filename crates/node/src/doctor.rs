//! What this machine lacks for running tasks, each with its cure.

use std::path::Path;
use std::process::Command;

use crate::container::cgroups::Cgroups;

/// One thing a node needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found; an error text names the problem and its cure.
    pub found: Result<String, String>,
}

/// Looks at everything a node needs of the machine but the network (which the fabric's own doctor looks at).
pub fn doctor() -> Vec<Check> {
    vec![
        Check { name: "root", found: root() },
        Check {
            name: "containerd",
            found: program("containerd", "install the containerd package, version 1.6 or later"),
        },
        Check { name: "OCI runtime", found: oci_runtime() },
        Check { name: "nft", found: program("nft", "install the nftables package; network mode bridge needs it") },
        Check { name: "cgroups", found: cgroups() },
        Check { name: "overlayfs", found: overlayfs() },
        Check { name: "loop devices", found: loop_devices() },
        Check {
            name: "mkfs.ext4",
            found: on_path("mkfs.ext4", "it belongs to the e2fsprogs package; tasks with ephemeralStorage need it"),
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
    match Path::new("/dev/loop-control").exists() {
        true => Ok("can be made".to_owned()),
        false => Err("there is no /dev/loop-control: modprobe loop; tasks with ephemeralStorage need it".to_owned()),
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
