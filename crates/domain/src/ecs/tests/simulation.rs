//! The whole life of many tasks on hosts that are honest, over links that are not: reports are lost, late, repeated and
//! out of order, hosts come and go.

use std::collections::{BTreeMap, BTreeSet};

use berth_types::intent::{Desired, HostIntent, LaunchType, diff};
use berth_types::report::{EniReport, EniState, StopCause, TaskReport, TaskStage};
use berth_types::{EniId, HostId, TaskId};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use super::{World, ec2_definition, hello, merged, report, run_request};
use crate::ecs::record::TaskStatus;
use crate::ecs::{host_disconnected, observe_eni, observe_task, register_task_definition, run_task, stop_task};
use crate::{Snapshot, Write, plan};

#[derive(Clone, Debug)]
enum Step {
    Run {
        fargate: bool,
        count: u8,
        tiny: bool,
    },
    /// Tasks without an interface, one of them for each host at the same time.
    Bridge {
        count: u8,
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
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let host = 1u8..=2;
    let step = prop_oneof![
        3 => (any::<bool>(), 1u8..5, any::<bool>()).prop_map(|(fargate, count, tiny)| Step::Run { fargate, count, tiny }),
        1 => (1u8..4).prop_map(|count| Step::Bridge { count }),
        2 => any::<Index>().prop_map(Step::Stop),
        5 => host.clone().prop_map(Step::Intent),
        8 => host.clone().prop_map(Step::Work),
        1 => (host.clone(), any::<Index>()).prop_map(|(host, index)| Step::Break(host, index)),
        12 => (any::<Index>(), any::<bool>()).prop_map(|(which, again)| Step::Deliver { which, again }),
        2 => any::<Index>().prop_map(Step::Lose),
        1 => host.clone().prop_map(Step::Disconnect),
        1 => host.prop_map(Step::Reconnect),
    ];
    proptest::collection::vec(step, 1..120)
}

/// A host that does what it is told and says what it does.
#[derive(Default)]
struct Node {
    intent: HostIntent,
    enis: BTreeMap<EniId, EniState>,
    tasks: BTreeMap<TaskId, (TaskStage, Option<StopCause>)>,
}

enum Report {
    Task(TaskReport),
    Eni(EniReport),
}

struct Simulation {
    world: World,
    nodes: BTreeMap<HostId, Node>,
    in_flight: Vec<(HostId, Report)>,
    seen: BTreeMap<TaskId, (TaskStatus, u64)>,
}

fn host(number: u8) -> HostId {
    hello(number.into()).host
}

impl Simulation {
    fn new() -> Self {
        let mut world = World::with_host();
        world.connect(&hello(2));
        world.register();
        let bridge = merged(
            ec2_definition(),
            json!({"family": "bridge", "networkMode": "bridge",
                "containerDefinitions": {"0": {"portMappings": [{"containerPort": 80, "hostPort": 8080}]}}}),
        );
        world.write(register_task_definition, bridge).unwrap();
        let nodes = [1, 2].map(|number| (host(number), Node::default())).into();
        Self { world, nodes, in_flight: Vec::new(), seen: BTreeMap::new() }
    }

    fn step(&mut self, step: Step) {
        let before = self.world.snap.clone();
        match step {
            Step::Run { fargate, count, tiny } => {
                let subnets = if tiny { json!(["subnet-tiny"]) } else { json!(["subnet-a", "subnet-b"]) };
                let patch = json!({"launchType": if fargate { "FARGATE" } else { "EC2" }, "count": count,
                    "networkConfiguration": {"awsvpcConfiguration": {"subnets": subnets}}});
                self.world.write(run_task, merged(run_request(), patch)).unwrap();
            }
            Step::Bridge { count } => {
                self.world.write(run_task, json!({"taskDefinition": "bridge", "count": count})).unwrap();
            }
            Step::Stop(which) => {
                let tasks: Vec<TaskId> = self.world.snap.tasks.keys().cloned().collect();
                if !tasks.is_empty() {
                    self.world.write(stop_task, json!({"task": which.get(&tasks).as_str()})).unwrap();
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
            Step::Disconnect(number) => {
                let env = self.world.env();
                let change = host_disconnected(&self.world.snap, &host(number), &env);
                self.world.apply(change);
            }
            Step::Reconnect(number) => self.reconnect(number),
        }
        self.check();
        self.check_patches(&before);
    }

    /// What changed for a host is the difference of what it must hold.
    fn check_patches(&mut self, before: &Snapshot) {
        let env = self.world.env();
        for number in [1, 2, 3] {
            let host = host(number);
            let whole = |snap| plan::host(snap, &host, &env);
            let expected = diff(7, &whole(before), self.world.snap.revision, &whole(&self.world.snap));
            assert_eq!(plan::patch(7, before, &self.world.snap, &host, &env), expected);
        }
    }

    fn tell(&mut self, host: &HostId) {
        let env = self.world.env();
        self.nodes.get_mut(host).unwrap().intent = plan::host(&self.world.snap, host, &env);
    }

    fn work(&mut self, host: &HostId) {
        let node = self.nodes.get_mut(host).unwrap();
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
            let (stage, stop) = node.tasks.entry(task.clone()).or_insert((TaskStage::Provisioning, None));
            let is_attached = |eni: &EniId| node.enis.get(eni) == Some(&EniState::Attached);
            let plugged = wanted.eni.as_ref().is_none_or(is_attached);
            *stage = match (*stage, wanted.desired) {
                (TaskStage::Stopped | TaskStage::Stopping, _) => TaskStage::Stopped,
                (_, Desired::Stopped) => TaskStage::Stopping,
                (_, Desired::Running) if stop.is_some() => TaskStage::Stopping,
                (TaskStage::Provisioning, Desired::Running) if plugged => TaskStage::Pending,
                (TaskStage::Provisioning, Desired::Running) => TaskStage::Provisioning,
                (TaskStage::Pending | TaskStage::Running, Desired::Running) => TaskStage::Running,
            };
            said.push(Report::Task(report(&self.world.snap.tasks[task], *stage, stop.clone())));
        }
        self.in_flight.extend(said.into_iter().map(|report| (host.clone(), report)));
    }

    fn go_wrong(&mut self, host: &HostId, which: Index) {
        let node = self.nodes.get_mut(host).unwrap();
        let mut tasks: Vec<_> = node.tasks.values_mut().collect();
        if !tasks.is_empty() {
            let at = which.index(tasks.len());
            let (stage, stop) = &mut *tasks[at];
            *stop = match stage {
                TaskStage::Provisioning | TaskStage::Pending => {
                    Some(StopCause::FailedToStart { reason: "CannotPullContainerError: x".to_owned() })
                }
                TaskStage::Running => Some(StopCause::EssentialContainerExited { container: "nginx".to_owned() }),
                TaskStage::Stopping | TaskStage::Stopped => stop.clone(),
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

    fn reconnect(&mut self, number: u8) {
        let host = host(number);
        // A new stream: what was on the old one is lost.
        self.in_flight.retain(|(from, _)| *from != host);
        let node = &self.nodes[&host];
        let mut hello = hello(number.into());
        hello.enis =
            node.enis.iter().map(|(eni, state)| EniReport { eni: eni.clone(), state: state.clone() }).collect();
        let tasks = node.tasks.iter().filter_map(|(task, (stage, stop))| {
            self.world.snap.tasks.get(task).map(|known| report(known, *stage, stop.clone()))
        });
        hello.tasks = tasks.collect();
        self.world.connect(&hello);
    }

    fn check(&mut self) {
        let snap = &self.world.snap;
        let mut anew = Snapshot::default();
        snap.records().for_each(|record| anew.apply(&Write::Put(record)));
        assert_eq!(snap.index(), anew.index(), "an index kept something or lost it");
        let addresses: BTreeSet<_> = snap.enis.values().map(|eni| (eni.subnet.clone(), eni.address)).collect();
        assert_eq!(addresses.len(), snap.enis.len(), "an address was given twice");
        let macs: BTreeSet<_> = snap.enis.values().map(|eni| eni.mac).collect();
        assert_eq!(macs.len(), snap.enis.len(), "a hardware address was given twice");
        for host in snap.hosts.values() {
            let ec2 = snap.index().loads.of(&host.id, LaunchType::Ec2).need;
            assert!(ec2.cpu_units <= host.capacity.cpu_units.into());
            assert!(ec2.memory_mib <= host.capacity.memory_mib.into());
            assert!(ec2.enis <= host.capacity.enis.into());
            assert!(
                snap.index().loads.of(&host.id, LaunchType::Fargate).need.memory_mib <= host.capacity.memory_mib.into()
            );
        }
        let live = snap.tasks.values().filter(|task| task.status != TaskStatus::Stopped);
        let ports: Vec<_> = live.flat_map(|task| task.ports.iter().map(|port| (task.host.clone(), *port))).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len(), "a port was given twice");
        for task in snap.tasks.values() {
            let now = (task.status, task.version);
            let before = self.seen.insert(task.id.clone(), now).unwrap_or((TaskStatus::Provisioning, 0));
            assert!(before <= now, "{before:?} went back to {now:?}");
            assert!(before.0 == now.0 || before.1 < now.1, "a status changed and the version did not");
            let holds = task.eni().is_some_and(|eni| snap.enis.contains_key(&eni.id));
            assert_eq!(holds, task.network.is_some() && task.status != TaskStatus::Stopped, "{:?}", task.status);
            assert_eq!(task.stop.is_some(), task.desired == Desired::Stopped);
        }
    }

    /// All links work for long enough.
    fn calm(&mut self) {
        for _ in 0..8 {
            for number in [1, 2] {
                self.reconnect(number);
                self.tell(&host(number));
                self.work(&host(number));
                self.check();
            }
        }
    }
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
        for task in simulation.world.snap.tasks.values() {
            prop_assert!(matches!(task.status, TaskStatus::Running | TaskStatus::Stopped), "{:?}", task.status);
        }
        let tasks: Vec<TaskId> = simulation.world.snap.tasks.keys().cloned().collect();
        for task in tasks {
            simulation.world.write(stop_task, json!({"task": task.as_str()})).unwrap();
        }
        simulation.calm();
        let snap = &simulation.world.snap;
        prop_assert!(snap.tasks.values().all(|task| task.status == TaskStatus::Stopped));
        prop_assert_eq!((snap.enis.len(), snap.group_sets.len()), (0, 0));
        let env = simulation.world.env();
        for number in [1, 2] {
            prop_assert_eq!(plan::host(&simulation.world.snap, &host(number), &env), HostIntent::default());
        }
    }
}
