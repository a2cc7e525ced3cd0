//! `berth image`: container images on this host.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::args::Format;
use crate::needs_root;
use crate::place::Place;
use crate::show;

/// Takes the images of an archive in.
pub fn load(place: &Place, file: &Path, name: Option<&str>) -> Result<ExitCode> {
    needs_root("`berth image load`")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let loaded = runtime
        .block_on(berth_node::load(&socket(place), file, name))
        .with_context(|| format!("cannot load {}; is `berth up` running?", file.display()))?;
    for image in loaded {
        println!("{} {}", image.name, image.digest);
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists the images by name.
pub fn list(place: &Place, format: Format) -> Result<ExitCode> {
    needs_root("`berth image ls`")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let held = runtime
        .block_on(berth_node::held_images(&socket(place)))
        .context("cannot ask containerd; is `berth up` running?")?;
    let values: Vec<Value> = held.iter().map(|image| json!({ "name": image.name, "digest": image.digest })).collect();
    let rows: Vec<Vec<String>> = held.iter().map(|image| vec![image.name.clone(), image.digest.clone()]).collect();
    show::print(format, &values, &["IMAGE", "DIGEST"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn socket(place: &Place) -> std::path::PathBuf {
    std::env::var_os("BERTH_CONTAINERD").map_or_else(|| berth_node::containerd_socket(&place.run), Into::into)
}
