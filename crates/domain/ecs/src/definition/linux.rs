// SPDX-License-Identifier: Apache-2.0
//! Linux settings of a container: capabilities, devices, memory file systems, limits, kernel parameters.

use berth_shapes::ecs as shape;
use berth_state::Refusal;
use berth_state::ecs::{IpcMode, is_seccomp_unconfined};
use berth_types::container::{Capabilities, Device, LinuxParameters, SystemControl, Tmpfs, Ulimit};

use super::super::refuse::{client, not_yet};
use super::network_mode::NetworkMode;
use super::read::{each, natural, text};

/// Capabilities a definition can name.
const CAPABILITIES: [&str; 39] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

const PERMISSIONS: [&str; 3] = ["read", "write", "mknod"];

/// Kernel parameters of the IPC namespace.
const IPC_CONTROLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Reads linuxParameters; `path` names the container in refusals.
pub(super) fn parameters(
    asked: Option<&shape::LinuxParameters>,
    container: &str,
    path: &str,
) -> Result<Option<LinuxParameters>, Refusal> {
    let Some(asked) = asked else { return Ok(None) };
    let swappiness = natural(asked.swappiness, "swappiness", container)?;
    if swappiness.is_some_and(|swappiness| swappiness > 100) {
        return Err(client(format!("the 'swappiness' setting for container '{container}' must be between 0 and 100")));
    }
    let path = format!("{path}.linuxParameters");
    Ok(Some(LinuxParameters {
        capabilities: asked.capabilities.as_ref().map(|asked| capabilities(asked, &path)).transpose()?,
        devices: each(asked.devices.as_deref(), &format!("{path}.devices"), device)?,
        init_process_enabled: asked.init_process_enabled,
        max_swap_mib: natural(asked.max_swap, "maxSwap", container)?,
        shared_memory_mib: natural(asked.shared_memory_size, "sharedMemorySize", container)?,
        swappiness,
        tmpfs: each(asked.tmpfs.as_deref(), &format!("{path}.tmpfs"), tmpfs)?,
    }))
}

/// Refuses values that are not in the list.
fn check_words(given: Option<&[String]>, known: &[&str], path: &str) -> Result<(), Refusal> {
    match given.unwrap_or_default().iter().find(|word| !known.contains(&word.as_str())) {
        Some(word) => Err(client(format!("'{word}' is not a valid value for {path}."))),
        None => Ok(()),
    }
}

fn capabilities(asked: &shape::KernelCapabilities, path: &str) -> Result<Capabilities, Refusal> {
    check_words(asked.add.as_deref(), &CAPABILITIES, &format!("{path}.capabilities.add"))?;
    check_words(asked.drop.as_deref(), &CAPABILITIES, &format!("{path}.capabilities.drop"))?;
    Ok(Capabilities { add: asked.add.clone(), drop: asked.drop.clone() })
}

fn device(asked: &shape::Device, path: &str) -> Result<Device, Refusal> {
    check_words(asked.permissions.as_deref(), &PERMISSIONS, &format!("{path}.permissions"))?;
    Ok(Device {
        host_path: text(asked.host_path.as_ref(), &format!("{path}.hostPath"))?,
        container_path: asked.container_path.clone(),
        permissions: asked.permissions.clone(),
    })
}

fn tmpfs(asked: &shape::Tmpfs, path: &str) -> Result<Tmpfs, Refusal> {
    let size = asked.size.and_then(|size| u32::try_from(size).ok()).filter(|size| *size > 0);
    let tmpfs = Tmpfs {
        container_path: text(asked.container_path.as_ref(), &format!("{path}.containerPath"))?,
        size_mib: size.ok_or_else(|| client(format!("{path}.size must be at least 1 MiB.")))?,
        mount_options: asked.mount_options.clone(),
    };
    if tmpfs.covers_system() {
        return Err(client(format!("'{}' is not a valid value for {path}.containerPath.", tmpfs.container_path)));
    }
    match tmpfs.unfit_option() {
        Some(option) => Err(client(format!("'{option}' is not a valid value for {path}.mountOptions."))),
        None => Ok(tmpfs),
    }
}

/// Reads ulimits.
pub(super) fn ulimits(asked: Option<&[shape::Ulimit]>, path: &str) -> Result<Option<Vec<Ulimit>>, Refusal> {
    each(asked, &format!("{path}.ulimits"), |asked, path| {
        let name = text(asked.name.as_ref(), &format!("{path}.name"))?;
        check_words(Some(std::slice::from_ref(&name)), &ULIMITS, &format!("{path}.name"))?;
        let limit = |given: Option<i32>, member: &str| match given {
            Some(limit) if limit >= -1 => Ok(limit),
            Some(_) | None => Err(client(format!("{path}.{member} must be at least -1."))),
        };
        let (soft, hard) = (limit(asked.soft_limit, "softLimit")?, limit(asked.hard_limit, "hardLimit")?);
        let exceeds = match (soft, hard) {
            (_, -1) => false,
            (-1, _) => true,
            (soft, hard) => soft > hard,
        };
        match exceeds {
            true => Err(client(format!("Soft limit exceeds hard limit for ulimit {name}"))),
            false => Ok(Ulimit { name, soft, hard }),
        }
    })
}

/// Reads systemControls: only parameters of a namespace of the task or container.
pub(super) fn system_controls(
    asked: Option<&[shape::SystemControl]>,
    mode: NetworkMode,
    path: &str,
) -> Result<Vec<SystemControl>, Refusal> {
    let read = |asked: &shape::SystemControl, path: &str| {
        let namespace = text(asked.namespace.as_ref(), &format!("{path}.namespace"))?;
        let value = text(asked.value.as_ref(), &format!("{path}.value"))?;
        let is_network = namespace.starts_with("net.");
        if is_network && mode == NetworkMode::Host {
            return Err(client(format!("{path}.namespace '{namespace}' is not supported when networkMode=host.")));
        }
        let is_known = is_network || namespace.starts_with("fs.mqueue.") || IPC_CONTROLS.contains(&namespace.as_str());
        match is_known {
            true => Ok(SystemControl { namespace, value }),
            false => Err(client(format!("'{namespace}' is not a valid value for {path}.namespace."))),
        }
    };
    Ok(each(asked, &format!("{path}.systemControls"), read)?.unwrap_or_default())
}

/// Refuses kernel parameters of the IPC namespace if it is the host's.
pub(super) fn check_ipc_controls(ipc_mode: Option<IpcMode>, controls: &[SystemControl]) -> Result<(), Refusal> {
    let of_ipc = controls.iter().find(|control| !control.namespace.starts_with("net."));
    match of_ipc {
        Some(control) if ipc_mode == Some(IpcMode::Host) => {
            let name = &control.namespace;
            Err(client(format!("The system control '{name}' is not supported when ipcMode=host.")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Reads dockerSecurityOptions: `no-new-privileges` and `seccomp=unconfined` are supported, profiles are refused.
pub(super) fn security_options(asked: Option<&[String]>, path: &str) -> Result<Option<Vec<String>>, Refusal> {
    for option in asked.unwrap_or_default() {
        match option.as_str() {
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges:false" => {}
            option if is_seccomp_unconfined(option) => {}
            other => return Err(not_yet(format!("{path}.dockerSecurityOptions {other}"))),
        }
    }
    Ok(asked.map(<[String]>::to_vec))
}

/// linuxParameters as answered.
pub(super) fn show(linux: &LinuxParameters) -> shape::LinuxParameters {
    let integer = |value: Option<u32>| value.and_then(|value| i32::try_from(value).ok());
    let device = |device: &Device| shape::Device {
        container_path: device.container_path.clone(),
        host_path: Some(device.host_path.clone()),
        permissions: device.permissions.clone(),
    };
    let tmpfs = |tmpfs: &Tmpfs| shape::Tmpfs {
        container_path: Some(tmpfs.container_path.clone()),
        mount_options: tmpfs.mount_options.clone(),
        size: integer(Some(tmpfs.size_mib)),
    };
    shape::LinuxParameters {
        capabilities: linux.capabilities.as_ref().map(|capabilities| shape::KernelCapabilities {
            add: capabilities.add.clone(),
            drop: capabilities.drop.clone(),
        }),
        devices: linux.devices.as_ref().map(|list| list.iter().map(device).collect()),
        init_process_enabled: linux.init_process_enabled,
        max_swap: integer(linux.max_swap_mib),
        shared_memory_size: integer(linux.shared_memory_mib),
        swappiness: integer(linux.swappiness),
        tmpfs: linux.tmpfs.as_ref().map(|list| list.iter().map(tmpfs).collect()),
    }
}

/// A ulimit as answered.
pub(super) fn show_ulimit(ulimit: &Ulimit) -> shape::Ulimit {
    shape::Ulimit { hard_limit: Some(ulimit.hard), name: Some(ulimit.name.clone()), soft_limit: Some(ulimit.soft) }
}

/// A kernel parameter as answered.
pub(super) fn show_system_control(control: &SystemControl) -> shape::SystemControl {
    shape::SystemControl { namespace: Some(control.namespace.clone()), value: Some(control.value.clone()) }
}
