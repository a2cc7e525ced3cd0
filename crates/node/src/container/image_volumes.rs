//! Volumes that an image names and no mount of the container covers: each is an empty volume of its own, gone with the
//! task, as Docker makes them. What a container writes there does not land in its root, which may be read-only.

use std::path::Path;

use berth_types::container::VolumeIntent;
use berth_types::intent::{ContainerIntent, MountIntent, TaskIntent};

use super::spec;
use crate::images::ImageConfig;

/// Adds these volumes to a task; `images` are those of its containers, in order. Answers the same each time.
pub(crate) fn add(task: &mut TaskIntent, images: &[&ImageConfig]) {
    let mut gained = vec![None; task.containers.len()];
    for index in 0..task.containers.len() {
        add_to(task, index, images, &mut gained);
    }
}

/// Adds to one container what it takes from others, which have theirs before it, then what its own image names. The
/// mounts it gains are noted. Containers never take volumes from each other in a circle; one would get none.
fn add_to(task: &mut TaskIntent, index: usize, images: &[&ImageConfig], gained: &mut [Option<Vec<MountIntent>>]) {
    if gained[index].is_some() {
        return;
    }
    gained[index] = Some(Vec::new());
    let mut mounts = Vec::new();
    let mut give = |container: &mut ContainerIntent, mount: MountIntent| {
        container.mounts.push(mount.clone());
        mounts.push(mount);
    };
    for from in task.containers[index].volumes_from.clone() {
        let Some(source) = task.containers.iter().position(|one| one.name == from.container) else { continue };
        add_to(task, source, images, gained);
        for mount in gained[source].iter().flatten() {
            if !is_covered(&task.containers[index], &mount.path) {
                let read_only = mount.read_only || from.read_only;
                give(&mut task.containers[index], MountIntent { read_only, ..mount.clone() });
            }
        }
    }
    let named = images.get(index).and_then(|image| image.volumes.as_ref()).into_iter().flat_map(|named| named.keys());
    for path in named.filter(|path| is_below_root(path)) {
        if !is_covered(&task.containers[index], path) {
            let volume = free_name(&task.volumes);
            task.volumes.push(VolumeIntent::empty(&volume));
            give(&mut task.containers[index], MountIntent { volume, path: path.clone(), read_only: false });
        }
    }
    gained[index] = Some(mounts);
}

fn is_below_root(path: &str) -> bool {
    Path::new(path).is_absolute() && Path::new(path) != Path::new("/")
}

fn is_covered(container: &ContainerIntent, path: &str) -> bool {
    spec::mounted_paths(container).any(|mounted| mounted == Path::new(path))
}

/// A name that no volume of the task has.
fn free_name(volumes: &[VolumeIntent]) -> String {
    let is_free = |name: &String| volumes.iter().all(|volume| volume.name != *name);
    (0..).map(|number| format!("of-image-{number}")).find(is_free).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::container::spec::tests::{container, task};
    use berth_types::container::Tmpfs;
    use berth_types::intent::VolumesFrom;

    #[test]
    fn a_path_of_the_image_is_a_volume_unless_something_is_mounted_there() {
        let paths = ["/data", "/logs/", "/quick", "relative", "/"];
        let volumes = Some(paths.map(|path| (path.to_owned(), serde_json::json!({}))).into());
        let (image, plain) = (ImageConfig { volumes, ..ImageConfig::default() }, ImageConfig::default());
        let mounts = vec![MountIntent { volume: "of-image-0".to_owned(), path: "/logs".to_owned(), read_only: false }];
        let tmpfs = Tmpfs { container_path: "/quick".to_owned(), size_mib: 1, mount_options: None };
        let mut first = ContainerIntent { mounts, ..container() };
        first.linux.tmpfs = Some(vec![tmpfs]);
        let containers = vec![first, container(), container()];
        let mut task = TaskIntent { volumes: vec![VolumeIntent::empty("of-image-0")], containers, ..task() };
        add(&mut task, &[&image, &plain, &image]);
        let shown = |at: usize| -> Vec<String> {
            task.containers[at].mounts.iter().map(|mount| format!("{} {}", mount.volume, mount.path)).collect()
        };
        assert_eq!(shown(0), ["of-image-0 /logs", "of-image-1 /data"]);
        assert!(shown(1).is_empty());
        assert_eq!(shown(2), ["of-image-2 /data", "of-image-3 /logs/", "of-image-4 /quick"]);
        assert_eq!(task.volumes.len(), 5);
    }

    #[test]
    fn who_takes_volumes_from_another_has_those_of_its_image_too() {
        let volumes = |path: &str| Some([(path.to_owned(), serde_json::json!({}))].into());
        let image = |path| ImageConfig { volumes: volumes(path), ..ImageConfig::default() };
        let named = |name: &str, from: &[(&str, bool)]| {
            let from = from.iter().map(|(container, read_only)| VolumesFrom {
                container: (*container).to_owned(),
                read_only: *read_only,
            });
            ContainerIntent { name: name.to_owned(), volumes_from: from.collect(), ..container() }
        };
        let mount = MountIntent { volume: "own".to_owned(), path: "/data".to_owned(), read_only: false };
        let covered = ContainerIntent { mounts: vec![mount], ..named("covered", &[("store", false)]) };
        let containers =
            vec![named("far", &[("near", false)]), named("near", &[("store", true)]), named("store", &[]), covered];
        let mut task = TaskIntent { volumes: Vec::new(), containers, ..task() };
        let (data, logs) = (image("/data"), image("/logs"));
        add(&mut task, &[&data, &logs, &data, &logs]);
        let shown = |at: usize| -> Vec<String> {
            let shown = |mount: &MountIntent| format!("{} {} {}", mount.volume, mount.path, mount.read_only);
            task.containers[at].mounts.iter().map(shown).collect()
        };
        assert_eq!(shown(0), ["of-image-0 /data true", "of-image-1 /logs false"]);
        assert_eq!(shown(1), ["of-image-0 /data true", "of-image-1 /logs false"]);
        assert_eq!(shown(2), ["of-image-0 /data false"]);
        assert_eq!(shown(3), ["own /data false", "of-image-2 /logs false"]);
    }

    #[test]
    fn paths_are_compared_as_the_kernel_reads_them() {
        let mount = MountIntent { volume: "v".to_owned(), path: "/a//b".to_owned(), read_only: false };
        assert!(is_covered(&ContainerIntent { mounts: vec![mount], ..container() }, "/a/b/"));
        assert!(!is_below_root("//") && is_below_root("//a"));
    }
}
