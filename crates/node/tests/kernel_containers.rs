// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: what a task definition says of its containers is so in real containers. Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_node::{ImageSettings, PullBehavior};
use berth_types::container::{
    Capabilities, Device, HealthCheck, IpcMode, LinuxParameters, LogIntent, PidMode, SystemControl, Tmpfs, Ulimit,
    VolumeIntent, VolumeSource,
};
use berth_types::intent::{ContainerIntent, LaunchType, MountIntent, TaskIntent, VolumesFrom};
use berth_types::mode::NetworkMode;
use berth_types::report::{HealthStatus, StopCause, TaskReport, TaskStage};
use lab::{Lab, container, eventually, in_own_network, only};

/// Runs a task of one container to its end and answers what it wrote.
async fn output(lab: &mut Lab, command: &str, change: impl FnOnce(&mut TaskIntent)) -> String {
    let mut task = lab.task(command);
    change(&mut task);
    let id = lab.run(task).await;
    let report = lab.server.reached(&id, TaskStage::Stopped).await;
    assert!(matches!(report.stop, Some(StopCause::EssentialContainerExited { .. })), "{report:?}");
    let log = lab.log(&id, "app");
    lab.forget(&id).await;
    log
}

#[track_caller]
fn holds(log: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(log.contains(wanted), "{wanted:?} is not in:\n{log}");
    }
}

#[test]
fn linux_parameters_and_limits_act() {
    in_own_network(|| async {
        let mut lab = Lab::new("linux").await;
        lab.start().await;
        let command = "grep -E 'CapEff|NoNewPrivs' /proc/self/status; echo nofile $(ulimit -Hn); cat /proc/mounts; \
                       cat /proc/sys/net/ipv4/tcp_keepalive_time /proc/sys/kernel/msgmax; \
                       touch /no || echo root is read-only; touch /run/yes && echo tmpfs is not; \
                       for file in hosts hostname resolv.conf; do echo x >> /etc/$file || echo $file is read-only; done";
        let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        let control = |name: &str, value: &str| SystemControl { namespace: name.to_owned(), value: value.to_owned() };
        let log = output(&mut lab, command, |task| {
            let container = &mut task.containers[0];
            container.readonly_root_filesystem = true;
            container.no_new_privileges = true;
            container.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 77, hard: 99 }];
            container.system_controls =
                vec![control("net.ipv4.tcp_keepalive_time", "123"), control("kernel.msgmax", "9000")];
            container.linux = LinuxParameters {
                capabilities: Some(Capabilities { add: words(&["SYS_PTRACE"]), drop: words(&["ALL"]) }),
                tmpfs: Some(vec![Tmpfs {
                    container_path: "/run".to_owned(),
                    size_mib: 3,
                    mount_options: words(&["noatime"]),
                }]),
                shared_memory_mib: Some(7),
                ..LinuxParameters::default()
            };
        })
        .await;
        holds(
            &log,
            &[
                "CapEff:\t0000000000080000",
                "NoNewPrivs:\t1",
                "nofile 99",
                "tmpfs /run tmpfs rw,nosuid,nodev,noexec,noatime",
                "size=3072k",
                "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime",
                "size=7168k",
                "\n123\n9000\n",
                "root is read-only",
                "tmpfs is not",
                "\nhosts is read-only",
                "\nhostname is read-only",
                "\nresolv.conf is read-only",
            ],
        );
        // Where they can be written to they are in memory, and a disk is not filled through them.
        let fill = "dd if=/dev/zero of=/etc/hosts bs=1M count=64; grep ' /etc/hosts ' /proc/mounts";
        let filled = output(&mut lab, fill, |_| {}).await;
        holds(&filled, &["No space left on device", "shm /etc/hosts tmpfs rw"]);
        lab.end().await;
    });
}

#[test]
fn a_privileged_container_sees_the_hosts_devices_and_others_only_theirs() {
    in_own_network(|| async {
        let mut lab = Lab::new("devices").await;
        lab.start().await;
        let command =
            "grep CapEff /proc/self/status; ls -l /dev; dd if=/dev/zeros of=/dev/null bs=1 count=1 && echo read";
        let device = Device {
            host_path: "/dev/zero".to_owned(),
            container_path: Some("/dev/zeros".to_owned()),
            permissions: Some(vec!["read".to_owned()]),
        };
        let given = output(&mut lab, command, |task| {
            task.launch_type = LaunchType::Ec2;
            task.containers[0].linux.devices = Some(vec![device]);
        })
        .await;
        holds(&given, &["/dev/zeros\n", "read"].map(|text| text.trim_start_matches("/dev/")));
        let privileged = output(&mut lab, "grep CapEff /proc/self/status; ls /dev; cat /proc/mounts", |task| {
            task.launch_type = LaunchType::Ec2;
            task.containers[0].privileged = true;
        })
        .await;
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
        holds(&privileged, &[&format!("CapEff:\t{bounding}"), "full", "mem", "sysfs /sys sysfs rw"]);
        let lacking = output(&mut lab, "true", |task| task.launch_type = LaunchType::Ec2).await;
        assert_eq!(lacking, "");
        let mut wrong = lab.task("true");
        wrong.containers[0].linux.devices =
            Some(vec![Device { host_path: "/dev/none".to_owned(), container_path: None, permissions: None }]);
        let id = lab.run(wrong).await;
        let report = lab.server.reached(&id, TaskStage::Stopped).await;
        let reason = only(&report).reason.clone().unwrap();
        assert!(reason.starts_with("CannotCreateContainerError: could not find the device /dev/none"), "{reason}");
        lab.forget(&id).await;
        lab.end().await;
    });
}

#[test]
fn stop_signals_and_health_checks_mean_what_they_mean_to_docker() {
    in_own_network(|| async {
        let mut lab = Lab::new("docker").await;
        lab.start().await;
        lab.load("asked:test", &serde_json::json!({"StopSignal": "sigrtmin+3", "Shell": ["/bin/sh", "-ec"]})).await;
        let check = |words: &[&str]| {
            let command = words.iter().map(|&word| word.to_owned()).collect();
            Some(HealthCheck { command, interval_s: 1, timeout_s: 5, retries: 1, start_period_s: None })
        };
        // The first process ignores a signal it has no handler for; sh waits for its child as another process.
        let command = "trap 'echo asked; exit 9' 37; echo up; while :; do sleep 0.1; done";
        let task = |lab: &mut Lab, launch_type| {
            let mut task = lab.task(command);
            task.launch_type = launch_type;
            task.containers[0].image = "asked:test".to_owned();
            task.containers[0].health_check = check(&["/bin/true"]);
            task
        };
        let fargate = task(&mut lab, LaunchType::Fargate);
        let mut ec2 = task(&mut lab, LaunchType::Ec2);
        (ec2.network_mode, ec2.eni, ec2.hostname) = (NetworkMode::None, None, None);
        let more = [
            ("line", check(&["CMD-SHELL", "false; true"])),
            ("words", check(&["CMD-SHELL", "test", "-d", "/"])),
            ("program", check(&["CMD", "test", "-d", "/"])),
            ("nothing", check(&["CMD"])),
        ];
        for (name, check) in more {
            let health_check = check;
            ec2.containers.push(ContainerIntent { health_check, ..container(name, "echo up; exec sleep 60") });
        }
        // Its image says that the shell stops at the first failure.
        ec2.containers[1].image = "asked:test".to_owned();
        let (fargate, ec2) = (lab.run(fargate).await, lab.run(ec2).await);
        let health = |report: &TaskReport| -> Vec<HealthStatus> {
            report.containers.iter().map(|one| one.health.unwrap()).collect()
        };
        let is_decided = |report: &TaskReport| health(report).iter().skip(1).all(|one| *one != HealthStatus::Unknown);
        let report = lab.server.task(&ec2, is_decided).await;
        use HealthStatus::{Healthy, Unhealthy, Unknown};
        assert_eq!(health(&report), [Unknown, Unhealthy, Unhealthy, Healthy, Unhealthy], "{report:?}");
        lab.server.task(&fargate, |report| health(report) == [Healthy]).await;
        for id in [&fargate, &ec2] {
            lab.written(id, "app", "up").await;
            lab.stop(id).await;
            let report = lab.server.reached(id, TaskStage::Stopped).await;
            assert_eq!(report.containers[0].exit_code, Some(9), "{report:?}");
            holds(&lab.log(id, "app"), &["asked"]);
            lab.forget(id).await;
        }
        lab.end().await;
    });
}

#[test]
fn an_init_process_reaps_and_an_open_input_waits() {
    in_own_network(|| async {
        let mut lab = Lab::new("init").await;
        lab.start().await;
        let command = "cat /proc/1/cmdline; echo; (sleep 0.2 &) ; sleep 0.6; grep -l Z /proc/[0-9]*/stat; exit 5";
        let log = output(&mut lab, command, |task| {
            task.containers[0].linux.init_process_enabled = Some(true);
        })
        .await;
        holds(&log, &["/dev/init"]);
        let mut task = lab.task("echo up; read word; echo read it");
        task.containers[0].interactive = true;
        let mut signalled = lab.task("trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.1; done");
        signalled.containers[0].linux.init_process_enabled = Some(true);
        let (waiting, signalled) = (lab.run(task).await, lab.run(signalled).await);
        for id in [&waiting, &signalled] {
            lab.written(id, "app", "up").await;
            lab.stop(id).await;
        }
        let report = lab.server.reached(&waiting, TaskStage::Stopped).await;
        assert_eq!(only(&report).exit_code, Some(137), "a shell as first process ignores SIGTERM");
        assert!(!lab.log(&waiting, "app").contains("read it"));
        let report = lab.server.reached(&signalled, TaskStage::Stopped).await;
        assert_eq!(only(&report).exit_code, Some(3), "the signal was handed on");
        lab.forget(&waiting).await;
        lab.forget(&signalled).await;
        lab.end().await;
    });
}

#[test]
fn processes_and_shared_memory_are_shared_as_the_modes_say() {
    in_own_network(|| async {
        let mut lab = Lab::new("modes").await;
        lab.start().await;
        let first = "echo hello > /dev/shm/word; echo up; exec sleep 60";
        let second = "until cat /dev/shm/word; do sleep 0.1; done; readlink /proc/self/ns/pid /proc/self/ns/ipc; \
                      until grep -q sleep.60 /proc/[0-9]*/cmdline; do sleep 0.1; done; echo seen; exit 0";
        let mut task = lab.task(first);
        (task.pid_mode, task.ipc_mode) = (PidMode::Task, IpcMode::Task);
        task.containers[0].essential = false;
        task.containers.push(container("other", second));
        let id = lab.run(task).await;
        let report = lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!(report.containers[1].exit_code, Some(0));
        holds(&lab.log(&id, "other"), &["hello", "seen"]);
        lab.forget(&id).await;
        let links = "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc; ls -d /dev/shm";
        let host =
            output(&mut lab, links, |task| (task.pid_mode, task.ipc_mode) = (PidMode::Host, IpcMode::Host)).await;
        let link = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
        holds(&host, &[&link("pid"), &link("ipc"), "/dev/shm"]);
        let none = output(&mut lab, links, |task| task.ipc_mode = IpcMode::None).await;
        assert!(!none.contains("\n/dev/shm") && !none.contains(&link("ipc")), "{none}");
        lab.end().await;
    });
}

#[test]
fn volumes_are_empty_or_the_hosts_or_outlive_the_task() {
    in_own_network(|| async {
        let mut lab = Lab::new("volumes").await;
        lab.start().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("word"), "of the host\n").unwrap();
        let mount = |volume: &str, path: &str, read_only| MountIntent {
            volume: volume.to_owned(),
            path: path.to_owned(),
            read_only,
        };
        let shared = |autoprovision| VolumeIntent {
            name: "kept".to_owned(),
            source: VolumeSource::Shared { name: "kept".to_owned(), autoprovision, labels: Default::default() },
        };
        let host = VolumeIntent {
            name: "host".to_owned(),
            source: VolumeSource::Host(folder.path().to_str().unwrap().to_owned()),
        };
        let mounts =
            || vec![mount("host", "/host", false), mount("kept", "/kept", false), mount("gone", "/gone", false)];
        let volumes = |autoprovision| vec![host.clone(), shared(autoprovision), VolumeIntent::empty("gone")];
        let mut early = lab.task("true");
        (early.volumes, early.containers[0].mounts) = (volumes(false), mounts());
        let id = lab.run(early).await;
        let report = lab.server.reached(&id, TaskStage::Stopped).await;
        let reason = only(&report).reason.clone().unwrap();
        assert_eq!(reason, "CannotCreateContainerError: volume kept does not exist and is not autoprovisioned");
        lab.forget(&id).await;
        let write = "cat /host/word; echo one > /kept/word; echo one > /gone/word; echo written > /host/answer";
        let log = output(&mut lab, write, |task| {
            (task.volumes, task.containers[0].mounts) = (volumes(true), mounts());
        })
        .await;
        holds(&log, &["of the host"]);
        assert_eq!(std::fs::read_to_string(folder.path().join("answer")).unwrap(), "written\n");
        let look = "cat /kept/word; cat /gone/word || echo gone; touch /host/x || echo refused";
        let log = output(&mut lab, look, |task| {
            (task.volumes, task.containers[0].mounts) = (volumes(false), mounts());
            task.containers[0].mounts[0].read_only = true;
        })
        .await;
        holds(&log, &["one", "gone", "refused"]);
        lab.end().await;
    });
}

#[test]
fn a_new_volume_has_what_the_image_has_at_its_path() {
    in_own_network(|| async {
        let mut lab = Lab::new("seed").await;
        lab.start().await;
        let mount = |volume: &str, path: &str| MountIntent {
            volume: volume.to_owned(),
            path: path.to_owned(),
            read_only: false,
        };
        let look = "ls /data/seed; stat -c '%u:%g %a' /data/seed; cat /data/seed/kept; ls -A /data/home; \
                    stat -c '%u:%g %a' /data/home; echo changed > /data/seed/kept && echo mine";
        let change = |launch_type: LaunchType, task: &mut TaskIntent| {
            task.launch_type = launch_type;
            // Volumes are then on a file system of the task's own.
            task.ephemeral_storage_gib = (launch_type == LaunchType::Fargate).then_some(21);
            task.volumes = vec![VolumeIntent::empty("seed"), VolumeIntent::empty("home")];
            let mut first = container("first", "true");
            first.essential = false;
            first.mounts = vec![mount("seed", "/seed"), mount("home", "/home/web")];
            let app = &mut task.containers[0];
            app.user = Some("web".to_owned());
            app.mounts = vec![mount("seed", "/data/seed"), mount("home", "/data/home")];
            task.containers.push(first);
        };
        let docker = output(&mut lab, look, |task| change(LaunchType::Ec2, task)).await;
        assert_eq!(docker, "added\nkept\n101:102 750\nkept\n0:0 1777\nmine\n");
        let fargate = output(&mut lab, look, |task| change(LaunchType::Fargate, task)).await;
        assert_eq!(fargate, "added\nkept\n101:102 750\nkept\n0:0 755\nmine\n", "the image names one path only");
        let look =
            "cat /seed/kept; echo changed > /seed/kept && echo writable; touch /home/x 2>/dev/null || echo read-only";
        let bare = output(&mut lab, look, |task| task.containers[0].readonly_root_filesystem = true).await;
        assert_eq!(bare, "kept\nwritable\nread-only\n", "what the image names is a volume without being mounted");
        let look = "until cat /seed/word; do sleep 0.1; done; touch /seed/x 2>/dev/null || echo read-only";
        let taken = output(&mut lab, look, |task| {
            let mut other = container("other", "echo of other > /seed/word; exec sleep 60");
            other.essential = false;
            task.containers.push(other);
            task.containers[0].volumes_from = vec![VolumesFrom { container: "other".to_owned(), read_only: true }];
        });
        let taken = taken.await;
        assert!(taken.ends_with("of other\nread-only\n"), "the volume of the other's image: {taken}");
        lab.end().await;
    });
}

/// Files of this name below a folder.
fn files_named(name: &str, folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.file_type().unwrap().is_dir());
    let here = files.iter().filter(|entry| entry.file_name() == name).map(std::fs::DirEntry::path);
    here.chain(folders.iter().flat_map(|entry| files_named(name, &entry.path()))).collect()
}

#[test]
fn what_a_task_writes_has_a_limit_and_is_closed_to_other_users_of_the_host() {
    in_own_network(|| async {
        let mut lab = Lab::new("closed").await;
        // As folders and files of earlier versions were.
        let data = lab.config.data_dir.clone();
        let open = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for folder in ["", "node", "node/logs", "containerd"] {
            std::fs::create_dir_all(data.join(folder)).unwrap();
            open(&data.join(folder), 0o755);
        }
        open(lab.folder(), 0o755);
        std::fs::write(data.join("node/journal.redb"), "").unwrap();
        open(&data.join("node/journal.redb"), 0o644);
        lab.start().await;
        let mode = |path: &str| std::fs::metadata(data.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(["node", "containerd", "node/journal.redb"].map(mode), [0o700, 0o700, 0o600]);
        let mut task = lab.task(
            "for dir in / /data; do cp /bin/busybox $dir/tool; chmod 4755 $dir/tool; \
             fallocate -l 21G $dir/large 2>/dev/null || echo no room for 21 GiB in $dir; rm -f $dir/large; done; \
             stat -c '%n %a' / /data /etc/hosts; \
             wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/task | grep -o '\"Reserved\":[0-9]*'; echo done; sleep 60",
        );
        task.ephemeral_storage_gib = Some(20);
        task.volumes = vec![VolumeIntent::empty("data")];
        let mount = MountIntent { volume: "data".to_owned(), path: "/data".to_owned(), read_only: false };
        task.containers[0].mounts = vec![mount];
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Running).await;
        let log = lab.written(&id, "app", "done").await;
        let wanted = "no room for 21 GiB in /\nno room for 21 GiB in /data\n/ 755\n/data 755\n/etc/hosts 644\n\
                      \"Reserved\":20480\ndone\n";
        assert_eq!(log, wanted);
        let storage = data.join("node/tasks").join(id.as_str()).join("storage");
        let tools = files_named("tool", &storage);
        assert_eq!(tools.len(), 2, "{tools:?}");
        let as_nobody = |program: &Path, argument: &Path| {
            std::process::Command::new(program).arg(argument).uid(65534).gid(65534).output()
        };
        for tool in &tools {
            let refused = as_nobody(tool, Path::new("true")).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{}", tool.display());
        }
        let flags = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let flags = flags.lines().find(|line| line.contains(storage.to_str().unwrap())).unwrap();
        assert!(flags.contains("nosuid,nodev"), "{flags}");
        let log = data.join("node/logs").join(id.as_str()).join("app.log");
        assert!(!as_nobody(Path::new("cat"), &log).unwrap().status.success());
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        lab.forget(&id).await;
        lab.end().await;
    });
}

#[test]
fn a_host_tells_when_its_disk_is_nearly_full() {
    in_own_network(|| async {
        let mut lab = Lab::new("space").await;
        let data = lab.config.data_dir.clone();
        std::fs::create_dir(&data).unwrap();
        let size = Some("size=64m");
        nix::mount::mount(Some("data"), &data, Some("tmpfs"), nix::mount::MsFlags::empty(), size).unwrap();
        lab.start_node().await;
        lab.server.short_of_space(false).await;
        std::fs::write(data.join("large"), vec![0; 58 << 20]).unwrap();
        lab.server.short_of_space(true).await;
        std::fs::remove_file(data.join("large")).unwrap();
        lab.server.short_of_space(false).await;
        lab.drop_node().await;
        berth_node::teardown(lab.config.clone()).await.unwrap();
        nix::mount::umount(&data).unwrap();
        lab.end().await;
    });
}

#[test]
fn output_is_kept_as_the_log_driver_says() {
    in_own_network(|| async {
        let mut lab = Lab::new("logs").await;
        lab.start().await;
        let log = |driver: &str, options: &[(&str, &str)]| LogIntent {
            driver: driver.to_owned(),
            options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let count = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; done";
        for (index, terminal) in [false, true].into_iter().enumerate() {
            let mut silent = lab.task(count);
            silent.containers[0].log = log("none", &[]);
            silent.containers[0].pseudo_terminal = terminal;
            let mut small = lab.task(count);
            small.containers[0].log = log("json-file", &[("max-size", "1k"), ("max-file", "2")]);
            small.containers[0].pseudo_terminal = terminal;
            let (silent, small) = (lab.run(silent).await, lab.run(small).await);
            for id in [&silent, &small] {
                let report = lab.server.reached(id, TaskStage::Stopped).await;
                assert_eq!(only(&report).exit_code, Some(0), "{index}: {report:?}");
            }
            let files = |id: &berth_types::TaskId| {
                let folder = lab.config.data_dir.join("node/logs").join(id.as_str());
                let mut names: Vec<_> =
                    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                names.sort();
                names
            };
            assert!(files(&silent).is_empty(), "{:?}", files(&silent));
            assert_eq!(files(&small), ["app.log", "app.log.1"]);
            assert!(lab.log(&small, "app").contains("line 60"));
            lab.forget(&silent).await;
            lab.forget(&small).await;
        }
        let task = lab.task("echo line; exec sleep 60");
        let running = lab.run(task).await;
        lab.written(&running, "app", "line").await;
        let logs = lab.config.data_dir.join("node/logs");
        assert_eq!(std::fs::read_dir(&logs).unwrap().count(), 5, "logs stay when their tasks stop");
        // Of no record at all.
        std::fs::create_dir(logs.join("lost")).unwrap();
        lab.drop_node().await;
        lab.config.logs.max_age = Duration::ZERO;
        lab.start_node().await;
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while std::fs::read_dir(&logs).unwrap().count() > 1 {
            assert!(std::time::Instant::now() < until, "logs of stopped tasks stay");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(lab.log(&running, "app"), "line\n");
        lab.stop(&running).await;
        lab.server.reached(&running, TaskStage::Stopped).await;
        lab.forget(&running).await;
        lab.end().await;
    });
}

#[test]
fn images_are_forgotten_when_nobody_used_them_for_long() {
    in_own_network(|| async {
        let mut lab = Lab::new("garbage").await;
        lab.config.images = ImageSettings {
            cleanup_interval: Duration::from_secs(1),
            minimum_age: Duration::from_secs(5),
            ..ImageSettings::default()
        };
        lab.start().await;
        let task = lab.task("i=0; while [ $i -lt 8 ]; do i=$((i+1)); sleep 1; done; echo still here");
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        let socket = berth_node::containerd_socket(&lab.config.run_dir);
        assert_eq!(lab.log(&id, "app"), "still here\n");
        lab.forget(&id).await;
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while !berth_node::held_images(&socket).await.unwrap().is_empty() {
            assert!(std::time::Instant::now() < until, "the image stays");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        lab.end().await;
    });
}

#[test]
fn a_pull_is_what_the_settings_say() {
    in_own_network(|| async {
        for (pull, is_run) in [(PullBehavior::PreferCached, true), (PullBehavior::Always, false)] {
            let mut lab = Lab::new("pull").await;
            lab.config.images = ImageSettings { pull, ..ImageSettings::default() };
            lab.start().await;
            let task = lab.task("true");
            let id = lab.run(task).await;
            let report = lab.server.reached(&id, TaskStage::Stopped).await;
            match (is_run, &report.stop) {
                (true, Some(StopCause::EssentialContainerExited { .. })) => {}
                (false, Some(StopCause::FailedToStart { reason })) => {
                    assert!(reason.starts_with("CannotPullContainerError: "), "{reason}");
                }
                (_, other) => panic!("{pull:?}: {other:?}"),
            }
            lab.forget(&id).await;
            lab.end().await;
        }
    });
}

#[test]
fn another_processor_is_refused_and_the_agent_can_be_asked() {
    in_own_network(|| async {
        let mut lab = Lab::new("ask").await;
        lab.start().await;
        let mut task = lab.task("true");
        task.cpu_architecture = Some(if cfg!(target_arch = "aarch64") { "X86_64" } else { "ARM64" }.to_owned());
        let id = lab.run(task).await;
        let report = lab.server.reached(&id, TaskStage::Stopped).await;
        let reason = only(&report).reason.clone().unwrap();
        assert!(reason.starts_with("CannotPullContainerError: the task definition asks for platform"), "{reason}");
        lab.forget(&id).await;
        let command = "base=http://169.254.170.2; wget -q -O - $base/v2/metadata; echo; \
                       until wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/stats | grep '\"preread\":\"2'; do sleep 0.1; done; echo; echo done; sleep 60";
        let task = lab.task(command);
        let id = lab.run(task).await;
        let log = lab.written(&id, "app", "done").await;
        holds(&log, &["\"TaskARN\":\"arn:aws:ecs:us-west-2", "\"throttling_data\"", "\"memory_stats\"", "\"eth1\""]);
        assert_eq!(log.matches("\"system_cpu_usage\"").count(), 2, "of this sample and the one before:\n{log}");
        assert!(!log.contains("ecs-eth0"), "{log}");
        let told = ask("/v1/tasks").await;
        holds(&told, &["\"KnownStatus\":\"RUNNING\"", "\"Name\":\"app\"", id.as_str()]);
        holds(&ask("/v1/metadata").await, &["container-instance/default/", "\"Cluster\":\"default\""]);
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        lab.forget(&id).await;
        lab.end().await;
    });
}

/// The answer of the agent's introspection endpoint, with its header.
async fn ask(path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect("127.0.0.1:51678").await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Calls no container makes unless it has a capability for them, with arguments that do no harm where they are made.
fn refused_calls() -> Vec<(i64, &'static str)> {
    use nix::libc;
    vec![
        (libc::SYS_acct, "s"),
        (libc::SYS_add_key, "s,s,0,0,0"),
        (libc::SYS_bpf, "99,s,0"),
        // CLONE_NEWUSER.
        (libc::SYS_clone, "268435473"),
        (libc::SYS_clock_settime, "99,s"),
        (libc::SYS_delete_module, "s,0"),
        (libc::SYS_fanotify_init, "99999,0"),
        (libc::SYS_finit_module, "-1,s,0"),
        (libc::SYS_fsopen, "s,0"),
        (libc::SYS_get_mempolicy, "0,0,0,0,0"),
        (libc::SYS_init_module, "s,0,s"),
        (libc::SYS_io_uring_enter, "-1,0,0,0,0"),
        (libc::SYS_io_uring_register, "-1,0,0,0"),
        (libc::SYS_io_uring_setup, "0,s"),
        (libc::SYS_kcmp, "0,0,0,0,0"),
        (libc::SYS_kexec_load, "0,0,0,0"),
        (libc::SYS_keyctl, "0,-3,0"),
        (libc::SYS_mbind, "0,0,0,0,0"),
        (libc::SYS_migrate_pages, "0,0,0,0"),
        (libc::SYS_mount, "s,s,s,0,0"),
        (libc::SYS_mount_setattr, "-1,s,0,s,0"),
        (libc::SYS_move_mount, "-1,s,-1,s,0"),
        (libc::SYS_move_pages, "0,0,0,0,0"),
        (libc::SYS_open_by_handle_at, "-1,s,0"),
        (libc::SYS_open_tree, "-1,s,0"),
        (libc::SYS_perf_event_open, "s,-1,-1,-1,0"),
        // ADDR_NO_RANDOMIZE.
        (libc::SYS_personality, "262144"),
        (libc::SYS_pidfd_getfd, "-1,0,0"),
        (libc::SYS_pivot_root, "s,s"),
        (libc::SYS_process_madvise, "-1,s,0,0,0"),
        (libc::SYS_quotactl, "0,s,0,s"),
        (libc::SYS_reboot, "0,0,0,0"),
        (libc::SYS_request_key, "s,s,0,0"),
        (libc::SYS_set_mempolicy, "0,0,0"),
        (libc::SYS_setdomainname, "s,99999"),
        (libc::SYS_sethostname, "s,99999"),
        (libc::SYS_setns, "-1,0"),
        (libc::SYS_settimeofday, "s,s"),
        // AF_VSOCK.
        (libc::SYS_socket, "40,1,0"),
        (libc::SYS_swapoff, "s"),
        (libc::SYS_swapon, "s,0"),
        (libc::SYS_syslog, "10,0,0"),
        (libc::SYS_umount2, "s,0"),
        // CLONE_NEWUSER.
        (libc::SYS_unshare, "268435456"),
        (libc::SYS_userfaultfd, "1"),
        (libc::SYS_vhangup, "0"),
    ]
}

/// Those of them that the kernel itself would not refuse with the same words.
const SHOWN_BY: [i64; 6] = [
    nix::libc::SYS_get_mempolicy,
    nix::libc::SYS_io_uring_enter,
    nix::libc::SYS_keyctl,
    nix::libc::SYS_personality,
    nix::libc::SYS_request_key,
    nix::libc::SYS_umount2,
];

/// Calls of the program `call` in the kernel's log, which takes few lines of many that come at once.
fn refused_in_log() -> Vec<String> {
    let said = std::process::Command::new("dmesg").output().unwrap().stdout;
    let is_one = |line: &&str| line.contains("type=1326") && line.contains("comm=\"call\"");
    String::from_utf8_lossy(&said).lines().filter(is_one).map(str::to_owned).collect()
}

/// The kernel logs ten lines in five seconds, of all processes together; the container repeats a call until one of it is
/// logged.
async fn a_refused_call_is_logged(lab: &mut Lab) {
    let logged_before = refused_in_log();
    let task = lab.task(&format!("while sleep 0.1; do call {},1; done", nix::libc::SYS_userfaultfd));
    let id = lab.run(task).await;
    lab.server.reached(&id, TaskStage::Running).await;
    let is_logged = || refused_in_log().iter().any(|line| !logged_before.contains(line));
    eventually("a call of the container in the kernel's log", is_logged).await;
    lab.stop(&id).await;
    lab.server.reached(&id, TaskStage::Stopped).await;
    lab.forget(&id).await;
}

#[test]
fn refused_system_calls_are_refused_by_either_runtime_and_can_be_logged() {
    in_own_network(|| async {
        for runtime in berth_shim::PROGRAMS {
            let mut lab = Lab::new(&format!("calls-{runtime}")).await;
            lab.config.oci_runtime = Some(runtime.to_owned());
            // runc before 1.2 refuses to log.
            lab.config.logs_refused_calls = runtime == "crun";
            lab.start().await;
            let calls: Vec<String> = refused_calls().iter().map(|(call, with)| format!("{call},{with}")).collect();
            let clone3 = nix::libc::SYS_clone3;
            // Last, what lies beyond all calls of today; the program and what is added to the container have the same filter.
            let command = format!(
                "grep Seccomp: /proc/self/status; call {} {clone3},s,0 9999; until test -s /tmp/added; do sleep 0.1; \
                 done; cat /tmp/added",
                calls.join(" ")
            );
            let check = || {
                Some(HealthCheck {
                    command: vec!["CMD-SHELL".to_owned(), "grep Seccomp: /proc/self/status > /tmp/added".to_owned()],
                    interval_s: 1,
                    timeout_s: 5,
                    retries: 3,
                    start_period_s: None,
                })
            };
            let log = output(&mut lab, &command, |task| task.containers[0].health_check = check()).await;
            for (call, _) in refused_calls() {
                holds(&log, &[&format!("\n{call} -1\n")]);
            }
            holds(&log, &[&format!("\n{clone3} -38\n"), "\n9999 -38\n"]);
            assert_eq!(log.matches("Seccomp:\t2").count(), 2, "{log}");
            let unconfined = output(&mut lab, &command, |task| {
                task.launch_type = LaunchType::Ec2;
                task.containers[0].seccomp_unconfined = true;
                task.containers[0].health_check = check();
            });
            let unconfined = unconfined.await;
            assert_eq!(unconfined.matches("Seccomp:\t0").count(), 2, "{unconfined}");
            for call in SHOWN_BY {
                assert!(!unconfined.contains(&format!("\n{call} -1\n")), "{call} shows nothing: {unconfined}");
            }
            if lab.config.logs_refused_calls {
                a_refused_call_is_logged(&mut lab).await;
            }
            lab.end().await;
        }
    });
}
