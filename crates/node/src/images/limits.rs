// SPDX-License-Identifier: Apache-2.0
//! The limits of one image, checked before anything is fetched. Pure.

use super::manifest::{DOCUMENT_BYTES_MAX, Manifest};
use crate::{ImageFault, ImageLimits};

impl ImageLimits {
    /// Refuses an image that says itself that it is beyond the limits.
    pub(super) fn check(&self, manifest: &Manifest) -> Result<(), ImageFault> {
        if manifest.layers.len() > self.layers {
            let (count, limit) = (manifest.layers.len(), self.layers);
            return Err(ImageFault::Layers { count, limit });
        }
        let config = bytes(manifest.config.size);
        if config > DOCUMENT_BYTES_MAX as u64 {
            return Err(ImageFault::ConfigurationBytes { bytes: config, max: DOCUMENT_BYTES_MAX });
        }
        let total = manifest.layers.iter().fold(config, |total, layer| total.saturating_add(bytes(layer.size)));
        if total > self.fetched_bytes {
            return Err(ImageFault::Bytes { bytes: total, limit: self.fetched_bytes });
        }
        Ok(())
    }
}

fn bytes(size: i64) -> u64 {
    u64::try_from(size).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::containerd::Descriptor;

    fn manifest(config: i64, layers: &[i64]) -> Manifest {
        let blob = |size: i64| Descriptor { media_type: String::new(), digest: String::new(), size };
        Manifest { config: blob(config), layers: layers.iter().copied().map(blob).collect() }
    }

    #[test]
    fn an_image_is_refused_by_layers_bytes_and_configuration() {
        let limits = ImageLimits { layers: 2, fetched_bytes: 10, unpacked_bytes: 20 };
        assert!(limits.check(&manifest(1, &[4, 5])).is_ok());
        let refused = |config, layers: &[i64]| limits.check(&manifest(config, layers)).unwrap_err().to_string();
        assert!(refused(1, &[1, 1, 1]).starts_with("the image has 3 layers; this host takes 2"));
        assert!(refused(1, &[5, 5]).starts_with("the image has 11 bytes; this host takes 10"));
        assert!(refused(1, &[i64::MAX, i64::MAX]).contains(" bytes; this host takes 10"));
        assert!(refused(5 << 20, &[]).starts_with("the image's configuration has 5242880 bytes"));
    }
}
