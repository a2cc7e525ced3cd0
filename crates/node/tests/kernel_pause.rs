// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: pause containers, and what a container can do to the one it shares namespaces with. Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use berth_types::TaskId;
use berth_types::container::{Capabilities, PidMode};
use berth_types::intent::LaunchType;
use berth_types::report::TaskStage;
use lab::{Lab, container, in_own_network, pauses};

const STATUS: [&str; 7] = [
    "CapPrm:\t0000000000000000",
    "CapEff:\t0000000000000000",
    "CapBnd:\t0000000000000000",
    "NoNewPrivs:\t1",
    "Seccomp:\t2",
    "Uid:\t65535\t65535\t65535\t65535",
    "Gid:\t65535\t65535\t65535\t65535",
];

fn namespace(pid: &str, name: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap()
}

/// The pause program of the task whose container wrote the name of its network namespace.
fn pause_of(lab: &Lab, log: &str) -> String {
    let all = pauses(lab.folder());
    let found = all.into_iter().find(|pid| log.contains(namespace(pid, "net").to_str().unwrap()));
    found.expect("no pause container is in the task's namespace")
}

/// The cgroups of a process: of each controller, and of the unified hierarchy.
fn cgroups(pid: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let line = |line: &str| {
        let (controllers, path) = line.split_once(':').unwrap().1.split_once(':').unwrap();
        controllers.split(',').map(|controller| (controller.to_owned(), path.to_owned())).collect::<Vec<_>>()
    };
    text.lines().flat_map(line).collect()
}

/// The pause program is in a cgroup of its own inside the task's, in which devices are refused.
fn assert_walled(lab: &Lab, pid: &str, id: &TaskId) {
    let wanted = format!("/berth/{}/{}/pause", lab.config.instance, id.as_str());
    let found = cgroups(pid);
    let is_v2 = found.len() == 1;
    let controllers: &[&str] = if is_v2 { &[""] } else { &["cpu", "memory", "pids", "devices"] };
    for controller in controllers {
        let path = &found.iter().find(|(name, _)| name == controller).unwrap().1;
        assert!(path.ends_with(&wanted), "{controller}: {path}");
    }
    let procs = lab.cgroup("devices").join(id.as_str()).join("pause/cgroup.procs");
    let script = format!("echo $$ > {} && head -c 1 /dev/zero", procs.display());
    let tried = Command::new("sh").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    assert!(!tried.status.success() && said.contains("Operation not permitted"), "{said}");
}

#[test]
fn a_pause_container_has_namespaces_and_a_cgroup_of_its_own_and_no_rights() {
    in_own_network(|| async {
        let mut lab = Lab::new("pause").await;
        lab.start().await;
        let task = lab.task("cat /proc/self/cgroup; readlink /proc/self/ns/net; sleep 60");
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Running).await;
        let log = lab.written(&id, "app", "net:").await;
        let pid = pause_of(&lab, &log);
        if cgroups("self").len() == 1 {
            // Of cgroups of version 2 a container sees its own as the root.
            assert!(log.lines().any(|line| line == "0::/"), "{log}");
        }
        for name in ["mnt", "pid", "ipc", "uts", "net"] {
            assert_ne!(namespace(&pid, name), namespace("self", name), "{name}");
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for line in STATUS {
            assert!(status.lines().any(|found| found.trim_end() == line), "{line:?} is not in {status}");
        }
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        let seen: Vec<&str> = mounts.lines().map(|line| line.split(' ').nth(4).unwrap()).collect();
        assert_eq!(seen, ["/"]);
        assert!(mounts.split(' ').nth(5).unwrap().starts_with("ro,nosuid,nodev"), "{mounts}");
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let open: Vec<PathBuf> = files.map(|file| fs::read_link(file.unwrap().path()).unwrap()).collect();
        assert!(open.iter().all(|file| file == Path::new("/dev/null")), "{open:?}");
        assert_walled(&lab, &pid, &id);
        for prepared in pauses(lab.folder()).iter().filter(|prepared| **prepared != pid) {
            let found = cgroups(prepared);
            let devices = found.iter().find(|(name, _)| name == "devices" || name.is_empty()).unwrap();
            assert!(devices.1.ends_with(&format!("/berth/{}/pause", lab.config.instance)), "{devices:?}");
        }
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        assert!(Path::new(&format!("/proc/{pid}")).exists(), "the interface is given back by the running task only");
        lab.forget(&id).await;
        lab.end().await;
    });
}

/// PTRACE_ATTACH and PTRACE_SEIZE, for the program `call`.
fn trace(pid: &str) -> String {
    let ptrace = nix::libc::SYS_ptrace;
    format!("call {ptrace},16,{pid} {ptrace},16902,{pid}")
}

/// What a container tries with a pause program.
fn attack(pid: &str) -> String {
    format!(
        "for file in root/ cwd/ ns/net fd/1 mem environ maps; do (cat /proc/{pid}/$file || ls /proc/{pid}/$file/) > \
         /dev/null; done; {}; echo tried; readlink /proc/self/ns/net; sleep 60",
        trace(pid)
    )
}

#[track_caller]
fn assert_refused(log: &str) {
    let seen = ["root/", "cwd/", "ns/net", "fd/1", "mem", "environ", "maps"];
    for file in seen {
        let refused =
            log.lines().filter(|line| line.contains(&format!("/{file}")) && line.ends_with("Permission denied"));
        assert!(refused.count() >= 1, "{file} is not refused: {log}");
    }
    let ptrace = nix::libc::SYS_ptrace;
    assert_eq!(log.lines().filter(|line| *line == format!("{ptrace} -1")).count(), 2, "{log}");
}

#[test]
fn a_container_gets_nothing_from_the_pause_program_it_shares_processes_with() {
    in_own_network(|| async {
        let mut lab = Lab::new("shared").await;
        lab.start().await;
        let mut task = lab.task(&attack("1"));
        task.pid_mode = PidMode::Task;
        // The only capability Fargate admits: the program can be traced then, and there is nothing to be had from it.
        let seen = "ls -A /proc/1/root/; ls /proc/1/root/sys; touch /proc/1/root/x; echo looked; sleep 60";
        let mut tracer = container("tracer", seen);
        tracer.linux.capabilities = Some(Capabilities { add: Some(vec!["SYS_PTRACE".to_owned()]), drop: None });
        task.containers.push(tracer);
        let id = lab.run(task).await;
        let log = lab.written(&id, "app", "net:").await;
        assert_refused(&log);
        let looked = lab.written(&id, "tracer", "looked").await;
        assert!(looked.starts_with("pause\n"), "{looked}");
        assert!(
            looked.contains("/proc/1/root/sys: No such file") && looked.contains("Read-only file system"),
            "{looked}"
        );
        assert_walled(&lab, &pause_of(&lab, &log), &id);
        lab.stop(&id).await;
        lab.forget(&id).await;
        // A container of the EC2 launch type with the host's processes sees the pause programs of all tasks.
        let mut other = lab.task("readlink /proc/self/ns/net; sleep 60");
        other.launch_type = LaunchType::Ec2;
        let other = lab.run(other).await;
        let pid = pause_of(&lab, &lab.written(&other, "app", "net:").await);
        let mut spy = lab.task(&attack(&pid));
        (spy.launch_type, spy.pid_mode) = (LaunchType::Ec2, PidMode::Host);
        let spy = lab.run(spy).await;
        assert_refused(&lab.written(&spy, "app", "net:").await);
        for id in [other, spy] {
            lab.stop(&id).await;
            lab.forget(&id).await;
        }
        lab.end().await;
    });
}

/// Gives this process, and with it containerd and shims, another chance to be killed than containers have.
fn be_spared(adjustment: &str) -> std::io::Result<()> {
    fs::write("/proc/self/oom_score_adj", adjustment)
}

#[test]
fn a_task_has_its_limit_of_processes_and_is_not_spared_when_memory_is_short() {
    in_own_network(|| async {
        // Where the right to be spared is missing a process can still be less spared than containers are.
        let adjustment = if be_spared("-999").is_ok() { "-999" } else { "300" };
        be_spared(adjustment).unwrap();
        let mut lab = Lab::new("limits").await;
        lab.config.task_pids_limit = Some(20);
        lab.start().await;
        let mut task = lab.task(
            "cat /proc/self/oom_score_adj; (echo -999 > /proc/self/oom_score_adj) || echo kept; \
             for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 60 & done; sleep 60",
        );
        task.containers.push(container("idle", "sleep 60"));
        let id = lab.run(task).await;
        let log = lab.written(&id, "app", "can't fork").await;
        assert!(log.starts_with("0\n") && log.contains("kept"), "{log}");
        let limit = fs::read_to_string(lab.cgroup("pids").join(id.as_str()).join("pids.max")).unwrap();
        assert_eq!(limit, "20\n");
        for pid in pauses(lab.folder()) {
            assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap(), "0\n");
        }
        lab.stop(&id).await;
        lab.forget(&id).await;
        lab.end().await;
        be_spared("0").unwrap();
    });
}

#[test]
fn a_privileged_container_writes_to_sysfs_beside_one_that_only_reads_it() {
    in_own_network(|| async {
        for runtime in berth_shim::PROGRAMS {
            let mut lab = Lab::new(runtime).await;
            lab.config.oci_runtime = Some(runtime.to_owned());
            lab.start().await;
            let write = |name: &str| format!("(echo {name} > /sys/class/net/lo/ifalias) && echo wrote; echo tried");
            let mut task = lab.task(&format!("{}; sleep 60", write("one")));
            task.launch_type = LaunchType::Ec2;
            let mut privileged = container("two", &format!("{}; sleep 60", write("two")));
            privileged.privileged = true;
            task.containers.push(privileged);
            let id = lab.run(task).await;
            let plain = lab.written(&id, "app", "tried").await;
            assert!(plain.contains("Read-only file system") && !plain.contains("wrote"), "{plain}");
            let privileged = lab.written(&id, "two", "tried").await;
            assert!(privileged.contains("wrote"), "{privileged}");
            lab.stop(&id).await;
            lab.forget(&id).await;
            lab.end().await;
        }
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

/// What nodes on hosts with cgroups of version 2 do; here in the unified hierarchy, which is beside those of version 1.
#[test]
fn devices_are_refused_in_a_cgroup_of_version_2() {
    let base = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let base = base.into_iter().find(|base| base.join("cgroup.controllers").exists()).expect("no cgroup2 is mounted");
    let cgroup = base.join(format!("berth-test-devices-{}", std::process::id()));
    fs::create_dir(&cgroup).unwrap();
    berth_fabric::kernel::deny_devices(&cgroup).unwrap();
    // Once more, as a node does that starts again.
    berth_fabric::kernel::deny_devices(&cgroup).unwrap();
    let script = format!("echo $$ > {}/cgroup.procs && head -c 1 /dev/zero", cgroup.display());
    let tried = Command::new("sh").args(["-c", &script]).output().unwrap();
    fs::remove_dir(&cgroup).unwrap();
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    assert!(!tried.status.success() && said.contains("Operation not permitted"), "{said}");
}
