// SPDX-License-Identifier: Apache-2.0
//! Reading image indexes, manifests and configurations. Pure.

use std::collections::{BTreeMap, HashMap};

use oci_spec::image::{Digest, DigestAlgorithm};
use serde::Deserialize;
use sha2::Sha256;

use crate::ImageFault;
use crate::containerd::{Descriptor, SNAPSHOTTER};

/// Media types a registry may answer with.
pub const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Longest index, manifest or configuration that is read, as containerd has it.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;

/// Most volumes an image can name: each is a folder and a mount of every task that runs it.
pub const VOLUMES_MAX: usize = 127;

/// An image index, or the manifest of one image.
#[derive(Debug)]
pub enum Document {
    /// Images for several machines.
    Index(Vec<IndexEntry>),
    /// One image.
    Manifest(Manifest),
}

/// One image of an index.
#[derive(Clone, Debug, Deserialize)]
pub struct IndexEntry {
    /// Its manifest.
    #[serde(flatten)]
    pub blob: Descriptor,
    /// The machine it is for.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Names, among others.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A kind of machine.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, ...
    #[serde(default)]
    pub architecture: String,
    /// `linux`, ...
    #[serde(default)]
    pub os: String,
    /// What the processor must have beyond the architecture: `v3` of amd64, `v7` of arm.
    #[serde(default)]
    pub variant: String,
}

impl Platform {
    /// True if images for `other` are for this platform, which may be written differently.
    pub fn is(&self, other: &Self) -> bool {
        self.normal() == other.normal()
    }

    /// As containerd writes it: each architecture has one name, and a variant that every machine of it has is none.
    fn normal(&self) -> (&str, &str, &str) {
        let architecture = match self.architecture.as_str() {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let variant = match (architecture, self.variant.as_str()) {
            ("amd64", "v1") | ("arm64", "v8" | "8") => "",
            (_, other) => other,
        };
        (&self.os, architecture, variant)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// The blobs of an image.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// How to run it.
    pub config: Descriptor,
    /// Its files, the lowest layer first.
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Shape {
    #[serde(default, rename = "mediaType")]
    media_type: String,
    manifests: Option<Vec<IndexEntry>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

/// Reads a document; also answers its media type, which old manifests leave out. Every blob in it has a fit name.
pub fn read(text: &[u8]) -> Result<(Document, String), ImageFault> {
    let shape: Shape = serde_json::from_slice(text).map_err(ImageFault::NotManifest)?;
    let typed = |assumed: &str| if shape.media_type.is_empty() { assumed.to_owned() } else { shape.media_type.clone() };
    match (shape.manifests, shape.config, shape.layers) {
        (Some(entries), _, _) => {
            entries.iter().try_for_each(|entry| check_blob(&entry.blob))?;
            Ok((Document::Index(entries), typed(MANIFEST_TYPES[0])))
        }
        (None, Some(config), Some(layers)) => {
            layers.iter().chain([&config]).try_for_each(check_blob)?;
            Ok((Document::Manifest(Manifest { config, layers }), typed(MANIFEST_TYPES[2])))
        }
        (None, _, _) => Err(ImageFault::UnsupportedManifest(shape.media_type)),
    }
}

/// Digests become parts of paths and of requests, so they are looked at before.
fn check_blob(blob: &Descriptor) -> Result<(), ImageFault> {
    check_digest(&blob.digest)?;
    match blob.size {
        0.. => Ok(()),
        size => Err(ImageFault::BlobSize { digest: blob.digest.clone(), size }),
    }
}

/// Algorithms as containerd has them.
fn check_digest(text: &str) -> Result<(), ImageFault> {
    let is_known = |digest: Digest| !matches!(digest.algorithm(), DigestAlgorithm::Other(_));
    match text.parse::<Digest>().is_ok_and(is_known) {
        true => Ok(()),
        false => Err(ImageFault::Digest(text.to_owned())),
    }
}

/// The platform of this machine, in the terms of images.
pub fn machine() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: String::new() }
}

/// The entry of an index for this machine. An index of one entry without platform is taken as it is.
pub fn choose<'a>(entries: &'a [IndexEntry], machine: &Platform) -> Option<&'a IndexEntry> {
    entries.iter().find(|entry| entry.platform.as_ref().is_some_and(|platform| platform.is(machine))).or_else(|| {
        match entries {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        }
    })
}

/// The parts of an image's configuration that say how to run it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageConfig {
    /// Start of the command line.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Rest of the command line.
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    /// `NAME=value`.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// As in `docker run --user`.
    #[serde(default)]
    pub user: Option<String>,
    /// Where to start.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// `SIGTERM`, `15`, ...
    #[serde(default)]
    pub stop_signal: Option<String>,
    /// What runs a `CMD-SHELL` health check, if not `/bin/sh -c`.
    #[serde(default)]
    pub shell: Option<Vec<String>>,
    /// Ports it says its programs listen on, `80/tcp`; the values are empty.
    #[serde(default)]
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// Paths that are volumes; the values are empty.
    #[serde(default)]
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    config: Option<ImageConfig>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// Reads an image configuration: how to run it, and the digests of its unpacked layers.
pub fn read_config(text: &[u8]) -> Result<(ImageConfig, Vec<String>), ImageFault> {
    let file: ConfigFile = serde_json::from_slice(text).map_err(ImageFault::NotConfiguration)?;
    file.rootfs.diff_ids.iter().try_for_each(|digest| check_digest(digest))?;
    let config = file.config.unwrap_or_default();
    match config.volumes.as_ref().map_or(0, BTreeMap::len) {
        0..=VOLUMES_MAX => Ok((config, file.rootfs.diff_ids)),
        count => Err(ImageFault::Volumes { count, max: VOLUMES_MAX }),
    }
}

/// Names of the stacks of layers: the n-th stands for the first n+1 layers.
pub fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let chain = match chains.last() {
            None => diff_id.clone(),
            Some(below) => digest_of(format!("{below} {diff_id}").as_bytes()),
        };
        chains.push(chain);
    }
    chains
}

/// `sha256:...` of some bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    use std::fmt::Write;
    <Sha256 as sha2::Digest>::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

/// Labels of an index: what the garbage collector must keep with it.
pub fn index_references(chosen: &str) -> HashMap<String, String> {
    HashMap::from([("containerd.io/gc.ref.content.m.0".to_owned(), chosen.to_owned())])
}

/// Labels of a manifest.
pub fn manifest_references(manifest: &Manifest) -> HashMap<String, String> {
    let config = ("containerd.io/gc.ref.content.config".to_owned(), manifest.config.digest.clone());
    let layer =
        |(n, layer): (usize, &Descriptor)| (format!("containerd.io/gc.ref.content.l.{n}"), layer.digest.clone());
    manifest.layers.iter().enumerate().map(layer).chain([config]).collect()
}

/// Labels of a configuration: its unpacked layers.
pub fn config_references(chain: &str) -> HashMap<String, String> {
    HashMap::from([(format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}"), chain.to_owned())])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_chain_names_the_layers_below() {
        let a = digest_of(b"a");
        let b = digest_of(b"b");
        let chains = chain_ids(&[a.clone(), b.clone()]);
        assert_eq!(chains, [a.clone(), digest_of(format!("{a} {b}").as_bytes())]);
        assert_eq!(a, "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
    }

    #[test]
    fn the_entry_for_this_machine_is_chosen() {
        let chosen = |platforms: &str, machine: &str| {
            let entry = |platform: &str| {
                let parts: Vec<&str> = platform.split('/').collect();
                serde_json::json!({"mediaType": "m", "digest": digest_of(platform.as_bytes()), "size": 1, "platform":
                    {"os": parts[0], "architecture": parts[1], "variant": parts.get(2).unwrap_or(&"")}})
            };
            let entries: Vec<_> = platforms.split(' ').map(entry).collect();
            let text = serde_json::json!({"manifests": entries}).to_string();
            let (Document::Index(entries), _) = read(text.as_bytes()).unwrap() else { panic!("an index") };
            let machine = Platform { architecture: machine.to_owned(), os: "linux".to_owned(), variant: String::new() };
            let found = choose(&entries, &machine).and_then(|entry| entry.platform.as_ref());
            found.map(Platform::to_string)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(chosen("linux/s390x linux/amd64", "amd64"), some("linux/amd64"));
        assert_eq!(chosen("linux/s390x linux/amd64", "arm64"), None);
        assert_eq!(chosen("windows/amd64 linux/amd64/v3 linux/amd64", "amd64"), some("linux/amd64"));
        assert_eq!(chosen("linux/amd64/v2 linux/amd64/v3", "amd64"), None);
        assert_eq!(chosen("linux/amd64/v3 linux/amd64/v1", "amd64"), some("linux/amd64/v1"));
        assert_eq!(chosen("linux/arm/v7 linux/arm64/v8", "arm64"), some("linux/arm64/v8"));
        assert_eq!(chosen("linux/arm64/v9 linux/aarch64", "arm64"), some("linux/aarch64"));
    }

    #[test]
    fn an_image_with_more_volumes_than_a_container_can_have_is_refused() {
        let config = |count: usize| {
            let volumes: BTreeMap<String, ()> = (0..count).map(|number| (format!("/v/{number}"), ())).collect();
            serde_json::json!({"config": {"Volumes": volumes}, "rootfs": {"diff_ids": []}}).to_string()
        };
        assert!(read_config(config(VOLUMES_MAX).as_bytes()).is_ok());
        let words = read_config(config(VOLUMES_MAX + 1).as_bytes()).unwrap_err().to_string();
        assert_eq!(words, "the image names 128 volumes; a container has at most 127 of its image");
    }

    #[test]
    fn null_members_of_a_configuration_are_absent() {
        let layer = digest_of(b"1");
        let text =
            format!(r#"{{"config":{{"Cmd":["sh"],"Entrypoint":null,"User":""}},"rootfs":{{"diff_ids":["{layer}"]}}}}"#);
        let (config, diff_ids) = read_config(text.as_bytes()).unwrap();
        assert_eq!((config.cmd, config.entrypoint, diff_ids.len()), (Some(vec!["sh".to_owned()]), None, 1));
    }

    #[test]
    fn a_blob_without_a_digest_is_refused_by_name() {
        for (digest, size) in [("sha256:../../etc/passwd", 1), ("md5:00", 1), ("sha256:00", 1), ("", 1)] {
            let text = format!(r#"{{"manifests":[{{"digest":"{digest}","size":{size}}}]}}"#);
            let words = read(text.as_bytes()).unwrap_err().to_string();
            assert!(words.starts_with(&format!("{digest:?} is not the SHA-256")), "{words}");
        }
        let text = format!(r#"{{"manifests":[{{"digest":"{}","size":-1}}]}}"#, digest_of(b"1"));
        assert!(read(text.as_bytes()).unwrap_err().to_string().ends_with("has a size of -1 bytes"));
    }
}
