// SPDX-License-Identifier: Apache-2.0
//! Reserved disk space: a file that is removed when the disk is full, so that necessary writes still succeed.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// Size of the reserve on a file system that is large enough.
const BYTES_MAX: u64 = 64 << 20;
/// The reserve takes at most this part of a file system.
const SHARE: u64 = 16;
/// Bytes per write where the file system cannot allocate ahead.
const CHUNK: usize = 1 << 20;

/// The reserve of one file.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    is_held: AtomicBool,
}

impl Reserve {
    /// Creates the reserve of `file`, if there is space for it.
    pub(crate) fn beside(file: &Path) -> Self {
        let mut name = file.as_os_str().to_owned();
        name.push(".reserve");
        let reserve = Self { path: name.into(), is_held: AtomicBool::new(false) };
        reserve.restore();
        reserve
    }

    /// Releases the space to other files; true if there was any.
    pub(crate) fn release(&self) -> bool {
        let was_held = self.is_held.swap(false, Ordering::AcqRel);
        std::fs::remove_file(&self.path).is_ok() && was_held
    }

    /// Creates the reserve again once there is space for it and half as much to spare. True while it is held.
    pub(crate) fn restore(&self) -> bool {
        if !self.is_held.load(Ordering::Acquire) && self.make().unwrap_or(false) {
            self.is_held.store(true, Ordering::Release);
        }
        self.is_held.load(Ordering::Acquire)
    }

    fn make(&self) -> io::Result<bool> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let space = statvfs(folder)?;
        let bytes = size_on(space.f_blocks.saturating_mul(space.f_frsize));
        let present = std::fs::metadata(&self.path).map_or(0, |found| found.len());
        if present == bytes {
            return Ok(true);
        }
        if space.f_bavail.saturating_mul(space.f_frsize) < bytes + bytes / 2 {
            return Ok(false);
        }
        let made = self.fill(bytes);
        if made.is_err() {
            // A partial reserve would count as a whole one at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
        made.map(|()| true)
    }

    fn fill(&self, bytes: u64) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => {
                let zeros = vec![0; CHUNK];
                let mut left = bytes;
                while left > 0 {
                    let next = zeros.len().min(usize::try_from(left).unwrap_or(CHUNK));
                    file.write_all(&zeros[..next])?;
                    left -= next as u64;
                }
                file.sync_all()
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Size of the reserve on a file system of `total` bytes.
fn size_on(total: u64) -> u64 {
    (total / SHARE).min(BYTES_MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_small_file_system_has_a_small_reserve() {
        assert_eq!([24 << 20, 1 << 30, 1 << 40].map(size_on), [24 << 16, 64 << 20, 64 << 20]);
    }

    #[test]
    fn a_reserve_is_given_away_once_and_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("state.redb"));
        let file = folder.path().join("state.redb.reserve");
        let size = || std::fs::metadata(&file).map_or(0, |found| found.len());
        assert!(reserve.restore() && size() > 0);
        assert!(reserve.release());
        assert_eq!(size(), 0);
        assert!(!reserve.release());
        assert!(reserve.restore() && size() > 0);
    }

    #[test]
    fn a_reserve_of_an_earlier_process_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.redb");
        drop(Reserve::beside(&file));
        assert!(Reserve::beside(&file).restore());
    }
}
