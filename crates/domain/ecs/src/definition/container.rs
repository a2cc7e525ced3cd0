// SPDX-License-Identifier: Apache-2.0
//! Containers of a task definition.

use berth_shapes::ecs::{ContainerDefinition as Asked, HostEntry, KeyValuePair};
use berth_state::Refusal;
use berth_state::ecs::{ContainerDefinition, VersionConsistency, Volume};
use berth_types::container::ExtraHost;

use super::super::refuse::client;
use super::around::Around;
use super::network_mode;
use super::read::{check_name, each, natural, text, word};
use super::{fargate, lifecycle, link, linux, log, port, unsupported, volume};

/// Longest name of an image, in characters.
const IMAGE_CHARS_MAX: usize = 255;

/// Minimum memory of a container, MiB.
const MEMORY_MIB_MIN: u32 = 6;

/// Reads one container; `path` names it in refusals.
pub(super) fn read(asked: &Asked, around: &Around, path: &str) -> Result<ContainerDefinition, Refusal> {
    let (name, image) = name_and_image(asked)?;
    network_mode::check_members(around.mode, asked)?;
    if around.fargate {
        fargate::check_asked(asked)?;
    }
    unsupported::check_container(asked, around, path)?;
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
        mount_points: volume::mount_points(asked.mount_points.as_deref(), path)?,
        stop_timeout_s: lifecycle::timeout(asked.stop_timeout, "stop", name)?,
        working_directory: asked.working_directory.clone(),
        user: asked.user.clone(),
        readonly_root_filesystem: asked.readonly_root_filesystem,
        pseudo_terminal: asked.pseudo_terminal,
        interactive: asked.interactive,
        privileged: asked.privileged,
        disable_networking: asked.disable_networking,
        docker_labels: asked.docker_labels.clone(),
        log_configuration: log::read(asked.log_configuration.as_ref(), path)?,
        linux_parameters: linux::parameters(asked.linux_parameters.as_ref(), name, path)?,
        ulimits: linux::ulimits(asked.ulimits.as_deref(), path)?,
        system_controls: linux::system_controls(asked.system_controls.as_deref(), around.mode, path)?,
        docker_security_options: linux::security_options(asked.docker_security_options.as_deref(), path)?,
        hostname: asked.hostname.clone(),
        extra_hosts: each(asked.extra_hosts.as_deref(), &format!("{path}.extraHosts"), extra_host)?,
        dns_servers: asked.dns_servers.clone(),
        dns_search_domains: asked.dns_search_domains.clone(),
        depends_on: lifecycle::depends_on(asked.depends_on.as_deref(), path)?,
        start_timeout_s: lifecycle::timeout(asked.start_timeout, "start", name)?,
        health_check: lifecycle::health_check(asked.health_check.as_ref(), name)?,
        restart_policy: lifecycle::restart_policy(asked.restart_policy.as_ref(), name)?,
        volumes_from: volume::volumes_from(asked.volumes_from.as_deref(), path)?,
        version_consistency: word(
            asked.version_consistency.as_deref(),
            VersionConsistency::parse,
            &format!("{path}.versionConsistency"),
        )?,
    };
    check_memory(&container, around.memory_mib)?;
    Ok(container)
}

/// The members required of every container, checked before the rules of a launch type.
pub(super) fn name_and_image(asked: &Asked) -> Result<(&str, &str), Refusal> {
    let name = required(asked.name.as_deref(), "name")?;
    check_name(name, "Container name")?;
    let image = required(asked.image.as_deref(), "image")?;
    if image.chars().count() > IMAGE_CHARS_MAX {
        return Err(client(format!("Container.image should be {IMAGE_CHARS_MAX} characters or less")));
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_:./#@".contains(c);
    if !image.chars().all(is_allowed) {
        return Err(client("Container.image contains invalid characters."));
    }
    Ok((name, image))
}

/// Refuses containers that conflict within one task.
pub(super) fn check_together(
    containers: &[ContainerDefinition],
    around: &Around,
    volumes: &[Volume],
) -> Result<(), Refusal> {
    let mut names = std::collections::BTreeSet::new();
    if containers.iter().any(|container| !names.insert(container.name.as_str())) {
        return Err(client("Container names must be unique within a task definition"));
    }
    if !containers.iter().any(|container| container.essential) {
        return Err(client("Task definition doesn't have any essential container"));
    }
    for container in containers {
        link::check(container, &names)?;
    }
    volume::check_together(containers, volumes)?;
    lifecycle::check_together(containers)?;
    port::check_task(containers, around.mode)?;
    let sum = |size: fn(&ContainerDefinition) -> u32| containers.iter().map(|c| u64::from(size(c))).sum::<u64>();
    if around.cpu_units.is_some_and(|cpu| sum(|container| container.cpu_units) > u64::from(cpu)) {
        return Err(client("The sum of all container 'cpu' values cannot be greater than the task-level 'cpu' value"));
    }
    let exceeds_memory = |sum: u64| around.memory_mib.is_some_and(|memory| sum > u64::from(memory));
    if exceeds_memory(sum(|container| container.memory_reservation_mib.unwrap_or(0))) {
        return Err(client(
            "The sum of all container 'memoryReservation' values cannot be greater than the value of the task 'memory'.",
        ));
    }
    let reserved = sum(|container| container.memory_reservation_mib.or(container.memory_mib).unwrap_or(0));
    if around.fargate && exceeds_memory(reserved) {
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
            return Err(client(format!("The '{member}' setting for container '{name}' is greater than for the task.")));
        }
    }
    Ok(())
}

fn required<'a>(given: Option<&'a str>, member: &str) -> Result<&'a str, Refusal> {
    given
        .filter(|text| !text.is_empty())
        .ok_or_else(|| client(format!("Container.{member} should not be null or empty.")))
}

fn environment(asked: Option<&[KeyValuePair]>, path: &str) -> Result<Vec<(String, String)>, Refusal> {
    let entry = |(at, pair): (usize, &KeyValuePair)| match pair.name.as_deref() {
        None | Some("") => Err(client(format!("{path}.environment[{at}].name should not be null or empty."))),
        Some(name) => Ok((name.to_owned(), pair.value.clone().unwrap_or_default())),
    };
    asked.unwrap_or_default().iter().enumerate().map(entry).collect()
}

fn extra_host(asked: &HostEntry, path: &str) -> Result<ExtraHost, Refusal> {
    Ok(ExtraHost {
        hostname: text(asked.hostname.as_ref(), &format!("{path}.hostname"))?,
        ip_address: text(asked.ip_address.as_ref(), &format!("{path}.ipAddress"))?,
    })
}
