// SPDX-License-Identifier: Apache-2.0
//! Task definitions as answered.

use berth_shapes::Timestamp;
use berth_shapes::ecs as shape;
use berth_state::Env;
use berth_state::ecs::{
    ContainerDefinition, LogConfiguration, MountPoint, PortMapping, TaskDefinition, definition_arn,
};

use super::{lifecycle, linux, volume};

/// The definition as AWS returns it.
pub(super) fn definition(definition: &TaskDefinition, env: &Env) -> shape::TaskDefinition {
    let attribute = |name: &String| shape::Attribute { name: Some(name.clone()), ..Default::default() };
    shape::TaskDefinition {
        compatibilities: Some(definition.compatibilities.iter().map(|one| one.as_str().to_owned()).collect()),
        container_definitions: Some(definition.containers.iter().map(container).collect()),
        cpu: definition.cpu_units.map(|cpu| cpu.to_string()),
        delete_requested_at: definition.delete_requested_at.map(|at| Timestamp(at.0)),
        deregistered_at: definition.deregistered_at.map(|at| Timestamp(at.0)),
        ephemeral_storage: definition
            .ephemeral_storage_gib
            .map(|size| shape::EphemeralStorage { size_in_gib: integer(size) }),
        enable_fault_injection: definition.enable_fault_injection,
        execution_role_arn: definition.execution_role_arn.clone(),
        family: Some(definition.key.family.0.clone()),
        ipc_mode: definition.ipc_mode.map(|mode| mode.as_str().to_owned()),
        memory: definition.memory_mib.map(|memory| memory.to_string()),
        network_mode: definition.network_mode.map(|mode| mode.as_str().to_owned()),
        pid_mode: definition.pid_mode.map(|mode| mode.as_str().to_owned()),
        placement_constraints: Some(definition.placement_constraints.iter().map(|one| constraint(one)).collect()),
        registered_at: Some(Timestamp(definition.registered_at.0)),
        registered_by: Some(definition.registered_by.clone()),
        requires_attributes: (!definition.requires_attributes.is_empty())
            .then(|| definition.requires_attributes.iter().map(attribute).collect()),
        requires_compatibilities: all(definition.requires_compatibilities.as_deref(), |one| one.as_str().to_owned()),
        revision: integer(definition.key.revision),
        runtime_platform: definition.runtime_platform.as_ref().map(|platform| shape::RuntimePlatform {
            cpu_architecture: platform.cpu_architecture.map(|one| one.as_str().to_owned()),
            operating_system_family: platform.operating_system_family.map(|one| one.as_str().to_owned()),
        }),
        status: Some(definition.status().as_str().to_owned()),
        task_definition_arn: Some(definition_arn(&definition.key, env)),
        task_role_arn: definition.task_role_arn.clone(),
        volumes: Some(definition.volumes.iter().map(volume::show).collect()),
        ..Default::default()
    }
}

fn constraint(expression: &str) -> shape::TaskDefinitionPlacementConstraint {
    shape::TaskDefinitionPlacementConstraint {
        expression: Some(expression.to_owned()),
        r#type: Some("memberOf".to_owned()),
    }
}

fn container(container: &ContainerDefinition) -> shape::ContainerDefinition {
    let pair =
        |(name, value): &(String, String)| shape::KeyValuePair { name: Some(name.clone()), value: Some(value.clone()) };
    shape::ContainerDefinition {
        command: container.command.clone(),
        cpu: integer(container.cpu_units),
        depends_on: all(container.depends_on.as_deref(), lifecycle::show_dependency),
        dns_search_domains: container.dns_search_domains.clone(),
        dns_servers: container.dns_servers.clone(),
        docker_security_options: container.docker_security_options.clone(),
        extra_hosts: all(container.extra_hosts.as_deref(), |host| shape::HostEntry {
            hostname: Some(host.hostname.clone()),
            ip_address: Some(host.ip_address.clone()),
        }),
        health_check: container.health_check.as_ref().map(lifecycle::show_health_check),
        hostname: container.hostname.clone(),
        linux_parameters: container.linux_parameters.as_ref().map(linux::show),
        restart_policy: container.restart_policy.as_ref().map(lifecycle::show_restart_policy),
        start_timeout: container.start_timeout_s.and_then(integer),
        ulimits: all(container.ulimits.as_deref(), linux::show_ulimit),
        disable_networking: container.disable_networking,
        docker_labels: container.docker_labels.clone(),
        entry_point: container.entry_point.clone(),
        environment: Some(container.environment.iter().map(pair).collect()),
        essential: Some(container.essential),
        image: Some(container.image.clone()),
        interactive: container.interactive,
        links: container.links.clone(),
        log_configuration: container.log_configuration.as_ref().map(log),
        memory: container.memory_mib.and_then(integer),
        memory_reservation: container.memory_reservation_mib.and_then(integer),
        mount_points: Some(container.mount_points.iter().map(mount).collect()),
        name: Some(container.name.clone()),
        port_mappings: Some(container.port_mappings.iter().map(port).collect()),
        privileged: container.privileged,
        pseudo_terminal: container.pseudo_terminal,
        readonly_root_filesystem: container.readonly_root_filesystem,
        stop_timeout: container.stop_timeout_s.and_then(integer),
        system_controls: all(Some(&container.system_controls), linux::show_system_control),
        user: container.user.clone(),
        version_consistency: container.version_consistency.map(|one| one.as_str().to_owned()),
        volumes_from: all(Some(&container.volumes_from), |from| shape::VolumeFrom {
            read_only: from.read_only,
            source_container: Some(from.source_container.clone()),
        }),
        working_directory: container.working_directory.clone(),
        ..Default::default()
    }
}

fn all<T, S>(list: Option<&[T]>, show: impl Fn(&T) -> S) -> Option<Vec<S>> {
    list.map(|list| list.iter().map(show).collect())
}

fn port(mapping: &PortMapping) -> shape::PortMapping {
    shape::PortMapping {
        app_protocol: mapping.app_protocol.map(|one| one.as_str().to_owned()),
        container_port: mapping.last_container_port.is_none().then(|| mapping.container_port.into()),
        container_port_range: mapping.last_container_port.map(|last| format!("{}-{last}", mapping.container_port)),
        // The host ports of a range are reported for tasks only.
        host_port: mapping.last_container_port.is_none().then(|| mapping.host_port.into()),
        name: mapping.name.clone(),
        protocol: Some(mapping.protocol.to_string()),
    }
}

fn mount(mount: &MountPoint) -> shape::MountPoint {
    shape::MountPoint {
        container_path: Some(mount.container_path.clone()),
        read_only: mount.read_only,
        source_volume: Some(mount.source_volume.clone()),
    }
}

fn log(log: &LogConfiguration) -> shape::LogConfiguration {
    shape::LogConfiguration {
        log_driver: Some(log.log_driver.as_str().to_owned()),
        options: log.options.clone(),
        secret_options: None,
    }
}

fn integer(value: u32) -> Option<i32> {
    i32::try_from(value).ok()
}
