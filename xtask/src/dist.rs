// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask dist`: the release as a tar file with the programs, the systemd units and the licence.

use std::fs::{self, File};

use anyhow::{Context, Result};

use crate::checkout::repository;
use crate::suites::cargo;

/// Builds and packs.
pub fn run() -> Result<()> {
    cargo(&["build", "--release", "--package", "berth", "--bins"])?;
    let name = format!("berth-{}-{}-linux", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let folder = repository().join("target/dist");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.tar.gz"));
    let out = File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut archive = tar_gz(out);
    for (from, to) in [
        ("target/release/berth", "bin/berth"),
        ("target/release/berth-cni", "libexec/cni/berth-cni"),
        ("target/release/berth-shim", "libexec/berth-shim"),
        ("dist/berth.service", "systemd/berth.service"),
        ("dist/berth-server.service", "systemd/berth-server.service"),
        ("dist/berth-node.service", "systemd/berth-node.service"),
        ("README.md", "README.md"),
        ("LICENSE", "LICENSE"),
    ] {
        let source = repository().join(from);
        archive
            .append_path_with_name(&source, format!("{name}/{to}"))
            .with_context(|| format!("cannot pack {}", source.display()))?;
    }
    archive.into_inner()?.finish()?;
    println!("{}", file.display());
    Ok(())
}

fn tar_gz(out: File) -> tar::Builder<flate2::write::GzEncoder<File>> {
    tar::Builder::new(flate2::write::GzEncoder::new(out, flate2::Compression::default()))
}
