//! Where the data path lives while no process of ours does: files on bpffs, one directory per instance and layout.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sys::statfs::{FsType, statfs};

use super::layout::LAYOUT_VERSION;
use crate::fault::Fault;

const BPFFS: &str = "/sys/fs/bpf";
/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS: FsType = FsType(0xcafe_4a11);

/// Everything pinned by an instance.
pub fn instance_directory(instance: &str) -> PathBuf {
    Path::new(BPFFS).join("berth").join(instance)
}

/// The maps and the program of this layout.
pub fn directory(instance: &str) -> PathBuf {
    instance_directory(instance).join(format!("v{LAYOUT_VERSION}"))
}

/// The maps of an instance that runs; `run_dir` only names it in the error when it does not.
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

/// Mounts bpffs if it is missing, and makes the instance's directory.
pub fn prepare(instance: &str) -> Result<PathBuf, Fault> {
    mount()?;
    let directory = directory(instance);
    fs::create_dir_all(&directory).map_err(|e| Fault::pins("make", &directory, e))?;
    Ok(directory)
}

/// A fresh directory for a trial; the caller removes it. No instance can have its name.
pub fn scratch() -> Result<PathBuf, Fault> {
    let directory = Path::new(BPFFS).join(format!("berth-trial-{}", std::process::id()));
    fs::create_dir_all(&directory).map_err(|e| Fault::pins("make", &directory, e))?;
    Ok(directory)
}

/// Removes what other layouts left. Programs still attached keep their maps alive until they are replaced.
pub fn remove_other_layouts(instance: &str) -> Result<(), Fault> {
    let parent = instance_directory(instance);
    let ours = directory(instance);
    for entry in fs::read_dir(&parent).map_err(|e| Fault::pins("list", &parent, e))? {
        let path = entry.map_err(|e| Fault::pins("list", &parent, e))?.path();
        if path != ours {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a directory of pins. Nothing there is success.
pub fn remove(directory: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Fault::pins("remove", directory, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}
