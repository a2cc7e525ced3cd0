// SPDX-License-Identifier: Apache-2.0
//! Hosts: they come with `Hello`, join one cluster as a container instance, and go.
//!
//! A host serves every zone for Fargate; its own zone counts for launch type EC2. Hosts that go are remembered: their
//! tasks run on, and they come back with the same id.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_state::ecs::{ClusterName, Host, RuntimeHealth, Task, TaskContainer};
use berth_state::vpc::AttachmentStatus;
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::HostId;
use berth_types::instance::InstanceInterface;
use berth_types::link::{Hello, PROTOCOL_VERSION};
use berth_types::report::{
    ContainerReport, ContainerStatus, EniReport, EniState, FreeSpace, RuntimeReport, TaskReport, TaskStage,
};
use berth_vpc as vpc;

use super::cluster::ensure_default_cluster;
use super::definition::LOG_DRIVERS;
use super::observe::{observe_eni, observe_task};
use super::refuse::invalid;

/// Attribute that names a host's zone.
pub(super) const ZONE_ATTRIBUTE: &str = "ecs.availability-zone";

/// Attributes that name VPC and subnet of a host's primary interface.
const NETWORK_ATTRIBUTES: [&str; 2] = ["ecs.vpc-id", "ecs.subnet-id"];

/// A host opened its stream and said what it holds.
pub fn host_connected(snap: &Snapshot, hello: &Hello, env: &Env) -> Result<Change<()>, Refusal> {
    if hello.protocol != PROTOCOL_VERSION {
        return Err(invalid(format!(
            "host {} speaks protocol {}, the server speaks {PROTOCOL_VERSION}; run the same version of Berth on both",
            hello.host, hello.protocol
        )));
    }
    let known = snap.ecs().hosts.get(&hello.host);
    let cluster = ClusterName(hello.cluster.clone());
    if let Some(known) = known
        && known.cluster != cluster
        && let Some(task) = snap.ecs().host_tasks(&hello.host).find(|task| task.cluster == known.cluster)
    {
        return Err(invalid(format!(
            "host {} cannot leave cluster {} for {cluster} while it runs task {}; stop its tasks first",
            hello.host, known.cluster, task.id
        )));
    }
    let availability_zone = zone(hello, env)?;
    let mut draft = Draft::of(snap);
    if known.is_none() {
        // As on AWS, the first container instance brings the cluster `default`; one that was deleted stays deleted.
        let default = ensure_default_cluster(&draft, env);
        draft.take(default);
    }
    // What it was as a container instance counts while it stays one: not in another cluster, not once deregistered.
    let still = known.filter(|known| known.cluster == cluster && known.deregistered_at.is_none());
    let mut attributes = rule_capabilities();
    attributes.extend(hello.attributes.clone());
    attributes.insert(ZONE_ATTRIBUTE.to_owned(), Some(availability_zone.clone()));
    let host = Host {
        id: hello.host.clone(),
        instance: hello.instance.clone(),
        registered_at: still.and_then(|known| known.registered_at).or(is_active(&draft, &cluster).then_some(env.now)),
        deregistered_at: None,
        draining: still.is_some_and(|known| known.draining),
        custom_attributes: still.map(|known| known.custom_attributes.clone()).unwrap_or_default(),
        cluster,
        connected: true,
        short_of_space: known.is_some_and(|known| known.short_of_space),
        availability_zone,
        capacity: hello.capacity,
        attributes,
        version: hello.version.clone(),
        runtime_version: hello.runtime_version.clone(),
        runtime: hello.runtime.map(|report| RuntimeHealth { report, told_at: env.now }),
        instance_interface: hello.instance_interface.clone(),
        record_version: known.map_or(1, |known| known.record_version + 1),
        tags: known.map(|known| known.tags.clone()).unwrap_or_default(),
    };
    let is_unchanged = known.is_some_and(|known| known.instance_interface == host.instance_interface);
    draft.put(host.clone());
    take_in(&mut draft, hello, env);
    // Users may have moved the interface since; the host's wishes count again when they change.
    if !is_unchanged || vpc::instance_interface::present(&draft, &host.id).is_none() {
        vpc::instance_interface::settle(&mut draft, &host, hello.instance_interface.as_ref(), env)?;
    }
    show_network(&mut draft, &host.id);
    Ok(draft.change(()))
}

/// Moves the primary interface of a host to another subnet or other groups (`berth host attach`).
pub fn move_host(snap: &Snapshot, host: &HostId, wishes: &InstanceInterface, env: &Env) -> Result<Change<()>, Refusal> {
    let known =
        snap.ecs().hosts.get(host).cloned().ok_or_else(|| invalid(format!("The host '{host}' does not exist.")))?;
    if known.instance_interface.is_none() {
        return Err(invalid(format!(
            "Host '{host}' has no primary interface, because it runs with --no-instance-interface; start it without."
        )));
    }
    let mut draft = Draft::of(snap);
    vpc::instance_interface::settle(&mut draft, &known, Some(wishes), env)?;
    show_network(&mut draft, host);
    Ok(draft.change(()))
}

/// Writes VPC and subnet of the primary interface into the attributes of its host.
fn show_network(draft: &mut Draft, host: &HostId) {
    let Some(known) = draft.ecs().hosts.get(host).cloned() else { return };
    let primary = vpc::instance_interface::present(draft, host);
    let mut attributes = known.attributes.clone();
    let values = primary.map(|eni| [eni.vpc.to_string(), eni.subnet.to_string()]);
    for (n, name) in NETWORK_ATTRIBUTES.into_iter().enumerate() {
        match &values {
            Some(values) => drop(attributes.insert(name.to_owned(), Some(values[n].clone()))),
            None => drop(attributes.remove(name)),
        }
    }
    if attributes != known.attributes {
        draft.put(Host { attributes, record_version: known.record_version + 1, ..(*known).clone() });
    }
}

/// A host's stream ended.
pub fn host_disconnected(snap: &Snapshot, host: &HostId, _env: &Env) -> Change<()> {
    match snap.ecs().hosts.get(host) {
        Some(known) if known.connected => {
            let mut draft = Draft::of(snap);
            draft.put(Host { connected: false, record_version: known.record_version + 1, ..(**known).clone() });
            draft.change(())
        }
        Some(_) | None => Change::none(()),
    }
}

/// A host said how much space it has left.
pub fn observe_free_space(snap: &Snapshot, host: &HostId, space: FreeSpace) -> Change<()> {
    match snap.ecs().hosts.get(host) {
        Some(known) if known.short_of_space != space.is_short() => {
            let mut draft = Draft::of(snap);
            draft.put(Host {
                short_of_space: space.is_short(),
                record_version: known.record_version + 1,
                ..(**known).clone()
            });
            draft.change(())
        }
        Some(_) | None => Change::none(()),
    }
}

/// Takes in what a host says about its container runtime.
pub fn observe_runtime(snap: &Snapshot, host: &HostId, report: RuntimeReport, env: &Env) -> Change<()> {
    let Some(known) = snap.ecs().hosts.get(host) else { return Change::none(()) };
    let mut draft = Draft::of(snap);
    let runtime = Some(RuntimeHealth { report, told_at: env.now });
    draft.put(Host { runtime, record_version: known.record_version + 1, ..(**known).clone() });
    draft.change(())
}

/// Registers connected hosts whose cluster has come into being.
pub fn register_waiting_hosts(snap: &Snapshot, env: &Env) -> Change<()> {
    let mut draft = Draft::of(snap);
    let ready = snap.ecs().index().waiting_hosts.ready();
    for host in ready.filter_map(|host| snap.ecs().hosts.get(host)) {
        let registered_at = Some(env.now);
        draft.put(Host { registered_at, record_version: host.record_version + 1, ..(**host).clone() });
    }
    draft.change(())
}

/// The reports in `Hello`, and the interfaces it must have let go of because it does not name them.
fn take_in(draft: &mut Draft, hello: &Hello, env: &Env) {
    for report in &hello.enis {
        let change = observe_eni(draft, &hello.host, report, env);
        draft.take(change);
    }
    for report in &hello.tasks {
        let change = observe_task(draft, &hello.host, report, env);
        draft.take(change);
    }
    for report in forgotten_tasks(draft, hello) {
        let change = observe_task(draft, &hello.host, &report, env);
        draft.take(change);
    }
    let is_detaching = |eni: &&berth_types::EniId| {
        let attachment = draft.vpc().enis.get(*eni).and_then(|eni| eni.attachment.as_ref());
        attachment.is_some_and(|attachment| attachment.status == AttachmentStatus::Detaching)
            && !hello.enis.iter().any(|report| report.eni == **eni)
    };
    let first = (hello.host.clone(), berth_types::EniId::from_bits(0));
    let on_host = draft.vpc().index().host_enis.range(first..).take_while(|(host, _)| *host == hello.host);
    let gone: Vec<_> = on_host.map(|(_, eni)| eni).filter(is_detaching).cloned().collect();
    for eni in gone {
        let change = observe_eni(draft, &hello.host, &EniReport { eni, state: EniState::Gone }, env);
        draft.take(change);
    }
}

/// Tasks whose containers this host had begun, but which it does not know any more: it was taken down and came back, or
/// it lost its files. Such a task is over; it is never run a second time.
fn forgotten_tasks(snap: &Snapshot, hello: &Hello) -> Vec<TaskReport> {
    let is_begun = |task: &Arc<Task>| task.stage.is_some_and(|stage| stage >= TaskStage::Pending);
    let is_named = |task: &Arc<Task>| hello.tasks.iter().any(|report| report.task == task.id);
    let forgotten = snap.ecs().host_tasks(&hello.host).filter(|task| is_begun(task) && !is_named(task));
    forgotten
        .map(|task| TaskReport {
            task: task.id.clone(),
            stage: TaskStage::Stopped,
            stop: None,
            containers: task.containers.iter().map(vanished).collect(),
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
        })
        .collect()
}

fn vanished(container: &TaskContainer) -> ContainerReport {
    let reason = "ContainerVanishedError: the host does not know the container any more";
    ContainerReport {
        name: container.name.clone(),
        status: ContainerStatus::Stopped,
        reason: (container.status != ContainerStatus::Stopped).then(|| reason.to_owned()),
        ..ContainerReport::default()
    }
}

fn zone(hello: &Hello, env: &Env) -> Result<String, Refusal> {
    let zones = vpc::availability_zones(&env.region).map(|zone| zone.name);
    match hello.attributes.get(ZONE_ATTRIBUTE).and_then(Option::as_ref) {
        Some(given) if zones.contains(given) => Ok(given.clone()),
        Some(given) => Err(invalid(format!(
            "host {} says it is in zone {given}; region {} has {}",
            hello.host,
            env.region,
            zones.join(", ")
        ))),
        None => Ok(zones[0].clone()),
    }
}

fn is_active(snap: &Snapshot, cluster: &ClusterName) -> bool {
    snap.ecs().clusters.get(cluster).is_some_and(|cluster| cluster.deleted_at.is_none())
}

/// Attributes every host has because the rules themselves see to what they stand for: output is kept on the host
/// whatever the log driver is, roles and private registries are checked at the API, stop timeouts are in the intent.
fn rule_capabilities() -> BTreeMap<String, Option<String>> {
    let drivers = LOG_DRIVERS.map(|driver| format!("com.amazonaws.ecs.capability.logging-driver.{}", driver.as_str()));
    let others = [
        "com.amazonaws.ecs.capability.ecr-auth",
        "ecs.capability.execution-role-awslogs",
        "ecs.capability.execution-role-ecr-pull",
        "ecs.capability.container-ordering",
    ];
    drivers.into_iter().chain(others.map(str::to_owned)).map(|name| (name, None)).collect()
}
