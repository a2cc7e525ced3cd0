// SPDX-License-Identifier: Apache-2.0
//! Files of the data folder that are replaced atomically.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Durably writes a file in place of the existing one.
pub(crate) fn write(folder: &Path, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let beside = folder.join(format!("{name}.new"));
    // A file left by an interrupted start may have other permissions.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, folder.join(name))?;
    File::open(folder)?.sync_all()
}
