// SPDX-License-Identifier: Apache-2.0
//! Reads files out of Debian's packages without installing them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::rootfs::Rootfs;

/// Downloads missing packages with apt into `cache`.
pub fn fetch(packages: &[&str], cache: &Path) -> Result<()> {
    fs::create_dir_all(cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let mut missing = Vec::new();
    for package in packages {
        if cached(package, cache)?.is_none() {
            missing.push(*package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let download = || {
        Command::new("apt-get")
            .args(["download", "-q", "-o", "APT::Sandbox::User=root"])
            .args(&missing)
            .current_dir(cache)
            .stdout(Stdio::null())
            .status()
            .context("cannot run apt-get; images are made from Debian's packages")
    };
    if !download()?.success() {
        // The machine's package lists may be older than the archive, or missing.
        Command::new("apt-get").args(["update", "-q"]).stdout(Stdio::null()).status()?;
        if !download()?.success() {
            bail!("apt-get could not download {}; check that Debian's archive can be reached", missing.join(", "));
        }
    }
    Ok(())
}

/// Adds the files of a fetched package for which `wanted` is true to `tree`.
pub fn unpack(package: &str, cache: &Path, tree: &mut Rootfs, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let file = cached(package, cache)?.with_context(|| format!("apt-get left no file of {package}"))?;
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run dpkg-deb")?;
    let mut stream = unpack.stdout.take().context("dpkg-deb has no output")?;
    tree.unpack(&mut stream, wanted).with_context(|| format!("cannot read {}", file.display()))?;
    std::io::copy(&mut stream, &mut std::io::sink())?;
    if !unpack.wait()?.success() {
        bail!("dpkg-deb could not read {}; remove it and try again", file.display());
    }
    Ok(())
}

fn cached(package: &str, cache: &Path) -> Result<Option<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(cache)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.split_once('_').is_some_and(|(name, _)| name == package)
        })
        .collect();
    found.sort();
    Ok(found.pop())
}
