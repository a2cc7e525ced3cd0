//! The pause program, its root file system and its runtime, and the init program for containers that ask for one, made
//! from what this program carries inside itself.

pub(crate) mod runtime;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
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

/// Makes the root file system, the init program and the runtime under `node_dir`, if they are not there as they should
/// be; answers the path of the first. `helper` is the program the runtime is another name of.
pub(crate) fn root_file_system(node_dir: &Path, helper: &Path) -> Result<PathBuf, Fault> {
    let root = node_dir.join("pause");
    let sys = root.join("sys");
    fs::create_dir_all(&sys).map_err(Fault::file("create", &sys))?;
    put(&root.join("pause"), PROGRAM)?;
    put(&init_program(node_dir), INIT_PROGRAM)?;
    name(&runtime_program(node_dir), helper)?;
    Ok(root)
}

/// Where the runtime of pause containers is on the host.
pub(crate) fn runtime_program(node_dir: &Path) -> PathBuf {
    node_dir.join(runtime::NAME)
}

/// True if a program called by this name is the runtime of pause containers.
pub(crate) fn is_runtime(program: &str) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == runtime::NAME)
}

/// Gives a program another name, at once: somebody may be using the name.
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
