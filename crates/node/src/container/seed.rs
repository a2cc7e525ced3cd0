// SPDX-License-Identifier: Apache-2.0
//! First contents of volumes. What an image has where a volume that does not exist yet is mounted is copied into it, with
//! owners and modes, before any container of the task starts; whoever mounts the volume later finds it as it is.
//!
//! Docker does so for every volume of its own, Fargate where the image names the path as a volume.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_types::container::VolumeSource;
use berth_types::intent::{LaunchType, TaskIntent};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::inside;
use crate::images::ImageConfig;
use crate::{Fault, folders};

/// A volume, and whose image is asked for its first content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seed {
    /// Name of the volume in the task.
    pub volume: String,
    /// Containers by index with their path, in the order in which they are asked.
    pub sources: Vec<(usize, String)>,
}

/// The volumes of a task that an image may fill; `images` are those of its containers, in order.
pub(crate) fn seeds(task: &TaskIntent, images: &[&ImageConfig]) -> Vec<Seed> {
    let is_source = |index: usize, path: &str| match task.launch_type {
        LaunchType::Ec2 => true,
        LaunchType::Fargate => {
            let named = images.get(index).and_then(|image| image.volumes.as_ref());
            named.is_some_and(|volumes| volumes.keys().any(|volume| Path::new(volume) == Path::new(path)))
        }
    };
    let is_made_here = |source: &VolumeSource| match source {
        VolumeSource::Empty => true,
        VolumeSource::Shared { autoprovision, .. } => *autoprovision,
        VolumeSource::Host(_) => false,
    };
    let mut seeds = Vec::new();
    for volume in task.volumes.iter().filter(|volume| is_made_here(&volume.source)) {
        let mut sources = Vec::new();
        for (index, container) in task.containers.iter().enumerate() {
            let here = container.mounts.iter().filter(|mount| mount.volume == volume.name);
            sources.extend(here.filter(|mount| is_source(index, &mount.path)).map(|mount| (index, mount.path.clone())));
        }
        if !sources.is_empty() {
            seeds.push(Seed { volume: volume.name.clone(), sources });
        }
    }
    seeds
}

/// The content of an image at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathContent {
    /// No folder.
    Nothing,
    /// A folder with nothing in it; its owner and mode were copied.
    Empty,
    /// A folder with something in it; all was copied.
    Content,
}

/// Where first content is gathered: in the folder a task writes to, where its volumes are too.
fn staging(writable_dir: &Path) -> PathBuf {
    writable_dir.join("seed")
}

/// Forgets what was gathered and not used, also by a node before this one. Blocks.
pub(crate) fn begin(writable_dir: &Path) -> Result<(), Fault> {
    folders::remove_folder(&staging(writable_dir))
}

/// Gathers what the image with these layers, the topmost first, has at `path`. Blocks.
pub(crate) fn gather(writable_dir: &Path, layers: &[PathBuf], path: &str) -> Result<PathContent, Fault> {
    let (view, into) = (writable_dir.join("seed-view"), staging(writable_dir));
    fs::create_dir_all(&view).map_err(Fault::file("create", &view))?;
    // A thread of its own, because its mounts must be invisible to others and end with it.
    let copied = std::thread::scope(|scope| {
        let copy = || -> Result<PathContent, Fault> {
            let root = match layers {
                [only] => only.as_path(),
                _ => show_layers(layers, &view)?,
            };
            match open_folder(root, path)? {
                Some(folder) => copy(&folder, path, &into),
                None => Ok(PathContent::Nothing),
            }
        };
        scope.spawn(copy).join()
    });
    copied.unwrap_or(Err(Fault::Ended("copier of first contents")))
}

/// Makes what was gathered a volume, unless it exists by now. Blocks.
pub(crate) fn settle(writable_dir: &Path, volume: &Path) -> Result<(), Fault> {
    let gathered = staging(writable_dir);
    if !gathered.exists() {
        return Ok(());
    }
    if let Some(parent) = volume.parent() {
        folders::open_folder(parent)?;
    }
    match renameat2(AT_FDCWD, &gathered, AT_FDCWD, volume, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        // Another task filled it meanwhile.
        Err(Errno::EEXIST) => folders::remove_folder(&gathered),
        Err(errno) => Err(Fault::file("make the volume", volume)(errno.into())),
    }
}

/// Mounts layers on top of each other, read-only, for the calling thread and its children alone.
fn show_layers<'a>(layers: &[PathBuf], view: &'a Path) -> Result<&'a Path, Fault> {
    let fault = |step: &'static str| move |errno: Errno| Fault::file(step, view)(errno.into());
    unshare(CloneFlags::CLONE_NEWNS).map_err(fault("make a mount namespace for"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(fault("keep to itself"))?;
    // The options of a mount must fit in a page: names are given as seen from the folder of all layers.
    let base = layers.first().and_then(|layer| layer.parent()?.parent()).unwrap_or(Path::new("/"));
    nix::unistd::chdir(base).map_err(fault("go to the layers for"))?;
    let names: Vec<String> =
        layers.iter().map(|layer| layer.strip_prefix(base).unwrap_or(layer).display().to_string()).collect();
    let options = format!("lowerdir={}", names.join(":"));
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount(Some("overlay"), view, Some("overlay"), flags, Some(options.as_str())).map_err(fault("mount an image at"))?;
    Ok(view)
}

/// A folder of an image.
fn open_folder(root: &Path, path: &str) -> Result<Option<OwnedFd>, Fault> {
    match inside::open(root, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(errno) => Err(Fault::file("open", &root.join(path.trim_start_matches('/')))(errno.into())),
    }
}

fn copy(folder: &OwnedFd, path: &str, into: &Path) -> Result<PathContent, Fault> {
    let source = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let mut entries = fs::read_dir(&source).map_err(Fault::file("read", Path::new(path)))?;
    let found = if entries.next().is_some() { PathContent::Content } else { PathContent::Empty };
    let fault = |cause| Fault::system(format!("copy {path} of the image to the volume"))(cause);
    let mut cp = Command::new("cp");
    cp.args(["--archive", "--no-target-directory", "--", "."]).arg(into).current_dir(&source);
    let done = cp.output().map_err(fault)?;
    match done.status.success() {
        true => Ok(found),
        false => Err(fault(std::io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::container::spec::tests::{container, task};
    use berth_types::container::VolumeIntent;
    use berth_types::intent::{ContainerIntent, MountIntent};

    #[test]
    fn docker_fills_its_volumes_and_fargate_those_the_image_names() {
        let mount = |volume: &str, path: &str| MountIntent {
            volume: volume.to_owned(),
            path: path.to_owned(),
            read_only: false,
        };
        let mounts = vec![mount("own", "/a"), mount("own", "/b/"), mount("host", "/c")];
        let host = VolumeIntent { name: "host".to_owned(), source: VolumeSource::Host("/srv".to_owned()) };
        let volumes = vec![VolumeIntent::empty("own"), host, VolumeIntent::empty("unused")];
        let containers = vec![container(), ContainerIntent { mounts, ..container() }];
        let fargate = TaskIntent { volumes, containers, ..task() };
        let ec2 = TaskIntent { launch_type: LaunchType::Ec2, ..fargate.clone() };
        let plain = ImageConfig::default();
        let named = Some([("/b".to_owned(), serde_json::json!({}))].into());
        let naming = ImageConfig { volumes: named, ..ImageConfig::default() };
        let own = |sources: &[(usize, &str)]| {
            let sources = sources.iter().map(|(index, path)| (*index, (*path).to_owned())).collect();
            vec![Seed { volume: "own".to_owned(), sources }]
        };
        assert_eq!(seeds(&ec2, &[&plain, &plain]), own(&[(1, "/a"), (1, "/b/")]));
        assert_eq!(seeds(&fargate, &[&plain, &naming]), own(&[(1, "/b/")]));
        assert_eq!(seeds(&fargate, &[&naming, &plain]), []);
    }

    #[test]
    fn links_of_an_image_do_not_lead_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (image, writable_dir) = (dir.path().join("image"), dir.path().join("task"));
        fs::create_dir_all(image.join("real/deep")).unwrap();
        fs::write(image.join("real/deep/word"), "inside").unwrap();
        std::os::unix::fs::symlink("../../../../../real", image.join("up")).unwrap();
        std::os::unix::fs::symlink("/etc", image.join("out")).unwrap();
        let layers = [image];
        assert_eq!(gather(&writable_dir, &layers, "/out").unwrap(), PathContent::Nothing);
        assert_eq!(
            gather(&writable_dir, &layers, "/real/deep/word").unwrap(),
            PathContent::Nothing,
            "a file is no folder"
        );
        assert_eq!(gather(&writable_dir, &layers, "/up").unwrap(), PathContent::Content);
        let volume = writable_dir.join("volumes/v");
        settle(&writable_dir, &volume).unwrap();
        assert_eq!(fs::read_to_string(volume.join("deep/word")).unwrap(), "inside");
        fs::create_dir(layers[0].join("void")).unwrap();
        assert_eq!(gather(&writable_dir, &layers, "/void").unwrap(), PathContent::Empty);
        settle(&writable_dir, &volume).unwrap();
        assert!(volume.join("deep/word").exists() && !staging(&writable_dir).exists(), "what is there stays");
    }
}
