//! Volumes get their first content from images, before the first container of the task is made.

use std::path::PathBuf;
use std::sync::Arc;

use super::actor::Progress;
use super::launch::{Launch, LaunchFault};
use crate::blocking::blocking;
use crate::container::seed::{self, Found, Seed};
use crate::container::{files, users};
use crate::images::{Image, ImageConfig};
use crate::{Fault, Step};

impl Launch {
    /// Fills the volumes of the task that do not exist yet and that an image has something for.
    pub(super) async fn fill_volumes(&self, images: &[Arc<Image>]) -> Result<(), LaunchFault> {
        let configs: Vec<&ImageConfig> = images.iter().map(|image| &image.config).collect();
        for seed in seed::seeds(&self.record.intent, &configs) {
            let Some(volume) = self.volume_dir(&seed.volume).filter(|dir| !dir.exists()) else { continue };
            self.fill(&seed, volume, images).await?;
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
    async fn fill(&self, seed: &Seed, volume: PathBuf, images: &[Arc<Image>]) -> Result<(), LaunchFault> {
        let writable_dir = self.writable_dir();
        let first = seed.sources.first().map_or(0, |(index, _)| *index);
        let cannot = |index| move |fault| LaunchFault::container("CannotCreateContainerError", index, fault);
        let dir = writable_dir.clone();
        blocking("filler of volumes", move || seed::begin(&dir)).await.map_err(cannot(first))?;
        for (index, path) in &seed.sources {
            let Some(image) = images.get(*index) else { continue };
            let layers = self.image_layers(*index, image).await.map_err(cannot(*index))?;
            let (dir, path) = (writable_dir.clone(), path.clone());
            let found = blocking("filler of volumes", move || seed::gather(&dir, &layers, &path))
                .await
                .map_err(cannot(*index))?;
            if found == Found::Content {
                break;
            }
        }
        self.host.config.pass(Step::VolumeGathered);
        blocking("filler of volumes", move || seed::settle(&writable_dir, &volume)).await.map_err(cannot(first))?;
        self.host.config.pass(Step::VolumeFilled);
        Ok(())
    }

    /// The folders of an image's layers, the topmost first.
    async fn image_layers(&self, index: usize, image: &Image) -> Result<Vec<PathBuf>, Fault> {
        // The snapshot is the container's, which makes it again in a moment; that it may exist is noted before.
        self.tell(Progress::Creating(index)).await;
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
