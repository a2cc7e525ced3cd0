//! Containers of a task definition.

use berth_shapes::ecs::{ContainerDefinition as Asked, KeyValuePair, MountPoint as AskedMountPoint};

use super::super::record::{ContainerDefinition, MountPoint};
use super::super::refuse::{client, not_yet};
use super::network_mode::{self, NetworkMode};
use super::{fargate, link, log, port};
use crate::Refusal;

/// Memory below which no container starts, MiB.
const MEMORY_MIB_MIN: u32 = 6;

/// What the task says that its containers must fit in.
pub(super) struct Around {
    pub mode: NetworkMode,
    /// FARGATE is among the required compatibilities.
    pub fargate: bool,
    pub has_execution_role: bool,
    pub cpu_units: Option<u32>,
    pub memory_mib: Option<u32>,
}

/// Reads one container; `path` names it in refusals.
pub(super) fn read(asked: &Asked, around: &Around, path: &str) -> Result<ContainerDefinition, Refusal> {
    let name = required(asked.name.as_deref(), "name")?;
    check_name(name, "Container name")?;
    let image = required(asked.image.as_deref(), "image")?;
    network_mode::check_members(around.mode, asked)?;
    if around.fargate {
        fargate::check_container_members(asked)?;
    }
    if !is_empty(&asked.secrets) && !around.has_execution_role {
        return Err(client(
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
        ));
    }
    refuse_unsupported(asked, path)?;
    let container = ContainerDefinition {
        name: name.to_owned(),
        image: image.to_owned(),
        cpu_units: natural(asked.cpu, "cpu", name)?.unwrap_or(0),
        memory_mib: natural(asked.memory, "memory", name)?,
        memory_reservation_mib: natural(asked.memory_reservation, "memoryReservation", name)?,
        essential: asked.essential.unwrap_or(true),
        port_mappings: port::read(asked.port_mappings.as_deref(), around.mode, path)?,
        links: asked.links.clone().filter(|links| !links.is_empty()),
        entry_point: asked.entry_point.clone(),
        command: asked.command.clone(),
        environment: environment(asked.environment.as_deref(), path)?,
        mount_points: mount_points(asked.mount_points.as_deref(), path)?,
        stop_timeout_s: natural(asked.stop_timeout, "stopTimeout", name)?,
        working_directory: asked.working_directory.clone(),
        user: asked.user.clone(),
        readonly_root_filesystem: asked.readonly_root_filesystem,
        pseudo_terminal: asked.pseudo_terminal,
        interactive: asked.interactive,
        privileged: asked.privileged,
        disable_networking: asked.disable_networking,
        docker_labels: asked.docker_labels.clone(),
        log_configuration: log::read(asked.log_configuration.as_ref(), path)?,
    };
    check_memory(&container, around.memory_mib)?;
    Ok(container)
}

/// A name of a container or volume.
pub(super) fn check_name(name: &str, what: &str) -> Result<(), Refusal> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.len() > 255 || !name.chars().all(is_allowed) {
        return Err(client(format!(
            "{what} '{name}' is invalid. Up to 255 letters (uppercase and lowercase), numbers, hyphens, and \
             underscores are allowed."
        )));
    }
    Ok(())
}

/// Refuses what a task's containers cannot be together.
pub(super) fn check_together(
    containers: &[ContainerDefinition],
    around: &Around,
    volumes: &[&str],
) -> Result<(), Refusal> {
    let mut names = std::collections::BTreeSet::new();
    if containers.iter().any(|container| !names.insert(container.name.as_str())) {
        return Err(client("Container names must be unique within a task definition"));
    }
    if !containers.iter().any(|container| container.essential) {
        return Err(client("Task definition doesn't have any essential container"));
    }
    for container in containers {
        if let Some(unknown) =
            container.mount_points.iter().find(|mount| !volumes.contains(&mount.source_volume.as_str()))
        {
            return Err(client(format!("Unknown volume '{}'.", unknown.source_volume)));
        }
        link::check(container, &names)?;
    }
    port::check_task(containers, around.mode)?;
    let sum = |size: fn(&ContainerDefinition) -> u32| containers.iter().map(|c| u64::from(size(c))).sum::<u64>();
    if around.cpu_units.is_some_and(|cpu| sum(|container| container.cpu_units) > u64::from(cpu)) {
        return Err(client("The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value"));
    }
    let reserved = sum(|container| container.memory_reservation_mib.or(container.memory_mib).unwrap_or(0));
    if around.fargate && around.memory_mib.is_some_and(|memory| reserved > u64::from(memory)) {
        return Err(client(
            "The sum of all container 'memory' values cannot be greater than the task-level 'memory' value",
        ));
    }
    Ok(())
}

fn check_memory(container: &ContainerDefinition, task_memory_mib: Option<u32>) -> Result<(), Refusal> {
    let name = &container.name;
    let invalid = |words: &str| client(format!("Invalid setting for container '{name}'. {words}"));
    let (hard, soft) = (container.memory_mib, container.memory_reservation_mib);
    if hard.or(soft).or(task_memory_mib).is_none() {
        return Err(invalid("At least one of 'memory' or 'memoryReservation' must be specified."));
    }
    for (member, given) in [("memory", hard), ("memoryReservation", soft)] {
        if given.is_some_and(|given| given < MEMORY_MIB_MIN) {
            return Err(invalid(&format!("The '{member}' setting must be at least {MEMORY_MIB_MIN} MiB.")));
        }
    }
    if let (Some(hard), Some(soft)) = (hard, soft)
        && hard < soft
    {
        return Err(invalid("'memory' must be greater than or equal to 'memoryReservation'."));
    }
    let Some(task) = task_memory_mib else { return Ok(()) };
    for (member, given) in [("memory", hard), ("memoryReservation", soft)] {
        if given.is_some_and(|given| given > task) {
            return Err(invalid(&format!("The '{member}' setting for container is greater than for the task.")));
        }
    }
    Ok(())
}

fn refuse_unsupported(asked: &Asked, path: &str) -> Result<(), Refusal> {
    let given = [
        ("credentialSpecs", !is_empty(&asked.credential_specs)),
        ("dependsOn", !is_empty(&asked.depends_on)),
        ("disableNetworking", asked.disable_networking == Some(true)),
        ("dnsSearchDomains", !is_empty(&asked.dns_search_domains)),
        ("dnsServers", !is_empty(&asked.dns_servers)),
        ("dockerSecurityOptions", !is_empty(&asked.docker_security_options)),
        ("environmentFiles", !is_empty(&asked.environment_files)),
        ("extraHosts", !is_empty(&asked.extra_hosts)),
        ("firelensConfiguration", asked.firelens_configuration.is_some()),
        ("healthCheck", asked.health_check.is_some()),
        ("hostname", asked.hostname.is_some()),
        ("interactive", asked.interactive == Some(true)),
        ("linuxParameters", asked.linux_parameters.is_some()),
        ("privileged", asked.privileged == Some(true)),
        ("repositoryCredentials", asked.repository_credentials.is_some()),
        ("resourceRequirements", !is_empty(&asked.resource_requirements)),
        ("restartPolicy", asked.restart_policy.is_some()),
        ("secrets", !is_empty(&asked.secrets)),
        ("startTimeout", asked.start_timeout.is_some()),
        ("systemControls", !is_empty(&asked.system_controls)),
        ("ulimits", !is_empty(&asked.ulimits)),
        ("versionConsistency", asked.version_consistency.is_some()),
        ("volumesFrom", !is_empty(&asked.volumes_from)),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((member, _)) => Err(not_yet(format!("{path}.{member}"))),
        None => Ok(()),
    }
}

fn is_empty<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

fn required<'a>(given: Option<&'a str>, member: &str) -> Result<&'a str, Refusal> {
    given
        .filter(|text| !text.is_empty())
        .ok_or_else(|| client(format!("Container.{member} should not be null or empty.")))
}

fn natural(given: Option<i32>, member: &str, container: &str) -> Result<Option<u32>, Refusal> {
    given
        .map(|given| {
            u32::try_from(given).map_err(|_| {
                client(format!("Invalid setting for container '{container}'. '{member}' must not be negative."))
            })
        })
        .transpose()
}

fn environment(asked: Option<&[KeyValuePair]>, path: &str) -> Result<Vec<(String, String)>, Refusal> {
    let entry = |(at, pair): (usize, &KeyValuePair)| match pair.name.as_deref() {
        None | Some("") => Err(client(format!("{path}.environment[{at}].name should not be null or empty."))),
        Some(name) => Ok((name.to_owned(), pair.value.clone().unwrap_or_default())),
    };
    asked.unwrap_or_default().iter().enumerate().map(entry).collect()
}

fn mount_points(asked: Option<&[AskedMountPoint]>, path: &str) -> Result<Vec<MountPoint>, Refusal> {
    let mount = |(at, asked): (usize, &AskedMountPoint)| {
        let text = |given: &Option<String>, member: &str| {
            given
                .clone()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| client(format!("{path}.mountPoints[{at}].{member} should not be null or empty.")))
        };
        Ok(MountPoint {
            source_volume: text(&asked.source_volume, "sourceVolume")?,
            container_path: text(&asked.container_path, "containerPath")?,
            read_only: asked.read_only,
        })
    };
    asked.unwrap_or_default().iter().enumerate().map(mount).collect()
}
