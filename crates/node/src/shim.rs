// SPDX-License-Identifier: Apache-2.0
//! The shim's stable name: a link to the program of the running version.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::{Fault, NodeConfig};

/// Makes the name that containerd calls the shim by.
pub(crate) fn install(config: &NodeConfig) -> Result<(), Fault> {
    name(&config.shim_name(), &config.shim)
}

/// Gives a program another name atomically, because containerd may use the name at any time.
fn name(link: &Path, program: &Path) -> Result<(), Fault> {
    if fs::read_link(link).is_ok_and(|named| named == program) {
        return Ok(());
    }
    let new = link.with_extension("new");
    match symlink(program, &new) {
        // Left by a node that was killed in here.
        Err(fault) if fault.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(&new).and_then(|()| symlink(program, &new))
        }
        done => done,
    }
    .map_err(Fault::file("create", &new))?;
    fs::rename(&new, link).map_err(Fault::file("create", link))
}
