// SPDX-License-Identifier: Apache-2.0
//! Placement in process, without store and protocol, with many hosts and many existing tasks: requests checked and
//! hosts chosen per second, and whole RunTask calls with all their changes to records and indexes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use berth_ecs as ecs;
use berth_shapes::ec2::{CreateSubnetRequest, CreateVpcRequest};
use berth_shapes::ecs::{AwsVpcConfiguration, NetworkConfiguration, PlacementStrategy, RunTaskRequest};
use berth_state::{Change, Env, Refusal, Snapshot};
use berth_types::link::{Capacity, Hello, PROTOCOL_VERSION};
use berth_types::{HostId, InstanceId};
use berth_vpc as vpc;

use crate::scene::{self, FAMILY, RUN_MAX};
use crate::table;

const SAMPLE: Duration = Duration::from_secs(2);
/// Number of VPCs; each has a subnet in each zone.
const NETWORKS: u8 = 8;
/// Ranges of the subnets in a VPC.
const SUBNETS: [&str; 3] = ["0.0/18", "64.0/18", "128.0/18"];
const CLUSTER: &str = "default";
const ZONE: &str = "attribute:ecs.availability-zone";
/// Strategies, as type and field.
type Strategies = &'static [(&'static str, &'static str)];
/// A kind of measurement: its name, launch type and strategies.
const KINDS: [(&str, &str, Strategies); 6] = [
    ("Fargate", "FARGATE", &[]),
    ("EC2", "EC2", &[]),
    ("EC2, binpack memory", "EC2", &[("binpack", "memory")]),
    ("EC2, spread instances", "EC2", &[("spread", "instanceId")]),
    ("EC2, spread zones, binpack memory", "EC2", &[("spread", ZONE), ("binpack", "memory")]),
    ("EC2, spread zones, spread instances", "EC2", &[("spread", ZONE), ("spread", "instanceId")]),
];

/// Number of records before the measurement.
#[derive(clap::Args)]
pub struct Options {
    /// Number of hosts in three zones, each a container instance that takes Fargate tasks too.
    #[arg(long, default_value_t = 5_000)]
    hosts: u32,
    /// Number of tasks, half of them of each launch type.
    #[arg(long, default_value_t = 100_000)]
    tasks: u32,
    /// Kinds to measure, by their names in the table; all if none is named.
    #[arg(long)]
    only: Vec<String>,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let mut world = World::new(options.hosts)?;
    eprintln!("placing {} tasks on {} hosts", options.tasks, options.hosts);
    for nth in 0..options.tasks / RUN_MAX {
        let launch_type = if nth % 2 == 0 { "FARGATE" } else { "EC2" };
        world.run(launch_type, &[])?;
    }
    let mut rows = Vec::new();
    let is_asked = |name: &str| options.only.is_empty() || options.only.iter().any(|one| one == name);
    for (name, launch_type, strategies) in KINDS.into_iter().filter(|(name, ..)| is_asked(name)) {
        // A copy: each kind begins with the same tasks.
        let mut world = world.clone();
        let chosen = per_second(|| world.choose(launch_type, strategies))?;
        let started = per_second(|| world.run(launch_type, strategies))?;
        rows.push(vec![name.to_owned(), format!("{chosen:.0}"), format!("{started:.0}")]);
    }
    table::print(&["placement", "hosts chosen/s", "tasks recorded/s"], &rows);
    println!("\ngoal: >= 20000 hosts chosen per second, with 5,000 hosts and 100,000 tasks");
    Ok(())
}

/// Repetitions per second; the closure returns the number of its repetitions.
fn per_second(mut work: impl FnMut() -> Result<u32>) -> Result<f64> {
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < SAMPLE {
        count += work()?;
    }
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}

#[derive(Clone)]
struct World {
    snapshot: Snapshot,
    /// The subnets of each VPC.
    networks: Vec<Vec<String>>,
    calls: u128,
}

impl World {
    fn new(hosts: u32) -> Result<Self> {
        let mut world = Self { snapshot: Snapshot::default(), networks: Vec::new(), calls: 0 };
        let env = world.env();
        let change = ecs::ensure_default_cluster(&world.snapshot, &env);
        world.apply(change);
        for nth in 0..NETWORKS {
            world.add_network(nth)?;
        }
        for number in 1..=hosts {
            let env = world.env();
            let zones = vpc::availability_zones(&env.region);
            let zone = &zones[number as usize % zones.len()].name;
            let change = ecs::host_connected(&world.snapshot, &hello(number.into(), zone), &env)?;
            world.apply(change);
        }
        world.decide(ecs::register_task_definition, &scene::definition("busybox"))?;
        Ok(world)
    }

    fn add_network(&mut self, nth: u8) -> Result<()> {
        let request = CreateVpcRequest { cidr_block: Some(format!("10.{nth}.0.0/16")), ..Default::default() };
        let vpc_id = self.decide(vpc::create_vpc, &request)?.vpc.and_then(|vpc| vpc.vpc_id);
        let zones = vpc::availability_zones(&self.env().region);
        let mut subnets = Vec::new();
        for (zone, range) in zones.into_iter().zip(SUBNETS) {
            let request = CreateSubnetRequest {
                vpc_id: vpc_id.clone(),
                cidr_block: Some(format!("10.{nth}.{range}")),
                availability_zone: Some(zone.name),
                ..Default::default()
            };
            let subnet = self.decide(vpc::create_subnet, &request)?.subnet.and_then(|subnet| subnet.subnet_id);
            subnets.push(subnet.context("no subnet was made")?);
        }
        self.networks.push(subnets);
        Ok(())
    }

    fn env(&mut self) -> Env {
        self.calls += 1;
        let fixed = Env::fixed();
        Env::new(fixed.now, &fixed.region, &fixed.account, fixed.caller, self.calls)
    }

    fn apply<T>(&mut self, change: Change<T>) -> T {
        change.writes.iter().for_each(|write| self.snapshot.apply(write));
        change.reply
    }

    fn decide<Q, A>(&mut self, rule: fn(&Snapshot, &Q, &Env) -> Result<Change<A>, Refusal>, request: &Q) -> Result<A> {
        let env = self.env();
        let change = rule(&self.snapshot, request, &env)?;
        Ok(self.apply(change))
    }

    fn request(&self, launch_type: &str, strategies: Strategies) -> RunTaskRequest {
        let subnets = self.networks[self.calls as usize % self.networks.len()].clone();
        let vpc = AwsVpcConfiguration { subnets: Some(subnets), ..Default::default() };
        let strategy = strategies.iter().map(|(kind, field)| PlacementStrategy {
            r#type: Some((*kind).to_owned()),
            field: Some((*field).to_owned()),
        });
        RunTaskRequest {
            cluster: Some(CLUSTER.to_owned()),
            task_definition: Some(FAMILY.to_owned()),
            launch_type: Some(launch_type.to_owned()),
            count: Some(RUN_MAX as i32),
            network_configuration: Some(NetworkConfiguration { awsvpc_configuration: Some(vpc) }),
            placement_strategy: (!strategies.is_empty()).then(|| strategy.collect()),
            ..Default::default()
        }
    }

    /// Chooses the host of one task; always 1.
    fn choose(&mut self, launch_type: &str, strategies: Strategies) -> Result<u32> {
        let (env, request) = (self.env(), self.request(launch_type, strategies));
        let chosen = ecs::choose_host(&self.snapshot, &request, &env)?;
        ensure!(chosen.is_ok(), "no host was chosen: {chosen:?}");
        Ok(1)
    }

    /// Starts as many tasks as one call may; returns their number.
    fn run(&mut self, launch_type: &str, strategies: Strategies) -> Result<u32> {
        let request = self.request(launch_type, strategies);
        let answer = self.decide(ecs::run_task, &request)?;
        let started = answer.tasks.unwrap_or_default().len() as u32;
        ensure!(started == RUN_MAX, "only {started} tasks were placed: {:?}", answer.failures);
        Ok(started)
    }
}

fn hello(number: u128, zone: &str) -> Hello {
    let capabilities = ["ecs.capability.task-eni", "ecs.capability.task-cpu-mem-limit"];
    let docker = (18..=44).map(|minor| format!("com.amazonaws.ecs.capability.docker-remote-api.1.{minor}"));
    let named = capabilities.iter().map(|name| (*name).to_owned()).chain(docker).map(|name| (name, None));
    let mut attributes: BTreeMap<_, _> = named.collect();
    attributes.insert("ecs.cpu-architecture".to_owned(), Some("x86_64".to_owned()));
    attributes.insert("ecs.availability-zone".to_owned(), Some(zone.to_owned()));
    Hello {
        protocol: PROTOCOL_VERSION,
        host: HostId::from_bits(number),
        instance: InstanceId::from_bits(number),
        cluster: CLUSTER.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime_version: "0".to_owned(),
        capacity: Capacity { cpu_units: 65_536, memory_mib: 131_072, enis: 1_000 },
        attributes,
        runtime: None,
        instance_interface: None,
        tasks: Vec::new(),
        enis: Vec::new(),
    }
}
