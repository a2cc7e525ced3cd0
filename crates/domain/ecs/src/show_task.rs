// SPDX-License-Identifier: Apache-2.0
//! Tasks as answered.

use berth_shapes::Timestamp;
use berth_shapes::ecs as shape;
use berth_state::ecs::{
    ContainerDefinition, ContainerOverrides, EPHEMERAL_STORAGE_GIB, Host, Task, TaskAttachmentStatus, TaskContainer,
    TaskNetwork, TaskStatus, cluster_arn, container_arn, definition_arn, instance_arn, task_arn,
};
use berth_state::{Env, Snapshot};
use berth_types::TimestampMs;
use berth_types::intent::{Desired, LaunchType};
use berth_types::mode::NetworkBinding;
use berth_types::report::{ContainerStatus, HealthStatus};

use super::tag;

/// The task as RunTask returns it: without its interface.
pub(super) fn accepted(snap: &Snapshot, accepted: &Task, env: &Env) -> shape::Task {
    if accepted.status != TaskStatus::Provisioning {
        return task_with_tags(snap, accepted, env);
    }
    let untold = |network: TaskNetwork| TaskNetwork { status: TaskAttachmentStatus::Precreated, eni: None, ..network };
    let network = accepted.network.clone().map(untold);
    task_with_tags(snap, &Task { network, ..accepted.clone() }, env)
}

/// The task without tags.
pub(super) fn task(snap: &Snapshot, task: &Task, env: &Env) -> shape::Task {
    let definition = snap.ecs().task_definitions.get(&task.definition);
    let definitions = definition.map(|definition| definition.containers.as_slice()).unwrap_or_default();
    let is_fargate = task.launch_type == LaunchType::Fargate;
    let need = task.need;
    let host = task.host.as_ref().and_then(|host| snap.ecs().hosts.get(host));
    let connectivity = task.times.connectivity_at.map(|_| match host {
        Some(host) if host.connected => "CONNECTED",
        Some(_) | None => "DISCONNECTED",
    });
    let processor = host.and_then(|host| host.attribute("ecs.cpu-architecture").flatten().map(str::to_owned));
    let containers = task.containers.iter().enumerate();
    let storage_gib = definition.and_then(|definition| task.storage_gib(definition)).unwrap_or(EPHEMERAL_STORAGE_GIB);
    let storage_gib = i32::try_from(storage_gib).ok();
    shape::Task {
        attachments: Some(task.network.iter().map(attachment).collect()),
        attributes: Some(processor.into_iter().map(|value| attribute("ecs.cpu-architecture", value)).collect()),
        capacity_provider_name: task.capacity_provider.clone(),
        availability_zone: availability_zone(task, host.map(|host| host.as_ref())),
        cluster_arn: Some(cluster_arn(&task.cluster, env)),
        connectivity: connectivity.map(str::to_owned),
        connectivity_at: task.times.connectivity_at.map(time),
        container_instance_arn: task
            .host
            .as_ref()
            .filter(|_| !is_fargate)
            .map(|host| instance_arn(&task.cluster, host, env)),
        containers: Some(containers.map(|(at, one)| container(task, one, definitions.get(at), env)).collect()),
        cpu: Some(need.cpu_units.to_string()),
        created_at: Some(time(task.times.created_at)),
        desired_status: Some(desired(task.desired).to_owned()),
        enable_execute_command: Some(false),
        ephemeral_storage: is_fargate.then_some(shape::EphemeralStorage { size_in_gib: storage_gib }),
        execution_stopped_at: task.times.execution_stopped_at.map(time),
        fargate_ephemeral_storage: is_fargate
            .then_some(shape::TaskEphemeralStorage { kms_key_id: None, size_in_gib: storage_gib }),
        group: Some(task.group.clone()),
        health_status: Some(health(task, definitions).as_str().to_owned()),
        last_status: Some(task.status.as_str().to_owned()),
        launch_type: Some(task.launch_type.as_str().to_owned()),
        memory: Some(need.memory_mib.to_string()),
        overrides: Some(overrides(task)),
        platform_family: is_fargate.then(|| "Linux".to_owned()),
        platform_version: is_fargate.then(|| "1.4.0".to_owned()),
        pull_started_at: task.times.pull_started_at.map(time),
        pull_stopped_at: task.times.pull_stopped_at.map(time),
        started_at: task.times.started_at.map(time),
        started_by: task.started_by.clone(),
        stop_code: task.stop.as_ref().map(|stop| stop.code.clone()),
        stopped_at: task.times.stopped_at.map(time),
        stopped_reason: task.stop.as_ref().map(|stop| stop.reason.clone()),
        stopping_at: task.times.stopping_at.map(time),
        tags: Some(Vec::new()),
        task_arn: Some(task_arn(&task.cluster, &task.id, env)),
        task_definition_arn: Some(definition_arn(&task.definition, env)),
        version: i64::try_from(task.version).ok(),
        ..Default::default()
    }
}

/// The zone of its subnet, else that of its host.
fn availability_zone(task: &Task, host: Option<&Host>) -> Option<String> {
    let of_subnet = task.network.as_ref().map(|network| network.availability_zone.clone());
    of_subnet.or_else(|| host.map(|host| host.availability_zone.clone()))
}

/// The task with its tags.
pub(super) fn task_with_tags(snap: &Snapshot, record: &Task, env: &Env) -> shape::Task {
    shape::Task { tags: Some(tag::show(&record.tags)), ..task(snap, record, env) }
}

/// The name AWS uses.
pub(super) fn desired(desired: Desired) -> &'static str {
    match desired {
        Desired::Running => "RUNNING",
        Desired::Stopped => "STOPPED",
    }
}

fn time(at: TimestampMs) -> Timestamp {
    Timestamp(at.0)
}

fn attribute(name: &str, value: String) -> shape::Attribute {
    shape::Attribute { name: Some(name.to_owned()), value: Some(value), ..Default::default() }
}

fn attachment(network: &TaskNetwork) -> shape::Attachment {
    let status = match network.status {
        TaskAttachmentStatus::Precreated => "PRECREATED",
        TaskAttachmentStatus::Attaching => "ATTACHING",
        TaskAttachmentStatus::Attached => "ATTACHED",
        TaskAttachmentStatus::Detaching => "DETACHING",
        TaskAttachmentStatus::Deleted => "DELETED",
        TaskAttachmentStatus::Failed => "FAILED",
    };
    let mut details = vec![("subnetId", network.subnet.to_string())];
    if let Some(eni) = &network.eni {
        details.push(("networkInterfaceId", eni.id.to_string()));
        details.push(("macAddress", eni.mac.to_string()));
        details.extend(eni.private_dns_name.iter().map(|name| ("privateDnsName", name.clone())));
        details.push(("privateIPv4Address", eni.address.to_string()));
    }
    let pair = |(name, value): (&str, String)| shape::KeyValuePair { name: Some(name.to_owned()), value: Some(value) };
    shape::Attachment {
        details: Some(details.into_iter().map(pair).collect()),
        id: Some(network.attachment.clone()),
        status: Some(status.to_owned()),
        r#type: Some("ElasticNetworkInterface".to_owned()),
    }
}

fn container(
    task: &Task,
    container: &TaskContainer,
    definition: Option<&ContainerDefinition>,
    env: &Env,
) -> shape::Container {
    let interface = task.network.as_ref().and_then(|network| {
        Some(shape::NetworkInterface {
            attachment_id: Some(network.attachment.clone()),
            ipv6_address: None,
            private_ipv4_address: Some(network.eni.as_ref()?.address.to_string()),
        })
    });
    let status = match container.status {
        ContainerStatus::Pending => "PENDING",
        ContainerStatus::Running => "RUNNING",
        ContainerStatus::Stopped => "STOPPED",
    };
    let given = &container.overrides;
    let cpu_units = given.cpu_units.or(definition.map(|definition| definition.cpu_units)).unwrap_or(0);
    let memory = given.memory_mib.or(definition.and_then(|definition| definition.memory_mib));
    let reservation =
        given.memory_reservation_mib.or(definition.and_then(|definition| definition.memory_reservation_mib));
    shape::Container {
        container_arn: Some(container_arn(&task.cluster, &task.id, &container.id, env)),
        cpu: Some(cpu_units.to_string()),
        exit_code: container.exit_code,
        health_status: Some(container.health.unwrap_or(HealthStatus::Unknown).as_str().to_owned()),
        image: definition.map(|definition| definition.image.clone()),
        image_digest: container.image_digest.clone(),
        last_status: Some(status.to_owned()),
        memory: memory.map(|memory| memory.to_string()),
        memory_reservation: reservation.map(|memory| memory.to_string()),
        name: Some(container.name.clone()),
        network_bindings: Some(container.network_bindings.iter().map(binding).collect()),
        network_interfaces: Some(interface.into_iter().collect()),
        reason: container.reason.clone(),
        runtime_id: container.runtime_id.clone(),
        task_arn: Some(task_arn(&task.cluster, &task.id, env)),
        ..Default::default()
    }
}

fn binding(binding: &NetworkBinding) -> shape::NetworkBinding {
    let range = binding.last_container_port;
    shape::NetworkBinding {
        bind_ip: Some(binding.bind_ip.to_string()),
        container_port: range.is_none().then(|| binding.container_port.into()),
        container_port_range: range.map(|last| format!("{}-{last}", binding.container_port)),
        host_port: range.is_none().then(|| binding.host_port.into()),
        host_port_range: range.map(|_| format!("{}-{}", binding.host_port, binding.last_host_port())),
        protocol: Some(binding.protocol.to_string()),
    }
}

/// Health of a task: that of its essential containers with a health check; unknown without any.
fn health(task: &Task, definitions: &[ContainerDefinition]) -> HealthStatus {
    let checked = task.containers.iter().zip(definitions).filter(|(_, definition)| {
        definition.essential && definition.health_check.as_ref().is_some_and(|check| !check.is_none())
    });
    let all: Vec<HealthStatus> = checked.map(|(one, _)| one.health.unwrap_or(HealthStatus::Unknown)).collect();
    let is = |status: &HealthStatus| all.contains(status);
    match (is(&HealthStatus::Unhealthy), is(&HealthStatus::Unknown) || all.is_empty()) {
        (true, _) => HealthStatus::Unhealthy,
        (false, true) => HealthStatus::Unknown,
        (false, false) => HealthStatus::Healthy,
    }
}

fn overrides(task: &Task) -> shape::TaskOverride {
    let pair =
        |(name, value): &(String, String)| shape::KeyValuePair { name: Some(name.clone()), value: Some(value.clone()) };
    let integer = |value: Option<u32>| value.and_then(|value| i32::try_from(value).ok());
    let container = |name: &str, given: &ContainerOverrides| shape::ContainerOverride {
        command: given.command.clone(),
        cpu: integer(given.cpu_units),
        environment: given.environment.as_ref().map(|pairs| pairs.iter().map(pair).collect()),
        memory: integer(given.memory_mib),
        memory_reservation: integer(given.memory_reservation_mib),
        name: Some(name.to_owned()),
        ..Default::default()
    };
    shape::TaskOverride {
        container_overrides: Some(task.containers.iter().map(|one| container(&one.name, &one.overrides)).collect()),
        cpu: task.overrides.cpu.clone(),
        ephemeral_storage: task
            .overrides
            .ephemeral_storage_gib
            .map(|gib| shape::EphemeralStorage { size_in_gib: i32::try_from(gib).ok() }),
        execution_role_arn: task.overrides.execution_role_arn.clone(),
        inference_accelerator_overrides: Some(Vec::new()),
        memory: task.overrides.memory.clone(),
        ..Default::default()
    }
}
