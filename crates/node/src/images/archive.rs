// SPDX-License-Identifier: Apache-2.0
//! Loading images from files: OCI layouts (a folder or a tar of one) and what `docker save` writes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};

use berth_shim::read::file_at_most;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::documents::{chosen, descriptor, store_text};
use super::flights::Flights;
use super::manifest::{self, DOCUMENT_BYTES_MAX, Document, IndexEntry, Manifest};
use super::name::parse;
use super::unpack::Unpacking;
use crate::blocking::blocking;
use crate::containerd::{Containerd, Descriptor, Lease};
use crate::{CopyFault, Fault, ImageFault, ImageLimits};

/// Annotations that name an image of a layout; the first one that is there counts.
const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// How names of temporary folders begin.
const TEMPORARY_PREFIX: &str = "berth-load-";
const CHUNK_BYTES: usize = 1 << 20;
/// Most entries of an archive, and most images in one.
const ENTRIES_MAX: usize = 16_384;
const IMAGES_MAX: usize = 256;

/// An archive to load, and its options.
#[derive(Clone, Debug)]
pub struct Loading<'a> {
    /// A folder, or a tar of one.
    pub archive: &'a Path,
    /// Name of an image whose archive does not name it.
    pub name: Option<&'a str>,
    /// Where the files of a tar are put while it is loaded.
    pub temporary: &'a Path,
    /// Limits of an image; the files of an archive have the limit of one image.
    pub limits: ImageLimits,
}

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its full name.
    pub name: String,
    /// Digest of what the name means: of its manifest, or of the index that leads to it.
    pub digest: String,
}

/// Loads the images of an archive into the containerd at `socket`, unpacked and ready to run.
pub async fn load(socket: &Path, loading: &Loading<'_>) -> Result<Vec<Loaded>, Fault> {
    let (source, temporary) = (loading.archive.to_owned(), loading.temporary.to_owned());
    let limits = loading.limits.clone();
    let layout = blocking("archive reader", move || Layout::open(&source, &temporary, &limits)).await?;
    let images = layout.images(loading.name)?;
    match images.len() {
        0 => return Err(ImageFault::EmptyArchive(loading.archive.to_owned()).into()),
        1..=IMAGES_MAX => {}
        count => {
            let problem = format!("{count} images in one archive; {IMAGES_MAX} are taken");
            return Err(Fault::Content { path: loading.archive.to_owned(), problem });
        }
    }
    let containerd = Containerd::at(socket);
    let lease = containerd.lease("load").await?;
    let mut loaded = Vec::new();
    for image in images {
        match layout.store(&lease, image, &loading.limits).await {
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

/// The target of an image's name, its text and its manifest, and the references from that text.
type Stored = (Descriptor, Bytes, Manifest, HashMap<String, String>);

/// A folder that holds images; a temporary one when the archive is a tar.
struct Layout {
    root: PathBuf,
    _temporary: Option<Temporary>,
}

/// A folder that goes away with its value, or, if the process is killed before, with the next one made in the same place.
struct Temporary {
    folder: tempfile::TempDir,
    /// Locked as long as the folder is used.
    _lock: File,
}

impl Temporary {
    fn new(place: &Path) -> std::io::Result<Self> {
        // Until the new folder is locked, no other process may take it for one that was left.
        let turn = File::open(place)?;
        turn.lock()?;
        for entry in fs::read_dir(place)?.filter_map(Result::ok) {
            let is_ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX);
            if is_ours && File::open(entry.path()).is_ok_and(|left| left.try_lock().is_ok()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let folder = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(place)?;
        let lock = File::open(folder.path())?;
        lock.lock()?;
        Ok(Self { folder, _lock: lock })
    }
}

/// An image found in a layout.
struct FoundImage {
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
    fn open(archive: &Path, folder: &Path, limits: &ImageLimits) -> Result<Self, Fault> {
        if archive.is_dir() {
            return Ok(Self { root: archive.to_owned(), _temporary: None });
        }
        let temporary = Temporary::new(folder).map_err(Fault::file("make a folder in", folder))?;
        let file = File::open(archive).map_err(Fault::file("open", archive))?;
        let mut reader = BufReader::new(file);
        let mut magic = [0u8; 4];
        let length = std::io::BufRead::fill_buf(&mut reader).map_err(Fault::file("read", archive))?.read(&mut magic);
        let plain: Box<dyn Read> = match (length, magic) {
            (Ok(4), [0x1f, 0x8b, _, _]) => Box::new(flate2::read::MultiGzDecoder::new(reader)),
            _ => Box::new(reader),
        };
        extract(plain, temporary.folder.path(), archive, limits.fetched_bytes)?;
        Ok(Self { root: temporary.folder.path().to_owned(), _temporary: Some(temporary) })
    }

    fn images(&self, name: Option<&str>) -> Result<Vec<FoundImage>, Fault> {
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
            images.push(FoundImage { name: parse(&written)?.whole(), kind });
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
        match file_at_most(&path, DOCUMENT_BYTES_MAX) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|cause| Fault::Content { path, problem: format!("not readable: {cause}") }),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Fault::file("read", &path)(cause)),
        }
    }

    async fn store(&self, lease: &Lease, image: FoundImage, limits: &ImageLimits) -> Result<Loaded, Fault> {
        let (target, text, manifest, references) = match image.kind {
            Kind::Oci(target) => self.store_oci(lease, &image.name, target, limits).await?,
            Kind::Docker { config, layers } => self.store_docker(lease, &config, &layers, limits).await?,
        };
        store_text(&lease.containerd, &target, text, references).await?;
        let flights = Flights::default();
        let unpacking = Unpacking { containerd: &lease.containerd, flights: &flights, limits };
        unpacking.image(&image.name, &target.digest, manifest).await?;
        lease.containerd.set_image(&image.name, &target).await?;
        Ok(Loaded { name: image.name, digest: target.digest })
    }

    async fn store_oci(
        &self,
        lease: &Lease,
        name: &str,
        target: Descriptor,
        limits: &ImageLimits,
    ) -> Result<Stored, Fault> {
        let text = self.checked(&target)?;
        let (document, media_type) = manifest::read(&text)?;
        let (manifest, references) = match document {
            Document::Manifest(manifest) => {
                let references = manifest::manifest_references(&manifest);
                (manifest, references)
            }
            Document::Index(entries) => {
                let chosen = chosen(&entries, name)?;
                let inner = self.checked(&chosen)?;
                let (Document::Manifest(manifest), _) = manifest::read(&inner)? else {
                    return Err(ImageFault::NestedIndex(name.to_owned()).into());
                };
                store_text(&lease.containerd, &chosen, inner, manifest::manifest_references(&manifest)).await?;
                (manifest, manifest::index_references(&chosen.digest))
            }
        };
        limits.check(&manifest)?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            store_file(lease, blob, &self.blob_path(&blob.digest)?).await?;
        }
        Ok((descriptor(media_type, &target.digest, &text), text, manifest, references))
    }

    async fn store_docker(
        &self,
        lease: &Lease,
        config: &str,
        layers: &[String],
        limits: &ImageLimits,
    ) -> Result<Stored, Fault> {
        let config = self.file(config, "application/vnd.docker.container.image.v1+json")?;
        let mut blobs = Vec::new();
        for layer in layers {
            blobs.push(self.file(layer, "application/vnd.docker.image.rootfs.diff.tar")?);
        }
        let all = blobs.iter().map(|(blob, _)| blob.clone()).collect();
        let manifest = Manifest { config: config.0.clone(), layers: all };
        limits.check(&manifest)?;
        for (blob, path) in blobs.iter().chain([&config]) {
            store_file(lease, blob, path).await?;
        }
        let media_type = "application/vnd.docker.distribution.manifest.v2+json";
        let text = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type, "config": manifest.config, "layers": manifest.layers,
        })
        .to_string()
        .into_bytes();
        let target = descriptor(media_type.to_owned(), &manifest::digest_of(&text), &text);
        let references = manifest::manifest_references(&manifest);
        Ok((target, Bytes::from(text), manifest, references))
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
        let text = file_at_most(&path, DOCUMENT_BYTES_MAX).map_err(Fault::file("read", &path))?;
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

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn outside(name: &str) -> Fault {
    ImageFault::OutsideArchive(name.to_owned()).into()
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
            Err(cause) => Some((Err(CopyFault::File(cause)), None)),
        }
    });
    lease.containerd.write_content(blob, Default::default(), bytes).await
}

/// Writes the files of a tar below `root`, up to `limit` bytes. Links of old Docker archives become the files they point
/// to.
fn extract(source: impl Read, root: &Path, archive: &Path, limit: u64) -> Result<(), Fault> {
    let content = |problem: String| Fault::Content { path: archive.to_owned(), problem };
    let beyond = || content(format!("more than the {limit} bytes an image may have (--image-gib-max)"));
    let unreadable = |cause: std::io::Error| match cause.kind() {
        ErrorKind::FileTooLarge => beyond(),
        _ => content(format!(
            "not a tar of images ({cause}); make one with `docker save` or `skopeo copy ... oci-archive:FILE`"
        )),
    };
    let mut tar = tar::Archive::new(Bounded { source, left: limit });
    let mut links = Vec::new();
    for (count, entry) in tar.entries().map_err(unreadable)?.enumerate() {
        if count >= ENTRIES_MAX {
            return Err(content(format!("more than {ENTRIES_MAX} files; no archive of images has so many")));
        }
        let mut entry = entry.map_err(unreadable)?;
        if entry.size() > limit {
            return Err(beyond());
        }
        let name = entry.path().map_err(unreadable)?.into_owned();
        let Some(path) = inside(root, &name) else { return Err(outside(&name.display().to_string())) };
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => write_file(&mut entry, &path, root, unreadable)?,
            kind @ (tar::EntryType::Symlink | tar::EntryType::Link) => {
                let target = entry.link_name().map_err(unreadable)?.map(|name| name.into_owned()).unwrap_or_default();
                let base = match kind {
                    tar::EntryType::Link => Path::new(""),
                    _ => name.parent().unwrap_or(Path::new("")),
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

fn write_file(
    entry: &mut impl Read,
    path: &Path,
    root: &Path,
    unreadable: impl Fn(std::io::Error) -> Fault,
) -> Result<(), Fault> {
    let dir = path.parent().unwrap_or(root);
    fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
    let mut file = File::create(path).map_err(Fault::file("create", path))?;
    let mut chunk = vec![0u8; CHUNK_BYTES];
    loop {
        // A failed read is a fault of the archive, a failed write is a fault of the disk.
        let length = match entry.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
            Err(cause) => return Err(unreadable(cause)),
        };
        file.write_all(&chunk[..length]).map_err(Fault::file("write", path))?;
    }
}

/// Fails with [`ErrorKind::FileTooLarge`] after `left` bytes: files, but also headers and what is no file, of which gzip
/// makes a gigabyte from a megabyte.
struct Bounded<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.left = self.left.checked_sub(length as u64).ok_or(ErrorKind::FileTooLarge)?;
        Ok(length)
    }
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
        let layout = Layout::open(dir.path(), dir.path(), &ImageLimits::default()).unwrap();
        let names: Vec<String> = layout.images(None).unwrap().into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["docker.io/library/app:1", "docker.io/library/app:2"]);
    }

    fn tar_of(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
        tar.into_inner().unwrap()
    }

    #[test]
    fn an_archive_that_grows_beyond_the_limit_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, limits) =
            (dir.path().join("a.tar.gz"), ImageLimits { fetched_bytes: 1 << 20, ..Default::default() });
        let problem = |tar: &[u8]| {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(tar).unwrap();
            fs::write(&archive, packed.finish().unwrap()).unwrap();
            Layout::open(&archive, dir.path(), &limits).map(drop).unwrap_err().to_string()
        };
        // One file that says so, and a stream of files each of which is small.
        assert!(problem(&tar_of("large", &vec![0; 2 << 20])).contains("more than the 1048576 bytes"));
        let mut many = tar::Builder::new(Vec::new());
        for number in 0..40 {
            let mut header = tar::Header::new_gnu();
            header.set_size(1 << 16);
            many.append_data(&mut header, format!("{number}"), &vec![0u8; 1 << 16][..]).unwrap();
        }
        let said = problem(&many.into_inner().unwrap());
        assert!(said.contains("more than the 1048576 bytes"), "{said}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing but the archive is left");
    }

    #[test]
    fn a_temporary_folder_that_was_left_goes_with_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join("berth-load-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("file"), "").unwrap();
        let first = Temporary::new(dir.path()).unwrap();
        assert!(!left.exists());
        let second = Temporary::new(dir.path()).unwrap();
        assert!(first.folder.path().exists() && second.folder.path().exists());
        drop((first, second));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_index_of_any_length_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("index.json")).unwrap().set_len(1 << 40).unwrap();
        let layout = Layout::open(dir.path(), dir.path(), &ImageLimits::default()).unwrap();
        let said = layout.images(None).map(drop).unwrap_err().to_string();
        assert!(said.contains("longer than the limit of 4194304 bytes"), "{said}");
    }
}
