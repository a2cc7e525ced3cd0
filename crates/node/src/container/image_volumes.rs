// SPDX-License-Identifier: Apache-2.0
//! Volumes that an image names and no mount of the container covers: each is an empty volume of its own, gone with the
//! task, as Docker makes them. What a container writes there does not land in its root, which may be read-only.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use berth_types::container::VolumeIntent;
use berth_types::intent::{ContainerIntent, MountIntent, TaskIntent};

use super::spec;
use crate::images::ImageConfig;

/// Adds these volumes to a task; `images` are those of its containers, in order. Answers the same each time.
pub(crate) fn add(task: &mut TaskIntent, images: &[&ImageConfig]) {
    let covered = |container: &ContainerIntent| spec::mounted_paths(container).map(Path::to_owned).collect();
    let mut adding = Adding {
        images,
        covered: task.containers.iter().map(covered).collect(),
        taken: task.volumes.iter().map(|volume| volume.name.clone()).collect(),
        next_number: 0,
        gained: vec![None; task.containers.len()],
        task,
    };
    for index in 0..adding.gained.len() {
        adding.add_to(index);
    }
}

struct Adding<'a> {
    task: &'a mut TaskIntent,
    images: &'a [&'a ImageConfig],
    /// Paths with mounts, by container. Paths are equal if the kernel reads them so.
    covered: Vec<HashSet<PathBuf>>,
    /// Names of the task's volumes.
    taken: HashSet<String>,
    /// Numbers below are taken.
    next_number: usize,
    /// The mounts that were added, by container, once all are.
    gained: Vec<Option<Vec<MountIntent>>>,
}

impl Adding<'_> {
    /// Adds to one container what it takes from others, which have theirs before it, then what its own image names.
    /// Containers never take volumes from each other in a circle; one would get none.
    fn add_to(&mut self, index: usize) {
        if self.gained[index].is_some() {
            return;
        }
        self.gained[index] = Some(Vec::new());
        for from in self.task.containers[index].volumes_from.clone() {
            let Some(source) = self.task.containers.iter().position(|one| one.name == from.container) else { continue };
            self.add_to(source);
            for mount in self.gained[source].clone().unwrap_or_default() {
                let read_only = mount.read_only || from.read_only;
                self.give(index, &mount.path, |_| MountIntent { read_only, ..mount.clone() });
            }
        }
        let images = self.images;
        let named = images.get(index).and_then(|image| image.volumes.as_ref());
        for path in named.into_iter().flat_map(|named| named.keys()).filter(|path| is_below_root(path)) {
            self.give(index, path, |adding| {
                let volume = adding.free_name();
                adding.task.volumes.push(VolumeIntent::empty(&volume));
                MountIntent { volume, path: path.clone(), read_only: false }
            });
        }
    }

    /// Adds a mount, unless something is mounted there.
    fn give(&mut self, index: usize, path: &str, mount: impl FnOnce(&mut Self) -> MountIntent) {
        if self.covered[index].insert(PathBuf::from(path)) {
            let mount = mount(self);
            self.task.containers[index].mounts.push(mount.clone());
            self.gained[index].get_or_insert_default().push(mount);
        }
    }

    /// A name that no volume of the task has.
    fn free_name(&mut self) -> String {
        loop {
            let name = format!("of-image-{}", self.next_number);
            self.next_number += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

fn is_below_root(path: &str) -> bool {
    Path::new(path).is_absolute() && Path::new(path) != Path::new("/")
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
        let containers = vec![ContainerIntent { mounts: vec![mount], ..container() }];
        let mut task = TaskIntent { volumes: Vec::new(), containers, ..task() };
        let volumes = Some([("/a/b/".to_owned(), serde_json::json!({}))].into());
        add(&mut task, &[&ImageConfig { volumes, ..ImageConfig::default() }]);
        assert_eq!(task.containers[0].mounts.len(), 1);
        assert!(!is_below_root("//") && is_below_root("//a"));
    }

    #[test]
    fn ten_containers_with_the_most_volumes_are_done_at_once() {
        let volumes = |at: usize| (0..127).map(move |n| (format!("/v/{at}/{n}"), serde_json::json!({})));
        let images: Vec<ImageConfig> =
            (0..10).map(|at| ImageConfig { volumes: Some(volumes(at).collect()), ..ImageConfig::default() }).collect();
        let from = |at: usize| VolumesFrom { container: format!("c{}", at - 1), read_only: false };
        let containers = (0..10).map(|at| ContainerIntent {
            name: format!("c{at}"),
            volumes_from: (at > 0).then(|| from(at)).into_iter().collect(),
            ..container()
        });
        let mut task = TaskIntent { volumes: Vec::new(), containers: containers.collect(), ..task() };
        add(&mut task, &images.iter().collect::<Vec<_>>());
        assert_eq!(task.volumes.len(), 1270);
        assert_eq!(task.containers[9].mounts.len(), 1270);
    }
}
