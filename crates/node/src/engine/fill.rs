// SPDX-License-Identifier: Apache-2.0
//! Volumes get their first content from images, before the first container of the task is made.

use std::path::{Path, PathBuf};

use super::event::LaunchProgress;
use super::launch::{LaunchFault, TaskImages, TaskLaunch};
use super::reason::RuntimeStep;
use crate::blocking::blocking;
use crate::container::seed::{self, PathContent, Seed};
use crate::container::{files, users};
use crate::images::Image;
use crate::{Fault, Step};

impl TaskLaunch {
    /// Fills the volumes of the task that do not exist yet and that an image has something for.
    pub(super) async fn fill_volumes(&self, images: &TaskImages) -> Result<(), LaunchFault> {
        for seed in seed::seeds(&self.record.intent, &images.configs()) {
            let Some(volume) = self.volume_dir(&seed.volume).filter(|dir| !dir.exists()) else { continue };
            // Without a container that cannot be created because of it, the next one's image is asked.
            while self.settle(self.fill(&seed, &volume, images).await).await?.is_none() {}
        }
        Ok(())
    }

    fn volume_dir(&self, name: &str) -> Option<PathBuf> {
        let volume = self.record.intent.volumes.iter().find(|volume| volume.name == name)?;
        Some(files::volume_place(&self.writable_dir(), &self.host.config.shared_volumes_dir(), volume))
    }

    fn writable_dir(&self) -> PathBuf {
        files::writable_dir(&self.host.config.task_dir(self.record.id.as_str()), &self.record.intent)
    }

    /// The first image that has something decides; of those that have an empty folder the last.
    async fn fill(&self, seed: &Seed, volume: &Path, images: &TaskImages) -> Result<(), LaunchFault> {
        let writable_dir = self.writable_dir();
        let has_image = |(index, path): &(usize, String)| {
            let image = images.0.get(*index)?.clone().filter(|_| !self.without.has(*index))?;
            Some((*index, path.clone(), image))
        };
        let sources: Vec<_> = seed.sources.iter().filter_map(has_image).collect();
        let cannot = |index| move |fault| LaunchFault::container(RuntimeStep::Create, index, fault);
        let first = sources.first().map(|(index, ..)| *index);
        let nobody_can = |fault| match first {
            Some(index) => cannot(index)(fault),
            None => LaunchFault::task(fault),
        };
        let dir = writable_dir.clone();
        blocking("filler of volumes", move || seed::begin(&dir)).await.map_err(nobody_can)?;
        for (index, path, image) in sources {
            let layers = self.image_layers(index, &image).await.map_err(cannot(index))?;
            let dir = writable_dir.clone();
            let found = blocking("filler of volumes", move || seed::gather(&dir, &layers, &path))
                .await
                .map_err(cannot(index))?;
            if found == PathContent::Content {
                break;
            }
        }
        self.host.config.pass(Step::VolumeGathered);
        let volume = volume.to_owned();
        blocking("filler of volumes", move || seed::settle(&writable_dir, &volume)).await.map_err(nobody_can)?;
        self.host.config.pass(Step::VolumeFilled);
        Ok(())
    }

    /// The folders of an image's layers, the topmost first.
    async fn image_layers(&self, index: usize, image: &Image) -> Result<Vec<PathBuf>, Fault> {
        // The snapshot is the container's, which makes it again in a moment; that it may exist is noted before.
        self.tell(LaunchProgress::Creating(index)).await;
        let id = self.record.containers[index].runtime_id.as_str();
        let mounts = self.host.containerd.prepare_snapshot(id, &image.chain).await?;
        let layers = mounts.iter().flat_map(|mount| {
            let read_only: Vec<String> =
                mount.options.iter().filter(|option| !option.starts_with("upperdir=")).cloned().collect();
            let layers = users::layers(&mount.r#type, &mount.source, &read_only);
            layers.into_iter().map(PathBuf::from).collect::<Vec<_>>()
        });
        Ok(layers.collect())
    }
}
