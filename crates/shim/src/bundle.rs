// SPDX-License-Identifier: Apache-2.0
//! Names in a bundle, the folder containerd makes for a container.

use std::path::{Path, PathBuf};

/// Folder in a bundle where the root file system is mounted.
pub(crate) const ROOT: &str = "rootfs";

/// File in a bundle with the id of the container's first process.
pub(crate) fn pid_file(bundle: &Path) -> PathBuf {
    bundle.join("init.pid")
}
