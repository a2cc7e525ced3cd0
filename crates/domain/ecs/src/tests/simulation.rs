// SPDX-License-Identifier: Apache-2.0
//! The whole life of many tasks on hosts that are honest, in a world that is not: reports are lost, late, repeated and out
//! of order, hosts come, go, forget everything or never return, disks fill up, the server starts again, time passes.
//!
//! After each step nothing is given twice and everything that was answered is accounted for; when the faults cease,
//! everything settles. A failure prints the shortest sequence of steps that was found, and its seed.

use std::collections::{BTreeMap, BTreeSet};

use berth_plan as plan;
use berth_state::ecs::TaskStatus;
use berth_state::{Record, Snapshot, Write};
use berth_types::intent::{Desired, HostIntent, LaunchType, TaskIntent, diff};
use berth_types::report::{ContainerReport, ContainerStatus, EniReport, EniState, StopCause, TaskReport, TaskStage};
use berth_types::{EniId, HostId, TaskId, TimestampMs};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::unsettled::check_indexes;
use super::{World, ec2_definition, hello, merged, run_request};
use crate::{Ages, STOPPED_TASKS_KEPT_MS, expire, observe_eni, observe_task, register_waiting_hosts};

/// Hosts there are.
const HOSTS: [u8; 3] = [1, 2, 3];
/// The one that may never return.
const MORTAL: u8 = 3;

#[derive(Clone, Debug)]
enum Step {
    Run {
        fargate: bool,
        count: u8,
        tiny: bool,
    },
    /// Tasks without an interface; of those on the bridge one for each host at the same time.
    Apart {
        bridge: bool,
        count: u8,
    },
    /// A task on a host the caller names.
    Start {
        on: u8,
        bridge: bool,
    },
    Stop(Index),
    /// A host hears what is wanted of it.
    Intent(u8),
    /// A host does one thing with everything it holds.
    Work(u8),
    /// A container or an interface goes wrong.
    Break(u8, Index),
    /// A report arrives; it stays in flight when `again`.
    Deliver {
        which: Index,
        again: bool,
    },
    Lose(Index),
    Disconnect(u8),
    Reconnect(u8),
    /// A host comes back and has nothing of what it had.
    Reboot(u8),
    /// The mortal host is gone for good.
    Die,
    /// A host's disk is full, or not any more: nothing starts there.
    HostDisk {
        of: u8,
        is_full: bool,
    },
    /// The server's disk is full, or not any more: nothing is stored.
    ServerDisk {
        is_full: bool,
    },
    /// The server starts again from what it has stored.
    Restart,
    Drain {
        which: u8,
        draining: bool,
    },
    Deregister {
        which: u8,
        force: bool,
    },
    /// Time passes, and the rules that wait for it are asked.
    Pass {
        minutes: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let host = 1u8..=3;
    let step = prop_oneof![
        3 => (any::<bool>(), 1u8..5, any::<bool>()).prop_map(|(fargate, count, tiny)| Step::Run { fargate, count, tiny }),
        1 => (any::<bool>(), 1u8..4).prop_map(|(bridge, count)| Step::Apart { bridge, count }),
        1 => (host.clone(), any::<bool>()).prop_map(|(on, bridge)| Step::Start { on, bridge }),
        2 => any::<Index>().prop_map(Step::Stop),
        5 => host.clone().prop_map(Step::Intent),
        8 => host.clone().prop_map(Step::Work),
        1 => (host.clone(), any::<Index>()).prop_map(|(host, index)| Step::Break(host, index)),
        12 => (any::<Index>(), any::<bool>()).prop_map(|(which, again)| Step::Deliver { which, again }),
        2 => any::<Index>().prop_map(Step::Lose),
        1 => host.clone().prop_map(Step::Disconnect),
        2 => host.clone().prop_map(Step::Reconnect),
        1 => host.clone().prop_map(Step::Reboot),
        1 => Just(Step::Die),
        1 => (host.clone(), any::<bool>()).prop_map(|(of, is_full)| Step::HostDisk { of, is_full }),
        2 => prop::bool::weighted(0.3).prop_map(|is_full| Step::ServerDisk { is_full }),
        1 => Just(Step::Restart),
        1 => (host.clone(), any::<bool>()).prop_map(|(which, draining)| Step::Drain { which, draining }),
        1 => (host, any::<bool>()).prop_map(|(which, force)| Step::Deregister { which, force }),
        2 => (1u8..50).prop_map(|minutes| Step::Pass { minutes }),
    ];
    proptest::collection::vec(step, 1..160)
}

/// A host that does what it is told and says what it does.
#[derive(Default)]
struct Node {
    intent: HostIntent,
    enis: BTreeMap<EniId, EniState>,
    tasks: BTreeMap<TaskId, Held>,
    is_full: bool,
    is_dead: bool,
    /// The server took in its hello, and nothing broke the stream since.
    is_linked: bool,
}

/// A task a host holds.
#[derive(Clone)]
struct Held {
    intent: TaskIntent,
    stage: TaskStage,
    stop: Option<StopCause>,
}

impl Held {
    fn report(&self, task: &TaskId) -> TaskReport {
        let status = match self.stage {
            TaskStage::Provisioning | TaskStage::Pending => ContainerStatus::Pending,
            TaskStage::Running | TaskStage::Stopping => ContainerStatus::Running,
            TaskStage::Stopped => ContainerStatus::Stopped,
        };
        let container = |name: &String| ContainerReport {
            name: name.clone(),
            status,
            exit_code: (status == ContainerStatus::Stopped).then_some(0),
            ..ContainerReport::default()
        };
        TaskReport {
            task: task.clone(),
            stage: self.stage,
            stop: self.stop.clone(),
            containers: self.intent.containers.iter().map(|one| container(&one.name)).collect(),
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
        }
    }

    /// One step on.
    fn work(&mut self, is_plugged: bool, is_full: bool) {
        if is_full && self.stage == TaskStage::Pending {
            let reason = "CannotPullContainerError: no space left on device".to_owned();
            self.stop.get_or_insert(StopCause::FailedToStart { reason });
        }
        self.stage = match (self.stage, self.intent.desired) {
            (TaskStage::Stopped | TaskStage::Stopping, _) => TaskStage::Stopped,
            (_, Desired::Stopped) => TaskStage::Stopping,
            (_, Desired::Running) if self.stop.is_some() => TaskStage::Stopping,
            (TaskStage::Provisioning, Desired::Running) if is_plugged => TaskStage::Pending,
            (TaskStage::Provisioning, Desired::Running) => TaskStage::Provisioning,
            (TaskStage::Pending | TaskStage::Running, Desired::Running) => TaskStage::Running,
        };
    }
}

enum Report {
    Task(TaskReport),
    Eni(EniReport),
}

struct Simulation {
    world: World,
    nodes: BTreeMap<HostId, Node>,
    in_flight: Vec<(HostId, Report)>,
    /// The last that was seen of every task there ever was.
    seen: BTreeMap<TaskId, Seen>,
    /// Tasks in answers to callers.
    answered: BTreeSet<TaskId>,
    /// Tasks a host had begun, had told of and then forgot.
    forgotten: BTreeSet<TaskId>,
    is_server_full: bool,
    ages: Ages,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    status: TaskStatus,
    version: u64,
    stopped_at: Option<TimestampMs>,
}

fn host(number: u8) -> HostId {
    hello(number.into()).host
}

impl Simulation {
    fn new() -> Self {
        let mut world = World::with_host();
        for number in &HOSTS[1..] {
            world.connect(&hello((*number).into()));
        }
        world.register();
        let port = json!({"portMappings": [{"containerPort": 80, "hostPort": 8080}]});
        for (mode, container) in [("bridge", port), ("none", json!({}))] {
            let patch = json!({"family": mode, "networkMode": mode, "containerDefinitions": {"0": container}});
            world.call("RegisterTaskDefinition", merged(ec2_definition(), patch)).unwrap();
        }
        let nodes = HOSTS.map(|number| (host(number), Node { is_linked: true, ..Node::default() })).into();
        Self {
            world,
            nodes,
            in_flight: Vec::new(),
            seen: BTreeMap::new(),
            answered: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            is_server_full: false,
            ages: Ages::new(STOPPED_TASKS_KEPT_MS),
        }
    }

    fn step(&mut self, step: Step) {
        let before = self.world.snap.clone();
        let answer = self.take(step);
        if self.is_server_full {
            // A batch that is not stored is not published, and nobody is answered.
            self.world.snap = before;
            return self.check();
        }
        self.answered.extend(answer);
        self.check();
        self.check_patches(&before);
    }

    /// Does it; answers the tasks a caller is told of.
    fn take(&mut self, step: Step) -> Vec<TaskId> {
        match step {
            Step::Run { fargate, count, tiny } => {
                let subnets = if tiny { json!(["subnet-tiny"]) } else { json!(["subnet-a", "subnet-b"]) };
                let patch = json!({"launchType": if fargate { "FARGATE" } else { "EC2" }, "count": count,
                    "networkConfiguration": {"awsvpcConfiguration": {"subnets": subnets,
                        "assignPublicIp": if fargate && count % 2 == 0 { "ENABLED" } else { "DISABLED" }}}});
                return self.run(merged(run_request(), patch));
            }
            Step::Apart { bridge, count } => {
                return self.run(json!({"taskDefinition": mode(bridge), "count": count}));
            }
            Step::Start { on, bridge } => {
                let request = json!({"taskDefinition": mode(bridge), "containerInstances": [host(on).as_str()]});
                return tasks_of(&self.world.call("StartTask", request).unwrap());
            }
            Step::Stop(which) => {
                let tasks: Vec<TaskId> = self.world.snap.ecs().tasks.keys().cloned().collect();
                if !tasks.is_empty() {
                    self.world.call("StopTask", json!({"task": which.get(&tasks).as_str()})).unwrap();
                }
            }
            Step::Intent(number) => self.tell(&host(number)),
            Step::Work(number) => self.work(&host(number)),
            Step::Break(number, which) => self.go_wrong(&host(number), which),
            Step::Deliver { which, again } => self.deliver(which, again),
            Step::Lose(which) => {
                if !self.in_flight.is_empty() {
                    self.in_flight.remove(which.index(self.in_flight.len()));
                }
            }
            Step::Disconnect(number) => self.disconnect(number),
            Step::Reconnect(number) => self.reconnect(number),
            Step::Reboot(number) => self.reboot(number),
            Step::Die => {
                self.disconnect(MORTAL);
                self.nodes.get_mut(&host(MORTAL)).unwrap().is_dead = true;
            }
            Step::HostDisk { of, is_full } => self.nodes.get_mut(&host(of)).unwrap().is_full = is_full,
            Step::ServerDisk { is_full } => self.is_server_full = is_full,
            Step::Restart => self.restart(),
            Step::Drain { which, draining } => {
                let status = if draining { "DRAINING" } else { "ACTIVE" };
                let request = json!({"containerInstances": [host(which).as_str()], "status": status});
                self.world.call("UpdateContainerInstancesState", request).unwrap();
            }
            Step::Deregister { which, force } => {
                let request = json!({"containerInstance": host(which).as_str(), "force": force});
                // It has tasks, or is not registered.
                self.world.call("DeregisterContainerInstance", request).ok();
            }
            Step::Pass { minutes } => self.pass(minutes.into()),
        }
        Vec::new()
    }

    /// RunTask, which places nothing where it cannot start.
    fn run(&mut self, request: Value) -> Vec<TaskId> {
        match self.world.call("RunTask", request) {
            Ok(answer) => {
                let tasks = tasks_of(&answer);
                for task in &tasks {
                    let task = &self.world.snap.ecs().tasks[task];
                    // Without an address it ends before it has a host.
                    let Some(host) = &task.host else { continue };
                    let on = &self.world.snap.ecs().hosts[host];
                    assert!(on.connected, "a task was placed on a host that is away");
                    let is_open = !on.draining && on.deregistered_at.is_none();
                    assert!(is_open || task.launch_type == LaunchType::Fargate, "a closed instance got a task");
                }
                tasks
            }
            Err(words) => {
                assert!(words.contains("No Container Instances were found in your cluster."), "{words}");
                Vec::new()
            }
        }
    }

    fn pass(&mut self, minutes: i64) {
        self.world.now.0 += minutes * 60 * 1000;
        let env = self.world.env();
        let change = register_waiting_hosts(&self.world.snap, &env);
        self.world.apply(change);
        let over = self.ages.look(&self.world.snap, self.world.now.0.unsigned_abs());
        let change = expire(&self.world.snap, &over);
        self.world.apply(change);
    }

    /// What changed for a host is the difference of what it must hold.
    fn check_patches(&mut self, before: &Snapshot) {
        let env = self.world.env();
        for number in HOSTS {
            let host = host(number);
            let whole = |snap| plan::host(snap, &host, &env);
            let expected = diff(7, &whole(before), self.world.snap.revision, &whole(&self.world.snap));
            assert_eq!(plan::patch(7, before, &self.world.snap, &host, &env), expected);
        }
    }

    fn tell(&mut self, host: &HostId) {
        let env = self.world.env();
        let node = self.nodes.get_mut(host).unwrap();
        if !node.is_dead && node.is_linked {
            node.intent = plan::host(&self.world.snap, host, &env);
        }
    }

    fn work(&mut self, host: &HostId) {
        let node = self.nodes.get_mut(host).unwrap();
        if node.is_dead {
            return;
        }
        let mut said: Vec<Report> = Vec::new();
        let strangers: Vec<EniId> =
            node.enis.keys().filter(|eni| !node.intent.enis.contains_key(*eni)).cloned().collect();
        for eni in strangers {
            node.enis.remove(&eni);
            said.push(Report::Eni(EniReport { eni, state: EniState::Gone }));
        }
        for eni in node.intent.enis.keys() {
            let state = node.enis.entry(eni.clone()).or_insert(EniState::Attached).clone();
            said.push(Report::Eni(EniReport { eni: eni.clone(), state }));
        }
        node.tasks.retain(|task, _| node.intent.tasks.contains_key(task));
        for (task, wanted) in &node.intent.tasks {
            let fresh = || Held { intent: wanted.clone(), stage: TaskStage::Provisioning, stop: None };
            let held = node.tasks.entry(task.clone()).or_insert_with(fresh);
            held.intent.desired = wanted.desired;
            let is_attached = |eni: &EniId| node.enis.get(eni) == Some(&EniState::Attached);
            held.work(wanted.eni.as_ref().is_none_or(is_attached), node.is_full);
            assert!(
                held.stage != TaskStage::Running || !self.forgotten.contains(task),
                "a task that was begun and forgotten runs a second time"
            );
            said.push(Report::Task(held.report(task)));
        }
        self.in_flight.extend(said.into_iter().map(|report| (host.clone(), report)));
    }

    fn go_wrong(&mut self, host: &HostId, which: Index) {
        let node = self.nodes.get_mut(host).unwrap();
        let mut tasks: Vec<_> = node.tasks.values_mut().collect();
        if !tasks.is_empty() {
            let at = which.index(tasks.len());
            let held = &mut *tasks[at];
            held.stop = match held.stage {
                TaskStage::Provisioning | TaskStage::Pending => {
                    Some(StopCause::FailedToStart { reason: "CannotPullContainerError: x".to_owned() })
                }
                TaskStage::Running => Some(StopCause::EssentialContainerExited { container: "nginx".to_owned() }),
                TaskStage::Stopping | TaskStage::Stopped => held.stop.clone(),
            };
        }
        let new: Vec<EniId> = node.intent.enis.keys().filter(|eni| !node.enis.contains_key(*eni)).cloned().collect();
        if !new.is_empty() {
            node.enis.insert(which.get(&new).clone(), EniState::Failed("no link".to_owned()));
        }
    }

    fn deliver(&mut self, which: Index, again: bool) {
        if self.in_flight.is_empty() {
            return;
        }
        let at = which.index(self.in_flight.len());
        let env = self.world.env();
        let (host, report) = &self.in_flight[at];
        let change = match report {
            Report::Task(report) => observe_task(&self.world.snap, host, report, &env),
            Report::Eni(report) => observe_eni(&self.world.snap, host, report, &env),
        };
        self.world.apply(change);
        if !again {
            self.in_flight.remove(at);
        }
    }

    fn disconnect(&mut self, number: u8) {
        self.nodes.get_mut(&host(number)).unwrap().is_linked = false;
        self.world.disconnect(&host(number));
    }

    fn reconnect(&mut self, number: u8) {
        let host = host(number);
        if self.nodes[&host].is_dead {
            return;
        }
        // A new stream: what was on the old one is lost.
        self.in_flight.retain(|(from, _)| *from != host);
        let node = self.nodes.get_mut(&host).unwrap();
        // A hello that is not stored is not taken in, and ends the stream.
        node.is_linked = !self.is_server_full;
        let mut hello = hello(number.into());
        hello.enis =
            node.enis.iter().map(|(eni, state)| EniReport { eni: eni.clone(), state: state.clone() }).collect();
        hello.tasks = node.tasks.iter().map(|(task, held)| held.report(task)).collect();
        self.world.connect(&hello);
    }

    fn reboot(&mut self, number: u8) {
        let node = self.nodes.get_mut(&host(number)).unwrap();
        if node.is_dead {
            return;
        }
        let lost = std::mem::take(&mut node.tasks);
        (node.intent, node.enis) = Default::default();
        // Of those the server never heard that they began; such a task is begun anew.
        let is_known = |task: &TaskId| {
            let known = self.world.snap.ecs().tasks.get(task);
            known.is_some_and(|task| task.stage.is_some_and(|stage| stage >= TaskStage::Pending))
        };
        self.forgotten.extend(lost.into_keys().filter(is_known));
        self.reconnect(number);
    }

    /// From the bytes in the store; every stream ends.
    fn restart(&mut self) {
        self.in_flight.clear();
        self.nodes.values_mut().for_each(|node| node.is_linked = false);
        let stored = self.world.snap.records().map(|record| {
            let (key, body) = (record.key().text(), record.encode().unwrap());
            Record::decode(record.kind(), &key, record.version(), &body).unwrap()
        });
        let mut read = Snapshot::default();
        read.revision = self.world.snap.revision;
        stored.for_each(|record| read.apply(&Write::Put(record)));
        let snap = &self.world.snap;
        assert_eq!(read.ecs().tasks, snap.ecs().tasks);
        assert_eq!(read.ecs().hosts, snap.ecs().hosts);
        assert_eq!((&read.vpc().enis, &read.vpc().group_sets), (&snap.vpc().enis, &snap.vpc().group_sets));
        assert_eq!(read.ecs().index(), self.world.snap.ecs().index());
        assert_eq!(read.vpc().index(), self.world.snap.vpc().index());
        self.world.snap = read;
    }

    fn check(&mut self) {
        self.check_records();
        self.check_tasks();
    }

    /// Nothing is given twice, and no host has more than it can bear.
    fn check_records(&self) {
        let snap = &self.world.snap;
        let mut anew = Snapshot::default();
        snap.records().for_each(|record| anew.apply(&Write::Put(record)));
        assert_eq!(snap.ecs().index(), anew.ecs().index(), "an index kept something or lost it");
        assert_eq!(snap.vpc().index(), anew.vpc().index(), "an index kept something or lost it");
        check_indexes(snap);
        let addresses: BTreeSet<_> = snap.vpc().enis.values().map(|eni| (eni.subnet.clone(), eni.address)).collect();
        assert_eq!(addresses.len(), snap.vpc().enis.len(), "an address was given twice");
        let macs: BTreeSet<_> = snap.vpc().enis.values().map(|eni| eni.mac).collect();
        assert_eq!(macs.len(), snap.vpc().enis.len(), "a hardware address was given twice");
        for host in snap.ecs().hosts.values() {
            let ec2 = snap.ecs().index().loads.of(&host.id, LaunchType::Ec2).need;
            assert!(ec2.cpu_units <= host.capacity.cpu_units.into());
            assert!(ec2.memory_mib <= host.capacity.memory_mib.into());
            assert!(ec2.enis <= host.capacity.enis.into());
            assert!(
                snap.ecs().index().loads.of(&host.id, LaunchType::Fargate).need.memory_mib
                    <= host.capacity.memory_mib.into()
            );
        }
        let live = snap.ecs().tasks.values().filter(|task| task.status != TaskStatus::Stopped);
        let ports: Vec<_> = live.flat_map(|task| task.ports.iter().map(|port| (task.host.clone(), *port))).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len(), "a port was given twice");
    }

    /// No task goes back, none ends without a reason, and none is lost.
    fn check_tasks(&mut self) {
        let snap = &self.world.snap;
        for task in snap.ecs().tasks.values() {
            let now = Seen { status: task.status, version: task.version, stopped_at: task.times.stopped_at };
            let first = Seen { status: TaskStatus::Provisioning, version: 0, stopped_at: None };
            let before = self.seen.insert(task.id.clone(), now).unwrap_or(first);
            assert!(before <= now, "{:?} went back to {:?}", before.status, now.status);
            let is_told = before.status == now.status || before.version < now.version;
            assert!(is_told, "a status changed and the version did not");
            let holds = task.eni().is_some_and(|eni| snap.vpc().enis.contains_key(&eni.id));
            assert_eq!(holds, task.network.is_some() && task.status != TaskStatus::Stopped, "{:?}", task.status);
            assert_eq!(task.stop.is_some(), task.desired == Desired::Stopped);
            if task.status == TaskStatus::Stopped {
                let stop = task.stop.as_ref().expect("a stopped task has a reason");
                assert!(!stop.code.is_empty() && !stop.reason.is_empty() && now.stopped_at.is_some());
            }
        }
        for task in self.answered.iter().filter(|task| !snap.ecs().tasks.contains_key(*task)) {
            let last = self.seen.get(task).expect("a task that was answered was there");
            let is_over = last
                .stopped_at
                .is_some_and(|at| at.0.unsigned_abs() + STOPPED_TASKS_KEPT_MS < self.world.now.0.unsigned_abs());
            assert!(is_over, "a task was lost while {:?}", last.status);
        }
    }

    /// The faults cease; who is dead stays dead.
    fn calm(&mut self) {
        self.is_server_full = false;
        self.nodes.values_mut().for_each(|node| node.is_full = false);
        for _ in 0..8 {
            for number in HOSTS {
                self.reconnect(number);
                self.tell(&host(number));
                self.work(&host(number));
                self.check();
            }
        }
    }

    /// Every task on a host that lives runs or has ended, and its host says the same.
    fn check_settled(&mut self) {
        let env = self.world.env();
        let snap = &self.world.snap;
        let homeless = snap.ecs().tasks.values().filter(|task| task.host.is_none());
        assert!(homeless.into_iter().all(|task| task.status == TaskStatus::Stopped));
        for (host, node) in self.nodes.iter().filter(|(_, node)| !node.is_dead) {
            let on_host = || snap.ecs().tasks.values().filter(|task| task.host.as_ref() == Some(host));
            for task in on_host() {
                assert!(matches!(task.status, TaskStatus::Running | TaskStatus::Stopped), "{:?}", task.status);
            }
            let running: BTreeSet<&TaskId> =
                on_host().filter(|task| task.status == TaskStatus::Running).map(|task| &task.id).collect();
            assert!(node.tasks.values().all(|held| held.stage == TaskStage::Running));
            assert_eq!(node.tasks.keys().collect::<BTreeSet<_>>(), running);
            let wanted = plan::host(snap, host, &env);
            assert!(node.enis.keys().eq(wanted.enis.keys()), "host and records disagree about interfaces");
            assert_eq!(wanted, node.intent);
        }
    }

    fn is_on_dead_host(&self, task: &TaskId) -> bool {
        self.world.snap.ecs().tasks[task].host.as_ref().is_some_and(|host| self.nodes[host].is_dead)
    }
}

fn mode(bridge: bool) -> &'static str {
    if bridge { "bridge" } else { "none" }
}

/// The tasks an answer names.
fn tasks_of(answer: &Value) -> Vec<TaskId> {
    let id = |task: &Value| task["taskArn"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
    answer["tasks"].as_array().into_iter().flatten().map(id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_task_ends_well_and_nothing_is_left(steps in steps()) {
        let mut simulation = Simulation::new();
        for step in steps {
            simulation.step(step);
        }
        simulation.calm();
        simulation.check_settled();
        let tasks: Vec<TaskId> = simulation.world.snap.ecs().tasks.keys().cloned().collect();
        for task in tasks {
            simulation.world.call("StopTask", json!({"task": task.as_str()})).unwrap();
        }
        simulation.calm();
        simulation.check_settled();
        for minutes in [1, STOPPED_TASKS_KEPT_MS.cast_signed() / 60_000 + 1] {
            simulation.pass(minutes);
        }
        simulation.check();
        // Only what a dead host has is still there: nobody knows that it is gone.
        let snap = &simulation.world.snap;
        prop_assert!(snap.ecs().tasks.keys().all(|task| simulation.is_on_dead_host(task)));
        let held = snap.ecs().tasks.values().filter(|task| task.network.is_some()).count();
        prop_assert_eq!(snap.vpc().enis.len(), held);
        let public = snap.vpc().enis.values().filter(|eni| eni.public_address.is_some()).count();
        prop_assert_eq!(snap.vpc().index().public_addresses.used(), public as u64);
        prop_assert!(held > 0 || snap.vpc().group_sets.is_empty());
        let env = simulation.world.env();
        for (host, _) in simulation.nodes.iter().filter(|(_, node)| !node.is_dead) {
            let intent = plan::host(&simulation.world.snap, host, &env);
            let nothing = HostIntent { worlds: intent.worlds.clone(), ..Default::default() };
            prop_assert_eq!(intent, nothing);
        }
    }
}
