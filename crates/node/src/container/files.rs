// SPDX-License-Identifier: Apache-2.0
//! Files every container of a task sees: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`; and its volumes.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use berth_types::container::{IpcMode, VolumeIntent, VolumeSource};
use berth_types::intent::{DnsIntent, TaskIntent};
use nix::mount::MsFlags;

use super::{mounts, storage};
use crate::Fault;
use crate::folders::{self, open_file, open_folder};

/// Text of `/etc/hosts`.
pub(crate) fn hosts(address: Ipv4Addr, hostname: &str) -> String {
    format!("127.0.0.1 localhost\n{address} {hostname}\n")
}

/// Text of `/etc/resolv.conf`.
pub(crate) fn resolv_conf(dns: &DnsIntent) -> String {
    let mut text: String = dns.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !dns.search.is_empty() {
        text.push_str(&format!("search {}\n", dns.search.join(" ")));
    }
    text
}

/// Host name of a task: that of its interface, else one made of its address.
pub(crate) fn hostname(task: &TaskIntent, address: Ipv4Addr) -> String {
    task.hostname.clone().unwrap_or_else(|| {
        let [a, b, c, d] = address.octets();
        format!("ip-{a}-{b}-{c}-{d}")
    })
}

/// Makes the folder of a task and, for a task with an interface, writes the files its containers share.
pub(crate) fn prepare(dir: &Path, templates: &Path, task: &TaskIntent, address: Option<Ipv4Addr>) -> Result<(), Fault> {
    fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
    mount_memory(&network_dir(dir), "mode=0755,size=4m,nr_inodes=1024")?;
    if let Some(address) = address {
        write_shared(&network_dir(dir), task, address)?;
    }
    if let Some(size_gib) = task.ephemeral_storage_gib {
        storage::prepare(dir, templates, size_gib)?;
    }
    if task.ipc_mode == IpcMode::Task {
        mount_memory(&shm_dir(dir), "mode=1777,size=64m")?;
    }
    Ok(())
}

fn write_shared(dir: &Path, task: &TaskIntent, address: Ipv4Addr) -> Result<(), Fault> {
    let hostname = hostname(task, address);
    let texts = [
        ("hosts", hosts(address, &hostname)),
        ("hostname", format!("{hostname}\n")),
        ("resolv.conf", resolv_conf(&task.dns)),
    ];
    for (name, text) in texts {
        let path = dir.join(name);
        open_file(&path, text)?;
    }
    Ok(())
}

/// Where the `/dev/shm` lives that all containers of a task share.
pub(crate) fn shm_dir(task_dir: &Path) -> PathBuf {
    task_dir.join("shm")
}

/// Folder of `hosts`, `hostname` and `resolv.conf` of a task's containers. It is in memory, so that a container that
/// writes to them uses its task's memory, not the host's disk.
pub(crate) fn network_dir(task_dir: &Path) -> PathBuf {
    task_dir.join("network")
}

fn mount_memory(dir: &Path, options: &str) -> Result<(), Fault> {
    if dir.exists() && mounts::is_mounted(dir)? {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mounted = nix::mount::mount(Some("shm"), dir, Some("tmpfs"), flags, Some(options));
    mounted.map_err(|errno| Fault::file("mount a memory file system at", dir)(errno.into()))
}

/// Makes what is not there yet of a task's volumes, and tells where each one is.
pub(crate) fn volumes(task_dir: &Path, shared_dir: &Path, task: &TaskIntent) -> Result<Vec<(String, PathBuf)>, Fault> {
    let mut places = Vec::new();
    for volume in &task.volumes {
        let path = volume_place(&writable_dir(task_dir, task), shared_dir, volume);
        if let VolumeSource::Shared { name, autoprovision, labels } = &volume.source {
            if !*autoprovision && !path.exists() {
                return Err(Fault::Setting(format!("volume {name} does not exist and is not autoprovisioned")));
            }
            write_labels(shared_dir, name, labels)?;
        }
        if !path.exists() {
            // As on AWS: a folder of root. Who is to write to it as another user has it in the image (`seed`).
            open_folder(&path)?;
        }
        places.push((volume.name.clone(), path));
    }
    Ok(places)
}

/// Where a volume of a task is.
pub(crate) fn volume_place(writable_dir: &Path, shared_dir: &Path, volume: &VolumeIntent) -> PathBuf {
    match &volume.source {
        VolumeSource::Empty => volume_dir(writable_dir, &volume.name),
        VolumeSource::Host(path) => PathBuf::from(path),
        VolumeSource::Shared { name, .. } => shared_volume(shared_dir, name),
    }
}

/// Where a volume that outlives its tasks is.
fn shared_volume(shared_dir: &Path, name: &str) -> PathBuf {
    shared_dir.join(fit(name)).join("_data")
}

fn write_labels(shared_dir: &Path, name: &str, labels: &BTreeMap<String, String>) -> Result<(), Fault> {
    let file = shared_dir.join(fit(name)).join("labels.json");
    if labels.is_empty() || file.exists() {
        return Ok(());
    }
    let text = serde_json::to_vec(labels).expect("labels are plain text");
    crate::identity::write_whole(&file, &text)
}

/// Removes the folder of a task and the mounts in it.
pub(crate) fn remove_task_dir(dir: &Path) -> Result<(), Fault> {
    mounts::remove(&shm_dir(dir))?;
    mounts::remove(&network_dir(dir))?;
    storage::remove(dir)?;
    folders::remove_folder(dir)
}

/// The folder of files that a task's containers write.
pub(crate) fn writable_dir(task_dir: &Path, task: &TaskIntent) -> PathBuf {
    if task.ephemeral_storage_gib.is_some() { storage::dir(task_dir) } else { task_dir.to_owned() }
}

/// Where a volume of a task lives. Names of volumes are letters, digits, `-` and `_`; anything else is made harmless.
fn volume_dir(writable_dir: &Path, volume: &str) -> PathBuf {
    writable_dir.join("volumes").join(fit(volume))
}

fn fit(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_as_on_aws() {
        let dns =
            DnsIntent { servers: vec![Ipv4Addr::new(10, 0, 0, 2)], search: vec!["us-west-2.compute.internal".into()] };
        assert_eq!(resolv_conf(&dns), "nameserver 10.0.0.2\nsearch us-west-2.compute.internal\n");
        let address = Ipv4Addr::new(10, 0, 0, 35);
        assert_eq!(hosts(address, "h"), "127.0.0.1 localhost\n10.0.0.35 h\n");
        assert_eq!(
            hostname(&crate::container::spec::tests::task(), address),
            "ip-10-0-0-35.us-west-2.compute.internal"
        );
    }
}
