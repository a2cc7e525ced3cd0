//! A small world for tests: one VPC with three subnets, requests and answers as JSON in AWS's own words.
//!
//! Ids have short names in both directions: `subnet-a` (us-west-2a), `subnet-b` (us-west-2b), `subnet-tiny` (11
//! addresses, us-west-2a), `sg-web`, `sg-default`; `subnet-far` and `sg-far` are in another VPC.
#![allow(clippy::unwrap_used)]

mod agent;
mod capacity;
mod containers;
mod describe;
mod hosts;
mod instances;
mod modes;
mod placement;
mod register;
mod run;
mod simulation;
mod sizes;
mod strategies;
mod validation_table;

use std::collections::BTreeMap;

use berth_shapes::{Input, Slot, Structure, View};
use berth_types::link::{Capacity, Hello, PROTOCOL_VERSION};
use berth_types::report::{ContainerReport, ContainerStatus, EniReport, EniState, StopCause, TaskReport, TaskStage};
use berth_types::{
    HostId, InstanceId, SecurityGroupId, SubnetId, TaskId, TimestampMs, Vni, VpcCidrAssociationId, VpcId,
};
use serde_json::{Value, json};

use crate::ecs::record::{Task, TaskStatus};
use crate::vpc::record::{SecurityGroup, Subnet, Vpc};
use crate::{Change, Draft, Env, Refusal, Snapshot};

pub(crate) struct World {
    pub snap: Snapshot,
    pub now: TimestampMs,
    calls: u128,
}

const SUBNETS: [(&str, u128, u128, &str, &str); 4] = [
    ("subnet-a", 0xa, 1, "10.0.0.0/24", "us-west-2a"),
    ("subnet-b", 0xb, 1, "10.0.1.0/24", "us-west-2b"),
    ("subnet-tiny", 0xc, 1, "10.0.2.0/28", "us-west-2a"),
    ("subnet-far", 0xf, 2, "10.9.0.0/24", "us-west-2a"),
];
const GROUPS: [(&str, u128, u128, &str); 4] = [
    ("sg-default", 0xd, 1, "default"),
    ("sg-web", 0xe, 1, "web"),
    ("sg-fardefault", 0x1f, 2, "default"),
    ("sg-far", 0xf, 2, "far"),
];

impl World {
    /// Two VPCs, the cluster `default`, no host.
    pub fn new() -> Self {
        let mut draft = Draft::of(&Snapshot::default());
        for (number, cidr) in [(1, "10.0.0.0/16"), (2, "10.9.0.0/16")] {
            draft.put(Vpc {
                id: VpcId::from_bits(number),
                vni: Vni(u32::try_from(number).unwrap()),
                cidr: cidr.parse().unwrap(),
                cidr_association: VpcCidrAssociationId::from_bits(number),
                is_default: false,
                dns_support: true,
                dns_hostnames: true,
                network_address_usage_metrics: false,
                tags: BTreeMap::new(),
            });
        }
        for (_, id, vpc, cidr, zone) in SUBNETS {
            draft.put(Subnet {
                id: SubnetId::from_bits(id),
                vpc: VpcId::from_bits(vpc),
                cidr: cidr.parse().unwrap(),
                availability_zone: zone.to_owned(),
                default_for_az: false,
                map_public_ip_on_launch: false,
                tags: BTreeMap::new(),
            });
        }
        for (_, id, vpc, name) in GROUPS {
            draft.put(SecurityGroup {
                id: SecurityGroupId::from_bits(id),
                vpc: VpcId::from_bits(vpc),
                name: name.to_owned(),
                description: name.to_owned(),
                rules: BTreeMap::new(),
                tags: BTreeMap::new(),
            });
        }
        let mut world = Self { snap: Snapshot::default(), now: Env::fixed().now, calls: 0 };
        world.apply(draft.change(()));
        let env = world.env();
        let change = super::ensure_default_cluster(&world.snap, &env);
        world.apply(change);
        world
    }

    /// With a host that has two cores, 2 GiB and three interfaces.
    pub fn with_host() -> Self {
        let mut world = Self::new();
        world.connect(&hello(1));
        world
    }

    pub fn env(&mut self) -> Env {
        self.calls += 1;
        let fixed = Env::fixed();
        Env::new(self.now, &fixed.region, &fixed.account, &fixed.caller, self.calls)
    }

    pub fn apply<T>(&mut self, change: Change<T>) -> T {
        change.writes.iter().for_each(|write| self.snap.apply(write));
        change.reply
    }

    /// A call that writes; `Err` holds code and words.
    pub fn write<Q: Input, A: Structure>(
        &mut self,
        rule: fn(&Snapshot, &Q, &Env) -> Result<Change<A>, Refusal>,
        request: Value,
    ) -> Result<Value, String> {
        let env = self.env();
        let change = rule(&self.snap, &fill(request), &env).map_err(|refusal| short(&refusal.to_string()))?;
        Ok(show(&self.apply(change)))
    }

    /// A call that reads.
    pub fn read<Q: Input, A: Structure>(
        &mut self,
        rule: fn(&Snapshot, &Q, &Env) -> Result<A, Refusal>,
        request: Value,
    ) -> Result<Value, String> {
        let env = self.env();
        rule(&self.snap, &fill(request), &env)
            .map(|answer| show(&answer))
            .map_err(|refusal| short(&refusal.to_string()))
    }

    pub fn connect(&mut self, hello: &Hello) {
        let env = self.env();
        let change = super::host_connected(&self.snap, hello, &env).unwrap();
        self.apply(change);
    }

    pub fn task_report(&mut self, report: &TaskReport) {
        let env = self.env();
        let host = self.snap.tasks.get(&report.task).and_then(|task| task.host.clone()).unwrap();
        let change = super::observe_task(&self.snap, &host, report, &env);
        self.apply(change);
    }

    /// The task's interface is in this state.
    pub fn eni(&mut self, task: &TaskId, state: EniState) {
        let env = self.env();
        let known = self.snap.tasks[task].clone();
        let eni = known.eni().unwrap().id.clone();
        let change = super::observe_eni(&self.snap, known.host.as_ref().unwrap(), &EniReport { eni, state }, &env);
        self.apply(change);
    }

    /// The task's host reports this stage, with containers to match.
    pub fn stage(&mut self, task: &TaskId, stage: TaskStage, stop: Option<StopCause>) {
        self.task_report(&report(&self.snap.tasks[task].clone(), stage, stop));
    }

    /// Registers the definition `name` (Fargate and EC2, size 256/512) and runs it.
    pub fn run(&mut self, request: Value) -> Vec<TaskId> {
        self.register();
        let answer = self.write(super::run_task, merged(run_request(), request)).unwrap();
        let id = |task: &Value| task["taskArn"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap();
        answer["tasks"].as_array().unwrap().iter().map(id).collect()
    }

    pub fn register(&mut self) {
        self.write(super::register_task_definition, fargate_definition()).unwrap();
    }

    pub fn status(&self, task: &TaskId) -> TaskStatus {
        self.snap.tasks[task].status
    }
}

pub(crate) fn hello(number: u128) -> Hello {
    let capability = |name: &str| (name.to_owned(), None);
    Hello {
        protocol: PROTOCOL_VERSION,
        host: HostId::from_bits(number),
        instance: InstanceId::from_bits(number),
        cluster: "default".to_owned(),
        version: "0.1.0".to_owned(),
        runtime_version: "1.6.20".to_owned(),
        capacity: Capacity { cpu_units: 2048, memory_mib: 2048, enis: 3 },
        attributes: BTreeMap::from([
            capability("ecs.capability.task-eni"),
            capability("ecs.capability.task-cpu-mem-limit"),
            capability("com.amazonaws.ecs.capability.docker-remote-api.1.18"),
            capability("com.amazonaws.ecs.capability.docker-remote-api.1.19"),
            ("ecs.cpu-architecture".to_owned(), Some("x86_64".to_owned())),
        ]),
        tasks: Vec::new(),
        enis: Vec::new(),
    }
}

pub(crate) fn report(task: &Task, stage: TaskStage, stop: Option<StopCause>) -> TaskReport {
    let status = match stage {
        TaskStage::Provisioning | TaskStage::Pending => ContainerStatus::Pending,
        TaskStage::Running | TaskStage::Stopping => ContainerStatus::Running,
        TaskStage::Stopped => ContainerStatus::Stopped,
    };
    let container = |name: &String| ContainerReport {
        name: name.clone(),
        status,
        runtime_id: (status != ContainerStatus::Pending).then(|| format!("{name}-runtime")),
        image_digest: None,
        exit_code: (status == ContainerStatus::Stopped).then_some(0),
        reason: None,
        network_bindings: Vec::new(),
        health: None,
    };
    TaskReport {
        task: task.id.clone(),
        stage,
        stop,
        containers: task.containers.iter().map(|one| container(&one.name)).collect(),
        pull_started_at: None,
        pull_stopped_at: None,
        execution_stopped_at: None,
    }
}

pub(crate) fn fargate_definition() -> Value {
    json!({
        "family": "nginx", "networkMode": "awsvpc", "cpu": "256", "memory": "512",
        "requiresCompatibilities": ["FARGATE"],
        "containerDefinitions": [{"name": "nginx", "image": "nginx", "portMappings": [{"containerPort": 80}]}],
    })
}

pub(crate) fn ec2_definition() -> Value {
    json!({
        "family": "nginx", "networkMode": "awsvpc",
        "containerDefinitions": [{"name": "nginx", "image": "nginx", "cpu": 100, "memory": 512}],
    })
}

pub(crate) fn run_request() -> Value {
    json!({
        "taskDefinition": "nginx", "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-a"], "securityGroups": ["sg-web"]}},
    })
}

/// JSON merge patch; the key `0` reaches into the first item of a list.
pub(crate) fn merged(mut base: Value, patch: Value) -> Value {
    merge(&mut base, patch);
    base
}

fn merge(base: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *base = patch;
        return;
    };
    for (key, value) in patch {
        match (key.as_str(), &mut *base) {
            ("0", Value::Array(items)) => merge(&mut items[0], value),
            (_, Value::Object(object)) if value.is_null() => {
                object.remove(&key);
            }
            (_, Value::Object(object)) => merge(object.entry(key).or_insert_with(|| json!({})), value),
            (_, other) => {
                *other = json!({});
                merge(other, json!({ key: value }));
            }
        }
    }
}

fn names() -> Vec<(String, String)> {
    let subnets = SUBNETS.map(|(name, id, ..)| (name.to_owned(), SubnetId::from_bits(id).to_string()));
    let groups = GROUPS.map(|(name, id, ..)| (name.to_owned(), SecurityGroupId::from_bits(id).to_string()));
    subnets.into_iter().chain(groups).collect()
}

fn short(text: &str) -> String {
    names().into_iter().fold(text.to_owned(), |text, (name, id)| text.replace(&id, &name))
}

fn fill<Q: Structure + Default>(request: Value) -> Q {
    let mut filled = Q::default();
    fill_structure(&mut filled, request);
    filled
}

fn fill_structure(structure: &mut dyn Structure, value: Value) {
    let Value::Object(members) = value else { panic!("{} wants an object", structure.shape().name) };
    for (name, value) in members {
        let index = structure.shape().members.iter().position(|member| member.name == name);
        let index = index.unwrap_or_else(|| panic!("{} has no member {name}", structure.shape().name));
        fill_slot(structure.slot(index).unwrap(), value);
    }
}

fn fill_slot(slot: Slot<'_>, value: Value) {
    match slot {
        Slot::Text(text) => {
            let given = value.as_str().unwrap().to_owned();
            *text = names().into_iter().find(|(name, _)| *name == given).map_or(given, |(_, id)| id);
        }
        Slot::Integer(number) => *number = i32::try_from(value.as_i64().unwrap()).unwrap(),
        Slot::Long(number) => *number = value.as_i64().unwrap(),
        Slot::Double(number) => *number = value.as_f64().unwrap(),
        Slot::Boolean(boolean) => *boolean = value.as_bool().unwrap(),
        Slot::Structure(structure) => fill_structure(structure, value),
        Slot::List(list) => value.as_array().unwrap().iter().for_each(|item| fill_slot(list.push(), item.clone())),
        Slot::Map(map) => {
            value.as_object().unwrap().iter().for_each(|(key, item)| fill_slot(map.entry(key), item.clone()));
        }
        Slot::Timestamp(_) | Slot::Blob(_) => panic!("no request of ECS has such a member"),
    }
}

fn show(structure: &dyn Structure) -> Value {
    let members = structure.shape().members.iter().enumerate();
    Value::Object(
        members
            .filter_map(|(index, member)| structure.member(index).map(|view| (member.name.to_owned(), show_view(view))))
            .collect(),
    )
}

fn show_view(view: View<'_>) -> Value {
    match view {
        View::Text(text) => json!(short(text)),
        View::Integer(number) => json!(number),
        View::Long(number) => json!(number),
        View::Double(number) => json!(number),
        View::Boolean(boolean) => json!(boolean),
        View::Timestamp(at) => json!(at.0 - Env::fixed().now.0),
        View::Blob(bytes) => json!(bytes),
        View::Structure(inner) => show(inner),
        View::List(list) => (0..list.len()).map(|at| show_view(list.item(at).unwrap())).collect(),
        View::Map(map) => {
            let mut object = serde_json::Map::new();
            map.each(&mut |key, view| {
                object.insert(key.to_owned(), show_view(view));
            });
            Value::Object(object)
        }
    }
}

/// One line per case: what was asked for, and how it ended.
pub(crate) fn table(cases: &[(&str, Value)], mut ends: impl FnMut(Value) -> Result<Value, String>) -> String {
    let line = |(name, case): &(&str, Value)| match ends(case.clone()) {
        Ok(_) => format!("{name}: ok\n"),
        Err(words) => format!("{name}: {words}\n"),
    };
    cases.iter().map(line).collect()
}
