// SPDX-License-Identifier: Apache-2.0
//! Kernel suite: the lives of containers beside each other: order, health, restarts, ends. Needs root.

#![allow(clippy::unwrap_used, missing_docs)]

mod lab;

use berth_types::container::{Condition, Dependency, HealthCheck, RestartPolicy};
use berth_types::intent::ContainerIntent;
use berth_types::report::{ContainerReport, ContainerStatus, HealthStatus, StopCause, TaskReport, TaskStage};
use lab::{Lab, container, in_own_network, only};

fn after(mut container: ContainerIntent, name: &str, condition: Condition) -> ContainerIntent {
    container.depends_on.push(Dependency { container: name.to_owned(), condition });
    container
}

fn side(name: &str, command: &str) -> ContainerIntent {
    ContainerIntent { essential: false, ..container(name, command) }
}

fn program(path: &str) -> Option<Vec<String>> {
    Some(vec![path.to_owned()])
}

/// Why a container is given up that waits for one that was given up.
const NEVER: &str = " because dependency will never start";

fn check(command: &str) -> Option<HealthCheck> {
    let command = vec!["CMD-SHELL".to_owned(), command.to_owned()];
    Some(HealthCheck { command, interval_s: 1, timeout_s: 2, retries: 2, start_period_s: None })
}

/// Milliseconds since the epoch at the only line of a log that begins with this word.
fn moment(log: &str, word: &str) -> f64 {
    let line = log.lines().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("no {word} in {log}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Writes a word with the time.
fn tell(word: &str) -> String {
    format!("read up idle < /proc/uptime; echo {word} $up")
}

#[test]
fn containers_start_when_those_they_depend_on_are_far_enough_and_end_after_them() {
    in_own_network(|| async {
        let mut lab = Lab::new("order").await;
        lab.start().await;
        let lasting =
            |name: &str| format!("trap '{}; exit 0' TERM; {}; while :; do sleep 0.05; done", tell("end"), tell(name));
        let mut task = lab.task("true");
        let seed = side("seed", &format!("sleep 0.5; {}", tell("seed")));
        let mut store = after(container("store", &lasting("store")), "seed", Condition::Success);
        store.health_check = check("test -e /proc/1");
        let app = after(container("app", &lasting("app")), "store", Condition::Healthy);
        let last = after(side("last", &lasting("last")), "app", Condition::Start);
        task.containers = vec![last, app, store, seed];
        let id = lab.run(task).await;
        let report = lab.server.reached(&id, TaskStage::Running).await;
        assert_eq!(report.containers[3].exit_code, Some(0));
        lab.written(&id, "last", "last").await;
        let begun = |lab: &Lab, name: &str| moment(&lab.log(&id, name), name);
        let order = ["seed", "store", "app", "last"].map(|name| begun(&lab, name));
        assert!(order.is_sorted(), "{order:?}");
        assert!(order[2] - order[1] >= 1.0, "the first check comes after its interval: {order:?}");
        let report = lab.server.task(&id, |report| report.containers[2].health == Some(HealthStatus::Healthy)).await;
        assert_eq!(report.containers[1].health, None);
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        let ends = ["last", "app", "store"].map(|name| moment(&lab.log(&id, name), "end"));
        assert!(ends.is_sorted(), "{ends:?}");
        lab.forget(&id).await;
        lab.end().await;
    });
}

#[test]
fn a_dependency_that_cannot_be_met_ends_the_task() {
    in_own_network(|| async {
        let mut lab = Lab::new("unmet").await;
        lab.start().await;
        let cases = [
            (side("db", "exit 3"), Condition::Success, None, " as dependency did not exit successfully."),
            (side("db", "sleep 60"), Condition::Complete, Some(1), " has timed out."),
            (side("db", "sleep 60"), Condition::Healthy, Some(1), " has timed out."),
            (ContainerIntent { command: program("/no/such"), ..side("db", "") }, Condition::Start, None, NEVER),
        ];
        for (mut db, condition, start_timeout_s, words) in cases {
            db.start_timeout_s = start_timeout_s;
            db.health_check = check("false");
            let mut task = lab.task("true");
            // The last one is made and waits as well; it is not what fails.
            let waiting = after(container("waiting", "true"), "app", Condition::Start);
            task.containers = vec![after(container("app", "true"), "db", condition), db, waiting];
            let id = lab.run(task).await;
            let report = lab.server.reached(&id, TaskStage::Stopped).await;
            let Some(StopCause::FailedToStart { reason }) = &report.stop else { panic!("{report:?}") };
            assert!(reason.starts_with("CannotStartContainerError: dependency graph: "), "{reason}");
            assert!(
                reason.ends_with(&format!("container ordering dependency [db] for target [app]{words}")),
                "{reason}"
            );
            assert_eq!(
                (report.containers[0].reason.as_ref(), report.containers[0].exit_code),
                (Some(reason), Some(143))
            );
            assert_eq!((&report.containers[2].reason, report.containers[2].exit_code), (&None, None));
            lab.forget(&id).await;
        }
        lab.end().await;
    });
}

#[test]
fn a_container_the_task_can_do_without_ends_alone() {
    in_own_network(|| async {
        let mut lab = Lab::new("alone").await;
        lab.start().await;
        let wrong = |name: &str| ContainerIntent { command: program("/no/such"), ..side(name, "") };
        let late = |name: &str, condition| after(side(name, "echo ran"), "program", condition);
        let mut task = lab.task("trap 'exit 4' TERM; echo up; while :; do sleep 0.1; done");
        task.containers.extend([
            ContainerIntent { image: "127.0.0.1:1/none:1".to_owned(), ..side("image", "true") },
            ContainerIntent { user: Some("nobody-here".to_owned()), ..side("user", "true") },
            ContainerIntent { health_check: check("true"), ..wrong("program") },
            late("start", Condition::Start),
            late("complete", Condition::Complete),
            late("success", Condition::Success),
            late("healthy", Condition::Healthy),
            after(side("chain", "echo ran"), "start", Condition::Complete),
            after(side("fine", "echo ran"), "app", Condition::Start),
        ]);
        let id = lab.run(task).await;
        let is_done = |report: &TaskReport| report.containers[9].exit_code.is_some();
        let report = lab.server.task(&id, |report| report.stage == TaskStage::Running && is_done(report)).await;
        let told = |report: &TaskReport| -> Vec<String> {
            let one = |one: &ContainerReport| {
                let reason =
                    one.reason.as_deref().unwrap_or("-").rsplit("container ordering ").next().unwrap().to_owned();
                let kind = reason.split(": ").next().unwrap_or_default().to_owned();
                format!("{} {:?} {:?} {kind}", one.name, one.status, one.exit_code)
            };
            report.containers.iter().map(one).collect()
        };
        let never =
            |name: &str, on: &str| format!("{name} Stopped Some(143) dependency [{on}] for target [{name}]{NEVER}");
        let given_up = [
            "image Stopped None CannotPullContainerError".to_owned(),
            "user Stopped None CannotCreateContainerError".to_owned(),
            "program Stopped None CannotStartContainerError".to_owned(),
            never("start", "program"),
            never("complete", "program"),
            never("success", "program"),
            never("healthy", "program"),
            never("chain", "start"),
            "fine Stopped Some(0) -".to_owned(),
        ];
        assert_eq!((&told(&report)[0], &told(&report)[1..]), (&"app Running None -".to_owned(), &given_up[..]));
        assert_eq!(report.stop, None);
        // Nor does the next node try them again.
        lab.drop_node().await;
        lab.start_node().await;
        let report = lab.server.task(&id, |report| report.stage == TaskStage::Running).await;
        assert_eq!(told(&report)[1..], given_up);
        lab.stop(&id).await;
        let report = lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!((&told(&report)[0], &told(&report)[1..]), (&"app Stopped Some(4) -".to_owned(), &given_up[..]));
        assert_eq!(lab.log(&id, "start"), "");
        lab.forget(&id).await;
        lab.end().await;
    });
}

#[test]
fn a_health_check_tells_and_does_not_end_the_task() {
    in_own_network(|| async {
        let mut lab = Lab::new("health").await;
        lab.start().await;
        let command = "touch /tmp/fine; sleep 3; while ! test -e /tmp/seen; do sleep 0.1; done; rm /tmp/fine; \
                       wget -q -O - $ECS_CONTAINER_METADATA_URI_V4 | grep -o '\"Health\":{[^}]*}'; sleep 60";
        let mut task = lab.task(command);
        task.containers[0].health_check =
            check("touch /tmp/seen; echo looked; head -c 1000000 /dev/zero | tr '\\0' x; test -e /tmp/fine");
        let mut slow = container("slow", "sleep 60");
        slow.health_check = check("sleep 50");
        slow.health_check.as_mut().unwrap().timeout_s = 1;
        task.containers.push(slow);
        let id = lab.run(task).await;
        let first = lab.server.reached(&id, TaskStage::Running).await;
        assert_eq!(first.containers[0].health, Some(HealthStatus::Unknown));
        let is = |index: usize, status| {
            move |report: &berth_types::report::TaskReport| report.containers[index].health == Some(status)
        };
        lab.server.task(&id, is(0, HealthStatus::Healthy)).await;
        lab.server.task(&id, is(1, HealthStatus::Unhealthy)).await;
        let report = lab.server.task(&id, is(0, HealthStatus::Unhealthy)).await;
        assert_eq!((report.stage, report.stop), (TaskStage::Running, None));
        let log = lab.written(&id, "app", "Health").await;
        let kept = format!("\"output\":\"looked\\n{}\"", "x".repeat(4096 - "looked\n".len()));
        assert!(log.contains(&kept) && log.contains("\"status\":\"HEALTHY\""), "{log}");
        lab.drop_node().await;
        // Left by the node that was killed in a check, and by one of an earlier version.
        let (pipes, files) = (lab.config.run_dir.join("exec"), lab.config.data_dir.join("node/health"));
        std::fs::create_dir(&files).unwrap();
        std::fs::write(pipes.join("exec-0"), "").unwrap();
        lab.start_node().await;
        assert!(!files.exists() && !pipes.join("exec-0").exists());
        let report = lab.server.task(&id, |report| report.stage == TaskStage::Running).await;
        assert_eq!(report.containers[0].health, Some(HealthStatus::Unhealthy));
        lab.stop(&id).await;
        lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!(std::fs::read_dir(&pipes).unwrap().count(), 0);
        lab.forget(&id).await;
        lab.end().await;
    });
}

#[test]
fn a_container_is_started_again_in_its_place() {
    in_own_network(|| async {
        let mut lab = Lab::new("restart").await;
        lab.start().await;
        let command = "echo x >> /tmp/runs; runs=$(cat /tmp/runs | tr -d '\\n'); echo run $runs; \
                       [ $runs = xxxx ] && exit 9; sleep 1.2; exit 3";
        let mut task = lab.task(command);
        task.containers[0].restart_policy =
            Some(RestartPolicy { enabled: true, ignored_exit_codes: Some(vec![9]), attempt_period_s: 1 });
        let id = lab.run(task).await;
        lab.server.reached(&id, TaskStage::Running).await;
        lab.written(&id, "app", "run xx").await;
        lab.drop_node().await;
        lab.written(&id, "app", "run xx").await;
        lab.start_node().await;
        let report = lab.server.reached(&id, TaskStage::Stopped).await;
        assert_eq!(only(&report).exit_code, Some(9));
        assert_eq!(only(&report).status, ContainerStatus::Stopped);
        assert_eq!(lab.log(&id, "app"), "run x\nrun xx\nrun xxx\nrun xxxx\n");
        lab.forget(&id).await;
        lab.end().await;
    });
}
