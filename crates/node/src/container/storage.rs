//! The ephemeral storage of a task that names its size: a file system of that size, in a sparse file in the task's
//! folder, that holds what its containers write and its empty volumes. Image layers, which tasks share, do not count.
//!
//! Each step looks whether it was done, so that a killed node's successor goes on; what is made goes with the folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use containerd_client::types::Mount;

use super::mounts;
use crate::Fault;
use crate::containerd::Mounts;

/// Where it is mounted.
pub(crate) fn dir(task_dir: &Path) -> PathBuf {
    task_dir.join("storage")
}

/// Makes and mounts it, unless it is mounted. Blocks.
pub(crate) fn prepare(task_dir: &Path, size_gib: u32) -> Result<(), Fault> {
    let (dir, image) = (dir(task_dir), task_dir.join("storage.img"));
    if mounts::is_mounted(&dir)? {
        return Ok(());
    }
    fs::create_dir_all(&dir).map_err(Fault::file("create", &dir))?;
    let file = fs::File::create(&image).map_err(Fault::file("create", &image))?;
    file.set_len(u64::from(size_gib) << 30).map_err(Fault::file("size", &image))?;
    drop(file);
    // A journal would only guard against a crash of the machine, which ends the task.
    let options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"];
    run(Command::new("mkfs.ext4").args(options).arg(&image), "make a file system in", &image)?;
    run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&image).arg(&dir), "mount", &image)
}

/// Takes it away; the file goes with the task's folder.
pub(crate) fn remove(task_dir: &Path) -> Result<(), Fault> {
    mounts::remove(&dir(task_dir))
}

/// The mounts of a container's file system, with what it writes kept in the task's storage.
pub(crate) fn move_writes(task_dir: &Path, container: &str, mounts: Mounts) -> Result<Mounts, Fault> {
    let own = dir(task_dir).join("containers").join(container);
    let (upper, work) = (own.join("upper"), own.join("work"));
    for folder in [&upper, &work] {
        fs::create_dir_all(folder).map_err(Fault::file("create", folder))?;
    }
    Ok(mounts.into_iter().map(|mount| rewritten(mount, &upper, &work)).collect())
}

/// An image without layers is mounted as the folder that is written.
fn rewritten(mount: Mount, upper: &Path, work: &Path) -> Mount {
    if mount.r#type == "bind" {
        return Mount { source: upper.display().to_string(), ..mount };
    }
    let option = |option: String| match option.split_once('=') {
        Some(("upperdir", _)) => format!("upperdir={}", upper.display()),
        Some(("workdir", _)) => format!("workdir={}", work.display()),
        _ => option,
    };
    Mount { options: mount.options.into_iter().map(option).collect(), ..mount }
}

fn run(command: &mut Command, step: &'static str, on: &Path) -> Result<(), Fault> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| Fault::file(step, on)(io::Error::other(why));
    let said = command.output().map_err(|cause| {
        failed(format!("{program} does not run ({cause}); install the packages e2fsprogs and mount on the host"))
    })?;
    match said.status.success() {
        true => Ok(()),
        false => Err(failed(format!("{program}: {}", String::from_utf8_lossy(&said.stderr).trim()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, source: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { r#type: kind.to_owned(), source: source.to_owned(), options, ..Mount::default() }
    }

    #[test]
    fn only_what_is_written_moves() {
        let overlay =
            mount("overlay", "overlay", &["index=off", "workdir=/s/1/work", "upperdir=/s/1/fs", "lowerdir=/s/0/fs"]);
        let moved = rewritten(overlay, Path::new("/t/upper"), Path::new("/t/work"));
        assert_eq!(moved.options, ["index=off", "workdir=/t/work", "upperdir=/t/upper", "lowerdir=/s/0/fs"]);
        let bare = rewritten(mount("bind", "/s/1/fs", &["rw", "rbind"]), Path::new("/t/upper"), Path::new("/t/work"));
        assert_eq!((bare.source.as_str(), bare.options.len()), ("/t/upper", 2));
    }
}
