// SPDX-License-Identifier: Apache-2.0
//! A root file system in memory, and its tar layer.
//!
//! Paths are relative and unique; the layer lists them in order with fixed times and owners, so equal trees give equal
//! bytes.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use anyhow::{Context, Result, bail};

/// The tree, by path without leading slash.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    Directory { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
    Link { target: String },
}

impl Rootfs {
    /// Adds a directory, and those above it.
    pub fn directory(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry::Directory { mode });
    }

    /// Adds or replaces a file, and the directories above it.
    pub fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry::File { mode, bytes: bytes.into() });
    }

    /// Adds or replaces a symbolic link, and the directories above it.
    pub fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry::Link { target: target.to_owned() });
    }

    /// The bytes of a file.
    pub fn read(&self, path: &str) -> Result<&[u8]> {
        match self.entries.get(path) {
            Some(Entry::File { bytes, .. }) => Ok(bytes),
            Some(_) => bail!("{path} is not a file"),
            None => bail!("{path} is not in the tree"),
        }
    }

    /// Adds the entries of a tar stream for which `wanted` is true.
    pub fn unpack(&mut self, stream: impl Read, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().trim_start_matches("./").trim_end_matches('/').to_owned();
            if path.is_empty() || !wanted(&path) {
                continue;
            }
            let mode = entry.header().mode()? & 0o7777;
            match entry.header().entry_type() {
                tar::EntryType::Directory => self.directory(&path, mode),
                tar::EntryType::Regular => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes)?;
                    self.file(&path, mode, bytes);
                }
                tar::EntryType::Symlink => {
                    let target = entry.link_name()?.context("a link without target")?.to_string_lossy().into_owned();
                    self.link(&path, &target);
                }
                tar::EntryType::Link => {
                    let target = entry.link_name()?.context("a link without target")?.to_string_lossy().into_owned();
                    let bytes = self.read(target.trim_start_matches("./"))?.to_vec();
                    self.file(&path, mode, bytes);
                }
                kind => bail!("{path} is of kind {kind:?}, which an image layer made here cannot hold"),
            }
        }
        Ok(())
    }

    /// The tree as an uncompressed tar stream.
    pub fn to_tar(&self) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            match entry {
                Entry::Directory { mode } => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_size(0);
                    archive.append_data(&mut header, format!("{path}/"), std::io::empty())?;
                }
                Entry::File { mode, bytes } => {
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    archive.append_data(&mut header, path, bytes.as_slice())?;
                }
                Entry::Link { target } => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    archive.append_link(&mut header, path, target)?;
                }
            }
        }
        Ok(archive.into_inner()?)
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Entry::Directory { mode: 0o755 });
        }
    }
}

/// Compresses with gzip, without a time in the header.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes)?;
    Ok(packed.finish()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn equal_trees_give_equal_bytes_whatever_the_order() {
        let (mut one, mut two) = (Rootfs::default(), Rootfs::default());
        one.file("etc/passwd", 0o644, "root");
        one.link("bin/sh", "busybox");
        two.link("bin/sh", "busybox");
        two.file("etc/passwd", 0o644, "root");
        assert_eq!(one.to_tar().unwrap(), two.to_tar().unwrap());
        assert_eq!(gzip(b"same").unwrap(), gzip(b"same").unwrap());
    }

    #[test]
    fn a_tree_survives_packing_and_unpacking() {
        let mut tree = Rootfs::default();
        tree.file("usr/bin/tool", 0o755, "#!/bin/sh");
        tree.link("bin", "usr/bin");
        tree.directory("tmp", 0o1777);
        let packed = tree.to_tar().unwrap();
        let mut back = Rootfs::default();
        back.unpack(packed.as_slice(), |_| true).unwrap();
        assert_eq!(back.to_tar().unwrap(), packed);
        assert_eq!(back.read("usr/bin/tool").unwrap(), b"#!/bin/sh");
    }
}
