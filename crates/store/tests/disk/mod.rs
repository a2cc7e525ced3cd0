// SPDX-License-Identifier: Apache-2.0
//! A file system of a few MiB that tests can fill.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, unmounted when this value is dropped.
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts it; needs root.
    pub fn new(mib: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("berth-disk-").tempdir().unwrap();
        let size = format!("size={mib}m,mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        assert!(mounted.unwrap().success(), "the kernel suite needs root");
        Self { folder }
    }

    /// Its mount point.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all available space.
    pub fn fill(&self) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        // Pages, so that not even one is left.
        while file.write_all(&[7; 4096]).is_ok() {}
    }

    /// Releases the space.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a test that failed may still hold files.
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(unmounted.unwrap().success());
    }
}
