//! What a definition asks of container instances, and which launch types can run it.

use super::super::record::TaskDefinition;
use super::fargate;
use super::network_mode::NetworkMode;

/// Launch types whose rules the definition satisfies. A missing size does not count: RunTask can still give it.
pub(super) fn compatibilities(definition: &TaskDefinition, mode: NetworkMode) -> Vec<String> {
    let names: &[&str] = match mode {
        NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => &["EXTERNAL", "EC2"],
        NetworkMode::Awsvpc if runs_on_fargate(definition) => &["EC2", "FARGATE"],
        NetworkMode::Awsvpc => &["EC2"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn runs_on_fargate(definition: &TaskDefinition) -> bool {
    let (cpu, memory) = (definition.cpu_units, definition.memory_mib);
    let size_fits = match (cpu, memory) {
        (Some(_), Some(_)) => fargate::check_size(cpu, memory).is_ok(),
        (Some(_), None) | (None, Some(_)) | (None, None) => true,
    };
    size_fits && definition.placement_constraints.is_empty() && fargate::check_containers(definition).is_ok()
}

/// Attributes a container instance must have, in the order AWS lists them.
pub(super) fn required(definition: &TaskDefinition, mode: NetworkMode) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    let has_execution_role = definition.execution_role_arn.is_some();
    let mut docker_minor = None;
    let mut needs_docker = |minor: u32| docker_minor = docker_minor.max(Some(minor));
    for container in &definition.containers {
        if let Some(log) = &container.log_configuration {
            add(&format!("com.amazonaws.ecs.capability.logging-driver.{}", log.log_driver));
            if log.log_driver == "awslogs" {
                needs_docker(19);
                if has_execution_role {
                    add("ecs.capability.execution-role-awslogs");
                }
            }
        }
        if fargate::is_private_ecr(&container.image) {
            add("com.amazonaws.ecs.capability.ecr-auth");
            if has_execution_role {
                add("ecs.capability.execution-role-ecr-pull");
            }
        }
        if container.memory_reservation_mib.is_some() {
            needs_docker(21);
        }
        if container.docker_labels.as_ref().is_some_and(|labels| !labels.is_empty()) {
            needs_docker(18);
        }
    }
    if let Some(minor) = docker_minor {
        add(&format!("com.amazonaws.ecs.capability.docker-remote-api.1.{minor}"));
    }
    if definition.task_role_arn.is_some() {
        add(match mode {
            NetworkMode::Host => "com.amazonaws.ecs.capability.task-iam-role-network-host",
            NetworkMode::Awsvpc | NetworkMode::Bridge | NetworkMode::None => {
                "com.amazonaws.ecs.capability.task-iam-role"
            }
        });
    }
    let only_fargate = definition.requires_compatibilities.as_deref() == Some(&["FARGATE".to_owned()]);
    if !only_fargate && (definition.cpu_units.is_some() || definition.memory_mib.is_some()) {
        add("ecs.capability.task-cpu-mem-limit");
    }
    if definition.containers.iter().any(|container| container.stop_timeout_s.is_some()) {
        add("ecs.capability.container-ordering");
    }
    let mut mappings = definition.containers.iter().flat_map(|container| &container.port_mappings);
    if mappings.any(|mapping| mapping.last_container_port.is_some()) {
        add("ecs.capability.network.container-port-range");
    }
    if mode == NetworkMode::Awsvpc {
        add("com.amazonaws.ecs.capability.docker-remote-api.1.18");
        add("ecs.capability.task-eni");
    }
    names
}
