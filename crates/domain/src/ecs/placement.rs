//! Which host runs a task.
//!
//! Launch type EC2: a container instance of the cluster that is connected, has every attribute the definition requires,
//! is in the zone of one of the subnets, and has CPU units, memory, ports and interfaces left; among those the one with the
//! fewest tasks, unless the caller has strategies of its own. Only EC2 tasks count against an instance. Fargate: any connected host with the right processor on
//! which the memory of all Fargate tasks fits; CPU may be promised up to [`FARGATE_CPU_OVERSELL`] times, because quotas
//! keep tasks apart and idle tasks use none; among those the one with the least memory promised. The two kinds do not
//! know of each other: who runs both on one host decides what each may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_shapes::ecs::Failure;
use berth_types::intent::LaunchType;
use berth_types::mode::{HostPort, Protocol};

use super::cluster::instances;
use super::load::{Need, Resource};
use super::placement_request::{Constraint, Field, Placement, Strategy};
use super::record::{ClusterName, Host, InstanceStatus, Task, TaskDefinition};
use super::reference::instance_arn;
use super::refuse::invalid;
use crate::vpc::record::Subnet;
use crate::{Env, Refusal, Snapshot};

/// TCP ports of a container instance that no task can have: SSH's, Docker's and the ECS agent's, as on AWS.
pub(super) const RESERVED_PORTS: [u16; 6] = [22, 2376, 2375, 51678, 51679, 51680];

/// How many times its CPU a host may promise to Fargate tasks.
const FARGATE_CPU_OVERSELL: u64 = 4;

/// What a task takes: its size, or the sum of its containers' where it has none.
pub(super) fn need(definition: &TaskDefinition, task: &Task) -> Need {
    let containers = || definition.containers.iter().zip(&task.containers);
    let cpu = containers().map(|(container, task)| task.overrides.cpu_units.unwrap_or(container.cpu_units));
    let memory = containers().map(|(container, task)| {
        let given = &task.overrides;
        let soft = given.memory_reservation_mib.or(container.memory_reservation_mib);
        soft.or(given.memory_mib).or(container.memory_mib).unwrap_or(0)
    });
    Need {
        cpu_units: task.cpu_units.map_or_else(|| cpu.map(u64::from).sum(), u64::from),
        memory_mib: task.memory_mib.map_or_else(|| memory.map(u64::from).sum(), u64::from),
        enis: u64::from(task.network.is_some()),
    }
}

/// What placement looks at.
pub(super) struct Wanted<'a> {
    pub cluster: &'a ClusterName,
    pub definition: &'a TaskDefinition,
    pub need: Need,
    /// Any of these, in network mode awsvpc.
    pub subnets: Option<&'a [Arc<Subnet>]>,
    /// All of these, for the task alone.
    pub ports: &'a [HostPort],
    /// Group of the task.
    pub group: &'a str,
    /// What the caller asks besides.
    pub placement: &'a Placement,
}

/// A host for a Fargate task, or the failure to answer.
pub(super) fn fargate_host<'a>(snap: &'a Snapshot, wanted: &Wanted<'_>) -> Result<&'a Arc<Host>, Vec<Failure>> {
    let platform = wanted.definition.runtime_platform.as_ref();
    let processor = match platform.and_then(|platform| platform.cpu_architecture.as_deref()) {
        Some("ARM64") => Some("arm64"),
        Some("X86_64") => Some("x86_64"),
        Some(_) | None => None,
    };
    let fits = |host: &&'a Arc<Host>| {
        let has = host.attribute("ecs.cpu-architecture").flatten();
        if !host.connected || (processor.is_some() && processor != has) {
            return false;
        }
        let sum = snap.index().loads.of(&host.id, LaunchType::Fargate).need.and(wanted.need);
        sum.memory_mib <= u64::from(host.capacity.memory_mib)
            && sum.cpu_units <= u64::from(host.capacity.cpu_units) * FARGATE_CPU_OVERSELL
    };
    let hosts = snap.index().loads.by_promised_memory().filter_map(|host| snap.hosts.get(host));
    let chosen = hosts.into_iter().find(fits);
    chosen.ok_or_else(|| {
        vec![Failure {
            arn: None,
            detail: Some(
                "Capacity is unavailable at this time. Please try again later or in a different availability zone"
                    .to_owned(),
            ),
            reason: Some("RESOURCE:FARGATE".to_owned()),
        }]
    })
}

/// A container instance for an EC2 task, or what each instance lacks.
pub(super) fn ec2_host<'a>(snap: &'a Snapshot, wanted: &Wanted<'_>, env: &Env) -> Result<&'a Arc<Host>, Vec<Failure>> {
    let chosen = match wanted.placement.strategies.as_slice() {
        [] => by_tasks(snap, wanted).find(|host| fits(snap, host, wanted)),
        [Strategy::Binpack(resource)] => by_free(snap, wanted, *resource).next().map(|(_, host)| host),
        [Strategy::Binpack(resource), rest @ ..] => {
            let mut fullest = fullest(snap, wanted, *resource);
            rest.iter().for_each(|strategy| prefer(snap, strategy, wanted, &mut fullest, env));
            least_busy(snap, fullest)
        }
        strategies => {
            let mut fitting: Vec<_> = by_tasks(snap, wanted).filter(|host| fits(snap, host, wanted)).collect();
            strategies.iter().for_each(|strategy| prefer(snap, strategy, wanted, &mut fitting, env));
            least_busy(snap, fitting)
        }
    };
    chosen.ok_or_else(|| {
        let failure = |host| {
            failure_on(snap, host, wanted, env).or_else(|| unmet(snap, host, wanted).map(|why| failed(host, why, env)))
        };
        active_instances(snap, wanted.cluster).filter_map(|host| failure(host)).collect()
    })
}

/// The hosts of the cluster, those with the fewest tasks first.
fn by_tasks<'a>(snap: &'a Snapshot, wanted: &Wanted<'_>) -> impl Iterator<Item = &'a Arc<Host>> + use<'a> {
    snap.index().loads.by_tasks(wanted.cluster).filter_map(|host| snap.hosts.get(host))
}

/// The hosts that fit with what they have left of the resource, the fullest first.
fn by_free<'s>(
    snap: &'s Snapshot,
    wanted: &Wanted<'_>,
    resource: Resource,
) -> impl Iterator<Item = (u64, &'s Arc<Host>)> {
    let rows = snap.index().loads.by_free(wanted.cluster, resource, resource.of(wanted.need));
    rows.filter_map(|(free, host)| Some((free, snap.hosts.get(host)?))).filter(|(_, host)| fits(snap, host, wanted))
}

/// Those that fit and have least left of the resource; all have the same.
fn fullest<'a>(snap: &'a Snapshot, wanted: &Wanted<'_>, resource: Resource) -> Vec<&'a Arc<Host>> {
    let mut rows = by_free(snap, wanted, resource).peekable();
    let least = rows.peek().map(|(free, _)| *free);
    rows.take_while(|(free, _)| Some(*free) == least).map(|(_, host)| host).collect()
}

fn least_busy<'a>(snap: &Snapshot, fitting: Vec<&'a Arc<Host>>) -> Option<&'a Arc<Host>> {
    fitting.into_iter().min_by_key(|host| (snap.index().loads.of(&host.id, LaunchType::Ec2).tasks, host.id.clone()))
}

/// True if the host takes new tasks, can run this one and meets every constraint.
fn fits(snap: &Snapshot, host: &Host, wanted: &Wanted<'_>) -> bool {
    let taken = snap.index().loads.of(&host.id, LaunchType::Ec2).need;
    host.instance_status() == Some(InstanceStatus::Active)
        && lacks(host, taken, wanted).is_none()
        && lacks_port(snap, host, wanted.ports).is_none()
        && unmet(snap, host, wanted).is_none()
}

/// Keeps the instances that are best by a strategy.
fn prefer(snap: &Snapshot, strategy: &Strategy, wanted: &Wanted<'_>, fitting: &mut Vec<&Arc<Host>>, env: &Env) {
    let loads = &snap.index().loads;
    match strategy {
        Strategy::Random if fitting.is_empty() => {}
        Strategy::Random => {
            let chosen = env.fresh_bits() % fitting.len() as u128;
            *fitting = vec![fitting[chosen as usize]];
        }
        Strategy::Binpack(resource) => keep_least(fitting, |host| loads.free(&host.id, *resource)),
        Strategy::Spread(Field::Instance) => keep_least(fitting, |host| loads.in_group(&host.id, wanted.group)),
        Strategy::Spread(Field::Attribute(name)) => {
            let mut tasks: BTreeMap<Option<Option<&str>>, usize> = BTreeMap::new();
            for host in instances(snap, wanted.cluster) {
                *tasks.entry(host.attribute(name)).or_default() += loads.in_group(&host.id, wanted.group);
            }
            keep_least(fitting, |host| tasks.get(&host.attribute(name)).copied().unwrap_or(0));
        }
    }
}

fn keep_least<K: Ord>(fitting: &mut Vec<&Arc<Host>>, key: impl Fn(&Host) -> K) {
    let keys: Vec<K> = fitting.iter().map(|host| key(host)).collect();
    let Some(least) = keys.iter().min() else { return };
    let mut kept = keys.iter().map(|key| key == least);
    fitting.retain(|_| kept.next().unwrap_or(false));
}

/// The constraint of the request or the definition that the instance does not meet.
fn unmet(snap: &Snapshot, host: &Host, wanted: &Wanted<'_>) -> Option<&'static str> {
    let is_met = |constraint: &Constraint| match constraint {
        Constraint::DistinctInstance => snap.index().loads.in_group(&host.id, wanted.group) == 0,
        Constraint::MemberOf(expression) => expression.holds(snap, host),
    };
    Some(match wanted.placement.constraints.iter().find(|constraint| !is_met(constraint))? {
        Constraint::DistinctInstance => "DistinctInstance placement constraint unsatisfied.",
        Constraint::MemberOf(_) => "MemberOf placement constraint unsatisfied.",
    })
}

fn failed(host: &Host, reason: &str, env: &Env) -> Failure {
    Failure { arn: Some(instance_arn(&host.cluster, &host.id, env)), detail: None, reason: Some(reason.to_owned()) }
}

/// Container instances that take new tasks.
fn active_instances<'a>(snap: &'a Snapshot, cluster: &ClusterName) -> impl Iterator<Item = &'a Arc<Host>> {
    instances(snap, cluster).filter(|host| host.instance_status() == Some(InstanceStatus::Active))
}

/// Refuses launch type EC2 in a cluster without container instances that take tasks.
pub(super) fn check_instances(snap: &Snapshot, cluster: &ClusterName) -> Result<(), Refusal> {
    match active_instances(snap, cluster).next() {
        Some(_) => Ok(()),
        None => Err(invalid("No Container Instances were found in your cluster.")),
    }
}

/// Why this container instance cannot run the task, if it cannot.
pub(super) fn failure_on(snap: &Snapshot, host: &Host, wanted: &Wanted<'_>, env: &Env) -> Option<Failure> {
    let taken = snap.index().loads.of(&host.id, LaunchType::Ec2).need;
    let lacking = lacks(host, taken, wanted).or_else(|| lacks_port(snap, host, wanted.ports));
    lacking.map(|(reason, detail)| Failure { detail, ..failed(host, reason, env) })
}

/// Why the host cannot run the task: AWS's reason, and a detail.
fn lacks(host: &Host, taken: Need, wanted: &Wanted<'_>) -> Option<(&'static str, Option<String>)> {
    if host.instance_status() == Some(InstanceStatus::Inactive) {
        return Some(("INACTIVE", None));
    }
    if !host.connected {
        return Some(("AGENT", None));
    }
    let missing = wanted.definition.requires_attributes.iter().find(|name| host.attribute(name).is_none());
    if let Some(name) = missing {
        return Some(("ATTRIBUTE", Some(format!("the container instance does not have the attribute {name}"))));
    }
    let is_near = |subnet: &Arc<Subnet>| subnet.availability_zone == host.availability_zone;
    if wanted.subnets.is_some_and(|subnets| !subnets.iter().any(is_near)) {
        return Some(("LOCATION", Some(format!("the container instance is in {}", host.availability_zone))));
    }
    let (sum, has) = (taken.and(wanted.need), host.capacity);
    if sum.cpu_units > u64::from(has.cpu_units) {
        return Some(("RESOURCE:CPU", None));
    }
    if sum.memory_mib > u64::from(has.memory_mib) {
        return Some(("RESOURCE:MEMORY", None));
    }
    if sum.enis > u64::from(has.enis) {
        return Some(("RESOURCE:ENI", None));
    }
    None
}

/// The port of the host that somebody else has, if there is one.
fn lacks_port(snap: &Snapshot, host: &Host, ports: &[HostPort]) -> Option<(&'static str, Option<String>)> {
    let is_reserved = |port: &HostPort| port.protocol == Protocol::Tcp && RESERVED_PORTS.contains(&port.port);
    let taken = ports.iter().find(|port| is_reserved(port) || snap.index().loads.is_taken(&host.id, **port))?;
    let reason = match taken.protocol {
        Protocol::Tcp => "RESOURCE:PORTS",
        Protocol::Udp => "RESOURCE:PORTS_UDP",
    };
    Some((reason, Some(format!("port {}/{} of the container instance is taken", taken.port, taken.protocol))))
}
