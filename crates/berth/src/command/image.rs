//! `berth image`: container images on this machine's hosts.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::args::{Format, LoadArgs, OnHost};
use crate::hosts::{self, LocalHost};
use crate::place::Place;
use crate::{needs_root, show};

/// Takes the images of an archive in, on every host.
pub fn load(place: &Place, args: &LoadArgs) -> Result<ExitCode> {
    needs_root("`berth image load`")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (file, name) = (&args.file, args.name.as_deref());
    let stores = stores(place, &args.on)?;
    for (host, socket) in &stores {
        let loaded = runtime
            .block_on(berth_node::load(socket, file, name))
            .with_context(|| format!("cannot load {} on {host}; is `berth up` running?", file.display()))?;
        for image in loaded {
            let on = if stores.len() > 1 { format!(" on {host}") } else { String::new() };
            println!("{} {}{on}", image.name, image.digest);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists the images by host and name.
pub fn list(place: &Place, on: &OnHost, format: Format) -> Result<ExitCode> {
    needs_root("`berth image ls`")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut values: Vec<Value> = Vec::new();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (host, socket) in stores(place, on)? {
        let held = runtime
            .block_on(berth_node::held_images(&socket))
            .with_context(|| format!("cannot ask containerd of {host}; is `berth up` running?"))?;
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

/// The containerds that are meant, each with its host; one that is shared is meant once.
fn stores(place: &Place, on: &OnHost) -> Result<Vec<(LocalHost, PathBuf)>> {
    if let Some(shared) = std::env::var_os("BERTH_CONTAINERD") {
        return Ok(vec![(LocalHost { number: None, place: place.clone() }, shared.into())]);
    }
    let hosts = hosts::chosen(place, on.host.as_deref())?;
    if hosts.is_empty() {
        bail!("no host is up in {}; start one with `berth up`, or name its folder with --run", place.run.display());
    }
    let with_socket = hosts.into_iter().map(|host| {
        let socket = berth_node::containerd_socket(&host.place.run);
        (host, socket)
    });
    Ok(with_socket.collect())
}
