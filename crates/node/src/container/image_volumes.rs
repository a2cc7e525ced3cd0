//! Volumes that an image names and no mount of the container covers: each is an empty volume of its own, gone with the
//! task, as Docker makes them. What a container writes there does not land in its root, which may be read-only.

use std::path::Path;

use berth_types::container::VolumeIntent;
use berth_types::intent::{ContainerIntent, MountIntent, TaskIntent};

use super::spec;
use crate::images::ImageConfig;

/// Adds these volumes to a task; `images` are those of its containers, in order. Answers the same each time.
pub(crate) fn add(task: &mut TaskIntent, images: &[&ImageConfig]) {
    for (container, image) in task.containers.iter_mut().zip(images) {
        let named = image.volumes.iter().flat_map(|volumes| volumes.keys());
        let uncovered: Vec<&String> =
            named.filter(|path| is_below_root(path) && !is_covered(container, path)).collect();
        for path in uncovered {
            let volume = free_name(&task.volumes);
            container.mounts.push(MountIntent { volume: volume.clone(), path: path.clone(), read_only: false });
            task.volumes.push(VolumeIntent::empty(&volume));
        }
    }
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
    fn paths_are_compared_as_the_kernel_reads_them() {
        let mount = MountIntent { volume: "v".to_owned(), path: "/a//b".to_owned(), read_only: false };
        assert!(is_covered(&ContainerIntent { mounts: vec![mount], ..container() }, "/a/b/"));
        assert!(!is_below_root("//") && is_below_root("//a"));
    }
}
