// SPDX-License-Identifier: Apache-2.0
//! The pause program and its root file system, and the init program for containers that ask for one, made from what this
//! program carries inside itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::Fault;

/// The program, compiled from `pause/pause.c`.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// The init program, compiled from `pause/init.c`.
const INIT_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// Image name shown for pause containers.
pub(crate) const IMAGE: &str = "amazon/amazon-ecs-pause:0.1.0";
/// Name of the pause container inside its task, as the ECS agent calls it.
pub(crate) const NAME: &str = "~internal~ecs~pause";
/// Its user and group, used by no container by default, so that root in a container that shares its process namespace is
/// another user.
pub(crate) const USER: u32 = 65_535;
/// Its command.
pub(crate) const COMMAND: &str = "/pause";

/// Makes the root file system and the init program under `node_dir`, unless they are there and current; returns the
/// path of the root file system.
pub(crate) fn root_file_system(node_dir: &Path) -> Result<PathBuf, Fault> {
    let root = node_dir.join("pause");
    // The pause program has a user of its own.
    crate::folders::open_folder(&root)?;
    // A program its user cannot read cannot be looked into from its first instruction on.
    put(&root.join("pause"), PROGRAM, 0o711)?;
    put(&init_program(node_dir), INIT_PROGRAM, 0o755)?;
    Ok(root)
}

/// Where the init program is on the host.
pub(crate) fn init_program(node_dir: &Path) -> PathBuf {
    node_dir.join("init")
}

fn put(file: &Path, program: &[u8], mode: u32) -> Result<(), Fault> {
    if !fs::read(file).is_ok_and(|found| found == program) {
        crate::identity::write_whole(file, program)?;
    }
    set_mode(file, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Fault> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Fault::file("set the mode of", path))
}
