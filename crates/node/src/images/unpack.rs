// SPDX-License-Identifier: Apache-2.0
//! From blobs that are here to an image that is ready to run.

use super::flights::Flights;
use super::manifest::{self, DOCUMENT_BYTES_MAX, ImageConfig, Manifest};
use crate::blocking::blocking;
use crate::containerd::Containerd;
use crate::{Fault, ImageFault, ImageLimits};

/// An image ready to run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Image {
    /// Full name, e.g. `docker.io/library/nginx:latest`.
    pub name: String,
    /// Digest of what the name means: of its manifest, or of the index that leads to it.
    pub digest: String,
    /// Digest of its configuration.
    pub config_digest: String,
    /// Length of its configuration.
    pub config_bytes: usize,
    /// Snapshot with all its layers.
    pub chain: String,
    /// How to run it.
    pub config: ImageConfig,
}

/// Unpacks what is not unpacked yet of images whose blobs are all here.
pub(super) struct Unpacking<'a> {
    pub containerd: &'a Containerd,
    pub flights: &'a Flights<()>,
    pub limits: &'a ImageLimits,
}

impl Unpacking<'_> {
    /// Unpacks the image whose manifest is here, and says how to run it.
    pub async fn image(&self, name: &str, digest: &str, manifest: Manifest) -> Result<Image, Fault> {
        let text = self.containerd.read_content(&manifest.config.digest, DOCUMENT_BYTES_MAX).await?;
        let config_bytes = text.len();
        let (config, diff_ids, chains) = blocking("reader of configurations", move || {
            let (config, diff_ids) = manifest::read_config(&text)?;
            let chains = manifest::chain_ids(&diff_ids);
            Ok((config, diff_ids, chains))
        })
        .await?;
        if diff_ids.len() != manifest.layers.len() {
            let (name, layers) = (name.to_owned(), manifest.layers.len());
            return Err(ImageFault::LayerCount { name, layers, diff_ids: diff_ids.len() }.into());
        }
        let chain = chains.last().cloned().ok_or_else(|| ImageFault::NoLayers(name.to_owned()))?;
        if !self.containerd.has_snapshot(&chain).await? {
            self.layers(&manifest, &diff_ids, &chains).await?;
        }
        self.containerd.label_content(&manifest.config.digest, manifest::config_references(&chain)).await?;
        let config_digest = manifest.config.digest;
        Ok(Image { name: name.to_owned(), digest: digest.to_owned(), config_digest, config_bytes, chain, config })
    }

    async fn layers(&self, manifest: &Manifest, diff_ids: &[String], chains: &[String]) -> Result<(), Fault> {
        let mut parent = "";
        let mut left = self.limits.unpacked_bytes;
        for ((layer, diff_id), chain) in manifest.layers.iter().zip(diff_ids).zip(chains) {
            let _flight = self.flights.lock(chain).await;
            if !self.containerd.has_snapshot(chain).await? {
                let unpacked = self.containerd.unpack_layer(layer, diff_id, parent, chain, left).await?;
                unpacked.ok_or(ImageFault::UnpackedBytes(self.limits.unpacked_bytes))?;
            }
            let bytes = self.containerd.snapshot_bytes(chain).await?;
            left = left.checked_sub(bytes).ok_or(ImageFault::UnpackedBytes(self.limits.unpacked_bytes))?;
            parent = chain;
        }
        Ok(())
    }
}
