//! One task as its host must run it: definition and overrides put together.

use berth_types::intent::{ContainerIntent, DnsIntent, MountIntent, PortIntent, TaskIntent};

use crate::ecs::record::{ContainerDefinition, Task, TaskContainer};
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
        volumes: definition.volumes.iter().map(|volume| volume.name.clone()).collect(),
        containers: containers.map(|(definition, container)| one(task, definition, container, env)).collect(),
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

fn one(task: &Task, definition: &ContainerDefinition, container: &TaskContainer, env: &Env) -> ContainerIntent {
    let given = &container.overrides;
    let mount = |mount: &crate::ecs::record::MountPoint| MountIntent {
        volume: mount.source_volume.clone(),
        path: mount.container_path.clone(),
        read_only: mount.read_only == Some(true),
    };
    let port = |mapping: &crate::ecs::record::PortMapping| PortIntent {
        container_port: mapping.container_port,
        last_container_port: mapping.last_container_port,
        // 0 is any free port of the host.
        host_port: Some(mapping.host_port).filter(|port| *port != 0),
        protocol: mapping.protocol,
    };
    ContainerIntent {
        name: definition.name.clone(),
        arn: container_arn(&task.cluster, &task.id, &container.id, env),
        endpoint_id: container.endpoint_id.clone(),
        image: definition.image.clone(),
        entry_point: definition.entry_point.clone(),
        command: given.command.clone().or(definition.command.clone()),
        environment: environment(&definition.environment, given.environment.as_deref().unwrap_or_default()),
        essential: definition.essential,
        cpu_units: given.cpu_units.unwrap_or(definition.cpu_units),
        memory_mib: given.memory_mib.or(definition.memory_mib),
        memory_reservation_mib: given.memory_reservation_mib.or(definition.memory_reservation_mib),
        stop_timeout_s: definition.stop_timeout_s.unwrap_or(STOP_TIMEOUT_S),
        working_directory: definition.working_directory.clone(),
        user: definition.user.clone(),
        readonly_root_filesystem: definition.readonly_root_filesystem == Some(true),
        pseudo_terminal: definition.pseudo_terminal == Some(true),
        labels: definition.docker_labels.clone().unwrap_or_default(),
        mounts: definition.mount_points.iter().map(mount).collect(),
        ports: definition.port_mappings.iter().map(port).collect(),
        links: definition.links.iter().flatten().map(|link| read_link(link)).collect(),
    }
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
