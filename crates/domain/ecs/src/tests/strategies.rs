// SPDX-License-Identifier: Apache-2.0
//! The choice among container instances is the one a plain reading of the records makes, whatever the index keeps.

use std::sync::Arc;

use berth_shapes::ecs::RunTaskRequest;
use berth_state::ecs::{ClusterName, Host, InstanceStatus, Resource, Task, TaskStatus};
use berth_state::{Env, Snapshot, Write};
use berth_types::intent::LaunchType;
use berth_types::report::{EniState, TaskStage};
use berth_types::{HostId, TaskId};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::{World, ec2_definition, fill, hello, merged};
use crate::placement::{RESERVED_PORTS, Wanted};
use crate::placement_request::{Constraint, Field, Strategy as Asked};
use crate::reference::active_cluster;
use crate::run_task::launch;
use crate::strategy;

const HOSTS: u8 = 9;
const CLUSTERS: [&str; 2] = ["default", "other"];
const ZONES: [&str; 3] = ["us-west-2a", "us-west-2b", "us-west-2c"];
const GROUPS: [&str; 3] = ["a", "b", "c"];
const STACKS: [&str; 2] = ["prod", "test"];
/// With an interface, with ports of the host, with neither.
const FAMILIES: [&str; 3] = ["seated", "published", "plain"];

#[derive(Clone, Debug)]
enum Step {
    /// A host comes, or comes back, perhaps as another than it was.
    Connect {
        host: u8,
        cluster: &'static str,
        zone: &'static str,
        memory_mib: u32,
    },
    Disconnect(u8),
    Drain(u8, bool),
    Deregister(u8),
    Give(u8, &'static str),
    Take(u8),
    Run(Index),
    /// On a host the caller names.
    Start(Index, u8),
    Stop(Index),
}

/// What a caller asks.
#[derive(Clone, Debug)]
struct Ask {
    cluster: &'static str,
    family: &'static str,
    group: &'static str,
    count: u8,
    strategies: Vec<&'static str>,
    is_distinct: bool,
    stack: Option<&'static str>,
    /// With an interface.
    subnets: Vec<&'static str>,
}

impl Ask {
    fn request(&self) -> Value {
        let strategies = self.strategies.iter().map(|field| match *field {
            "random" => json!({"type": "random"}),
            "cpu" | "memory" => json!({"type": "binpack", "field": field}),
            _ => json!({"type": "spread", "field": field}),
        });
        let distinct = self.is_distinct.then(|| json!({"type": "distinctInstance"}));
        let member = |stack| json!({"type": "memberOf", "expression": format!("attribute:stack == {stack}")});
        let constraints = distinct.into_iter().chain(self.stack.map(member));
        merged(
            json!({"cluster": self.cluster, "count": self.count,
                "placementStrategy": strategies.collect::<Value>(),
                "placementConstraints": constraints.collect::<Value>()}),
            self.what(),
        )
    }

    /// What RunTask and StartTask have in common.
    fn what(&self) -> Value {
        let network = json!({"networkConfiguration": {"awsvpcConfiguration": {"subnets": self.subnets}}});
        let network = if self.family == "seated" { network } else { json!({}) };
        merged(json!({"cluster": self.cluster, "taskDefinition": self.family, "group": self.group}), network)
    }
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let field = select(vec![
        "attribute:ecs.availability-zone",
        "attribute:ecs.availability-zone",
        "instanceId",
        "instanceId",
        "cpu",
        "memory",
        "attribute:stack",
        "random",
    ]);
    let place =
        (prop_oneof![4 => Just(CLUSTERS[0]), 1 => Just(CLUSTERS[1])], select(&FAMILIES[..]), select(&GROUPS[..]));
    let subnets = select(vec![vec!["subnet-a"], vec!["subnet-b"], vec!["subnet-a", "subnet-b", "subnet-tiny"]]);
    let constraints = (prop::bool::weighted(0.2), proptest::option::weighted(0.2, select(&STACKS[..])));
    let ask = (place, 1u8..5, proptest::collection::vec(field, 0..4), constraints, subnets);
    let ask = ask.prop_map(|((cluster, family, group), count, strategies, (is_distinct, stack), subnets)| Ask {
        cluster,
        family,
        group,
        count,
        strategies,
        is_distinct,
        stack,
        subnets,
    });
    proptest::collection::vec(ask, 4..10)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let host = 1..=HOSTS;
    let connect =
        (host.clone(), prop_oneof![6 => Just(CLUSTERS[0]), 1 => Just(CLUSTERS[1])], select(&ZONES[..]), 1u32..6);
    let step = prop_oneof![
        4 => connect.prop_map(|(host, cluster, zone, hundreds)| Step::Connect { host, cluster, zone, memory_mib: 100 * hundreds }),
        1 => host.clone().prop_map(Step::Disconnect),
        2 => (host.clone(), prop::bool::weighted(0.4)).prop_map(|(host, draining)| Step::Drain(host, draining)),
        1 => host.clone().prop_map(Step::Deregister),
        2 => (host.clone(), select(&STACKS[..])).prop_map(|(host, stack)| Step::Give(host, stack)),
        1 => host.clone().prop_map(Step::Take),
        6 => any::<Index>().prop_map(Step::Run),
        1 => (any::<Index>(), host).prop_map(|(ask, host)| Step::Start(ask, host)),
        4 => any::<Index>().prop_map(Step::Stop),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Two clusters, three families, and half of the hosts.
fn world() -> World {
    let mut world = World::with_cluster();
    world.call("CreateCluster", json!({"clusterName": CLUSTERS[1]})).unwrap();
    let ports = json!([{"containerPort": 80, "hostPort": 80}]);
    for (family, patch) in [
        ("seated", json!({"containerDefinitions": {"0": {"memory": 100, "cpu": 200}}})),
        (
            "published",
            json!({"networkMode": "bridge",
            "containerDefinitions": {"0": {"memory": 50, "cpu": 300, "portMappings": ports}}}),
        ),
        ("plain", json!({"networkMode": "none", "containerDefinitions": {"0": {"memory": 40, "cpu": 100}}})),
    ] {
        let definition = merged(merged(ec2_definition(), json!({"family": family})), patch);
        world.call("RegisterTaskDefinition", definition).unwrap();
    }
    for host in 1..=HOSTS / 2 {
        let zone = ZONES[usize::from(host) % ZONES.len()];
        act(&mut world, &Step::Connect { host, cluster: CLUSTERS[0], zone, memory_mib: 300 }, &[]);
    }
    world
}

/// What is refused changes nothing, which is as good.
fn act(world: &mut World, step: &Step, asks: &[Ask]) {
    let id = |host: u8| HostId::from_bits(host.into());
    let on = |host: u8| {
        let cluster = world.snap.ecs().hosts.get(&id(host)).map_or("default", |host| host.cluster.0.as_str());
        json!({"cluster": cluster})
    };
    match step {
        Step::Connect { host, cluster, zone, memory_mib } => {
            let mut hello = hello((*host).into());
            hello.cluster = (*cluster).to_owned();
            hello.capacity.memory_mib = *memory_mib;
            hello.attributes.insert("ecs.availability-zone".to_owned(), Some((*zone).to_owned()));
            let env = world.env();
            if let Ok(change) = crate::host_connected(&world.snap, &hello, &env) {
                world.apply(change);
            }
        }
        Step::Disconnect(host) => {
            world.disconnect(&id(*host));
        }
        Step::Drain(host, draining) => {
            let status = if *draining { "DRAINING" } else { "ACTIVE" };
            let request = json!({"containerInstances": [id(*host).as_str()], "status": status});
            drop(world.call("UpdateContainerInstancesState", merged(request, on(*host))));
        }
        Step::Deregister(host) => {
            let request = json!({"containerInstance": id(*host).as_str(), "force": true});
            drop(world.call("DeregisterContainerInstance", merged(request, on(*host))));
        }
        Step::Give(host, stack) => {
            let attribute = json!({"name": "stack", "value": stack, "targetId": id(*host).as_str()});
            drop(world.call("PutAttributes", merged(json!({"attributes": [attribute]}), on(*host))));
        }
        Step::Take(host) => {
            let attribute = json!({"name": "stack", "targetId": id(*host).as_str()});
            drop(world.call("DeleteAttributes", merged(json!({"attributes": [attribute]}), on(*host))));
        }
        Step::Run(ask) => drop(world.call("RunTask", ask.get(asks).request())),
        Step::Start(ask, host) => {
            let request = json!({"containerInstances": [id(*host).as_str()]});
            drop(world.call("StartTask", merged(ask.get(asks).what(), request)));
        }
        Step::Stop(task) => stop(world, *task),
    }
}

/// One of the tasks that live, and all it has goes.
fn stop(world: &mut World, which: Index) {
    let live = world.snap.ecs().tasks.values().filter(|task| task.status != TaskStatus::Stopped);
    let live: Vec<(TaskId, ClusterName)> = live.map(|task| (task.id.clone(), task.cluster.clone())).collect();
    if live.is_empty() {
        return;
    }
    let (task, cluster) = which.get(&live);
    world.call("StopTask", json!({"cluster": cluster.0, "task": task.as_str()})).unwrap();
    world.stage(task, TaskStage::Stopped, None);
    if world.snap.ecs().tasks[task].eni().is_some() {
        world.eni(task, EniState::Gone);
    }
    assert_eq!(world.status(task), TaskStatus::Stopped);
}

/// What the records say of a cluster, with nothing looked up.
struct Plain<'a> {
    snap: &'a Snapshot,
    wanted: &'a Wanted<'a>,
}

impl<'a> Plain<'a> {
    fn choice(&self, env: &Env) -> Option<HostId> {
        let hosts = self.snap.ecs().hosts.values().filter(|host| self.can_run(host));
        let mut left: Vec<&Host> = hosts.map(Arc::as_ref).collect();
        left.sort_by_key(|host| (self.tasks_on(host).count(), host.id.clone()));
        for strategy in &self.wanted.placement.strategies {
            let key = |host: &Host| match strategy {
                Asked::Random => 0,
                Asked::Binpack(Resource::Cpu) => u64::from(host.capacity.cpu_units) - self.taken(host).0,
                Asked::Binpack(Resource::Memory) => u64::from(host.capacity.memory_mib) - self.taken(host).1,
                Asked::Spread(Field::Instance) => self.in_group(host),
                Asked::Spread(Field::Attribute(name)) => {
                    let alike = self.instances().filter(|other| other.attribute(name) == host.attribute(name));
                    alike.map(|host| self.in_group(host)).sum()
                }
            };
            let least = left.iter().map(|host| key(host)).min();
            left.retain(|host| Some(key(host)) == least);
            if *strategy == Asked::Random && !left.is_empty() {
                left = vec![left[(env.fresh_bits() % left.len() as u128) as usize]];
            }
        }
        left.first().map(|host| host.id.clone())
    }

    fn instances(&self) -> impl Iterator<Item = &'a Host> {
        let hosts = self.snap.ecs().hosts.values().map(Arc::as_ref).filter(|host| host.cluster == *self.wanted.cluster);
        hosts.filter(|host| matches!(host.instance_status(), Some(InstanceStatus::Active | InstanceStatus::Draining)))
    }

    fn tasks_on(&self, host: &Host) -> impl Iterator<Item = &'a Task> {
        let id = host.id.clone();
        let tasks = self.snap.ecs().tasks.values().map(Arc::as_ref).filter(move |task| task.host.as_ref() == Some(&id));
        tasks.filter(|task| task.launch_type == LaunchType::Ec2 && task.status != TaskStatus::Stopped)
    }

    fn in_group(&self, host: &Host) -> u64 {
        self.tasks_on(host).filter(|task| *task.group == *self.wanted.group).count() as u64
    }

    /// CPU units, memory and interfaces.
    fn taken(&self, host: &Host) -> (u64, u64, u64) {
        self.tasks_on(host).map(|task| task.need).fold((0, 0, 0), |(cpu, memory, enis), need| {
            (cpu + need.cpu_units, memory + need.memory_mib, enis + need.enis)
        })
    }

    fn can_run(&self, host: &Host) -> bool {
        let Self { snap, wanted } = self;
        let (cpu, memory, enis) = self.taken(host);
        let has = host.capacity;
        let is_near = wanted
            .subnets
            .is_none_or(|subnets| subnets.iter().any(|subnet| subnet.availability_zone == host.availability_zone));
        let is_free = |port| {
            !RESERVED_PORTS.contains(&port)
                && self.tasks_on(host).all(|task| task.ports.iter().all(|it| it.port != port))
        };
        let meets = |constraint: &Constraint| match constraint {
            Constraint::DistinctInstance => self.in_group(host) == 0,
            Constraint::MemberOf(expression) => expression.holds(snap, host),
        };
        host.cluster == *wanted.cluster
            && host.instance_status() == Some(InstanceStatus::Active)
            && host.connected
            && wanted.definition.requires_attributes.iter().all(|name| host.attribute(name).is_some())
            && is_near
            && cpu + wanted.need.cpu_units <= has.cpu_units.into()
            && memory + wanted.need.memory_mib <= has.memory_mib.into()
            && enis + wanted.need.enis <= has.enis.into()
            && wanted.ports.iter().all(|port| is_free(port.port))
            && wanted.placement.constraints.iter().all(meets)
    }
}

/// Whom the rules choose, and whom a plain reading does.
fn choices(snap: &Snapshot, ask: &Ask) -> (Option<HostId>, Option<HostId>) {
    let request: RunTaskRequest = fill(ask.request());
    let cluster = active_cluster(snap, request.cluster.as_deref(), &Env::fixed()).unwrap();
    let (launch, _) = launch(snap, &request, &cluster, None, &Env::fixed()).unwrap();
    let wanted = launch.wanted();
    let chosen = strategy::best(snap, &wanted, &Env::fixed()).map(|host| host.id.clone());
    (chosen, Plain { snap, wanted: &wanted }.choice(&Env::fixed()))
}

fn read_anew(snap: &Snapshot) -> Snapshot {
    let mut anew = Snapshot::default();
    snap.records().for_each(|record| anew.apply(&Write::Put(record)));
    anew
}

proptest! {
    #[test]
    fn the_choice_is_that_of_a_plain_reading(steps in steps(), asks in asks()) {
        let mut world = world();
        for step in &steps {
            act(&mut world, step, &asks);
            let anew = read_anew(&world.snap);
            prop_assert_eq!(world.snap.ecs().index(), anew.ecs().index());
            for ask in &asks {
                let (chosen, plain) = choices(&world.snap, ask);
                prop_assert_eq!(chosen, plain, "{:?}", ask);
            }
        }
    }
}
