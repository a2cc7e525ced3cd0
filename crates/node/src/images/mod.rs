// SPDX-License-Identifier: Apache-2.0
//! Images: from a name in a task definition to an unpacked file system and the way to run it.
//!
//! A name is resolved at its registry each time; what is in the cache is not fetched again; when the registry fails
//! the cached image is used. Not here: the file system of one container (`container`).

mod archive;
mod documents;
mod flights;
mod garbage;
mod limits;
pub mod manifest;
mod name;
mod recent;
mod registry;
mod unpack;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use berth_types::TimestampMs;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use oci_spec::distribution::Reference;

use crate::containerd::{Containerd, Descriptor, Lease};
use crate::{Fault, ImageFault, ImageSettings, PullBehavior};
use documents::{chosen, descriptor, inner_manifest, read_document, read_manifest, store_text};
use flights::Flights;
use manifest::{Document, Manifest};
use recent::Recent;
use registry::Source;
use unpack::Unpacking;

pub use archive::{Loaded, Loading, load};
pub(crate) use manifest::ImageConfig;
pub(crate) use name::parse;
pub(crate) use registry::Registry;
pub(crate) use unpack::Image;

/// Blobs of one image fetched at the same time.
const BLOBS_MAX: usize = 4;
/// How long a registry may take to say what a name means when there is a cached image.
const CACHED_RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take, with all tries, when there is none.
const RESOLVE_LIMIT: Duration = Duration::from_secs(300);
/// How long a pull may take, as the ECS agent has it: a registry could send a byte now and then for ever.
const PULL_LIMIT: Duration = Duration::from_secs(2 * 3600);
/// Images whose reading is remembered, and the longest configuration of one.
const KNOWN_MAX: usize = 512;
const KNOWN_BYTES_MAX: usize = 64 << 10;
/// Registries whose failure, and images whose last use is remembered.
const FAILED_MAX: usize = 256;
const USED_MAX: usize = 4096;
/// How long a registry that failed is not asked again when there is a cached image.
const FAILED_REGISTRY_REST: Duration = Duration::from_secs(30);

/// The images of this host.
pub(crate) struct Images {
    containerd: Containerd,
    registry: Registry,
    /// Read once: images by the digest their name resolves to.
    known: Mutex<Recent<String, Arc<Image>>>,
    failed: Mutex<Recent<String, Instant>>,
    /// By name: those who ask for an image at the same time ask the registry together.
    arrivals: Flights<Option<(Instant, Arc<Image>)>>,
    /// By digest.
    flights: Flights<()>,
    settings: ImageSettings,
    used: Mutex<Recent<String, TimestampMs>>,
}

/// Every image the containerd at `socket` holds, by name.
pub async fn held_images(socket: &Path) -> Result<Vec<Loaded>, Fault> {
    let mut held = Containerd::at(socket).images().await?;
    held.sort();
    Ok(held.into_iter().map(|(name, digest)| Loaded { name, digest }).collect())
}

impl Images {
    pub fn new(containerd: Containerd, registry: Registry, settings: ImageSettings) -> Self {
        Self {
            containerd,
            registry,
            known: Mutex::new(Recent::new(KNOWN_MAX)),
            failed: Mutex::new(Recent::new(FAILED_MAX)),
            arrivals: Flights::default(),
            flights: Flights::default(),
            settings,
            used: Mutex::new(Recent::new(USED_MAX)),
        }
    }

    /// Makes the image a user wrote ready to run.
    pub async fn ready(&self, written: &str) -> Result<Arc<Image>, Fault> {
        let name = parse(written)?;
        let whole = name.whole();
        let image = self.arrivals.share(&whole, || self.find(&name, &whole)).await?;
        self.note_use(&whole);
        Ok(image)
    }

    /// Finds out what the name means now, and has it here.
    async fn find(&self, name: &Reference, whole: &str) -> Result<Arc<Image>, Fault> {
        let cached = self.containerd.image_target(whole).await?;
        if let (true, Some(target)) = (self.settings.pull.prefers_cached(), &cached) {
            match self.open(whole, target).await {
                Ok(image) => return Ok(image),
                Err(fault) => tracing::warn!(image = whole, %fault, "the cached image is not whole"),
            }
        }
        // Without a cached image to fall back on a registry that fails is a pull that fails.
        let cached = cached.filter(|_| self.settings.pull != PullBehavior::Always);
        match (self.resolve(name, cached.is_some()).await, cached) {
            (Ok(resolved), Some(target)) if target.digest == resolved.digest => match self.open(whole, &target).await {
                Ok(image) => Ok(image),
                Err(fault) => {
                    tracing::warn!(image = whole, %fault, "the cached image is not whole; it is fetched again");
                    self.fetch(name, resolved).await
                }
            },
            (Ok(resolved), _) => self.fetch(name, resolved).await,
            (Err(refused), Some(target)) => {
                tracing::warn!(image = whole, %refused, "the registry failed; the cached image is used");
                self.open(whole, &target).await
            }
            (Err(refused), None) => Err(refused),
        }
    }

    async fn resolve(&self, name: &Reference, cached: bool) -> Result<registry::Resolved, Fault> {
        let host = name.registry().to_owned();
        let refused = |why: String| Fault::from(ImageFault::Unresolved { name: name.whole(), why });
        if cached && self.rests(&host) {
            return Err(refused("the registry failed a moment ago".to_owned()));
        }
        let limit = if cached { CACHED_RESOLVE_LIMIT } else { RESOLVE_LIMIT };
        let result = match tokio::time::timeout(limit, self.registry.resolve(name, cached)).await {
            Ok(result) => result,
            Err(_) => Err(registry::Unresolved {
                message: format!("registry {host} did not answer in {} s", limit.as_secs()),
                may_pass: true,
            }),
        };
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(resolved) => {
                failed.remove(&host);
                Ok(resolved)
            }
            Err(why) => {
                if why.may_pass {
                    failed.insert(host, Instant::now());
                }
                Err(refused(why.message))
            }
        }
    }

    fn rests(&self, host: &str) -> bool {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(host).is_some_and(|at| at.elapsed() < FAILED_REGISTRY_REST)
    }

    /// Reads an image of the content store and unpacks it if need be.
    async fn open(&self, name: &str, target: &Descriptor) -> Result<Arc<Image>, Fault> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&target.digest).cloned();
        if let Some(image) = known.filter(|image| image.name == name)
            && self.containerd.has_snapshot(&image.chain).await?
        {
            return Ok(image);
        }
        let manifest = read_manifest(&self.containerd, target).await?;
        let image = self.unpacked(&self.containerd, name, &target.digest, manifest).await?;
        Ok(self.remember(image))
    }

    async fn fetch(&self, name: &Reference, resolved: registry::Resolved) -> Result<Arc<Image>, Fault> {
        let lease = self.containerd.lease("pull").await?;
        let fetched = tokio::time::timeout(PULL_LIMIT, self.fetch_under(&lease, name, &resolved)).await;
        // An image that failed leaves nothing behind; a lease that cannot be ended ends by itself.
        let ended = lease.end().await;
        let hours = PULL_LIMIT.as_secs() / 3600;
        let late = |_| ImageFault::PullTooLong { name: name.whole(), hours };
        let image = fetched.map_err(late)??;
        ended?;
        Ok(self.remember(image))
    }

    async fn fetch_under(&self, lease: &Lease, name: &Reference, got: &registry::Resolved) -> Result<Image, Fault> {
        let (document, media_type) = read_document(got.text.clone()).await?;
        let target = descriptor(media_type, &got.digest, &got.text);
        let (manifest, references) = match document {
            Document::Manifest(manifest) => {
                let references = manifest::manifest_references(&manifest);
                (manifest, references)
            }
            Document::Index(entries) => {
                let chosen = chosen(&entries, &name.whole())?;
                let text = got.source.manifest(&chosen.digest).await?;
                let manifest = inner_manifest(text.clone(), &name.whole()).await?;
                self.store(lease, &chosen, text, manifest::manifest_references(&manifest)).await?;
                (manifest, manifest::index_references(&chosen.digest))
            }
        };
        self.settings.limits.check(&manifest)?;
        let blobs = manifest.layers.iter().chain([&manifest.config]);
        // A layer may occur twice in an image.
        let mut seen = HashSet::new();
        let blobs: Vec<&Descriptor> = blobs.filter(|blob| seen.insert(blob.digest.as_str())).collect();
        let mut fetches = Vec::new();
        for blob in blobs {
            fetches.push(self.fetch_blob(lease, &got.source, blob).boxed());
        }
        let fetches = stream::iter(fetches);
        fetches.buffer_unordered(BLOBS_MAX).try_collect::<Vec<()>>().await?;
        self.store(lease, &target, got.text.clone(), references).await?;
        let image = self.unpacked(&lease.containerd, &name.whole(), &got.digest, manifest).await?;
        lease.containerd.set_image(&name.whole(), &target).await?;
        Ok(image)
    }

    async fn unpacked(
        &self,
        containerd: &Containerd,
        name: &str,
        digest: &str,
        manifest: Manifest,
    ) -> Result<Image, Fault> {
        let unpacking = Unpacking { containerd, flights: &self.flights, limits: &self.settings.limits };
        unpacking.image(name, digest, manifest).await
    }

    async fn fetch_blob(&self, lease: &Lease, source: &Source, blob: &Descriptor) -> Result<(), Fault> {
        let _flight = self.flights.lock(&blob.digest).await;
        if lease.containerd.has_content(&blob.digest).await? {
            return lease.hold(&blob.digest).await;
        }
        lease.containerd.write_content(blob, HashMap::new(), source.blob(blob)).await
    }

    async fn store(
        &self,
        lease: &Lease,
        blob: &Descriptor,
        text: Bytes,
        references: HashMap<String, String>,
    ) -> Result<(), Fault> {
        let _flight = self.flights.lock(&blob.digest).await;
        store_text(&lease.containerd, blob, text, references).await
    }

    fn remember(&self, image: Image) -> Arc<Image> {
        let image = Arc::new(image);
        // A long configuration is read again each time, rather than kept for each image a caller names.
        if image.config_bytes <= KNOWN_BYTES_MAX {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(image.digest.clone(), image.clone());
        }
        image
    }
}

/// The fault of a task whose definition asks for another processor than this machine has.
pub(crate) fn other_processor(asked: Option<&str>) -> Option<ImageFault> {
    let machine = manifest::machine();
    let asked = match asked? {
        "X86_64" => "amd64",
        "ARM64" => "arm64",
        _ => return None,
    };
    (asked != machine.architecture).then(|| ImageFault::OtherProcessor { asked, machine: machine.to_string() })
}
