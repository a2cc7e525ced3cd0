//! One task as its host must run it: definition and overrides put together.

use berth_types::container::{Condition, Dependency, IpcMode, LogIntent, PidMode, VolumeIntent, VolumeSource};
use berth_types::intent::{ContainerIntent, DnsIntent, MountIntent, PortIntent, TaskIntent, VolumesFrom};

use crate::ecs::record::{self, ContainerDefinition, Task, TaskContainer, TaskDefinition, Volume, VolumeKind};
use crate::ecs::{cluster_arn, container_arn, read_link, task_arn};
use crate::vpc::record::Vpc;
use crate::{Env, Snapshot};

/// Seconds between SIGTERM and SIGKILL of a container that names none.
const STOP_TIMEOUT_S: u32 = 30;

/// Offset of the resolver's address in the VPC's range.
const RESOLVER_OFFSET: u32 = 2;

/// `None` when the task was to have an interface and never got one: then it has no place on a host either.
pub(super) fn intent(snap: &Snapshot, task: &Task, env: &Env) -> Option<TaskIntent> {
    let definition = snap.task_definitions.get(&task.definition)?;
    let (availability_zone, dns) = match &task.network {
        Some(network) => {
            network.eni.as_ref()?;
            let subnet = snap.subnets.get(&network.subnet);
            let vpc = subnet.and_then(|subnet| snap.vpcs.get(&subnet.vpc));
            (network.availability_zone.clone(), dns(vpc.map(|vpc| vpc.as_ref()), &env.region))
        }
        None => (snap.hosts.get(task.host.as_ref()?)?.availability_zone.clone(), DnsIntent::default()),
    };
    let containers = definition.containers.iter().zip(&task.containers);
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
        pid_mode: match definition.pid_mode.as_deref() {
            Some("task") => PidMode::Task,
            Some("host") => PidMode::Host,
            Some(_) | None => PidMode::Private,
        },
        ipc_mode: match definition.ipc_mode.as_deref() {
            Some("task") => IpcMode::Task,
            Some("host") => IpcMode::Host,
            Some("none") => IpcMode::None,
            Some(_) | None => IpcMode::Private,
        },
        cpu_architecture: definition.runtime_platform.as_ref().and_then(|platform| platform.cpu_architecture.clone()),
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
        VolumeKind::Docker(docker) if docker.scope == "shared" => VolumeSource::Shared {
            name: volume.name.clone(),
            autoprovision: docker.autoprovision == Some(true),
            labels: docker.labels.clone().unwrap_or_default(),
        },
        // One with the scope of a task lives as long as it.
        VolumeKind::Docker(_) => VolumeSource::Empty,
    };
    VolumeIntent { name: volume.name.clone(), source }
}

/// The mounts of a container and of those it takes volumes from; its own come first and win.
fn mounts(task: &TaskDefinition, container: &ContainerDefinition) -> Vec<MountIntent> {
    let own = |mount: &record::MountPoint| MountIntent {
        volume: mount.source_volume.clone(),
        path: mount.container_path.clone(),
        read_only: mount.read_only == Some(true),
    };
    let mut mounts: Vec<MountIntent> = container.mount_points.iter().map(own).collect();
    for from in &container.volumes_from {
        let source = task.containers.iter().find(|source| source.name == from.source_container);
        // Containers never take volumes from each other in a circle; that was checked when they were registered.
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
        // 0 is any free port of the host.
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
        no_new_privileges: security
            .into_iter()
            .any(|option| option.starts_with("no-new-privileges") && !option.ends_with("false")),
        system_controls: container.system_controls.clone(),
        depends_on: depends_on(container),
        start_timeout_s: container.start_timeout_s,
        health_check: container.health_check.clone().filter(|check| check.command != ["NONE"]),
        restart_policy: container.restart_policy.clone(),
        log: container.log_configuration.as_ref().map_or_else(LogIntent::default, |log| LogIntent {
            driver: log.log_driver.clone(),
            options: log.options.clone().unwrap_or_default(),
        }),
    }
}

/// What a container waits for. One it is linked to starts before it, as with Docker.
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
