// SPDX-License-Identifier: Apache-2.0
//! Files of an image that is not mounted: a link leads to places inside the image only, as it will in the container.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// Opens what is at `path` in the folder `root`.
pub(super) fn open(root: &Path, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    let top = File::open(root).map_err(|cause| cause.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(top.as_fd(), path, how)
}
