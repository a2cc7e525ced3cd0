//! Kernel suite: pulling from a registry, by name and through a mirror, into a real containerd. Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use std::sync::atomic::Ordering;

use berth_node::Mirror;
use berth_types::report::{StopCause, TaskStage};
use lab::registry::Registry;
use lab::{Lab, in_own_network, only};

async fn run(lab: &mut Lab, image: &str) -> berth_types::report::TaskReport {
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
        *registry.spoiled.lock().unwrap() = true;
        let mut lab = Lab::new("spoiled").await;
        lab.start_node().await;
        let report = run(&mut lab, &format!("{}/app", registry.address)).await;
        let Some(StopCause::FailedToStart { reason }) = &report.stop else { panic!("{report:?}") };
        assert!(reason.starts_with("CannotPullContainerError: "), "{reason}");
        *registry.spoiled.lock().unwrap() = false;
        let report = run(&mut lab, &format!("{}/app", registry.address)).await;
        assert_eq!(only(&report).exit_code, Some(0), "{report:?}");
        let report = run(&mut lab, &format!("{}/app:none", registry.address)).await;
        let Some(StopCause::FailedToStart { reason }) = &report.stop else { panic!("{report:?}") };
        assert!(reason.ends_with("app:none: not found"), "{reason}");
        lab.end().await;
    });
}
