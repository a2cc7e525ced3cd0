// SPDX-License-Identifier: Apache-2.0
//! An image of one layer as an OCI archive: a tar file of an image layout, as `skopeo` and `berth image load` read it.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::rootfs::{Rootfs, gzip};

/// The default command of a container.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// Command line.
    pub command: Vec<String>,
    /// Environment, `NAME=value`.
    pub environment: Vec<String>,
    /// Ports in the image's configuration.
    pub ports: Vec<u16>,
}

/// Writes the archive; `reference` is the name its index carries, e.g. `docker.io/library/nginx:latest`.
pub fn write_archive(file: &Path, reference: &str, tree: &Rootfs, defaults: &Defaults) -> Result<()> {
    let layer = tree.to_tar()?;
    let packed = gzip(&layer)?;
    let config = serde_json::to_vec(&image_config(&layer, defaults))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &packed)],
    }))?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["platform"] = json!({ "architecture": architecture(), "os": "linux" });
    entry["annotations"] = json!({
        "org.opencontainers.image.ref.name": reference.rsplit(':').next().unwrap_or("latest"),
        "io.containerd.image.name": reference,
    });
    let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [entry] }))?;

    let mut files = Rootfs::default();
    for blob in [&config, &packed, &manifest] {
        files.file(&format!("blobs/sha256/{}", hex_digest(blob)), 0o644, blob.as_slice());
    }
    files.file("index.json", 0o644, index);
    files.file("oci-layout", 0o644, r#"{"imageLayoutVersion":"1.0.0"}"#);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut out = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    std::io::Write::write_all(&mut out, &files.to_tar()?)?;
    Ok(())
}

fn image_config(layer: &[u8], defaults: &Defaults) -> Value {
    let ports: serde_json::Map<String, Value> =
        defaults.ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
    json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Cmd": defaults.command,
            "Env": defaults.environment,
            "ExposedPorts": ports,
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex_digest(layer))] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "testkit" }],
    })
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{}", hex_digest(bytes)), "size": bytes.len() })
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// This machine's architecture by its name in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
