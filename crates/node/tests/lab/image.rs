// SPDX-License-Identifier: Apache-2.0
//! An image with busybox and two users, made here.

use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

pub struct Blob {
    pub digest: String,
    pub bytes: Vec<u8>,
}

impl Blob {
    pub fn of(bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self { digest: format!("sha256:{digest}"), bytes }
    }
}

/// The blobs of an image, the manifest last. Layers are `gzip` or `zstd`.
pub fn blobs(compression: &str) -> Vec<Blob> {
    blobs_with(compression, &serde_json::json!({}))
}

/// The same, with members added to what the image says about running it.
fn blobs_with(compression: &str, more: &serde_json::Value) -> Vec<Blob> {
    of_layers(vec![layer(), volume_layer(true), volume_layer(false)], compression, more)
}

/// The blobs of an image whose only layer is small as it is sent, and a file of so many bytes unpacked.
pub fn swelling(bytes: usize) -> Vec<Blob> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "zeros", &vec![0; bytes][..]).unwrap();
    of_layers(vec![tar.into_inner().unwrap()], "zstd", &serde_json::json!({}))
}

fn of_layers(tars: Vec<Vec<u8>>, compression: &str, more: &serde_json::Value) -> Vec<Blob> {
    let diff_ids: Vec<String> = tars.iter().map(|tar| Blob::of(tar.clone()).digest).collect();
    let layers: Vec<Blob> = tars.iter().map(|tar| Blob::of(pack(tar, compression))).collect();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let mut config = serde_json::json!({
        "architecture": architecture, "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh", "-c", "echo default command"], "WorkingDir": "/",
            "Volumes": {"/seed": {}}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config["config"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = Blob::of(config.to_string().into_bytes());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest, "size": config.bytes.len()},
        "layers": layers.iter().map(|layer| serde_json::json!({
            "mediaType": format!("application/vnd.oci.image.layer.v1.tar+{compression}"),
            "digest": layer.digest, "size": layer.bytes.len()})).collect::<Vec<_>>(),
    });
    layers.into_iter().chain([config, Blob::of(manifest.to_string().into_bytes())]).collect()
}

fn pack(tar: &[u8], compression: &str) -> Vec<u8> {
    match compression {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(tar, 1).unwrap(),
        other => panic!("{other}"),
    }
}

/// The folder `/seed` of the user `web`: below with two words, above with one of them taken away and another one.
fn volume_layer(is_below: bool) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind, name: &str, bytes: &[u8], mode| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_uid(101);
        header.set_gid(102);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    add(tar::EntryType::Directory, "seed", &[], 0o750);
    let words: &[(&str, &[u8])] = match is_below {
        true => &[("seed/kept", b"kept\n"), ("seed/taken", b"taken\n")],
        false => &[("seed/.wh.taken", b""), ("seed/added", b"added\n")],
    };
    for (name, bytes) in words {
        add(tar::EntryType::Regular, name, bytes, 0o640);
    }
    tar.into_inner().unwrap()
}

/// The program `call`, made here.
fn call_program() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (out, source) = (dir.path().join("call"), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/call.c"));
    let flags = ["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie", "-Os", "-s"];
    let made = std::process::Command::new("cc").args(flags).arg("-o").arg(&out).arg(source).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(out).unwrap()
}

/// Writes an OCI layout.
pub fn layout(dir: &Path) {
    layout_with(dir, &serde_json::json!({}));
}

/// The same, with members added to what the image says about running it.
pub fn layout_with(dir: &Path, more: &serde_json::Value) {
    let blobs = blobs_with("gzip", more);
    std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    for blob in &blobs {
        std::fs::write(dir.join("blobs").join(blob.digest.replace(':', "/")), &blob.bytes).unwrap();
    }
    let manifest = blobs.last().unwrap();
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": manifest.digest, "size": manifest.bytes.len()}],
    });
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut file = |name: &str, bytes: &[u8], mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    file("bin/busybox", &busybox, 0o755);
    file("bin/call", &call_program(), 0o755);
    file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:web:/home/web:/bin/sh\n", 0o644);
    file("etc/group", b"root:x:0:\nweb:x:102:\nextra:x:200:web\n", 0o644);
    let applets = [
        "sh", "cat", "ip", "id", "sleep", "hostname", "wget", "env", "ls", "touch", "dd", "tail", "nc", "readlink",
        "grep", "true", "false", "stat", "mkdir", "kill", "cut", "test", "rm", "tr", "[",
    ];
    for applet in applets {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    for dir in ["root", "home/web", "tmp", "proc", "sys", "dev"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o1777);
        tar.append_data(&mut header, dir, &[][..]).unwrap();
    }
    tar.into_inner().unwrap()
}
