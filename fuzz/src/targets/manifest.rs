// SPDX-License-Identifier: Apache-2.0
//! Image indexes, manifests and configurations, as registries and archives send them.
//!
//! Properties: every blob of a document is named by a digest, and has a size; an index leads to an image for the
//! machine or to none; the names of stacks of layers are digests, and the name of a stack does not depend on the layers
//! above it.

use berth_node::manifest::{
    Document, IndexEntry, Platform, chain_ids, choose, digest_of, machine, manifest_references, read, read_config,
};

pub(crate) fn run(data: &[u8]) {
    match read(data) {
        Ok((Document::Index(entries), media_type)) => {
            assert!(!media_type.is_empty());
            entries.iter().for_each(|entry| check_blob(&entry.blob.digest, entry.blob.size));
            let arm = Platform { architecture: "arm64".to_owned(), ..machine() };
            check_choice(&entries, &machine());
            check_choice(&entries, &arm);
        }
        Ok((Document::Manifest(manifest), media_type)) => {
            assert!(!media_type.is_empty());
            manifest.layers.iter().chain([&manifest.config]).for_each(|blob| check_blob(&blob.digest, blob.size));
            let references = manifest_references(&manifest);
            assert_eq!(references.len(), manifest.layers.len() + 1, "a blob that the garbage collector would take");
        }
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
    match read_config(data) {
        Ok((_, diff_ids)) => check_chains(&diff_ids),
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
    let digest = digest_of(data);
    check_digest(&digest);
    assert_ne!(digest, digest_of(&[data, b" "].concat()));
}

fn check_choice(entries: &[IndexEntry], machine: &Platform) {
    let fits = |entry: &&IndexEntry| entry.platform.as_ref().is_some_and(|platform| platform.is(machine));
    match choose(entries, machine) {
        Some(chosen) => assert!(
            fits(&chosen) || (entries.len() == 1 && chosen.platform.is_none()),
            "an image for another machine was chosen"
        ),
        None => assert!(!entries.iter().any(|entry| fits(&entry)), "an image for the machine was not found"),
    }
}

fn check_chains(diff_ids: &[String]) {
    let chains = chain_ids(diff_ids);
    assert_eq!(chains.len(), diff_ids.len());
    chains.iter().for_each(|chain| check_digest(chain));
    if let Some((_, below)) = diff_ids.split_last() {
        assert_eq!(chain_ids(below), chains[..below.len()]);
    }
}

fn check_blob(digest: &str, size: i64) {
    check_digest(digest);
    assert!(size >= 0, "a blob of {size} bytes");
}

fn check_digest(digest: &str) {
    let is_digest = digest.split_once(':').is_some_and(|(algorithm, hex)| {
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return false,
        };
        hex.len() == length && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    assert!(is_digest, "{digest:?} is no digest");
}
