// SPDX-License-Identifier: Apache-2.0
//! The mounts of this machine.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::MntFlags;

use crate::Fault;

/// Every mount point, in the order in which they were mounted.
pub(crate) fn all() -> Result<Vec<PathBuf>, Fault> {
    let table = Path::new("/proc/self/mountinfo");
    let text = std::fs::read_to_string(table).map_err(Fault::file("read", table))?;
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect())
}

/// True if the path is a mount point.
pub(crate) fn is_mounted(at: &Path) -> Result<bool, Fault> {
    Ok(all()?.iter().any(|mount| mount == at))
}

/// Removes a mount; processes that use it keep it until they end. An absent mount counts as removed.
pub(crate) fn remove(mount: &Path) -> Result<(), Fault> {
    match nix::mount::umount2(mount, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(Fault::file("unmount", mount)(errno.into())),
    }
}
