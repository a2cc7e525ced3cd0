// SPDX-License-Identifier: Apache-2.0
//! Attributes that a definition requires of container instances, and the launch types that can run it.

use berth_state::ecs::{Compatibility, ContainerDefinition, LogDriver, TaskDefinition, VolumeKind};
use berth_types::intent::LaunchType;

use super::fargate;
use super::network_mode::NetworkMode;

/// Launch types whose rules the definition satisfies. A missing size does not count: RunTask can still give it.
pub(super) fn compatibilities(definition: &TaskDefinition, mode: NetworkMode) -> Vec<Compatibility> {
    match mode {
        NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => {
            vec![Compatibility::External, Compatibility::Ec2]
        }
        NetworkMode::Awsvpc if runs_on_fargate(definition) => vec![Compatibility::Ec2, Compatibility::Fargate],
        NetworkMode::Awsvpc => vec![Compatibility::Ec2],
    }
}

fn runs_on_fargate(definition: &TaskDefinition) -> bool {
    let (cpu, memory) = (definition.cpu_units, definition.memory_mib);
    let size_fits = match (cpu, memory) {
        (Some(_), Some(_)) => fargate::check_size(cpu, memory).is_ok(),
        (Some(_), None) | (None, Some(_)) | (None, None) => true,
    };
    size_fits && fargate::check(definition).is_ok()
}

/// Attributes a container instance must have, in the order AWS lists them.
pub(super) fn required(definition: &TaskDefinition, mode: NetworkMode) -> Vec<String> {
    let mut names = Names::default();
    let mut docker_minor = None;
    for container in &definition.containers {
        add_container(&mut names, container, definition.execution_role_arn.is_some());
        docker_minor = docker_minor.max(docker(container));
    }
    if let Some(minor) = docker_minor {
        names.add(&format!("com.amazonaws.ecs.capability.docker-remote-api.1.{minor}"));
    }
    for volume in &definition.volumes {
        if let VolumeKind::Docker(docker) = &volume.kind {
            let driver = docker.driver.as_deref().unwrap_or("local");
            names.add(&format!("ecs.capability.docker-plugin.{driver}"));
        }
    }
    if definition.task_role_arn.is_some() {
        names.add(match mode {
            NetworkMode::Host => "com.amazonaws.ecs.capability.task-iam-role-network-host",
            NetworkMode::Awsvpc | NetworkMode::Bridge | NetworkMode::None => {
                "com.amazonaws.ecs.capability.task-iam-role"
            }
        });
    }
    let only_fargate = definition.requires_compatibilities.as_deref() == Some(&[LaunchType::Fargate]);
    if !only_fargate && (definition.cpu_units.is_some() || definition.memory_mib.is_some()) {
        names.add("ecs.capability.task-cpu-mem-limit");
    }
    let is_ordered = |container: &ContainerDefinition| {
        container.stop_timeout_s.or(container.start_timeout_s).is_some()
            || container.depends_on.as_ref().is_some_and(|list| !list.is_empty())
    };
    if definition.containers.iter().any(is_ordered) {
        names.add("ecs.capability.container-ordering");
    }
    if definition.pid_mode.is_some() || definition.ipc_mode.is_some() {
        names.add("ecs.capability.pid-ipc-namespace-sharing");
    }
    let mut mappings = definition.containers.iter().flat_map(|container| &container.port_mappings);
    if mappings.any(|mapping| mapping.last_container_port.is_some()) {
        names.add("ecs.capability.network.container-port-range");
    }
    if mode == NetworkMode::Awsvpc {
        names.add("com.amazonaws.ecs.capability.docker-remote-api.1.18");
        names.add("ecs.capability.task-eni");
    }
    names.0
}

#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn add(&mut self, name: &str) {
        if !self.0.iter().any(|known| known == name) {
            self.0.push(name.to_owned());
        }
    }
}

fn add_container(names: &mut Names, container: &ContainerDefinition, has_execution_role: bool) {
    if let Some(log) = &container.log_configuration {
        names.add(&format!("com.amazonaws.ecs.capability.logging-driver.{}", log.log_driver.as_str()));
        if log.log_driver == LogDriver::Awslogs && has_execution_role {
            names.add("ecs.capability.execution-role-awslogs");
        }
    }
    if fargate::is_private_ecr(&container.image) {
        names.add("com.amazonaws.ecs.capability.ecr-auth");
        if has_execution_role {
            names.add("ecs.capability.execution-role-ecr-pull");
        }
    }
    if container.privileged == Some(true) {
        names.add("com.amazonaws.ecs.capability.privileged-container");
    }
    if container.health_check.is_some() {
        names.add("ecs.capability.container-health-check");
    }
    if container.restart_policy.is_some() {
        names.add("ecs.capability.container-restart-policy");
    }
}

/// Lowest minor version of Docker's API that supports the container's settings; `None` if all versions do.
fn docker(container: &ContainerDefinition) -> Option<u32> {
    let linux = container.linux_parameters.as_ref();
    let needs = [
        (18, container.docker_labels.as_ref().is_some_and(|labels| !labels.is_empty())),
        (19, container.log_configuration.as_ref().is_some_and(|log| log.log_driver == LogDriver::Awslogs)),
        (21, container.memory_reservation_mib.is_some()),
        (22, linux.is_some_and(|linux| linux.tmpfs.is_some() || linux.shared_memory_mib.is_some())),
        (24, container.health_check.is_some()),
        (25, linux.is_some_and(|linux| linux.init_process_enabled == Some(true))),
    ];
    needs.into_iter().filter(|(_, is_needed)| *is_needed).map(|(minor, _)| minor).max()
}
