// SPDX-License-Identifier: Apache-2.0
//! Pins of the data path on bpffs, which keep it while no process of Berth runs: one directory per instance and layout.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sys::statfs::{FsType, statfs};

use super::layout::LAYOUT_VERSION;
use crate::fault::Fault;

const BPFFS: &str = "/sys/fs/bpf";
/// Directory of all instances, below.
const ALL: &str = "berth";
/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS: FsType = FsType(0xcafe_4a11);

/// Everything pinned by an instance.
pub fn instance_directory(instance: &str) -> PathBuf {
    Path::new(BPFFS).join(ALL).join(instance)
}

/// The maps and the program of this layout.
pub fn directory(instance: &str) -> PathBuf {
    instance_directory(instance).join(format!("v{LAYOUT_VERSION}"))
}

/// Changes with the meaning or size of `struct port` in `bpf/port.bpf.c`; another version never shares a map with this one.
const PORT_LAYOUT_VERSION: u32 = 1;

/// The map and the program of an instance's bridge ports.
pub fn ports_directory(instance: &str) -> PathBuf {
    instance_directory(instance).join(format!("ports{PORT_LAYOUT_VERSION}"))
}

/// The maps of a running instance; `run_dir` only names the instance in the error.
pub fn of_running(instance: &str, run_dir: &Path) -> Result<PathBuf, Fault> {
    let path = directory(instance);
    match path.exists() {
        true => Ok(path),
        false => Err(Fault::NotRunning { instance: format!("{instance} ({})", run_dir.display()), path }),
    }
}

/// True if bpffs is mounted at its usual place.
pub fn is_bpffs_mounted() -> bool {
    statfs(BPFFS).is_ok_and(|fs| fs.filesystem_type() == BPF_FS)
}

/// Mounts bpffs if it is missing.
pub fn mount() -> Result<(), Fault> {
    if is_bpffs_mounted() {
        return Ok(());
    }
    nix::mount::mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>)
        .map_err(|errno| Fault::pins("mount bpffs at", BPFFS, errno.into()))
}

/// Mounts bpffs if it is missing, and creates the instance's directory.
pub fn prepare(instance: &str) -> Result<PathBuf, Fault> {
    mount()?;
    let directory = directory(instance);
    let made = match fs::create_dir_all(&directory) {
        // Another instance that has just ended removed the directory of all instances.
        Err(e) if e.kind() == ErrorKind::NotFound => fs::create_dir_all(&directory),
        made => made,
    };
    made.map_err(|e| Fault::pins("make", &directory, e))?;
    Ok(directory)
}

/// A new directory for a trial; the caller removes it. No instance can have its name.
pub fn scratch() -> Result<PathBuf, Fault> {
    let directory = Path::new(BPFFS).join(format!("berth-trial-{}", std::process::id()));
    fs::create_dir_all(&directory).map_err(|e| Fault::pins("make", &directory, e))?;
    Ok(directory)
}

/// Removes the pins of other layouts. Programs still attached keep their maps alive until they are replaced.
pub fn remove_other_layouts(instance: &str) -> Result<(), Fault> {
    let parent = instance_directory(instance);
    let ours = [directory(instance), ports_directory(instance)];
    for entry in fs::read_dir(&parent).map_err(|e| Fault::pins("list", &parent, e))? {
        let path = entry.map_err(|e| Fault::pins("list", &parent, e))?.path();
        if !ours.contains(&path) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Names of the pins in a directory.
pub fn list(directory: &Path) -> Result<Vec<String>, Fault> {
    let entries = fs::read_dir(directory).map_err(|e| Fault::pins("list", directory, e))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<std::io::Result<_>>().map_err(|e| Fault::pins("list", directory, e))
}

/// Removes one pin.
pub fn remove_one(path: &Path) -> Result<(), Fault> {
    fs::remove_file(path).map_err(|e| Fault::pins("remove", path, e))
}

/// Removes all pins of an instance, and the directory of all instances with the last one.
pub fn remove_instance(instance: &str) -> Result<(), Fault> {
    remove(&instance_directory(instance))?;
    let all = Path::new(BPFFS).join(ALL);
    match fs::remove_dir(&all) {
        // Another instance has its own pins in it.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Ok(()),
        other => other.map_err(|e| Fault::pins("remove", &all, e)),
    }
}

/// Removes a directory of pins. A missing directory counts as success.
pub fn remove(directory: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Fault::pins("remove", directory, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}
