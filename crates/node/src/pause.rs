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
/// Its command.
pub(crate) const COMMAND: &str = "/pause";

/// Makes the root file system and the init program under `node_dir`, if they are not there as they should be; answers the
/// path of the first.
pub(crate) fn root_file_system(node_dir: &Path) -> Result<PathBuf, Fault> {
    let root = node_dir.join("pause");
    let sys = root.join("sys");
    fs::create_dir_all(&sys).map_err(Fault::file("create", &sys))?;
    put(&root.join("pause"), PROGRAM)?;
    put(&init_program(node_dir), INIT_PROGRAM)?;
    Ok(root)
}

/// Where the init program is on the host.
pub(crate) fn init_program(node_dir: &Path) -> PathBuf {
    node_dir.join("init")
}

fn put(file: &Path, program: &[u8]) -> Result<(), Fault> {
    if fs::read(file).is_ok_and(|found| found == program) {
        return Ok(());
    }
    crate::identity::write_whole(file, program)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).map_err(Fault::file("make executable", file))
}
