// SPDX-License-Identifier: Apache-2.0
//! Selection of the hosts that can run a task.
//!
//! Launch type EC2: a container instance of the cluster that is connected, has every attribute the definition requires,
//! is in the zone of one of the subnets, and has CPU units, memory, ports and interfaces left; `strategy.rs` chooses
//! among those. Only EC2 tasks count against an instance. Fargate: any connected host with the right processor on
//! which the memory of all Fargate tasks fits; CPU may be promised up to [`FARGATE_CPU_OVERSELL`] times, because quotas
//! keep tasks apart and idle tasks use none; among those the one with the least memory promised. A Fargate task whose
//! subnets have a route to a NAT gateway runs on the gateway's host, because packets do not cross between hosts.
//! Neither launch type counts the resources of the other: the operator of a host that runs both divides the host
//! between them.

use std::sync::Arc;

use berth_shapes::ecs::Failure;
use berth_state::ecs::{ClusterName, CpuArchitecture, Host, InstanceStatus, Need, TaskDefinition, instance_arn};
use berth_state::vpc::Subnet;
use berth_state::{Env, Refusal, Snapshot};
use berth_types::intent::LaunchType;
use berth_types::mode::{HostPort, Protocol};

use super::overrides::Overridden;
use super::placement_request::{Constraint, Placement};
use super::refuse::invalid;

/// TCP ports of a container instance that no task can use: SSH's, Docker's and the ECS agent's, as on AWS.
pub(super) const RESERVED_PORTS: [u16; 6] = [22, 2376, 2375, 51678, 51679, 51680];

/// Maximum ratio of the CPU promised to Fargate tasks to the CPU of their host.
const FARGATE_CPU_OVERSELL: u64 = 4;

/// Resources that a task reserves: its size, or the sum of its containers' sizes if it has none.
pub(super) fn need(definition: &TaskDefinition, overridden: &Overridden, has_interface: bool) -> Need {
    let containers = || definition.containers.iter().zip(&overridden.containers);
    let cpu = containers().map(|(container, given)| given.cpu_units.unwrap_or(container.cpu_units));
    let memory = containers().map(|(container, given)| {
        let soft = given.memory_reservation_mib.or(container.memory_reservation_mib);
        soft.or(given.memory_mib).or(container.memory_mib).unwrap_or(0)
    });
    Need {
        cpu_units: overridden.cpu_units.map_or_else(|| cpu.map(u64::from).sum(), u64::from),
        memory_mib: overridden.memory_mib.map_or_else(|| memory.map(u64::from).sum(), u64::from),
        enis: u64::from(has_interface),
    }
}

/// Requirements of a task, as placement checks them.
pub(super) struct Wanted<'a> {
    pub cluster: &'a ClusterName,
    pub definition: &'a TaskDefinition,
    pub need: Need,
    /// Possible subnets, in network mode awsvpc.
    pub subnets: Option<&'a [Arc<Subnet>]>,
    /// Host ports that the task reserves.
    pub ports: Vec<HostPort>,
    /// Group of the task.
    pub group: Arc<str>,
    /// Constraints and strategies of the request.
    pub placement: &'a Placement,
}

/// A host for a Fargate task, or AWS's failures.
pub(super) fn fargate_host<'a>(snap: &'a Snapshot, wanted: &Wanted<'_>) -> Result<&'a Arc<Host>, Vec<Failure>> {
    let platform = wanted.definition.runtime_platform.as_ref();
    let processor = platform.and_then(|platform| platform.cpu_architecture).map(|architecture| match architecture {
        CpuArchitecture::Arm64 => "arm64",
        CpuArchitecture::X86_64 => "x86_64",
    });
    let home = wanted.subnets.into_iter().flatten().find_map(|subnet| snap.vpc().nat_host_of(subnet));
    let fits = |host: &&'a Arc<Host>| {
        if home.is_some_and(|home| *home != host.id) {
            return false;
        }
        let has = host.attribute("ecs.cpu-architecture").flatten();
        if !host.connected || host.short_of_space || (processor.is_some() && processor != has) {
            return false;
        }
        let sum = snap.ecs().index().loads.of(&host.id, LaunchType::Fargate).need.and(wanted.need);
        sum.memory_mib <= u64::from(host.capacity.memory_mib)
            && sum.cpu_units <= u64::from(host.capacity.cpu_units) * FARGATE_CPU_OVERSELL
    };
    let hosts = snap.ecs().index().loads.by_promised_memory().filter_map(|host| snap.ecs().hosts.get(host));
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

/// True if the host accepts new tasks, can run this one and meets every constraint.
pub(super) fn fits(snap: &Snapshot, host: &Host, wanted: &Wanted<'_>) -> bool {
    let taken = snap.ecs().index().loads.of(&host.id, LaunchType::Ec2).need;
    host.instance_status() == Some(InstanceStatus::Active)
        && lacks(host, taken, wanted).is_none()
        && lacks_port(snap, host, &wanted.ports).is_none()
        && unmet(snap, host, wanted).is_none()
}

/// The failure of each instance that accepts new tasks and cannot run this one.
pub(super) fn lacking(snap: &Snapshot, wanted: &Wanted<'_>, env: &Env) -> Vec<Failure> {
    let failure = |host| {
        failure_on(snap, host, wanted, env).or_else(|| unmet(snap, host, wanted).map(|why| failed(host, why, env)))
    };
    active_instances(snap, wanted.cluster).filter_map(|host| failure(host)).collect()
}

/// The constraint of the request or the definition that the instance does not meet.
fn unmet(snap: &Snapshot, host: &Host, wanted: &Wanted<'_>) -> Option<&'static str> {
    let is_met = |constraint: &Constraint| match constraint {
        Constraint::DistinctInstance => snap.ecs().index().loads.in_group(&host.id, &wanted.group) == 0,
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

/// Container instances that accept new tasks.
fn active_instances<'a>(snap: &'a Snapshot, cluster: &ClusterName) -> impl Iterator<Item = &'a Arc<Host>> {
    snap.ecs().instances(cluster).filter(|host| host.instance_status() == Some(InstanceStatus::Active))
}

/// Refuses launch type EC2 in a cluster without container instances that accept tasks.
pub(super) fn check_instances(snap: &Snapshot, cluster: &ClusterName) -> Result<(), Refusal> {
    match active_instances(snap, cluster).next() {
        Some(_) => Ok(()),
        None => Err(invalid("No Container Instances were found in your cluster.")),
    }
}

/// The failure of a container instance that cannot run the task; `None` if it can.
pub(super) fn failure_on(snap: &Snapshot, host: &Host, wanted: &Wanted<'_>, env: &Env) -> Option<Failure> {
    let taken = snap.ecs().index().loads.of(&host.id, LaunchType::Ec2).need;
    let lacking = lacks(host, taken, wanted).or_else(|| lacks_port(snap, host, &wanted.ports));
    lacking.map(|(reason, detail)| Failure { detail, ..failed(host, reason, env) })
}

/// AWS's reason why the host cannot run the task, and a detail; `None` if it can.
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
    if host.short_of_space {
        // AWS has no reason for this: it leaves the disk of an instance to the user.
        return Some(("RESOURCE:DISK", Some("the disk of the container instance is nearly full".to_owned())));
    }
    None
}

/// The failure for a port of the host that is in use, if any.
fn lacks_port(snap: &Snapshot, host: &Host, ports: &[HostPort]) -> Option<(&'static str, Option<String>)> {
    let is_reserved = |port: &HostPort| port.protocol == Protocol::Tcp && RESERVED_PORTS.contains(&port.port);
    let taken = ports.iter().find(|port| is_reserved(port) || snap.ecs().index().loads.is_taken(&host.id, **port))?;
    let reason = match taken.protocol {
        Protocol::Tcp => "RESOURCE:PORTS",
        Protocol::Udp => "RESOURCE:PORTS_UDP",
    };
    Some((reason, Some(format!("port {}/{} of the container instance is taken", taken.port, taken.protocol))))
}
