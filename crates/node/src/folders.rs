// SPDX-License-Identifier: Apache-2.0
//! Modes of folders. What a node keeps is for root alone: volumes, storages and container roots hold files with the
//! set-user-id bit and device nodes that tasks made, and logs hold what they wrote. Berth's programs run with the umask
//! [`PRIVATE_UMASK`], so whatever a container sees is opened here in so many words.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use crate::Fault;

/// The umask of Berth's programs.
pub const PRIVATE_UMASK: u32 = 0o077;

/// Rights of other users, and of the group.
const OTHERS: u32 = 0o077;
/// Their right to write.
const OTHERS_WRITE: u32 = 0o022;
/// Everyone may make files in the folder, as in `/tmp`.
const STICKY: u32 = 0o1000;

/// Makes a folder that only its owner may look into, with those above it, or takes the rights of others away from the one
/// that is there.
pub fn private_folder(folder: &Path) -> Result<(), Fault> {
    make(folder)?;
    close(folder)
}

/// Makes the data or run folder. Another user who could write to it could put a folder of his own in the place of ours:
/// this right is taken away, and the answer is true. A folder for everyone, as `/tmp`, is refused.
pub fn base_folder(folder: &Path) -> Result<bool, Fault> {
    make(folder)?;
    let mode = mode(&fs::metadata(folder).map_err(Fault::file("look at", folder))?);
    if mode & OTHERS_WRITE == 0 {
        return Ok(false);
    }
    if mode & STICKY != 0 {
        return Err(Fault::Setting(format!(
            "{} is a folder that all users share; name another with --data or --run",
            folder.display()
        )));
    }
    set_mode(folder, mode & !OTHERS_WRITE).map(|()| true)
}

/// Takes the rights of others away from a file or folder; an absent one is fine.
pub fn close(path: &Path) -> Result<(), Fault> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(Fault::file("look at", path)(cause)),
    };
    match mode(&found) & OTHERS {
        0 => Ok(()),
        _ if found.is_symlink() => Ok(()),
        _ => set_mode(path, mode(&found) & !OTHERS),
    }
}

/// Makes a folder that everyone may look into, as a container sees it, with those above it that are not there.
pub(crate) fn open_folder(folder: &Path) -> Result<(), Fault> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        open_folder(parent)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => set_mode(folder, 0o755),
        // Made by another task meanwhile.
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(cause) => Err(Fault::file("create", folder)(cause)),
    }
}

/// Writes a file that everyone may read.
pub(crate) fn open_file(file: &Path, text: impl AsRef<[u8]>) -> Result<(), Fault> {
    fs::write(file, text).map_err(Fault::file("write", file))?;
    set_mode(file, 0o644)
}

/// Removes a folder and all in it; an absent one counts as removed.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Fault::file("remove", folder)),
    }
}

/// Removes a file; an absent one counts as removed.
pub(crate) fn remove_file(file: &Path) -> Result<(), Fault> {
    match fs::remove_file(file) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Fault::file("remove", file)),
    }
}

fn make(folder: &Path) -> Result<(), Fault> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Fault::file("create", folder))
}

fn mode(found: &Metadata) -> u32 {
    found.permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Fault> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Fault::file("set the mode of", path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        mode(&fs::metadata(path).unwrap())
    }

    #[test]
    fn folders_are_closed_and_shared_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (own, wide, shared) = (dir.path().join("a/own"), dir.path().join("wide"), dir.path().join("shared"));
        private_folder(&own).unwrap();
        assert_eq!(mode_of(&own), 0o700);
        for (folder, mode) in [(&own, 0o755), (&wide, 0o777), (&shared, 0o1777)] {
            fs::create_dir_all(folder).unwrap();
            set_mode(folder, mode).unwrap();
        }
        private_folder(&own).unwrap();
        assert_eq!(mode_of(&own), 0o700);
        assert!(base_folder(&wide).unwrap());
        assert_eq!(mode_of(&wide), 0o755);
        assert!(!base_folder(&wide).unwrap());
        assert!(base_folder(&shared).unwrap_err().to_string().contains("--data"));
        assert_eq!(mode_of(&shared), 0o1777);
    }

    #[test]
    fn files_are_closed_and_links_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        open_file(&file, "text").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        close(&link).unwrap();
        assert_eq!(mode_of(&file), 0o644);
        close(&file).unwrap();
        assert_eq!(mode_of(&file), 0o600);
        close(&dir.path().join("absent")).unwrap();
    }
}
