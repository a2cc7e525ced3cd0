// SPDX-License-Identifier: Apache-2.0
//! Container instances: hosts as callers see them.

use berth_shapes::Timestamp;
use berth_shapes::ecs::{
    Attribute, ContainerInstance, ContainerInstanceHealthStatus, DescribeContainerInstancesRequest,
    DescribeContainerInstancesResponse, InstanceHealthCheckResult, ListContainerInstancesRequest,
    ListContainerInstancesResponse, Resource, VersionInfo,
};
use berth_state::ecs::{Host, InstanceStatus, TaskStatus, instance_arn};
use berth_state::{Env, Refusal, Snapshot};
use berth_types::intent::LaunchType;
use berth_types::mode::{HostPort, Protocol};

use super::list::{Order, PageRequest, page};
use super::only::only;
use super::placement::RESERVED_PORTS;
use super::reference::{active_cluster, instance};
use super::refuse::{at_most, invalid};
use super::{expression, tag};

/// Maximum number of container instances in one call.
const DESCRIBED_MAX: usize = 100;

/// ListContainerInstances: all but the INACTIVE ones, unless a status is asked for.
pub fn list_container_instances(
    snap: &Snapshot,
    req: &ListContainerInstancesRequest,
    env: &Env,
) -> Result<ListContainerInstancesResponse, Refusal> {
    only(req, &["cluster", "filter", "maxResults", "nextToken", "status"])?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let filter = req.filter.as_deref().filter(|filter| !filter.is_empty());
    let filter = filter.map(expression::read).transpose();
    let filter = filter.map_err(|why| invalid(format!("Invalid expression: {why}.")))?;
    let statuses: &[InstanceStatus] = match req.status.as_deref() {
        None => &[InstanceStatus::Active, InstanceStatus::Draining],
        Some("ACTIVE") => &[InstanceStatus::Active],
        Some("DRAINING") => &[InstanceStatus::Draining],
        // Registration and deregistration take no time.
        Some("REGISTERING" | "DEREGISTERING" | "REGISTRATION_FAILED") => &[],
        Some(other) => return Err(invalid(format!("'{other}' is not a valid value for status."))),
    };
    let shown = snap.ecs().instances(&cluster.name).filter(|host| {
        host.instance_status().is_some_and(|status| statuses.contains(&status))
            && filter.as_ref().is_none_or(|filter| filter.holds(snap, host))
    });
    let items = shown.map(|host| (host.id.to_string(), instance_arn(&host.cluster, &host.id, env)));
    let asked = PageRequest {
        max_results: req.max_results,
        next_token: req.next_token.as_deref(),
        operation: "ListContainerInstances",
    };
    let page = page(items, &asked, Order::Ascending)?;
    Ok(ListContainerInstancesResponse { container_instance_arns: Some(page.items), next_token: page.next_token })
}

/// DescribeContainerInstances.
pub fn describe_container_instances(
    snap: &Snapshot,
    req: &DescribeContainerInstancesRequest,
    env: &Env,
) -> Result<DescribeContainerInstancesResponse, Refusal> {
    only(req, &["cluster", "containerInstances", "include"])?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let asked = req.container_instances.as_deref().unwrap_or_default();
    if asked.is_empty() {
        return Err(invalid("Container instances cannot be empty."));
    }
    at_most(Some(asked), DESCRIBED_MAX, "containerInstances")?;
    let include = req.include.as_deref().unwrap_or_default();
    if let Some(other) = include.iter().find(|word| !matches!(word.as_str(), "TAGS" | "CONTAINER_INSTANCE_HEALTH")) {
        return Err(invalid(format!("Invalid include value '{other}'.")));
    }
    let includes = |wanted: &str| include.iter().any(|word| word == wanted);
    let (with_tags, with_health) = (includes("TAGS"), includes("CONTAINER_INSTANCE_HEALTH"));
    let (mut shown, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        match instance(snap, &cluster.name, text, env)? {
            Ok(host) => {
                let tags = if with_tags { tag::show(&host.tags) } else { Vec::new() };
                let health_status = with_health.then(|| health(host));
                shown.push(ContainerInstance { tags: Some(tags), health_status, ..show(snap, host, env) });
            }
            Err(missing) => failures.push(missing),
        }
    }
    Ok(DescribeContainerInstancesResponse { container_instances: Some(shown), failures: Some(failures) })
}

/// A container instance without its tags.
pub(super) fn show(snap: &Snapshot, host: &Host, env: &Env) -> ContainerInstance {
    let taken = snap.ecs().index().loads.of(&host.id, LaunchType::Ec2).need;
    let tasks = || snap.ecs().host_tasks(&host.id).filter(|task| task.launch_type == LaunchType::Ec2);
    let count =
        |statuses: &[TaskStatus]| i32::try_from(tasks().filter(|task| statuses.contains(&task.status)).count()).ok();
    let attributes = host.all_attributes().into_iter().map(|(name, value)| Attribute {
        name: Some(name.to_owned()),
        value: value.map(str::to_owned),
        ..Default::default()
    });
    let (cpu, memory) = (u64::from(host.capacity.cpu_units), u64::from(host.capacity.memory_mib));
    ContainerInstance {
        agent_connected: Some(host.connected),
        attachments: Some(Vec::new()),
        attributes: Some(attributes.collect()),
        container_instance_arn: Some(instance_arn(&host.cluster, &host.id, env)),
        ec2_instance_id: Some(host.instance.to_string()),
        pending_tasks_count: count(&[TaskStatus::Provisioning, TaskStatus::Pending]),
        registered_at: host.registered_at.map(|at| Timestamp(at.0)),
        registered_resources: Some(resources(cpu, memory, [])),
        remaining_resources: Some(resources(
            cpu.saturating_sub(taken.cpu_units),
            memory.saturating_sub(taken.memory_mib),
            snap.ecs().index().loads.ports_on(&host.id),
        )),
        running_tasks_count: count(&[TaskStatus::Running]),
        status: host.instance_status().map(|status| status.as_str().to_owned()),
        version: i64::try_from(host.record_version).ok(),
        version_info: Some(VersionInfo {
            agent_hash: None,
            agent_version: Some(host.version.clone()),
            docker_version: Some(format!("containerd: {}", host.runtime_version)),
        }),
        ..Default::default()
    }
}

/// Health of a container instance, which is that of its container runtime. The last report of a disconnected host does
/// not count.
fn health(host: &Host) -> ContainerInstanceHealthStatus {
    let status = match host.runtime.filter(|_| host.connected) {
        Some(runtime) if runtime.report.healthy => "OK",
        Some(_) => "IMPAIRED",
        None => "INSUFFICIENT_DATA",
    };
    let check = host.runtime.map(|runtime| InstanceHealthCheckResult {
        last_status_change: Some(Timestamp(runtime.report.since.0)),
        last_updated: Some(Timestamp(runtime.told_at.0)),
        status: Some(status.to_owned()),
        status_reason: None,
        r#type: Some("CONTAINER_RUNTIME".to_owned()),
    });
    ContainerInstanceHealthStatus {
        details: Some(check.into_iter().collect()),
        overall_status: Some(status.to_owned()),
    }
}

/// Resources as AWS lists them. Ports are those in use, the reserved ones first.
fn resources(cpu_units: u64, memory_mib: u64, taken: impl IntoIterator<Item = HostPort>) -> Vec<Resource> {
    let (tcp, udp): (Vec<_>, Vec<_>) = taken.into_iter().partition(|port| port.protocol == Protocol::Tcp);
    let integer = |name: &str, value: u64| Resource {
        double_value: Some(0.0),
        integer_value: i32::try_from(value).ok(),
        long_value: Some(0),
        name: Some(name.to_owned()),
        r#type: Some("INTEGER".to_owned()),
        string_set_value: None,
    };
    let ports = |name: &str, used: Vec<u16>| Resource {
        double_value: Some(0.0),
        integer_value: Some(0),
        long_value: Some(0),
        name: Some(name.to_owned()),
        r#type: Some("STRINGSET".to_owned()),
        string_set_value: Some(used.iter().map(u16::to_string).collect()),
    };
    vec![
        integer("CPU", cpu_units),
        integer("MEMORY", memory_mib),
        ports("PORTS", RESERVED_PORTS.into_iter().chain(tcp.iter().map(|port| port.port)).collect()),
        ports("PORTS_UDP", udp.iter().map(|port| port.port).collect()),
    ]
}
