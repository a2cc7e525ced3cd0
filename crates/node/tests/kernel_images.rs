// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: pulling from a registry, by name and through a mirror, into a real containerd. Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::Ordering;

use berth_node::Mirror;
use berth_types::report::{StopCause, TaskReport, TaskStage};
use lab::image::{self, Blob};
use lab::registry::{Manners, Registry};
use lab::{Lab, in_own_network, only};

async fn run(lab: &mut Lab, image: &str) -> TaskReport {
    let mut task = lab.task("exit 0");
    task.containers[0].image = image.to_owned();
    let id = lab.run(task).await;
    let report = lab.server.reached(&id, TaskStage::Stopped).await;
    lab.forget(&id).await;
    report
}

#[test]
fn a_second_start_pulls_nothing_but_asks() {
    in_own_network(|| async {
        let registry = Registry::start("gzip").await;
        let mut lab = Lab::new("pull").await;
        lab.config.mirrors = vec![registry.mirror()];
        lab.start_node().await;
        let image = format!("{}/team/app:latest", registry.address);
        let report = run(&mut lab, &image).await;
        assert_eq!(only(&report).exit_code, Some(0), "{report:?}");
        assert_eq!(only(&report).image_digest.as_ref(), Some(&registry.digest));
        let (asked, fetched) = (registry.manifests.load(Ordering::SeqCst), registry.blobs.load(Ordering::SeqCst));
        assert_eq!(fetched, 4, "three layers and a configuration");
        run(&mut lab, &image).await;
        assert_eq!(registry.blobs.load(Ordering::SeqCst), fetched);
        assert!(registry.manifests.load(Ordering::SeqCst) > asked);
        registry.stop();
        let report = run(&mut lab, &image).await;
        assert_eq!(only(&report).exit_code, Some(0), "the cached image is used when the registry fails");
        lab.end().await;
    });
}

#[test]
fn a_mirror_is_asked_instead_of_the_registry() {
    in_own_network(|| async {
        let registry = Registry::start("zstd").await;
        let mut lab = Lab::new("mirror").await;
        lab.config.mirrors = vec![Mirror::parse(&format!("docker.io=http://{}", registry.address)).unwrap()];
        lab.start_node().await;
        let report = run(&mut lab, "nginx").await;
        assert_eq!(only(&report).exit_code, Some(0), "{report:?}");
        assert_eq!(only(&report).image_digest.as_ref(), Some(&registry.digest));
        lab.end().await;
    });
}

#[test]
fn bytes_that_are_not_what_was_promised_are_refused() {
    in_own_network(|| async {
        let registry = Registry::start("gzip").await;
        registry.behave(Manners { spoils: true, ..Manners::default() });
        let mut lab = Lab::new("spoiled").await;
        lab.config.mirrors = vec![registry.mirror()];
        lab.start_node().await;
        let report = run(&mut lab, &format!("{}/app", registry.address)).await;
        let Some(StopCause::FailedToStart { reason }) = &report.stop else { panic!("{report:?}") };
        assert!(reason.starts_with("CannotPullContainerError: "), "{reason}");
        registry.behave(Manners::default());
        let report = run(&mut lab, &format!("{}/app", registry.address)).await;
        assert_eq!(only(&report).exit_code, Some(0), "{report:?}");
        let report = run(&mut lab, &format!("{}/app:none", registry.address)).await;
        let Some(StopCause::FailedToStart { reason }) = &report.stop else { panic!("{report:?}") };
        assert!(reason.ends_with("app:none: not found"), "{reason}");
        lab.end().await;
    });
}

#[test]
fn a_pull_outlives_a_registry_that_falters_and_tells_the_digest_of_the_index() {
    in_own_network(|| async {
        let registry = Registry::start("gzip").await;
        let token_from = Some(format!("http://{}/token", registry.address));
        registry.behave(Manners { refuses: 1, breaks: 1, token_from, ..Manners::default() });
        let manifest = image::blobs("gzip").pop().unwrap();
        let entry = |blob: &Blob, variant: &str| {
            let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
            serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": blob.digest, "size": blob.bytes.len(),
                "platform": {"os": "linux", "architecture": architecture, "variant": variant}})
        };
        let other = Blob::of(b"an image for a processor with more".to_vec());
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry(&other, "v3"), entry(&manifest, "")]});
        let index = Blob::of(index.to_string().into_bytes());
        registry.tag("multi", index.bytes);
        let mut lab = Lab::new("falters").await;
        lab.config.mirrors = vec![registry.mirror()];
        lab.start_node().await;
        let report = run(&mut lab, &format!("{}/app:multi", registry.address)).await;
        assert_eq!(only(&report).exit_code, Some(0), "{report:?}");
        assert_eq!(only(&report).image_digest.as_ref(), Some(&index.digest));
        lab.end().await;
    });
}

/// A registry on the internet, and what each answer of it must not do to the host.
#[test]
fn a_hostile_registry_fills_nothing_and_leads_nowhere() {
    in_own_network(|| async {
        let outside = Ipv4Addr::new(198, 51, 100, 1);
        for address in [outside, Ipv4Addr::new(169, 254, 169, 254)] {
            lab::add_to_loopback(address);
        }
        let registry = Registry::start_at(outside.into(), image::blobs("gzip")).await;
        let victim = Registry::start_at(Ipv4Addr::UNSPECIFIED.into(), image::blobs("gzip")).await;
        let port = victim.address.port();
        let layers = vec![serde_json::json!({"digest": registry.digest, "size": 1}); 128];
        let config = serde_json::json!({"digest": registry.digest, "size": 1});
        registry.tag("layers", serde_json::json!({"config": config, "layers": layers}).to_string().into_bytes());
        registry.tag("manifest", vec![b' '; 5 << 20]);
        registry.add("swelling", image::swelling(24 << 20));
        let behaving = Manners::default;
        let redirecting = |to: String| Manners { redirects_to: Some(to), ..behaving() };
        let challenging = |to: String| Manners { token_from: Some(to), ..behaving() };
        let cases = [
            ("manifest", behaving(), "longer than the limit of 4194304 bytes"),
            ("layers", behaving(), "the image has 128 layers; this host takes 127"),
            ("swelling", behaving(), "unpacked, the image has more than the 16777216 bytes this host takes"),
            ("latest", Manners { adds: 8 << 20, ..behaving() }, "it is longer than the"),
            ("latest", redirecting(format!("http://127.0.0.1:{port}/x")), "an address of this host"),
            ("latest", redirecting(format!("http://169.254.169.254:{port}/x")), "a link-local address"),
            ("latest", challenging(format!("http://localhost:{port}/token")), "an address of this host"),
        ];
        let mut lab = Lab::new("hostile").await;
        lab.config.images.limits.unpacked_bytes = 16 << 20;
        lab.config.mirrors = vec![registry.mirror()];
        lab.start_node().await;
        for (tag, manners, wanted) in cases {
            registry.behave(manners);
            let report = run(&mut lab, &format!("{}/app:{tag}", registry.address)).await;
            let Some(StopCause::FailedToStart { reason }) = &report.stop else { panic!("{report:?}") };
            assert!(reason.starts_with("CannotPullContainerError: ") && reason.contains(wanted), "{reason}");
        }
        let content = lab.config.data_dir.join("containerd/io.containerd.content.v1.content");
        assert!(content.is_dir() && bytes_below(&content) < 8 << 20, "{} bytes are left", bytes_below(&content));
        // The host's own registry, which no mirror names.
        let report = run(&mut lab, &format!("127.0.0.1:{port}/app")).await;
        let Some(StopCause::FailedToStart { reason }) = &report.stop else { panic!("{report:?}") };
        assert!(reason.contains(&format!("--mirror 127.0.0.1:{port}=http://127.0.0.1:{port}")), "{reason}");
        let asked = victim.manifests.load(Ordering::SeqCst) + victim.blobs.load(Ordering::SeqCst);
        assert_eq!(asked, 0, "the host was reached");
        registry.behave(behaving());
        let report = run(&mut lab, &format!("{}/app", registry.address)).await;
        assert_eq!(only(&report).exit_code, Some(0), "{report:?}");
        lab.end().await;
    });
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let bytes = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
        _ => entry.metadata().map_or(0, |file| file.len()),
    };
    entries.map(bytes).sum()
}
