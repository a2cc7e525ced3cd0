// SPDX-License-Identifier: Apache-2.0
//! Kernel settings of a network namespace, through `/proc/sys`.
//!
//! `/proc/sys/net` shows the namespace of the thread that opens it, so every access enters the namespace first.
//! Not here: settings of the whole machine, which belong to the installer.

use std::fs;
use std::path::PathBuf;

use super::{Fault, Namespace};

/// Unprivileged containers may bind port 80 and send pings, as under Docker.
const TASK: &[(&str, &str)] =
    &[("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];
const CONGESTION_CONTROL: &str = "net.ipv4.tcp_congestion_control";
/// A list for the whole machine: the congestion controls that other namespaces may choose.
const CONGESTION_CONTROLS_ALLOWED: &str = "net.ipv4.tcp_allowed_congestion_control";

/// Applies the settings of a task's namespace. Local throughput must not depend on a pacing congestion control (bbr
/// without fq loses three quarters of it), so cubic is used.
pub fn settle_task(namespace: &Namespace) -> Result<(), Fault> {
    apply(namespace, TASK)?;
    set_congestion_control(namespace, "cubic")
}

/// Sets the congestion control of new connections in a namespace; allows namespaces to choose it if they may not yet.
pub fn set_congestion_control(namespace: &Namespace, name: &str) -> Result<(), Fault> {
    match write(namespace, CONGESTION_CONTROL, name) {
        Err(fault) if fault.is_errno(libc::EPERM) => {
            allow_congestion_control(name)?;
            write(namespace, CONGESTION_CONTROL, name)
        }
        done => done,
    }
}

/// Allows every namespace of the machine to choose a congestion control. The list is visible only in the machine's own
/// namespace: that of this process or, if it was started in another, that of process 1, which not every machine allows
/// others to enter.
pub fn allow_congestion_control(name: &str) -> Result<(), Fault> {
    match extend_allowed(&Namespace::of_pid(std::process::id())?, name) {
        Err(fault) if fault.is_errno(libc::ENOENT) => extend_allowed(&Namespace::of_pid(1)?, name),
        done => done,
    }
}

fn extend_allowed(machine: &Namespace, name: &str) -> Result<(), Fault> {
    let allowed = read(machine, CONGESTION_CONTROLS_ALLOWED)?;
    if allowed.split_whitespace().any(|one| one == name) {
        return Ok(());
    }
    write(machine, CONGESTION_CONTROLS_ALLOWED, &format!("{allowed} {name}"))
}

/// Writes settings in the given order, entering the namespace once.
///
/// A key is written with dots (`net.ipv4.ip_forward`), or with slashes when a part of it contains a dot itself
/// (`net/ipv4/conf/eth0.5/rp_filter`).
pub fn apply(namespace: &Namespace, settings: &[(&str, &str)]) -> Result<(), Fault> {
    namespace.inside(|| settings.iter().try_for_each(|(key, value)| write_here(key, value)))?
}

/// Writes one setting of a namespace.
pub fn write(namespace: &Namespace, key: &str, value: &str) -> Result<(), Fault> {
    apply(namespace, &[(key, value)])
}

/// Reads one setting of a namespace, without the final newline.
pub fn read(namespace: &Namespace, key: &str) -> Result<String, Fault> {
    namespace.inside(|| read_here(key))?
}

/// True if the kernel has the setting, in the namespace of the calling thread.
pub fn exists(key: &str) -> bool {
    file_of(key).exists()
}

fn read_here(key: &str) -> Result<String, Fault> {
    match fs::read_to_string(file_of(key)) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(cause) => Err(Fault::Sysctl { verb: "read".into(), key: key.into(), cause: cause.into() }),
    }
}

fn write_here(key: &str, value: &str) -> Result<(), Fault> {
    fs::write(file_of(key), value).map_err(|cause| Fault::Sysctl {
        verb: format!("write {value:?} to"),
        key: key.into(),
        cause: cause.into(),
    })
}

fn file_of(key: &str) -> PathBuf {
    let relative = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    PathBuf::from("/proc/sys").join(relative)
}
