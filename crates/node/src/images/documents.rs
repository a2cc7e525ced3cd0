// SPDX-License-Identifier: Apache-2.0
//! Manifests, indexes and configurations in containerd's content store.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::stream;

use super::manifest::{self, DOCUMENT_BYTES_MAX, Document, IndexEntry, Manifest};
use crate::blocking::blocking;
use crate::containerd::{Containerd, Descriptor};
use crate::{Fault, ImageFault};

/// Stores a document with its references, unless it is there; then it gets the references.
pub(super) async fn store_text(
    containerd: &Containerd,
    blob: &Descriptor,
    text: Bytes,
    references: HashMap<String, String>,
) -> Result<(), Fault> {
    if containerd.has_content(&blob.digest).await? {
        return containerd.label_content(&blob.digest, references).await;
    }
    containerd.write_content(blob, references, stream::iter([Ok(text)])).await
}

/// The manifest of an image in the content store.
pub(super) async fn read_manifest(containerd: &Containerd, target: &Descriptor) -> Result<Manifest, Fault> {
    let text = containerd.read_content(&target.digest, DOCUMENT_BYTES_MAX).await?;
    match read_document(text.into()).await?.0 {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(entries) => {
            let chosen = chosen(&entries, &target.digest)?;
            let text = containerd.read_content(&chosen.digest, DOCUMENT_BYTES_MAX).await?;
            inner_manifest(text.into(), &target.digest).await
        }
    }
}

/// Reads a document on a thread that may compute: how long that takes is for its author to say.
pub(super) async fn read_document(text: Bytes) -> Result<(Document, String), Fault> {
    blocking("reader of manifests", move || Ok(manifest::read(&text)?)).await
}

/// Reads what an index leads to.
pub(super) async fn inner_manifest(text: Bytes, name: &str) -> Result<Manifest, Fault> {
    match read_document(text).await?.0 {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(ImageFault::NestedIndex(name.to_owned()).into()),
    }
}

/// The image of an index that is for this machine.
pub(super) fn chosen(entries: &[IndexEntry], name: &str) -> Result<Descriptor, Fault> {
    let machine = manifest::machine();
    let entry = manifest::choose(entries, &machine);
    let fault = || ImageFault::NoPlatform { name: name.to_owned(), machine: machine.to_string() };
    Ok(entry.ok_or_else(fault)?.blob.clone())
}

/// The descriptor of a document.
pub(super) fn descriptor(media_type: String, digest: &str, text: &[u8]) -> Descriptor {
    Descriptor { media_type, digest: digest.to_owned(), size: i64::try_from(text.len()).unwrap_or(i64::MAX) }
}
