//! The pause program and its root file system, made from what this program carries inside itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::Fault;

/// The program, compiled from `pause/pause.c`.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// Image name shown for pause containers.
pub(crate) const IMAGE: &str = "amazon/amazon-ecs-pause:0.1.0";
/// Name of the pause container inside its task, as the ECS agent calls it.
pub(crate) const NAME: &str = "~internal~ecs~pause";
/// Its command.
pub(crate) const COMMAND: &str = "/pause";

/// Makes the root file system under `node_dir`, if it is not there as it should be; answers its path.
pub(crate) fn root_file_system(node_dir: &Path) -> Result<PathBuf, Fault> {
    let root = node_dir.join("pause");
    for dir in ["proc", "dev", "sys", "etc"] {
        let dir = root.join(dir);
        fs::create_dir_all(&dir).map_err(Fault::file("create", &dir))?;
    }
    let program = root.join("pause");
    if fs::read(&program).is_ok_and(|found| found == PROGRAM) {
        return Ok(root);
    }
    crate::identity::write_whole(&program, PROGRAM)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .map_err(Fault::file("make executable", &program))?;
    Ok(root)
}
