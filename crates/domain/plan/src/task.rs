// SPDX-License-Identifier: Apache-2.0
//! The intent of one task: its definition with the overrides applied.

use berth_state::ecs::{
    self as record, ContainerDefinition, ContainerPath, DockerScope, Task, TaskContainer, TaskDefinition, Volume,
    VolumeKind, cluster_arn, container_arn, is_seccomp_unconfined, read_link, task_arn,
};
use berth_state::vpc::Vpc;
use berth_state::{Env, Snapshot};
use berth_types::container::{Condition, Dependency, IpcMode, LogIntent, PidMode, VolumeIntent, VolumeSource};
use berth_types::intent::{ContainerIntent, DnsIntent, MountIntent, PortIntent, TaskIntent, VolumesFrom};

/// Seconds between SIGTERM and SIGKILL of a container that sets none.
const STOP_TIMEOUT_S: u32 = 30;

/// Offset of the resolver's address in the VPC's range.
const RESOLVER_OFFSET: u32 = 2;

/// The intent of a task; `None` if it needs an interface and never got one, because it then has no host either.
pub(super) fn intent(snap: &Snapshot, task: &Task, env: &Env) -> Option<TaskIntent> {
    let definition = snap.ecs().task_definitions.get(&task.definition)?;
    let (availability_zone, dns) = match &task.network {
        Some(network) => {
            network.eni.as_ref()?;
            let subnet = snap.vpc().subnets.get(&network.subnet);
            let vpc = subnet.and_then(|subnet| snap.vpc().vpcs.get(&subnet.vpc));
            (network.availability_zone.clone(), dns(vpc.map(|vpc| vpc.as_ref()), &env.region))
        }
        None => (snap.ecs().hosts.get(task.host.as_ref()?)?.availability_zone.clone(), DnsIntent::default()),
    };
    let containers = definition.containers.iter().zip(&task.containers);
    let cpu_architecture = definition.runtime_platform.as_ref().and_then(|platform| platform.cpu_architecture);
    Some(TaskIntent {
        arn: task_arn(&task.cluster, &task.id, env),
        cluster_arn: cluster_arn(&task.cluster, env),
        family: definition.key.family.0.clone(),
        revision: definition.key.revision,
        launch_type: task.launch_type,
        availability_zone,
        desired: task.desired,
        network_mode: definition.mode(),
        eni: task.eni().map(|eni| eni.id.clone()),
        hostname: task.eni().and_then(|eni| eni.private_dns_name.clone()),
        dns,
        cpu_units: task.cpu_units,
        memory_mib: task.memory_mib,
        ephemeral_storage_gib: task.storage_gib(definition),
        volumes: definition.volumes.iter().map(volume).collect(),
        pid_mode: match definition.pid_mode {
            Some(record::PidMode::Task) => PidMode::Task,
            Some(record::PidMode::Host) => PidMode::Host,
            None => PidMode::Private,
        },
        ipc_mode: match definition.ipc_mode {
            Some(record::IpcMode::Task) => IpcMode::Task,
            Some(record::IpcMode::Host) => IpcMode::Host,
            Some(record::IpcMode::None) => IpcMode::None,
            None => IpcMode::Private,
        },
        cpu_architecture: cpu_architecture.map(|architecture| architecture.as_str().to_owned()),
        containers: containers.map(|(container, state)| one(task, definition, container, state, env)).collect(),
    })
}

fn dns(vpc: Option<&Vpc>, region: &str) -> DnsIntent {
    // us-east-1 is older than the naming of all other regions.
    let domain = match region {
        "us-east-1" => "ec2.internal".to_owned(),
        region => format!("{region}.compute.internal"),
    };
    let servers = vpc.filter(|vpc| vpc.dns_support).and_then(|vpc| vpc.cidr.nth(RESOLVER_OFFSET));
    DnsIntent { servers: servers.into_iter().collect(), search: vec![domain] }
}

fn volume(volume: &Volume) -> VolumeIntent {
    let source = match &volume.kind {
        VolumeKind::Empty => VolumeSource::Empty,
        VolumeKind::Host { source_path } => VolumeSource::Host(source_path.clone()),
        VolumeKind::Docker(docker) => match docker.scope {
            DockerScope::Shared => VolumeSource::Shared {
                name: volume.name.clone(),
                autoprovision: docker.autoprovision == Some(true),
                labels: docker.labels.clone().unwrap_or_default(),
            },
            // Its lifetime is that of the task.
            DockerScope::Task => VolumeSource::Empty,
        },
    };
    VolumeIntent { name: volume.name.clone(), source }
}

/// The mounts of a container and of those it takes volumes from; its own come first and take precedence.
fn mounts(task: &TaskDefinition, container: &ContainerDefinition) -> Vec<MountIntent> {
    let own = |mount: &record::MountPoint| {
        let at = ContainerPath::of(&mount.container_path);
        let read_only = mount.read_only == Some(true) || at.read_only;
        MountIntent { volume: mount.source_volume.clone(), path: at.path.to_owned(), read_only }
    };
    let mut mounts: Vec<MountIntent> = container.mount_points.iter().map(own).collect();
    for from in &container.volumes_from {
        let source = task.containers.iter().find(|source| source.name == from.source_container);
        // Containers never take volumes from each other in a cycle; registration refuses that.
        for mount in source.map(|source| self::mounts(task, source)).unwrap_or_default() {
            if mounts.iter().all(|known| known.path != mount.path) {
                mounts.push(MountIntent { read_only: mount.read_only || from.read_only == Some(true), ..mount });
            }
        }
    }
    mounts
}

fn volumes_from(from: &record::VolumesFrom) -> VolumesFrom {
    VolumesFrom { container: from.source_container.clone(), read_only: from.read_only == Some(true) }
}

fn one(
    task: &Task,
    definition: &TaskDefinition,
    container: &ContainerDefinition,
    state: &TaskContainer,
    env: &Env,
) -> ContainerIntent {
    let given = &state.overrides;
    let port = |mapping: &record::PortMapping| PortIntent {
        container_port: mapping.container_port,
        last_container_port: mapping.last_container_port,
        // 0 asks for any free port of the host.
        host_port: Some(mapping.host_port).filter(|port| *port != 0),
        protocol: mapping.protocol,
    };
    let security = container.docker_security_options.iter().flatten();
    ContainerIntent {
        name: container.name.clone(),
        arn: container_arn(&task.cluster, &task.id, &state.id, env),
        endpoint_id: state.endpoint_id.clone(),
        image: container.image.clone(),
        entry_point: container.entry_point.clone(),
        command: given.command.clone().or(container.command.clone()),
        environment: environment(&container.environment, given.environment.as_deref().unwrap_or_default()),
        essential: container.essential,
        cpu_units: given.cpu_units.unwrap_or(container.cpu_units),
        memory_mib: given.memory_mib.or(container.memory_mib),
        memory_reservation_mib: given.memory_reservation_mib.or(container.memory_reservation_mib),
        stop_timeout_s: container.stop_timeout_s.unwrap_or(STOP_TIMEOUT_S),
        working_directory: container.working_directory.clone(),
        user: container.user.clone(),
        readonly_root_filesystem: container.readonly_root_filesystem == Some(true),
        pseudo_terminal: container.pseudo_terminal == Some(true),
        labels: container.docker_labels.clone().unwrap_or_default(),
        mounts: mounts(definition, container),
        volumes_from: container.volumes_from.iter().map(volumes_from).collect(),
        ports: container.port_mappings.iter().map(port).collect(),
        links: container.links.iter().flatten().map(|link| read_link(link)).collect(),
        hostname: container.hostname.clone(),
        extra_hosts: container.extra_hosts.clone().unwrap_or_default(),
        dns_servers: container.dns_servers.iter().flatten().filter_map(|server| server.parse().ok()).collect(),
        dns_search_domains: container.dns_search_domains.clone().unwrap_or_default(),
        disable_networking: container.disable_networking == Some(true),
        linux: container.linux_parameters.clone().unwrap_or_default(),
        ulimits: container.ulimits.clone().unwrap_or_default(),
        privileged: container.privileged == Some(true),
        interactive: container.interactive == Some(true),
        seccomp_unconfined: security.clone().any(|option| is_seccomp_unconfined(option)),
        no_new_privileges: security
            .into_iter()
            .any(|option| option.starts_with("no-new-privileges") && !option.ends_with("false")),
        system_controls: container.system_controls.clone(),
        depends_on: depends_on(container),
        start_timeout_s: container.start_timeout_s,
        health_check: container.health_check.clone().filter(|check| !check.is_none()),
        restart_policy: container.restart_policy.clone(),
        log: container.log_configuration.as_ref().map_or_else(LogIntent::default, |log| LogIntent {
            driver: log.log_driver.as_str().to_owned(),
            options: log.options.clone().unwrap_or_default(),
        }),
    }
}

/// Dependencies of a container. One it is linked to starts before it, as with Docker.
fn depends_on(container: &ContainerDefinition) -> Vec<Dependency> {
    let mut found = container.depends_on.clone().unwrap_or_default();
    for link in container.links.iter().flatten().map(|link| read_link(link)) {
        if found.iter().all(|known| known.container != link.container) {
            found.push(Dependency { container: link.container, condition: Condition::Start });
        }
    }
    found
}

/// The definition's variables with the overrides merged in by name.
fn environment(defined: &[(String, String)], given: &[(String, String)]) -> Vec<(String, String)> {
    let mut merged = defined.to_vec();
    for (name, value) in given {
        merged.retain(|(known, _)| known != name);
        merged.push((name.clone(), value.clone()));
    }
    merged
}
