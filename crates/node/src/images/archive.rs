//! Loading images from files: OCI layouts (a folder or a tar of one) and what `docker save` writes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::manifest::{self, Document, IndexEntry, Manifest};
use super::{Flights, descriptor, no_platform, parse, store_text, unpacked};
use crate::Fault;
use crate::blocking::blocking;
use crate::containerd::{Containerd, Descriptor, Lease};

/// Annotations that name an image of a layout; the first one that is there counts.
const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
const CHUNK_BYTES: usize = 1 << 20;

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its full name.
    pub name: String,
    /// Digest of its manifest.
    pub digest: String,
}

/// Loads the images of `archive` into the containerd at `socket`, unpacked and ready to run.
///
/// `name` names an image whose archive does not.
pub async fn load(socket: &Path, archive: &Path, name: Option<&str>) -> Result<Vec<Loaded>, Fault> {
    let source = archive.to_owned();
    let layout = blocking("archive reader", move || Layout::open(&source)).await?;
    let images = layout.images(name)?;
    if images.is_empty() {
        return Err(Fault::Image(format!("{}: there is no image in it", archive.display())));
    }
    let containerd = Containerd::at(socket);
    let lease = containerd.lease("load").await?;
    let mut loaded = Vec::new();
    for image in images {
        match layout.store(&lease, image).await {
            Ok(done) => loaded.push(done),
            Err(fault) => {
                lease.end().await.ok();
                return Err(fault);
            }
        }
    }
    lease.end().await?;
    Ok(loaded)
}

/// A folder that holds images; a temporary one when the archive is a tar.
struct Layout {
    root: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

/// An image found in a layout.
struct Found {
    name: String,
    kind: Kind,
}

enum Kind {
    Oci(Descriptor),
    Docker { config: String, layers: Vec<String> },
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<IndexEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Layout {
    fn open(archive: &Path) -> Result<Self, Fault> {
        if archive.is_dir() {
            return Ok(Self { root: archive.to_owned(), _temporary: None });
        }
        let temporary = tempfile::tempdir().map_err(Fault::system("make a temporary folder"))?;
        let file = File::open(archive).map_err(Fault::file("open", archive))?;
        let mut reader = BufReader::new(file);
        let mut magic = [0u8; 4];
        let length = std::io::BufRead::fill_buf(&mut reader).map_err(Fault::file("read", archive))?.read(&mut magic);
        let plain: Box<dyn Read> = match (length, magic) {
            (Ok(4), [0x1f, 0x8b, _, _]) => Box::new(flate2::read::MultiGzDecoder::new(reader)),
            _ => Box::new(reader),
        };
        extract(plain, temporary.path(), archive)?;
        Ok(Self { root: temporary.path().to_owned(), _temporary: Some(temporary) })
    }

    fn images(&self, name: Option<&str>) -> Result<Vec<Found>, Fault> {
        let mut found = self.oci_images()?;
        if found.is_empty() {
            found = self.docker_images()?;
        }
        let unnamed = found.iter().filter(|(written, _)| written.is_none()).count();
        let single = found.len() == 1;
        let mut images = Vec::new();
        for (written, kind) in found {
            let written = match (name, written) {
                (Some(given), _) if single || unnamed == 1 => given.to_owned(),
                (_, Some(written)) => written,
                (_, None) => {
                    let problem = "an image in it has no name; give one, e.g. `berth image load FILE --name app:1`";
                    return Err(Fault::Content { path: self.root.clone(), problem: problem.to_owned() });
                }
            };
            images.push(Found { name: parse(&written)?.whole(), kind });
        }
        Ok(images)
    }

    fn oci_images(&self) -> Result<Vec<(Option<String>, Kind)>, Fault> {
        let Some(index) = self.json::<Index>("index.json")? else { return Ok(Vec::new()) };
        let written = |annotations: &BTreeMap<String, String>| {
            NAME_ANNOTATIONS.iter().find_map(|key| annotations.get(*key)).cloned()
        };
        Ok(index.manifests.into_iter().map(|entry| (written(&entry.annotations), Kind::Oci(entry.blob))).collect())
    }

    fn docker_images(&self) -> Result<Vec<(Option<String>, Kind)>, Fault> {
        let images = self.json::<Vec<DockerImage>>("manifest.json")?.unwrap_or_default();
        let mut found = Vec::new();
        for image in images {
            let tags = image.repo_tags.unwrap_or_default();
            let kind = || Kind::Docker { config: image.config.clone(), layers: image.layers.clone() };
            match tags.is_empty() {
                true => found.push((None, kind())),
                false => found.extend(tags.into_iter().map(|tag| (Some(tag), kind()))),
            }
        }
        Ok(found)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Fault> {
        let path = self.root.join(name);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|cause| Fault::Content { path, problem: format!("not readable: {cause}") }),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Fault::file("read", &path)(cause)),
        }
    }

    async fn store(&self, lease: &Lease, image: Found) -> Result<Loaded, Fault> {
        let (target, text, manifest, digest) = match image.kind {
            Kind::Oci(target) => self.store_oci(lease, &image.name, target).await?,
            Kind::Docker { config, layers } => self.store_docker(lease, &config, &layers).await?,
        };
        let references = match digest == target.digest {
            true => manifest::manifest_references(&manifest),
            false => manifest::index_references(&digest),
        };
        store_text(&lease.containerd, &target, text, references).await?;
        unpacked(&lease.containerd, &image.name, &digest, &manifest, &Flights::default()).await?;
        lease.containerd.set_image(&image.name, &target).await?;
        Ok(Loaded { name: image.name, digest })
    }

    async fn store_oci(
        &self,
        lease: &Lease,
        name: &str,
        target: Descriptor,
    ) -> Result<(Descriptor, Bytes, Manifest, String), Fault> {
        let text = self.checked(&target)?;
        let (document, media_type) = manifest::read(&text).map_err(Fault::Image)?;
        let (manifest, digest) = match document {
            Document::Manifest(manifest) => (manifest, target.digest.clone()),
            Document::Index(entries) => {
                let machine = manifest::machine();
                let chosen = manifest::choose(&entries, &machine).ok_or_else(|| no_platform(name, &machine))?;
                let inner = self.checked(&chosen.blob)?;
                let (Document::Manifest(manifest), _) = manifest::read(&inner).map_err(Fault::Image)? else {
                    return Err(Fault::Image(format!("{name}: an index inside an index")));
                };
                let references = manifest::manifest_references(&manifest);
                store_text(&lease.containerd, &chosen.blob, inner, references).await?;
                (manifest, chosen.blob.digest.clone())
            }
        };
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            store_file(lease, blob, &self.blob_path(&blob.digest)?).await?;
        }
        let target = descriptor(media_type, &target.digest, &text);
        Ok((target, text, manifest, digest))
    }

    async fn store_docker(
        &self,
        lease: &Lease,
        config: &str,
        layers: &[String],
    ) -> Result<(Descriptor, Bytes, Manifest, String), Fault> {
        let config = self.file(config, "application/vnd.docker.container.image.v1+json")?;
        let mut blobs = Vec::new();
        for layer in layers {
            blobs.push(self.file(layer, "application/vnd.docker.image.rootfs.diff.tar")?);
        }
        for (blob, path) in blobs.iter().chain([&config]) {
            store_file(lease, blob, path).await?;
        }
        let manifest = Manifest { config: config.0, layers: blobs.into_iter().map(|(blob, _)| blob).collect() };
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        let text = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type, "config": manifest.config, "layers": manifest.layers,
        })
        .to_string()
        .into_bytes();
        let digest = manifest::digest_of(&text);
        Ok((descriptor(media_type.to_owned(), &digest, &text), Bytes::from(text), manifest, digest))
    }

    /// A file of a Docker archive as a blob.
    fn file(&self, name: &str, media_type: &str) -> Result<(Descriptor, PathBuf), Fault> {
        let path = inside(&self.root, Path::new(name)).ok_or_else(|| outside(name))?;
        let mut file = File::open(&path).map_err(Fault::file("open", &path))?;
        let mut hash = Sha256::new();
        let size = std::io::copy(&mut file, &mut HashWriter(&mut hash)).map_err(Fault::file("read", &path))?;
        let digest = hash.finalize().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        Ok((Descriptor { media_type: media_type.to_owned(), digest, size }, path))
    }

    fn checked(&self, blob: &Descriptor) -> Result<Bytes, Fault> {
        let path = self.blob_path(&blob.digest)?;
        let text = fs::read(&path).map_err(Fault::file("read", &path))?;
        match manifest::digest_of(&text) == blob.digest {
            true => Ok(Bytes::from(text)),
            false => Err(Fault::Content { path, problem: format!("it is not {}", blob.digest) }),
        }
    }

    fn blob_path(&self, digest: &str) -> Result<PathBuf, Fault> {
        let (algorithm, hex) = digest.split_once(':').ok_or_else(|| outside(digest))?;
        let fit = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !fit(algorithm) || !fit(hex) {
            return Err(outside(digest));
        }
        Ok(self.root.join("blobs").join(algorithm).join(hex))
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn outside(name: &str) -> Fault {
    Fault::Image(format!("the archive names {name:?}, which is not a file of it"))
}

async fn store_file(lease: &Lease, blob: &Descriptor, path: &Path) -> Result<(), Fault> {
    if lease.containerd.has_content(&blob.digest).await? {
        return Ok(());
    }
    let file = File::open(path).map_err(Fault::file("open", path))?;
    let bytes = stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let mut chunk = vec![0u8; CHUNK_BYTES];
        match file.read(&mut chunk) {
            Ok(0) => None,
            Ok(length) => {
                chunk.truncate(length);
                Some((Ok(Bytes::from(chunk)), Some(file)))
            }
            Err(cause) => Some((Err(cause.to_string()), None)),
        }
    });
    lease.containerd.write_content(blob, Default::default(), bytes).await
}

/// Writes the files of a tar below `root`. Links of old Docker archives become the files they point to.
fn extract(source: impl Read, root: &Path, archive: &Path) -> Result<(), Fault> {
    let mut tar = tar::Archive::new(source);
    let mut links = Vec::new();
    let unreadable = |cause: std::io::Error| Fault::Content {
        path: archive.to_owned(),
        problem: format!(
            "not a tar of images ({cause}); make one with `docker save` or `skopeo copy ... oci-archive:FILE`"
        ),
    };
    for entry in tar.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = entry.path().map_err(unreadable)?.into_owned();
        let Some(path) = inside(root, &name) else { return Err(outside(&name.display().to_string())) };
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let dir = path.parent().unwrap_or(root);
                fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
                let mut file = File::create(&path).map_err(Fault::file("create", &path))?;
                std::io::copy(&mut entry, &mut file).map_err(unreadable)?;
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let target =
                    entry.link_name().map_err(unreadable)?.map(std::borrow::Cow::into_owned).unwrap_or_default();
                let base = if entry.header().entry_type() == tar::EntryType::Link {
                    Path::new("")
                } else {
                    name.parent().unwrap_or(Path::new(""))
                };
                links.push((path, base.join(target)));
            }
            _ => {}
        }
    }
    for (path, target) in links {
        let Some(target) = inside(root, &target) else { return Err(outside(&target.display().to_string())) };
        fs::hard_link(&target, &path).map_err(Fault::file("link", &path))?;
    }
    Ok(())
}

/// `name` below `root`, or nothing if it leads out.
fn inside(root: &Path, name: &Path) -> Option<PathBuf> {
    let mut path = root.to_owned();
    for part in name.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir if path != root => {
                path.pop();
            }
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_archive() {
        let root = Path::new("/r");
        assert_eq!(inside(root, Path::new("./a/../b")), Some(PathBuf::from("/r/b")));
        assert_eq!(inside(root, Path::new("../b")), None);
        assert_eq!(inside(root, Path::new("/etc/passwd")), None);
    }

    #[test]
    fn a_docker_archive_names_its_images() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"[{"Config":"c.json","RepoTags":["app:1","app:2"],"Layers":["l/layer.tar"]}]"#;
        fs::write(dir.path().join("manifest.json"), text).unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let names: Vec<String> = layout.images(None).unwrap().into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["docker.io/library/app:1", "docker.io/library/app:2"]);
    }
}
