// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: real tasks in a real containerd with real interfaces, driven by a server made of a socket. Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use berth_fabric::ports::{PortDropReason, PortStats, read_port_stats};
use berth_types::EniId;
use berth_types::container::VolumeIntent;
use berth_types::intent::{LaunchType, MountIntent, Plug, Standalone};
use berth_types::report::{ContainerStatus, EniState, StopCause, TaskStage};
use lab::{Lab, container, in_own_network, only};

#[test]
fn a_task_runs_sees_its_world_and_exits() {
    in_own_network(|| async {
        let mut lab = Lab::new("exit").await;
        lab.start().await;
        let command = "ip -4 addr; ip route; cat /etc/hosts /etc/resolv.conf; hostname; env; id; \
                       wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/task; exit 7";
        let mut task = lab.task(command);
        task.containers[0].user = Some("web".to_owned());
        let id = lab.run(task).await;
        let report = lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!(report.stop, Some(StopCause::EssentialContainerExited { container: "app".to_owned() }));
        assert_eq!(only(&report).exit_code, Some(7));
        assert_eq!(only(&report).status, ContainerStatus::Stopped);
        assert!(only(&report).image_digest.as_deref().unwrap().starts_with("sha256:"));
        assert!(report.pull_started_at.is_some() && report.pull_stopped_at.is_some());
        let log = lab.log(&id, "app");
        for wanted in [
            "inet 10.0.0.11/24",
            "inet 169.254.172.",
            "default via 10.0.0.1 dev eth1",
            "169.254.170.2 via 169.254.172.1 dev ecs-eth0",
            "127.0.0.1 localhost\n10.0.0.11 ip-10-0-0-11.us-west-2.compute.internal",
            "nameserver 10.0.0.2\nsearch us-west-2.compute.internal",
            "AWS_EXECUTION_ENV=AWS_ECS_FARGATE",
            "uid=101(web) gid=102(web) groups=102(web),200(extra)",
            "\"Type\":\"CNI_PAUSE\"",
            "\"MACAddress\":\"02:00:01:00:00:01\"",
        ] {
            assert!(log.contains(wanted), "{wanted:?} is not in:\n{log}");
        }
        lab.forget(&id).await;
        lab.end().await;
    });
}

#[test]
fn a_stop_asks_first_and_kills_then() {
    in_own_network(|| async {
        let mut lab = Lab::new("stop").await;
        lab.start().await;
        let polite = lab.task("trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.1; done");
        let stubborn = lab.task("trap '' TERM; echo up; while :; do sleep 0.1; done");
        let (polite, stubborn) = (lab.run(polite).await, lab.run(stubborn).await);
        for id in [&polite, &stubborn] {
            let report = lab.server.reached(id, TaskStage::Running).await;
            assert_eq!(only(&report).status, ContainerStatus::Running);
            assert!(only(&report).runtime_id.as_deref().unwrap().starts_with(&format!("{id}-")));
            lab.written(id, "app", "up").await;
            lab.stop(id).await;
        }
        let report = lab.server.reached(&polite, TaskStage::Stopped).await;
        assert_eq!((only(&report).exit_code, report.stop), (Some(3), None));
        assert!(lab.log(&polite, "app").contains("asked"));
        let report = lab.server.reached(&stubborn, TaskStage::Stopped).await;
        assert_eq!(only(&report).exit_code, Some(137));
        assert_eq!(only(&report).reason, None, "killed by us, not for want of memory");
        for id in [polite, stubborn] {
            lab.forget(&id).await;
        }
        lab.end().await;
    });
}

#[test]
fn memory_is_limited_for_the_task() {
    in_own_network(|| async {
        let mut lab = Lab::new("oom").await;
        lab.start().await;
        let mut task = lab.task("exec dd if=/dev/zero of=/dev/null bs=256M count=1");
        task.memory_mib = Some(64);
        let id = lab.run(task).await;
        let report = lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!(only(&report).exit_code, Some(137));
        let reason = "OutOfMemoryError: Container killed due to memory usage";
        assert_eq!(only(&report).reason.as_deref(), Some(reason));
        lab.forget(&id).await;
        lab.end().await;
    });
}

#[test]
fn containers_share_network_and_volumes() {
    in_own_network(|| async {
        let mut lab = Lab::new("pair").await;
        lab.start().await;
        let mut task =
            lab.task("echo hello > /data/word; readlink /proc/self/ns/net; nc -l -p 3306 -e echo pong; sleep 60");
        task.volumes = vec![VolumeIntent::empty("scratch")];
        let mount = |read_only| vec![MountIntent { volume: "scratch".into(), path: "/data".into(), read_only }];
        task.containers[0].mounts = mount(false);
        let look = "until nc 127.0.0.1 3306 </dev/null | grep pong; do sleep 0.1; done; cat /data/word; \
                    touch /data/x || echo refused; readlink /proc/self/ns/net; echo done; sleep 60";
        let mut side = container("side", look);
        side.mounts = mount(true);
        side.essential = false;
        task.containers.push(side);
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Running).await;
        let side = lab.written(&id, "side", "done").await;
        assert!(side.contains("pong") && side.contains("hello") && side.contains("refused"), "{side}");
        let space = |log: &str| log.lines().find(|line| line.starts_with("net:")).map(str::to_owned);
        assert_eq!(space(&side), space(&lab.log(&id, "app")));
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        lab.forget(&id).await;
        lab.end().await;
    });
}

#[test]
fn what_cannot_start_is_told_in_aws_words_and_cleaned_up() {
    in_own_network(|| async {
        let mut lab = Lab::new("fail").await;
        lab.start().await;
        let mut no_image = lab.task("true");
        no_image.containers[0].image = "127.0.0.1:1/none:1".to_owned();
        let mut no_program = lab.task("true");
        no_program.containers[0].command = Some(vec!["/no/such/program".to_owned()]);
        let mut no_user = lab.task("true");
        no_user.containers[0].user = Some("nobody-here".to_owned());
        let cases = [
            (no_image, "CannotPullContainerError: failed to resolve ref 127.0.0.1:1/none:1"),
            (no_program, "CannotStartContainerError: "),
            (no_user, "CannotCreateContainerError: unable to find user nobody-here"),
        ];
        for (task, wanted) in cases {
            let id = lab.run(task).await;
            let report = lab.server.reached(&id, TaskStage::Stopped).await;
            let Some(StopCause::FailedToStart { reason }) = &report.stop else { panic!("{report:?}") };
            assert!(reason.starts_with(wanted), "{reason}");
            assert_eq!(only(&report).reason.as_ref(), Some(reason));
            assert_eq!(only(&report).exit_code, None);
            lab.forget(&id).await;
        }
        lab.end().await;
    });
}

#[test]
fn a_task_outlives_its_node() {
    in_own_network(|| async {
        let mut lab = Lab::new("adopt").await;
        lab.start().await;
        let host = lab.hello.as_ref().unwrap().host.clone();
        let lasting = lab.task("trap 'exit 4' TERM; i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done");
        let ending = lab.task("while ! [ -e /tmp/go ]; do sleep 0.05; [ $((n=n+1)) -gt 20 ] && exit 9; done");
        let (lasting, ending) = (lab.run(lasting).await, lab.run(ending).await);
        lab.server.reached(&lasting, TaskStage::Running).await;
        lab.server.reached(&ending, TaskStage::Running).await;
        lab.drop_node().await;
        let before = lab.log(&lasting, "app").lines().count();
        lab.written(&lasting, "app", &format!("tick {}\n", before + 20)).await;
        lab.start_node().await;
        let hello = lab.hello.as_ref().unwrap();
        assert_eq!(hello.host, host, "the identity is kept");
        assert_eq!(hello.enis.len(), 2);
        let report = lab.server.task(&ending, |report| report.stage == TaskStage::Stopped).await;
        assert_eq!(only(&report).exit_code, Some(9), "what happened meanwhile is found");
        let report = lab.server.task(&lasting, |report| report.stage == TaskStage::Running).await;
        assert_eq!(only(&report).status, ContainerStatus::Running);
        lab.stop(&lasting).await;
        let report = lab.server.reached(&lasting, TaskStage::Stopped).await;
        assert_eq!(only(&report).exit_code, Some(4));
        let log = lab.log(&lasting, "app");
        let ticks: Vec<&str> = log.lines().collect();
        for (index, tick) in ticks.iter().enumerate() {
            assert_eq!(*tick, format!("tick {}", index + 1), "no line is lost");
        }
        lab.forget(&lasting).await;
        lab.forget(&ending).await;
        lab.end().await;
    });
}

#[test]
fn the_ec2_launch_type_runs_the_plugins() {
    in_own_network(|| async {
        let mut lab = Lab::new("ec2").await;
        lab.start().await;
        let mut task = lab.task("ip -4 addr; ip route; exit 0");
        task.launch_type = LaunchType::Ec2;
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        let log = lab.log(&id, "app");
        for wanted in
            ["inet 10.0.0.11/24", "default via 10.0.0.1 dev eth0", "169.254.170.2 via 169.254.172.1 dev ecs-eth0"]
        {
            assert!(log.contains(wanted), "{wanted:?} is not in:\n{log}");
        }
        lab.forget(&id).await;
        lab.end().await;
    });
}

/// Both launch types, from inside: the endpoint answers, everything else of the host is dropped and counted. A node finds
/// the tasks of one that had no program at the ports, and guards them.
#[test]
fn a_task_reaches_the_metadata_endpoint_and_nothing_else_of_the_host() {
    in_own_network(|| async {
        let mut lab = Lab::new("port").await;
        lab.config.prepared_namespaces = 0;
        lab.start().await;
        let command = "nc -w 1 169.254.170.2 22 </dev/null & nc -w 1 169.254.172.1 80 </dev/null & wait; \
                       wget -q -O - $ECS_CONTAINER_METADATA_URI_V4; echo; echo up; sleep 60";
        let mut tasks = Vec::new();
        for launch_type in [LaunchType::Fargate, LaunchType::Ec2] {
            let mut task = lab.task(command);
            task.launch_type = launch_type;
            task.containers[0].endpoint_id = format!("endpoint-{}", launch_type.as_str());
            let id = lab.run(task).await;
            assert!(lab.written(&id, "app", "up").await.contains("DockerId"));
            tasks.push(id);
        }
        let guarded = |lab: &Lab| read_port_stats(&lab.config.instance, &lab.config.run_dir).unwrap().split_off(1);
        let ports = guarded(&lab);
        assert_eq!(ports.len(), 2, "{ports:?}");
        for port in &ports {
            let dropped = |reason| port.drops.get(&reason).copied().unwrap_or(0);
            assert!(port.packets > 0 && dropped(PortDropReason::OtherService) > 0, "{port:?}");
            assert!(dropped(PortDropReason::OtherAddress) > 0, "{port:?}");
        }
        lab.drop_node().await;
        std::fs::remove_dir_all(berth_fabric::ports::directory(&lab.config.instance)).unwrap();
        lab.start_node().await;
        let again = guarded(&lab);
        let leases =
            |ports: &[PortStats]| ports.iter().map(|port| (port.device.clone(), port.address)).collect::<Vec<_>>();
        assert_eq!(leases(&again), leases(&ports));
        for id in &tasks {
            lab.stop(id).await;
            lab.server.reached(id, TaskStage::Stopped).await;
            lab.forget(id).await;
        }
        assert_eq!(guarded(&lab), [], "ports are forgotten with their tasks");
        lab.end().await;
    });
}

#[test]
fn a_seat_is_an_interface_without_a_task() {
    in_own_network(|| async {
        let mut lab = Lab::new("seat").await;
        lab.start().await;
        let eni = EniId::from_bits(5);
        lab.plug(&eni, Plug::Standalone(Standalone::seat("seat-5".to_owned())));
        lab.server.send_intent().await;
        lab.server.eni(&eni, |state| *state == EniState::Attached).await;
        let path = lab.config.run_dir.join("netns/seat-5");
        let namespace = berth_fabric::kernel::Namespace::open(&path).unwrap();
        let link = namespace.netlink().unwrap().link_by_name("eth1").unwrap().unwrap();
        let addresses = namespace.netlink().unwrap().addresses(link.index).unwrap();
        assert!(addresses.iter().any(|address| address.to_string() == "10.0.0.15/24"), "{addresses:?}");
        drop(namespace);
        lab.server.intent.enis.clear();
        lab.server.intent.endpoints.clear();
        lab.server.send_intent().await;
        lab.server.eni(&eni, |state| *state == EniState::Gone).await;
        assert!(!path.exists());
        lab.end().await;
    });
}
