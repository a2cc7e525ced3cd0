//! Images: from a name in a task definition to an unpacked file system and the way to run it.
//!
//! A name is resolved at its registry each time; what is in the cache is not fetched again; when the registry fails
//! the cached image is used. Not here: the file system of one container (`container`).

mod archive;
mod garbage;
pub mod manifest;
mod registry;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use berth_types::TimestampMs;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use oci_client::Reference;

use crate::containerd::{Containerd, Descriptor, Lease};
use crate::{Fault, ImageSettings, PullBehavior};
use manifest::{Document, Manifest};
use registry::Source;

pub use archive::{Loaded, load};
pub(crate) use manifest::ImageConfig;
pub(crate) use registry::Registry;

/// Blobs of one image fetched at the same time.
const BLOBS_MAX: usize = 4;
/// How long a registry may take to say what a name means when there is a cached image.
const CACHED_RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// How long a registry that failed is not asked again when there is a cached image.
const FAILED_REGISTRY_REST: Duration = Duration::from_secs(30);

/// An image ready to run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Image {
    /// Full name, e.g. `docker.io/library/nginx:latest`.
    pub name: String,
    /// Digest of its manifest.
    pub digest: String,
    /// Digest of its configuration.
    pub config_digest: String,
    /// Snapshot with all its layers.
    pub chain: String,
    /// How to run it.
    pub config: ImageConfig,
}

/// The images of this host.
pub(crate) struct Images {
    containerd: Containerd,
    registry: Registry,
    /// Read once: images by the digest their name resolves to.
    known: Mutex<HashMap<String, Arc<Image>>>,
    failed: Mutex<HashMap<String, Instant>>,
    /// By name: those who ask for an image at the same time ask the registry together.
    arrivals: Flights<Option<(Instant, Arc<Image>)>>,
    /// By digest.
    flights: Flights<()>,
    settings: ImageSettings,
    used: Mutex<HashMap<String, TimestampMs>>,
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
            known: Mutex::default(),
            failed: Mutex::default(),
            arrivals: Flights::default(),
            flights: Flights::default(),
            settings,
            used: Mutex::default(),
        }
    }

    /// Makes the image a user wrote ready to run.
    pub async fn ready(&self, written: &str) -> Result<Arc<Image>, Fault> {
        let name = parse(written)?;
        let whole = name.whole();
        self.arrivals.share(&whole, || self.find(&name, &whole)).await
    }

    /// Finds out what the name means now, and has it here.
    async fn find(&self, name: &Reference, whole: &str) -> Result<Arc<Image>, Fault> {
        let cached = self.containerd.image_target(whole).await?;
        self.note_use(whole);
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
        let refused = |why: String| Fault::Image(format!("failed to resolve ref {}: {why}", name.whole()));
        if cached && self.rests(&host) {
            return Err(refused("the registry failed a moment ago".to_owned()));
        }
        let limit = if cached { CACHED_RESOLVE_LIMIT } else { Duration::from_secs(120) };
        let result = match tokio::time::timeout(limit, self.registry.resolve(name, cached)).await {
            Ok(result) => result,
            Err(_) => Err(registry::Refused {
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
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
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
        let (manifest, digest) = read_manifest(&self.containerd, target).await?;
        let image = unpacked(&self.containerd, name, &digest, &manifest, &self.flights).await?;
        Ok(self.remember(&target.digest, image))
    }

    async fn fetch(&self, name: &Reference, resolved: registry::Resolved) -> Result<Arc<Image>, Fault> {
        let lease = self.containerd.lease("pull").await?;
        let fetched = self.fetch_under(&lease, name, &resolved).await;
        // An image that failed leaves nothing behind; a lease that cannot be ended ends by itself.
        let ended = lease.end().await;
        let image = fetched?;
        ended?;
        Ok(self.remember(&resolved.digest, image))
    }

    async fn fetch_under(&self, lease: &Lease, name: &Reference, got: &registry::Resolved) -> Result<Image, Fault> {
        let (document, media_type) = manifest::read(&got.text).map_err(Fault::Image)?;
        let target = descriptor(media_type, &got.digest, &got.text);
        let (manifest, digest) = match document {
            Document::Manifest(manifest) => (manifest, got.digest.clone()),
            Document::Index(entries) => {
                let machine = manifest::machine();
                let chosen =
                    manifest::choose(&entries, &machine).ok_or_else(|| no_platform(&name.whole(), &machine))?;
                let text = got.source.manifest(&chosen.blob.digest).await?;
                let (Document::Manifest(manifest), _) = manifest::read(&text).map_err(Fault::Image)? else {
                    return Err(Fault::Image(format!("{}: an index inside an index", name.whole())));
                };
                self.store(lease, &chosen.blob, text, manifest::manifest_references(&manifest)).await?;
                (manifest, chosen.blob.digest.clone())
            }
        };
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
        let references = match digest == got.digest {
            true => manifest::manifest_references(&manifest),
            false => manifest::index_references(&digest),
        };
        self.store(lease, &target, got.text.clone(), references).await?;
        let image = unpacked(&lease.containerd, &name.whole(), &digest, &manifest, &self.flights).await?;
        lease.containerd.set_image(&name.whole(), &target).await?;
        Ok(image)
    }

    async fn fetch_blob(&self, lease: &Lease, source: &Source, blob: &Descriptor) -> Result<(), Fault> {
        let _flight = self.flights.lock(&blob.digest).await;
        if lease.containerd.has_content(&blob.digest).await? {
            return lease.hold(&blob.digest).await;
        }
        let bytes = source.blob(blob).await?;
        lease.containerd.write_content(blob, HashMap::new(), bytes).await
    }

    async fn store(
        &self,
        lease: &Lease,
        blob: &Descriptor,
        text: bytes::Bytes,
        references: HashMap<String, String>,
    ) -> Result<(), Fault> {
        let _flight = self.flights.lock(&blob.digest).await;
        store_text(&lease.containerd, blob, text, references).await
    }

    fn remember(&self, digest: &str, image: Image) -> Arc<Image> {
        let image = Arc::new(image);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(digest.to_owned(), image.clone());
        image
    }
}

/// The full form of an image name: `nginx` is `docker.io/library/nginx:latest`.
pub(crate) fn parse(written: &str) -> Result<Reference, Fault> {
    Reference::try_from(written).map_err(|cause| {
        Fault::Image(format!("failed to parse image name {written:?}: invalid reference format ({cause})"))
    })
}

async fn store_text(
    containerd: &Containerd,
    blob: &Descriptor,
    text: bytes::Bytes,
    references: HashMap<String, String>,
) -> Result<(), Fault> {
    if containerd.has_content(&blob.digest).await? {
        return containerd.label_content(&blob.digest, references).await;
    }
    containerd.write_content(blob, references, stream::iter([Ok(text)])).await
}

async fn read_manifest(containerd: &Containerd, target: &Descriptor) -> Result<(Manifest, String), Fault> {
    let text = containerd.read_content(&target.digest).await?;
    match manifest::read(&text).map_err(Fault::Image)?.0 {
        Document::Manifest(manifest) => Ok((manifest, target.digest.clone())),
        Document::Index(entries) => {
            let machine = manifest::machine();
            let chosen = manifest::choose(&entries, &machine).ok_or_else(|| no_platform(&target.digest, &machine))?;
            let text = containerd.read_content(&chosen.blob.digest).await?;
            match manifest::read(&text).map_err(Fault::Image)?.0 {
                Document::Manifest(manifest) => Ok((manifest, chosen.blob.digest.clone())),
                Document::Index(_) => Err(Fault::Image(format!("{}: an index inside an index", target.digest))),
            }
        }
    }
}

/// Unpacks what is not unpacked yet of an image whose blobs are all here.
async fn unpacked(
    containerd: &Containerd,
    name: &str,
    digest: &str,
    manifest: &Manifest,
    flights: &Flights<()>,
) -> Result<Image, Fault> {
    let text = containerd.read_content(&manifest.config.digest).await?;
    let (config, diff_ids) = manifest::read_config(&text).map_err(Fault::Image)?;
    if diff_ids.len() != manifest.layers.len() {
        let problem = format!("{} layers, but {} in its configuration", manifest.layers.len(), diff_ids.len());
        return Err(Fault::Image(format!("{name} has {problem}")));
    }
    let chains = manifest::chain_ids(&diff_ids);
    let chain = chains.last().cloned().ok_or_else(|| Fault::Image(format!("{name} has no layers")))?;
    if !containerd.has_snapshot(&chain).await? {
        let mut parent = "";
        for ((layer, diff_id), chain) in manifest.layers.iter().zip(&diff_ids).zip(&chains) {
            let _flight = flights.lock(chain).await;
            if !containerd.has_snapshot(chain).await? {
                containerd.unpack_layer(layer, diff_id, parent, chain).await?;
            }
            parent = chain;
        }
    }
    containerd.label_content(&manifest.config.digest, manifest::config_references(&chain)).await?;
    Ok(Image {
        name: name.to_owned(),
        digest: digest.to_owned(),
        config_digest: manifest.config.digest.clone(),
        chain,
        config,
    })
}

fn descriptor(media_type: String, digest: &str, text: &[u8]) -> Descriptor {
    Descriptor { media_type, digest: digest.to_owned(), size: i64::try_from(text.len()).unwrap_or(i64::MAX) }
}

fn no_platform(name: &str, machine: &manifest::Platform) -> Fault {
    Fault::Image(format!("{name}: image Manifest does not contain descriptor matching platform '{machine}'"))
}

/// Words for a task whose definition asks for another processor than this machine has.
pub(crate) fn other_processor(asked: Option<&str>) -> Option<String> {
    let machine = manifest::machine();
    let architecture = match asked? {
        "X86_64" => "amd64",
        "ARM64" => "arm64",
        _ => return None,
    };
    (architecture != machine.architecture)
        .then(|| format!("the task definition asks for platform 'linux/{architecture}'; this host runs '{machine}'"))
}

/// One worker at a time for each name or digest; others wait and find the work done.
#[derive(Default)]
pub(crate) struct Flights<T>(Mutex<HashMap<String, Weak<tokio::sync::Mutex<T>>>>);

impl<T: Default> Flights<T> {
    async fn lock(&self, key: &str) -> tokio::sync::OwnedMutexGuard<T> {
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            gates.retain(|_, gate| gate.strong_count() > 0);
            let gate = gates.get(key).and_then(Weak::upgrade).unwrap_or_default();
            gates.insert(key.to_owned(), Arc::downgrade(&gate));
            gate
        };
        gate.lock_owned().await
    }
}

impl<T: Clone> Flights<Option<(Instant, T)>> {
    /// Does the work for a key. Everybody who came before it was begun shares what it brings: for them it is as new as if
    /// they had done it. A failure is not shared.
    async fn share<E, W: Future<Output = Result<T, E>>>(&self, key: &str, work: impl FnOnce() -> W) -> Result<T, E> {
        let asked = Instant::now();
        let mut landed = self.lock(key).await;
        if let Some((_, brought)) = landed.as_ref().filter(|(begun, _)| *begun >= asked) {
            return Ok(brought.clone());
        }
        let begun = Instant::now();
        let brought = work().await?;
        *landed = Some((begun, brought.clone()));
        Ok(brought)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn those_who_wait_share_what_is_begun_after_they_came() {
        let (flights, begun) = (Flights::default(), std::sync::atomic::AtomicU32::new(0));
        let gate = tokio::sync::Semaphore::new(0);
        let ask = || {
            flights.share("busybox", async || {
                let number = begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                gate.acquire().await.unwrap().forget();
                Ok::<_, Fault>(number)
            })
        };
        // The first is on its way when the others come: what it brings may be older than their question.
        let open = async { gate.add_permits(2) };
        let (first, second, third, ()) = tokio::join!(ask(), ask(), ask(), open);
        assert_eq!((first.unwrap(), second.unwrap(), third.unwrap()), (0, 1, 1));
        gate.add_permits(1);
        assert_eq!(ask().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_everybodys_own() {
        let (flights, begun) = (Flights::<Option<(Instant, u32)>>::default(), std::cell::Cell::new(0));
        let ask = || {
            flights.share("busybox", async || {
                begun.set(begun.get() + 1);
                tokio::task::yield_now().await;
                Err(Fault::Image("no".to_owned()))
            })
        };
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        assert!(first.is_err() && second.is_err() && third.is_err());
        assert_eq!(begun.get(), 3);
    }

    #[test]
    fn names_take_their_full_form() {
        let full = |text: &str| parse(text).map(|name| name.whole()).unwrap();
        assert_eq!(full("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(full("library/nginx:1"), "docker.io/library/nginx:1");
        assert_eq!(full("team/app"), "docker.io/team/app:latest");
        assert_eq!(full("127.0.0.1:5000/app:2"), "127.0.0.1:5000/app:2");
        let digest = format!("app@sha256:{}", "a".repeat(64));
        assert_eq!(full(&digest), format!("docker.io/library/{digest}"));
        assert!(parse("Not A Name").is_err());
    }
}
