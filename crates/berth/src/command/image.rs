// SPDX-License-Identifier: Apache-2.0
//! `berth image`: container images on this machine's hosts.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use berth_node::Loading;
use serde_json::{Value, json};

use crate::args::{Format, LoadArgs, OnHost};
use crate::hosts::{self, LocalHost};
use crate::installation::Installation;
use crate::show;

/// Loads the images of an archive, on every host.
pub fn load(installation: &Installation, args: &LoadArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let file = &args.file;
    let temporary = match &args.tmp {
        Some(folder) => folder.clone(),
        None => temporary_folder(installation)?,
    };
    let loading =
        Loading { archive: file, name: args.name.as_deref(), temporary: &temporary, limits: args.limits.limits() };
    let stores = stores(installation, &args.on)?;
    for (host, socket) in &stores {
        let loaded = runtime
            .block_on(berth_node::load(socket, &loading))
            .with_context(|| format!("cannot load {} on {host}; is `berth up` running?", file.display()))?;
        for image in loaded {
            let on = if stores.len() > 1 { format!(" on {host}") } else { String::new() };
            println!("{} {}{on}", image.name, image.digest);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A folder on the disk of the images: the system's temporary folder may be small, or in memory.
fn temporary_folder(installation: &Installation) -> Result<PathBuf> {
    let folder = installation.data.join("tmp");
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.with_context(|| format!("cannot create {}; name another folder with --tmp", folder.display()))?;
    Ok(folder)
}

/// Lists the images by host and name.
pub fn list(installation: &Installation, on: &OnHost, format: Format) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut values: Vec<Value> = Vec::new();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (host, socket) in stores(installation, on)? {
        let held = runtime
            .block_on(berth_node::held_images(&socket))
            .with_context(|| format!("cannot reach containerd of {host}; is `berth up` running?"))?;
        for image in held {
            values.push(json!({ "name": image.name, "digest": image.digest, "host": host.number }));
            rows.push([image.name, image.digest].into_iter().chain(host.number.map(|n| n.to_string())).collect());
        }
    }
    let columns: &[&str] =
        if rows.iter().any(|row| row.len() > 2) { &["IMAGE", "DIGEST", "HOST"] } else { &["IMAGE", "DIGEST"] };
    show::print(format, &values, columns, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// The selected containerds, each with its host; a shared one is listed once.
fn stores(installation: &Installation, on: &OnHost) -> Result<Vec<(LocalHost, PathBuf)>> {
    if let Some(shared) = std::env::var_os("BERTH_CONTAINERD") {
        return Ok(vec![(LocalHost { number: None, installation: installation.clone() }, shared.into())]);
    }
    let hosts = hosts::chosen(installation, on.host.as_deref())?;
    if hosts.is_empty() {
        bail!(
            "no host is up in {}; start one with `berth up`, or name its folder with --run",
            installation.run.display()
        );
    }
    let with_socket = hosts.into_iter().map(|host| {
        let socket = berth_node::containerd_socket(&host.installation.run);
        (host, socket)
    });
    Ok(with_socket.collect())
}
