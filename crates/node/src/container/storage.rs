// SPDX-License-Identifier: Apache-2.0
//! The ephemeral storage of a Fargate task: a file system of its size, in a sparse file in the task's folder, that holds
//! what its containers write and its empty volumes. Image layers, which tasks share, do not count.
//!
//! A launch does not wait for a formatter: each file is a copy of an empty file system of that size, the template, which
//! is made once and of which only the few blocks that are not holes are copied.
//!
//! Each step looks whether it was done, so that a killed node's successor goes on; what is made goes with the folder.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use containerd_client::types::Mount;
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::unistd::{Whence, lseek};

use super::{loop_device, mounts};
use crate::containerd::Mounts;
use crate::{Fault, folders};

/// Size of the storage of a Fargate task that asks for none.
pub(crate) const DEFAULT_GIB: u32 = 20;

/// Format of templates, in their names: another version does not take them for its own.
const FORMAT: &str = "ext4-1";

/// Beginning of the names of templates that are being made.
const UNFINISHED: &str = ".unfinished-";

/// A file system that ends with its task needs no journal and nothing written to the disk in a certain order. Its tables
/// are small and in one place, so that there is little to copy.
const FORMAT_OPTIONS: [&str; 9] = [
    "-q",
    "-F",
    "-m",
    "0",
    "-O",
    "^has_journal,^resize_inode",
    "-E",
    "lazy_itable_init=1,nodiscard,packed_meta_blocks=1",
    "--",
];

/// A crash of the machine ends the task and its storage, so no order of writes matters. The kernel's background thread
/// would write zeros to the inode tables of every storage, some 300 MB of 20 GiB; it treats those it did not write as empty.
const MOUNT_OPTIONS: &str = "nobarrier,noinit_itable";

/// Where it is mounted.
pub(crate) fn dir(task_dir: &Path) -> PathBuf {
    task_dir.join("storage")
}

/// Removes what a killed node left of unfinished templates, and makes that of the default size. Blocks.
pub(crate) fn prepare_templates(templates: &Path) -> Result<(), Fault> {
    folders::private_folder(templates)?;
    for entry in fs::read_dir(templates).map_err(Fault::file("list", templates))? {
        let entry = entry.map_err(Fault::file("list", templates))?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_file(entry.path()).map_err(Fault::file("remove", &entry.path()))?;
        }
    }
    template(templates, DEFAULT_GIB).map(drop)
}

/// Makes and mounts the storage, unless it is mounted. Blocks.
pub(crate) fn prepare(task_dir: &Path, templates: &Path, size_gib: u32) -> Result<(), Fault> {
    let (dir, image) = (dir(task_dir), task_dir.join("storage.img"));
    if mounts::is_mounted(&dir)? {
        return Ok(());
    }
    folders::private_folder(&dir)?;
    let template = template(templates, size_gib)?;
    let file = copy(&template, &image)?;
    let device = loop_device::attach(&file, &image)?;
    // Set-user-id files and device nodes that containers make are nothing to the host.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mounted = nix::mount::mount(Some(device.path()), &dir, Some("ext4"), flags, Some(MOUNT_OPTIONS));
    mounted.map_err(|errno| {
        // It may be the template that is broken; the next launch makes another.
        fs::remove_file(&template).ok();
        Fault::file("mount", &image)(errno.into())
    })
}

/// Takes it away; the file goes with the task's folder.
pub(crate) fn remove(task_dir: &Path) -> Result<(), Fault> {
    mounts::remove(&dir(task_dir))
}

/// An empty file system of this size, made when it is not there.
fn template(templates: &Path, size_gib: u32) -> Result<PathBuf, Fault> {
    let path = templates.join(format!("{FORMAT}-{size_gib}.img"));
    if path.exists() {
        return Ok(path);
    }
    let draft = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(templates);
    let draft = draft.map_err(Fault::file("create a file in", templates))?;
    draft.as_file().set_len(u64::from(size_gib) << 30).map_err(Fault::file("size", draft.path()))?;
    run(Command::new("mkfs.ext4").args(FORMAT_OPTIONS).arg(draft.path()), "make a file system in", &path)?;
    draft.as_file().sync_all().map_err(Fault::file("write", &path))?;
    draft.persist(&path).map_err(|fault| Fault::file("write", &path)(fault.error))?;
    Ok(path)
}

/// Copies a sparse file: its data, and none of its holes. On file systems that can, the blocks are shared.
fn copy(template: &Path, to: &Path) -> Result<File, Fault> {
    let mut from = File::open(template).map_err(Fault::file("open", template))?;
    let fault = |cause: io::Error| Fault::file("write", to)(cause);
    let mut options = File::options();
    let mut into = options.read(true).write(true).create(true).truncate(true).open(to).map_err(fault)?;
    let size = from.metadata().map_err(Fault::file("look at", template))?.len();
    into.set_len(size).map_err(fault)?;
    let mut at = 0;
    loop {
        let start = match lseek(&from, at, Whence::SeekData) {
            Ok(start) => start,
            // There is no more data.
            Err(Errno::ENXIO) => return Ok(into),
            Err(errno) => return Err(Fault::file("read", template)(errno.into())),
        };
        at = lseek(&from, start, Whence::SeekHole).map_err(|errno| Fault::file("read", template)(errno.into()))?;
        let (first, length) = (start.unsigned_abs(), (at - start).unsigned_abs());
        from.seek(SeekFrom::Start(first)).map_err(Fault::file("read", template))?;
        into.seek(SeekFrom::Start(first)).map_err(fault)?;
        // Inside the kernel, by `copy_file_range`.
        io::copy(&mut io::Read::take(&from, length), &mut into).map_err(fault)?;
    }
}

/// The mounts of a container's file system, with what it writes kept in the task's storage.
pub(crate) fn move_writes(task_dir: &Path, container: &str, mounts: Mounts) -> Result<Mounts, Fault> {
    let own = dir(task_dir).join("containers").join(container);
    let (upper, work) = (own.join("upper"), own.join("work"));
    // The first is the container's root folder.
    folders::open_folder(&upper)?;
    folders::private_folder(&work)?;
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
        failed(format!("{program} does not run ({cause}); install the package e2fsprogs on the host"))
    })?;
    match said.status.success() {
        true => Ok(()),
        false => Err(failed(format!("{program}: {}", String::from_utf8_lossy(&said.stderr).trim()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mount(kind: &str, source: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { r#type: kind.to_owned(), source: source.to_owned(), options, ..Mount::default() }
    }

    #[test]
    fn a_copy_has_the_data_and_the_holes_of_its_template() {
        use std::io::{Read, Write};
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let (template, to) = (dir.path().join("template"), dir.path().join("copy"));
        let mut file = File::create(&template).unwrap();
        file.set_len(1 << 30).unwrap();
        for at in [0, 300 << 20, (1 << 30) - 4096] {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[7; 4096]).unwrap();
        }
        let mut copied = copy(&template, &to).unwrap();
        let found = copied.metadata().unwrap();
        assert_eq!((found.len(), found.blocks() * 512), (1 << 30, 3 * 4096));
        for at in [0, 300 << 20, (1 << 30) - 4096] {
            let mut block = [0; 4096];
            copied.seek(SeekFrom::Start(at)).unwrap();
            copied.read_exact(&mut block).unwrap();
            assert_eq!(block, [7; 4096]);
        }
    }

    #[test]
    fn a_template_is_made_once_and_what_is_left_of_unfinished_ones_goes() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(format!("{UNFINISHED}1"));
        fs::write(&left, "").unwrap();
        prepare_templates(dir.path()).unwrap();
        assert!(!left.exists());
        let made = template(dir.path(), DEFAULT_GIB).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().len(), 20 << 30);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
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
