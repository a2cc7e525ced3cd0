// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: the shim, seen by containerd's own client and by whoever kills it. Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use berth_shim::ProcessHandle;
use berth_types::report::TaskStage;
use lab::containerd::Containerd;
use lab::{Lab, container, in_own_network, only, pauses};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often a containerd is replaced: it takes a moment to end, in which much can happen.
const REPLACEMENTS: usize = 20;

async fn shim_lab(name: &str) -> Lab {
    shim_lab_with(name, None).await
}

async fn shim_lab_with(name: &str, oci_runtime: Option<&str>) -> Lab {
    let mut lab = Lab::new(name).await;
    lab.config.oci_runtime = oci_runtime.map(str::to_owned);
    // Prepared namespaces have shims of their own.
    lab.config.prepared_namespaces = 0;
    lab.start().await;
    lab
}

/// Process ids of the shims of a lab.
fn shims(lab: &Lab) -> Vec<Pid> {
    let folder = lab.folder().to_str().unwrap();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_shim = |pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with("berth-shim\0") && line.contains(folder)
    };
    pids.filter(is_shim).map(Pid::from_raw).collect()
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

fn ctr(lab: &Lab, line: &[&str]) -> Output {
    let mut command = Command::new("ctr");
    command.arg("--address").arg(berth_node::containerd_socket(&lab.config.run_dir)).args(["--namespace", "berth"]);
    command.args(line).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_task_has_one_shim_and_a_killed_one_leaves_nothing() {
    in_own_network(|| async {
        let mut lab = shim_lab("shim-killed").await;
        let mut task = lab.task("sleep 60");
        task.containers.push(container("side", "sleep 60"));
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Running).await;
        let [shim] = shims(&lab)[..] else { panic!("{:?}", shims(&lab)) };
        let places = ["s", "oci/berth"].map(|name| lab.config.run_dir.join("containerd").join(name));
        assert_eq!(places.each_ref().map(|place| count(place)), [1, 2]);
        kill(shim, Signal::SIGKILL).unwrap();
        lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!(places.each_ref().map(|place| count(place)), [0, 0]);
        assert!(pauses(lab.folder()).is_empty());
        lab.forget(&id).await;
        lab.end().await;
    });
}

/// Either runtime runs, ends and refuses programs, and tells of it in the same words.
#[test]
fn both_runtimes_do_the_same() {
    in_own_network(|| async {
        for runtime in berth_shim::PROGRAMS {
            let mut lab = shim_lab_with(&format!("shim-{runtime}"), Some(runtime)).await;
            let (ends, stays) = (lab.task("exit 3"), lab.task("sleep 60"));
            let mut refused = lab.task("true");
            refused.containers[0].command = Some(vec!["/no/such/program".to_owned()]);
            let (ends, stays, refused) = (lab.run(ends).await, lab.run(stays).await, lab.run(refused).await);
            let ended = lab.server.reached(&ends, TaskStage::Stopped).await;
            assert_eq!(ended.containers[0].exit_code, Some(3), "{runtime}");
            let told = lab.server.reached(&refused, TaskStage::Stopped).await;
            let words =
                "unable to start container process: exec: \"/no/such/program\": stat /no/such/program: no such file";
            assert!(format!("{told:?}").replace('\\', "").contains(words), "{runtime}: {told:?}");
            lab.server.reached(&stays, TaskStage::Running).await;
            for id in [&ends, &refused] {
                lab.forget(id).await;
            }
            let all = Containerd::of(&lab.config.run_dir).await.containers().await;
            let app = all.into_iter().find(|id| id.contains('-')).unwrap();
            let bundle = lab.config.run_dir.join("containerd/io.containerd.runtime.v2.task/berth").join(&app);
            assert_eq!(fs::read_to_string(bundle.join("runtime")).unwrap(), runtime);
            assert_eq!(
                said(&ctr(&lab, &["task", "exec", "--exec-id", "one", &app, "sh", "-c", "echo hello"])),
                "hello\n"
            );
            lab.stop(&stays).await;
            lab.server.reached(&stays, TaskStage::Stopped).await;
            lab.forget(&stays).await;
            assert_eq!(count(&lab.config.run_dir.join("containerd/oci/berth")), 0, "{runtime}");
            lab.end().await;
        }
    });
}

/// A node that finds a containerd which does not listen yet starts another; the first may be in the middle of asking the
/// shims how they are.
#[test]
fn a_containerd_replaced_while_it_starts_ends_no_container() {
    in_own_network(|| async {
        let mut lab = shim_lab("shim-replaced").await;
        let task = lab.task("sleep 600");
        let id = lab.run(task).await;
        let before = only(&lab.server.reached(&id, TaskStage::Running).await).clone();
        let [shim] = shims(&lab)[..] else { panic!("{:?}", shims(&lab)) };
        let state = lab.config.run_dir.join("containerd");
        for _ in 0..REPLACEMENTS {
            lab.drop_node().await;
            end_containerd(&lab);
            kill(shim, Signal::SIGSTOP).unwrap();
            // As one that a killed node has started.
            let cgroup = lab.cgroup("pids").join("containerd/cgroup.procs");
            let script = r#"echo $$ > "$0" && exec containerd --config "$1""#;
            let mut command = tokio::process::Command::new("sh");
            let command = command.args(["-c", script]).arg(cgroup).arg(state.join("config.toml"));
            let mut starting = command.spawn().unwrap();
            shim_is_asked(&state).await;
            let replaced = tokio::spawn(async move {
                starting.wait().await.unwrap();
                // The next containerd is to be answered.
                kill(shim, Signal::SIGCONT).unwrap();
            });
            lab.start_node().await;
            replaced.await.unwrap();
            assert_eq!(shims(&lab), [shim]);
            let after = lab.server.task(&id, |_| true).await;
            assert_eq!((after.stage, &after.stop), (TaskStage::Running, &None));
            assert_eq!(*only(&after), before);
        }
        lab.stop(&id).await;
        let ended = lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!(ended.stop, None, "it ended by itself");
        lab.forget(&id).await;
        lab.end().await;
    });
}

/// A containerd that was killed takes connections until the kernel has closed its files.
#[test]
fn a_containerd_that_takes_connections_and_answers_nothing_is_replaced() {
    in_own_network(|| async {
        let mut lab = shim_lab("shim-dying").await;
        let task = lab.task("sleep 600");
        let id = lab.run(task).await;
        let before = only(&lab.server.reached(&id, TaskStage::Running).await).clone();
        lab.drop_node().await;
        end_containerd(&lab);
        let socket = berth_node::containerd_socket(&lab.config.run_dir);
        fs::remove_file(&socket).unwrap();
        let dying = tokio::net::UnixListener::bind(&socket).unwrap();
        let dying = tokio::spawn(async move {
            loop {
                drop(dying.accept().await.unwrap());
            }
        });
        lab.start_node().await;
        let after = lab.server.task(&id, |_| true).await;
        assert_eq!((after.stage, only(&after)), (TaskStage::Running, &before));
        dying.abort();
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        lab.forget(&id).await;
        lab.end().await;
    });
}

/// A runtime that is killed may leave a program that is in no record.
#[test]
fn a_program_nobody_knows_ends_with_its_task() {
    in_own_network(|| async {
        let mut lab = shim_lab("shim-stray").await;
        let task = lab.task("trap 'exit 0' TERM; while :; do sleep 0.05; done");
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Running).await;
        let mut stray = Command::new("sleep").arg("600").spawn().unwrap();
        let cgroup = lab.cgroup("pids").join(id.as_str()).join("stray");
        fs::create_dir(&cgroup).unwrap();
        fs::write(cgroup.join("cgroup.procs"), stray.id().to_string()).unwrap();
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!(stray.try_wait().unwrap().and_then(|ended| ended.signal()), Some(Signal::SIGKILL as i32));
        lab.forget(&id).await;
        lab.end().await;
    });
}

/// Kills the containerd of a lab and waits until nothing of it is left that a connection or a pipe could lead to.
fn end_containerd(lab: &Lab) {
    let containerd = berth_node::private_containerd(&lab.config.run_dir).unwrap();
    let process = ProcessHandle::of(containerd).unwrap();
    process.kill().unwrap();
    assert!(process.has_ended(ProcessHandle::KILL_LIMIT_MS).unwrap(), "containerd survives SIGKILL");
}

/// Returns when a containerd that starts has come to the first bundle: it opens the pipe that is there.
async fn shim_is_asked(state: &Path) {
    let bundles = fs::read_dir(state.join("io.containerd.runtime.v2.task/berth")).unwrap();
    let first = bundles.map(|entry| entry.unwrap().path()).min().unwrap();
    let open = move || fs::File::options().write(true).open(first.join("log"));
    tokio::task::spawn_blocking(open).await.unwrap().unwrap();
}

#[test]
fn a_stopped_task_leaves_no_shim() {
    in_own_network(|| async {
        let mut lab = shim_lab("shim-ended").await;
        let task = lab.task("exit 3");
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        lab.forget(&id).await;
        assert_eq!(count(&lab.config.run_dir.join("containerd/s")), 0);
        lab.end().await;
    });
}

#[test]
fn a_server_nobody_used_ends_when_its_bundle_is_cleaned_up() {
    in_own_network(|| async {
        let lab = Lab::new("shim-unused").await;
        let (bundle, socket) = (lab.folder().join("bundle"), berth_node::containerd_socket(&lab.config.run_dir));
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), "{}").unwrap();
        let shim = |action| {
            let mut command = Command::new(&lab.config.shim);
            command.args(["-namespace", "n", "-id", "one", "-address"]).arg(&socket).arg(action);
            said(&command.current_dir(&bundle).output().unwrap())
        };
        let address = shim("start");
        assert_eq!(shim("start"), address, "a second container of the group finds the same server");
        assert_eq!(fs::read_to_string(bundle.join("address")).unwrap(), address);
        let [server] = shims(&lab)[..] else { panic!("{:?}", shims(&lab)) };
        let server = ProcessHandle::of(server.as_raw()).unwrap();
        let mut command = Command::new(&lab.config.shim);
        command.args(["-namespace", "n", "-id", "one", "-bundle"]).arg(&bundle).arg("-address").arg(&socket);
        assert!(command.arg("delete").output().unwrap().status.success());
        assert!(server.has_ended(ProcessHandle::KILL_LIMIT_MS).unwrap(), "the server goes on");
        lab.end().await;
    });
}

#[test]
fn containerds_own_client_finds_what_it_knows() {
    in_own_network(|| async {
        let mut lab = shim_lab("shim-ctr").await;
        let task = lab.task("sleep 60");
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Running).await;
        let all = Containerd::of(&lab.config.run_dir).await.containers().await;
        let app = all.iter().find(|id| id.contains('-')).unwrap().as_str();
        let pause = all.iter().find(|id| !id.contains('-')).unwrap().as_str();

        let state = |lab: &Lab| {
            let listed = said(&ctr(lab, &["task", "ls"]));
            let line = listed.lines().find(|line| line.starts_with(app)).unwrap().to_owned();
            line.split_whitespace().last().unwrap().to_owned()
        };
        assert_eq!(state(&lab), "RUNNING");
        let exec =
            |lab: &Lab, id: &str, script: &str| ctr(lab, &["task", "exec", "--exec-id", id, app, "sh", "-c", script]);
        assert_eq!(said(&exec(&lab, "one", "echo hello; readlink /proc/self/ns/net | cut -c1-4")), "hello\nnet:\n");
        assert_eq!(exec(&lab, "one", "exit 7").status.code(), Some(7), "an id is free again when its process is over");
        let refused = ctr(&lab, &["task", "exec", "--exec-id", "two", app, "/no/such/program"]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("OCI runtime exec failed"), "{refused:?}");

        said(&ctr(&lab, &["task", "pause", app]));
        assert_eq!(state(&lab), "PAUSED");
        said(&ctr(&lab, &["task", "resume", app]));
        assert_eq!(state(&lab), "RUNNING");
        assert_eq!(said(&ctr(&lab, &["task", "ps", app])).lines().count(), 2);
        assert_eq!(said(&ctr(&lab, &["task", "ps", pause])).lines().count(), 2);
        for (line, why) in [
            (["task", "metrics", app], "no metrics received"),
            (["task", "pause", pause], "a pause container has no"),
            (["task", "rm", app], "must be stopped"),
        ] {
            let refused = ctr(&lab, &line);
            let complaint = String::from_utf8_lossy(&refused.stderr);
            assert!(!refused.status.success() && complaint.contains(why), "{line:?}: {complaint}");
        }
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        lab.forget(&id).await;
        lab.end().await;
    });
}
