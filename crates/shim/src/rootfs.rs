// SPDX-License-Identifier: Apache-2.0
//! Mounting a container's root file system, as containerd describes it.

use std::io;
use std::path::{Path, PathBuf};

use containerd_shim_protos::types::mount::Mount;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::fault::Fault;

/// The kernel takes one page of data with a mount.
const DATA_BYTES_MAX: usize = 4095;

/// Mounts all at `target`, one on the other; nothing stays if one fails.
pub(crate) fn mount_all(mounts: &[Mount], target: &Path) -> Result<(), Fault> {
    let mounted = mounts.iter().try_for_each(|one| mount_one(one, &target.join(&one.target)));
    mounted.map_err(|cause| {
        unmount_all(target).ok();
        Fault::file("mount", target)(cause)
    })
}

/// Unmounts everything at a path; processes that use a mount keep it until they end.
pub(crate) fn unmount_all(target: &Path) -> Result<(), Fault> {
    loop {
        match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(cause) => return Err(Fault::file("unmount", target)(cause)),
        }
    }
}

fn mount_one(one: &Mount, target: &Path) -> io::Result<()> {
    let (flags, data) = parse(&one.options);
    if data.join(",").len() > DATA_BYTES_MAX {
        let (dir, data) = shortened(&data).ok_or_else(|| io::Error::other("the mount has too many options"))?;
        return from_dir(&dir, || mount_with(one, target, flags, &data.join(",")));
    }
    mount_with(one, target, flags, &data.join(","))?;
    if flags.contains(MsFlags::MS_BIND | MsFlags::MS_RDONLY) {
        let again = flags | MsFlags::MS_REMOUNT;
        mount(None::<&str>, target, None::<&str>, again, None::<&str>)?;
    }
    Ok(())
}

fn mount_with(one: &Mount, target: &Path, flags: MsFlags, data: &str) -> io::Result<()> {
    let data = Some(data).filter(|data| !data.is_empty());
    Ok(mount(Some(one.source.as_str()), target, Some(one.type_.as_str()), flags, data)?)
}

/// Runs `work` in another working folder. Nothing else in this process may depend on the working folder meanwhile.
fn from_dir(dir: &Path, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let before = std::env::current_dir()?;
    std::env::set_current_dir(dir)?;
    let done = work();
    std::env::set_current_dir(before)?;
    done
}

/// Options with a meaning of their own, and those that are the file system's.
fn parse(options: &[String]) -> (MsFlags, Vec<&str>) {
    let (mut flags, mut data) = (MsFlags::empty(), Vec::new());
    for option in options {
        let flag = match option.as_str() {
            "ro" => MsFlags::MS_RDONLY,
            "bind" => MsFlags::MS_BIND,
            "rbind" => MsFlags::MS_BIND | MsFlags::MS_REC,
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "noatime" => MsFlags::MS_NOATIME,
            "nodiratime" => MsFlags::MS_NODIRATIME,
            "relatime" => MsFlags::MS_RELATIME,
            "sync" => MsFlags::MS_SYNCHRONOUS,
            "rw" | "defaults" => MsFlags::empty(),
            other => {
                data.push(other);
                MsFlags::empty()
            }
        };
        flags |= flag;
    }
    (flags, data)
}

/// The same options with the lower folders of an overlay named from a folder they are all in.
fn shortened<'a>(data: &[&'a str]) -> Option<(PathBuf, Vec<std::borrow::Cow<'a, str>>)> {
    let lower = data.iter().find_map(|option| option.strip_prefix("lowerdir="))?;
    let folders: Vec<&Path> = lower.split(':').map(Path::new).collect();
    let shared = folders.first()?.ancestors().skip(1).find(|dir| folders.iter().all(|one| one.starts_with(dir)))?;
    let inside = folders.iter().map(|one| one.strip_prefix(shared).ok()?.to_str()).collect::<Option<Vec<_>>>()?;
    let lower = format!("lowerdir={}", inside.join(":"));
    let options = data.iter().map(|option| match option.starts_with("lowerdir=") {
        true => lower.clone().into(),
        false => (*option).into(),
    });
    Some((shared.to_owned(), options.collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn flags_are_told_from_data() {
        let options = ["index=off", "ro", "rbind", "lowerdir=/a"].map(str::to_owned);
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_BIND | MsFlags::MS_REC;
        assert_eq!(parse(&options), (flags, vec!["index=off", "lowerdir=/a"]));
    }

    #[test]
    fn lower_folders_are_named_from_where_they_all_are() {
        let data = ["index=off", "lowerdir=/s/11/fs:/s/1/fs", "upperdir=/s/12/fs"];
        let (dir, options) = shortened(&data).unwrap();
        assert_eq!(dir, Path::new("/s"));
        assert_eq!(options, ["index=off", "lowerdir=11/fs:1/fs", "upperdir=/s/12/fs"]);
        assert!(shortened(&["size=1"]).is_none());
    }
}
