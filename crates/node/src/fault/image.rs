// SPDX-License-Identifier: Apache-2.0
//! Faults of images: of their names, their documents, the limits of this host, and the registries and archives they come
//! from. Where Docker or containerd has a text for a fault, it is the same here.

use std::path::PathBuf;

use oci_spec::distribution::ParseError;

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageFault {
    /// The name is not one of an image.
    #[error("failed to parse image name {written:?}: invalid reference format ({cause})")]
    Name {
        /// The name as the user wrote it.
        written: String,
        /// The reason.
        #[source]
        cause: ParseError,
    },
    /// The registry did not say which image the name means.
    #[error("failed to resolve ref {name}: {why}")]
    Unresolved {
        /// The full name.
        name: String,
        /// The answers of the registry and its mirrors.
        why: String,
    },
    /// The registry did not give a manifest; the text has its answer.
    #[error("{0}")]
    Registry(String),
    /// The pull was given up.
    #[error("{name}: the pull took more than {hours} hours")]
    PullTooLong {
        /// The full name.
        name: String,
        /// The limit.
        hours: u64,
    },
    /// A document is not a manifest.
    #[error("not an image manifest: {0}")]
    NotManifest(#[source] serde_json::Error),
    /// A manifest is of an unknown type.
    #[error("unsupported manifest of type {0:?}")]
    UnsupportedManifest(String),
    /// A document is not an image configuration.
    #[error("not an image configuration: {0}")]
    NotConfiguration(#[source] serde_json::Error),
    /// A blob has a negative size.
    #[error("blob {digest} has a size of {size} bytes")]
    BlobSize {
        /// The blob.
        digest: String,
        /// Its size.
        size: i64,
    },
    /// A digest is malformed or of an unknown algorithm.
    #[error("{0:?} is not the SHA-256, SHA-384 or SHA-512 digest of a blob")]
    Digest(String),
    /// The image names too many volumes.
    #[error("the image names {count} volumes; a container has at most {max} of its image")]
    Volumes {
        /// How many it names.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// The image has too many layers.
    #[error("the image has {count} layers; this host takes {limit} (--image-layers-max)")]
    Layers {
        /// How many it has.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The configuration is too long.
    #[error("the image's configuration has {bytes} bytes; {max} are taken")]
    ConfigurationBytes {
        /// Its length.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// The blobs are too large.
    #[error("the image has {bytes} bytes; this host takes {limit} (--image-gib-max)")]
    Bytes {
        /// Their size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The unpacked layers are larger than this limit.
    #[error("unpacked, the image has more than the {0} bytes this host takes (--image-unpacked-gib-max)")]
    UnpackedBytes(u64),
    /// An index leads to another one.
    #[error("{0}: an index inside an index")]
    NestedIndex(String),
    /// The image is not for this machine.
    #[error("{name}: image Manifest does not contain descriptor matching platform '{machine}'")]
    NoPlatform {
        /// The full name.
        name: String,
        /// The platform of this machine.
        machine: String,
    },
    /// The task definition asks for another processor.
    #[error("the task definition asks for platform 'linux/{asked}'; this host runs '{machine}'")]
    OtherProcessor {
        /// The processor it asks for.
        asked: &'static str,
        /// The platform of this machine.
        machine: String,
    },
    /// Manifest and configuration contradict each other.
    #[error("{name} has {layers} layers, but {diff_ids} in its configuration")]
    LayerCount {
        /// The full name.
        name: String,
        /// Layers of the manifest.
        layers: usize,
        /// Layers of the configuration.
        diff_ids: usize,
    },
    /// The image has no layers.
    #[error("{0} has no layers")]
    NoLayers(String),
    /// A stored blob cannot be read.
    #[error("failed to read {digest}: {cause}")]
    Read {
        /// The blob.
        digest: String,
        /// The reason.
        #[source]
        cause: std::io::Error,
    },
    /// A blob cannot be stored.
    #[error("failed to copy {digest}: {cause}")]
    Copy {
        /// The blob.
        digest: String,
        /// The reason.
        #[source]
        cause: CopyFault,
    },
    /// A layer is not what the configuration says.
    #[error("wrong diff id calculated on extraction {got:?} of {layer}")]
    DiffId {
        /// Digest of its unpacked bytes.
        got: String,
        /// The layer.
        layer: String,
    },
    /// An archive holds no image.
    #[error("{}: there is no image in it", .0.display())]
    EmptyArchive(PathBuf),
    /// An archive refers to a file that it does not have.
    #[error("the archive names {0:?}, which is not a file of it")]
    OutsideArchive(String),
}

/// Why a blob cannot be copied into the content store.
#[derive(Debug, thiserror::Error)]
pub enum CopyFault {
    /// The registry did not give its bytes; the text has its answer.
    #[error("{0}")]
    Registry(String),
    /// Its file could not be read.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// It is longer than its manifest says.
    #[error("it is longer than the {0} bytes its manifest says")]
    TooLong(i64),
    /// It is shorter than its manifest says.
    #[error("it ends after {offset} of the {size} bytes its manifest says")]
    TooShort {
        /// Its length.
        offset: i64,
        /// The length its manifest says.
        size: i64,
    },
}
