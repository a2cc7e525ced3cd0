//! Kernel suite: pause containers. Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use berth_types::report::TaskStage;
use lab::{Lab, in_own_network, pauses};

const STATUS: [&str; 4] =
    ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"];

fn namespace(pid: &str, name: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap()
}

#[test]
fn a_pause_container_has_namespaces_of_its_own_and_no_rights() {
    in_own_network(|| async {
        let mut lab = Lab::new("pause").await;
        lab.start().await;
        let task = lab.task("readlink /proc/self/ns/net; sleep 60");
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Running).await;
        let log = lab.written(&id, "app", "net:").await;
        let all = pauses(lab.folder());
        let of_task = all.iter().find(|pid| log.contains(namespace(pid, "net").to_str().unwrap()));
        let pid = of_task.expect("no pause container is in the task's namespace");
        for name in ["mnt", "pid", "ipc", "uts", "net"] {
            assert_ne!(namespace(pid, name), namespace("self", name), "{name}");
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for line in STATUS {
            assert!(status.lines().any(|found| found == line), "{line:?} is not in {status}");
        }
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let seen: Vec<&str> = mounts.lines().map(|line| line.split(' ').nth(4).unwrap()).collect();
        assert_eq!(seen, ["/", "/sys"]);
        assert!(mounts.lines().next().unwrap().split(' ').nth(5).unwrap().starts_with("ro,"), "{mounts}");
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let open: Vec<PathBuf> = files.map(|file| fs::read_link(file.unwrap().path()).unwrap()).collect();
        assert!(open.iter().all(|file| file == Path::new("/dev/null")), "{open:?}");
        lab.stop(&id).await;
        lab.forget(&id).await;
        lab.end().await;
    });
}

#[test]
fn a_pause_program_nobody_noted_ends() {
    in_own_network(|| async {
        let mut lab = Lab::new("unnoted").await;
        lab.start_node().await;
        let program = lab.config.data_dir.join("node/pause/pause");
        let status = Command::new(program).stdin(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(1));
        lab.end().await;
    });
}
