// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: containerd and shims that are stopped, that are mistaken for others, or that an earlier version started.
//! Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use berth_node::{Patience, private_containerd};
use berth_shim::ProcessHandle;
use berth_types::report::TaskStage;
use lab::{Lab, eventually, in_own_network, only};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Programs that look like containerd.
const IMPOSTORS: usize = 40;

async fn supervised_lab(name: &str, patience: Patience) -> Lab {
    let mut lab = Lab::new(name).await;
    lab.config.patience = patience;
    // Prepared namespaces have shims of their own.
    lab.config.prepared_namespaces = 0;
    lab.start().await;
    lab
}

/// Processes in a cgroup of the lab that only says which processes belong together.
fn in_cgroup(lab: &Lab, name: &str) -> Vec<i32> {
    let text = fs::read_to_string(lab.cgroup("pids").join(name).join("cgroup.procs")).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// The cgroup in which an earlier version has left a process.
fn leave_cgroup(pid: i32) {
    let base = Path::new("/sys/fs/cgroup");
    let dir = if base.join("pids").exists() { base.join("pids") } else { base.to_owned() };
    fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
}

/// Programs with the command line of the lab's containerd or of a shim of it: any container can have such.
fn impostors(lab: &Lab) -> Vec<Child> {
    let socket = berth_node::containerd_socket(&lab.config.run_dir);
    let program = lab.config.data_dir.join("node/pause/pause");
    let start = |number: usize| {
        let mut command = Command::new(&program);
        match number % 2 {
            0 => command.arg0("containerd").arg("--config").arg(socket.with_file_name("config.toml")),
            _ => command.arg0("berth-shim").arg("-address").arg(&socket),
        };
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        child
    };
    (0..IMPOSTORS).map(start).collect()
}

#[test]
fn programs_called_like_containerd_or_a_shim_are_left_alone() {
    in_own_network(|| async {
        let mut lab = supervised_lab("impostors", Patience::default()).await;
        let task = lab.task("sleep 600");
        let id = lab.run(task).await;
        let before = only(&lab.server.reached(&id, TaskStage::Running).await).clone();
        let mut programs = impostors(&lab);
        let first = private_containerd(&lab.config.run_dir).unwrap();
        lab.drop_node().await;
        ProcessHandle::of(first).unwrap().kill().unwrap();
        // The node adopts none of them, ends none of them and waits for none of them.
        lab.start_node().await;
        let second = private_containerd(&lab.config.run_dir).unwrap();
        assert!(second != first && programs.iter().all(|program| program.id() as i32 != second));
        let after = lab.server.task(&id, |_| true).await;
        assert_eq!((after.stage, only(&after)), (TaskStage::Running, &before));
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        lab.forget(&id).await;
        lab.drop_node().await;
        berth_node::teardown(lab.config.clone()).await.unwrap();
        for program in &mut programs {
            assert_eq!(program.try_wait().unwrap(), None, "{} was ended", program.id());
            program.kill().unwrap();
            program.wait().unwrap();
        }
        lab.end().await;
    });
}

/// The program of commit 9b9b31e started containerd and shims in the node's own cgroup.
#[test]
fn containerd_and_shims_of_an_earlier_version_are_adopted() {
    in_own_network(|| async {
        let mut lab = supervised_lab("adopted", Patience::default()).await;
        let task = lab.task("sleep 600");
        let id = lab.run(task).await;
        let before = only(&lab.server.reached(&id, TaskStage::Running).await).clone();
        let containerd = private_containerd(&lab.config.run_dir).unwrap();
        assert!(in_cgroup(&lab, "containerd").contains(&containerd));
        let shim = *in_cgroup(&lab, "shims").first().unwrap();
        lab.drop_node().await;
        [containerd, shim].into_iter().for_each(leave_cgroup);
        lab.start_node().await;
        assert_eq!(private_containerd(&lab.config.run_dir), Some(containerd));
        eventually("containerd joins its cgroup", || in_cgroup(&lab, "containerd").contains(&containerd)).await;
        eventually("the shim joins its cgroup", || in_cgroup(&lab, "shims").contains(&shim)).await;
        // A node that is dropped right after its report may not have written RUNNING to its journal.
        let after = lab.server.reached(&id, TaskStage::Running).await;
        assert_eq!((after.stage, only(&after)), (TaskStage::Running, &before));
        lab.end().await;
    });
}

#[test]
fn a_stopped_containerd_is_replaced_and_tasks_go_on() {
    in_own_network(|| async {
        let patience = Patience { heartbeat: Duration::from_secs(1), ..Patience::default() };
        let mut lab = supervised_lab("stuck-containerd", patience).await;
        let task = lab.task("sleep 600");
        let id = lab.run(task).await;
        let before = only(&lab.server.reached(&id, TaskStage::Running).await).clone();
        let healthy = lab.server.runtime.unwrap();
        assert!(healthy.healthy);
        let stuck = private_containerd(&lab.config.run_dir).unwrap();
        kill(Pid::from_raw(stuck), Signal::SIGSTOP).unwrap();
        // It was told to be stuck in between, even if both reports have become one.
        while lab.server.runtime.is_none_or(|said| !said.healthy || said.since == healthy.since) {
            lab.server.hear().await;
        }
        let next = private_containerd(&lab.config.run_dir).unwrap();
        assert_ne!(next, stuck);
        let after = lab.server.task(&id, |_| true).await;
        assert_eq!((after.stage, only(&after)), (TaskStage::Running, &before));
        lab.stop(&id).await;
        let stopped = lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!(stopped.stop, None, "it ended by itself");
        lab.forget(&id).await;
        lab.end().await;
    });
}

#[test]
fn a_task_whose_shim_is_stopped_ends_with_its_shim() {
    in_own_network(|| async {
        let patience = Patience { kill: Duration::from_secs(1), ..Patience::default() };
        let mut lab = supervised_lab("stuck-shim", patience).await;
        let (stuck, other) = (lab.task("sleep 600"), lab.task("sleep 600"));
        let stuck = lab.run(stuck).await;
        lab.server.reached(&stuck, TaskStage::Running).await;
        let shim = *in_cgroup(&lab, "shims").first().unwrap();
        let other = lab.run(other).await;
        lab.server.reached(&other, TaskStage::Running).await;
        kill(Pid::from_raw(shim), Signal::SIGSTOP).unwrap();
        lab.stop(&stuck).await;
        let ended = lab.server.reached(&stuck, TaskStage::Stopped).await;
        assert_eq!(only(&ended).exit_code, Some(137));
        assert!(!in_cgroup(&lab, "shims").contains(&shim));
        assert_eq!(lab.server.tasks[&other].stage, TaskStage::Running);
        for id in [&stuck, &other] {
            lab.stop(id).await;
            lab.server.reached(id, TaskStage::Stopped).await;
            lab.forget(id).await;
        }
        lab.end().await;
    });
}
