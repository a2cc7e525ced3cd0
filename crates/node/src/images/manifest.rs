//! Reading image indexes, manifests and configurations. Pure.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::containerd::{Descriptor, SNAPSHOTTER};

/// Media types a registry may answer with.
pub(super) const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// An image index, or the manifest of one image.
#[derive(Debug)]
pub(super) enum Document {
    Index(Vec<IndexEntry>),
    Manifest(Manifest),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct IndexEntry {
    #[serde(flatten)]
    pub blob: Descriptor,
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Manifest {
    pub config: Descriptor,
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

/// Reads a document; also answers its media type, which old manifests leave out.
pub(super) fn read(text: &[u8]) -> Result<(Document, String), String> {
    let shape: Shape = serde_json::from_slice(text).map_err(|cause| format!("not an image manifest: {cause}"))?;
    let typed = |assumed: &str| if shape.media_type.is_empty() { assumed.to_owned() } else { shape.media_type.clone() };
    match (shape.manifests, shape.config, shape.layers) {
        (Some(entries), _, _) => Ok((Document::Index(entries), typed(MANIFEST_TYPES[0]))),
        (None, Some(config), Some(layers)) => {
            Ok((Document::Manifest(Manifest { config, layers }), typed(MANIFEST_TYPES[2])))
        }
        (None, _, _) => Err(format!("unsupported manifest of type {:?}", shape.media_type)),
    }
}

/// What this machine runs, in the words of images.
pub(super) fn machine() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform { architecture: architecture.to_owned(), os: "linux".to_owned() }
}

/// The entry of an index for this machine. An index of one entry without platform is taken as it is.
pub(super) fn choose<'a>(entries: &'a [IndexEntry], machine: &Platform) -> Option<&'a IndexEntry> {
    entries.iter().find(|entry| entry.platform.as_ref() == Some(machine)).or_else(|| match entries {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    })
}

/// What an image says about how to run it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageConfig {
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
pub(super) fn read_config(text: &[u8]) -> Result<(ImageConfig, Vec<String>), String> {
    let file: ConfigFile =
        serde_json::from_slice(text).map_err(|cause| format!("not an image configuration: {cause}"))?;
    Ok((file.config.unwrap_or_default(), file.rootfs.diff_ids))
}

/// Names of the stacks of layers: the n-th stands for the first n+1 layers.
pub(super) fn chain_ids(diff_ids: &[String]) -> Vec<String> {
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
pub(super) fn digest_of(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

/// Labels of an index: what the garbage collector must keep with it.
pub(super) fn index_references(chosen: &str) -> HashMap<String, String> {
    HashMap::from([("containerd.io/gc.ref.content.m.0".to_owned(), chosen.to_owned())])
}

/// Labels of a manifest.
pub(super) fn manifest_references(manifest: &Manifest) -> HashMap<String, String> {
    let config = ("containerd.io/gc.ref.content.config".to_owned(), manifest.config.digest.clone());
    let layer =
        |(n, layer): (usize, &Descriptor)| (format!("containerd.io/gc.ref.content.l.{n}"), layer.digest.clone());
    manifest.layers.iter().enumerate().map(layer).chain([config]).collect()
}

/// Labels of a configuration: its unpacked layers.
pub(super) fn config_references(chain: &str) -> HashMap<String, String> {
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
        let text = br#"{"manifests":[
            {"mediaType":"m","digest":"sha256:1","size":1,"platform":{"os":"linux","architecture":"s390x"}},
            {"mediaType":"m","digest":"sha256:2","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}"#;
        let (Document::Index(entries), _) = read(text).unwrap() else { panic!("an index") };
        let on = |architecture: &str| Platform { architecture: architecture.to_owned(), os: "linux".to_owned() };
        assert_eq!(choose(&entries, &on("amd64")).unwrap().blob.digest, "sha256:2");
        assert!(choose(&entries, &on("arm64")).is_none());
    }

    #[test]
    fn null_members_of_a_configuration_are_absent() {
        let text = br#"{"config":{"Cmd":["sh"],"Entrypoint":null,"User":""},"rootfs":{"diff_ids":["sha256:1"]}}"#;
        let (config, diff_ids) = read_config(text).unwrap();
        assert_eq!((config.cmd, config.entrypoint, diff_ids.len()), (Some(vec!["sh".to_owned()]), None, 1));
    }
}
