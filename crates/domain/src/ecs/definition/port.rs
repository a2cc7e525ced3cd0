//! Port mappings: what they may be in each network mode.

use std::collections::BTreeSet;

use berth_shapes::ecs::PortMapping as Asked;

use super::super::record::{ContainerDefinition, PortMapping};
use super::super::refuse::{client, not_yet};
use super::network_mode::NetworkMode;
use crate::Refusal;

/// Reads the mappings of one container; `path` names it in refusals.
pub(super) fn read(asked: Option<&[Asked]>, mode: NetworkMode, path: &str) -> Result<Vec<PortMapping>, Refusal> {
    let asked = asked.unwrap_or_default();
    if mode == NetworkMode::None && !asked.is_empty() {
        return Err(client("Port mappings are not supported when networkMode=none."));
    }
    asked.iter().enumerate().map(|(at, asked)| one(asked, mode, &format!("{path}.portMappings[{at}]"))).collect()
}

fn one(asked: &Asked, mode: NetworkMode, path: &str) -> Result<PortMapping, Refusal> {
    if asked.container_port_range.is_some() {
        if asked.container_port.is_some() {
            return Err(client("cannot specify both single port and port range"));
        }
        check_range(asked.container_port_range.as_deref().unwrap_or_default())?;
        return Err(not_yet(format!("{path}.containerPortRange")));
    }
    let port = |given: Option<i32>, least: u16| {
        given.and_then(|given| u16::try_from(given).ok()).filter(|port| *port >= least)
    };
    let container_port = port(asked.container_port, 1)
        .ok_or_else(|| client(format!("{path}.containerPort must be between 1 and 65535.")))?;
    let host_port = match asked.host_port {
        None => None,
        Some(_) => Some(
            port(asked.host_port, 0).ok_or_else(|| client(format!("{path}.hostPort must be between 0 and 65535.")))?,
        ),
    };
    let host_port = match (mode, host_port) {
        (NetworkMode::Bridge | NetworkMode::None, given) => given.unwrap_or(0),
        (NetworkMode::Awsvpc | NetworkMode::Host, Some(given)) if given != container_port => {
            return Err(client(format!(
                "When networkMode={}, the host ports and container ports in port mappings must match.",
                mode.name()
            )));
        }
        (NetworkMode::Awsvpc | NetworkMode::Host, Some(_) | None) => container_port,
    };
    let protocol = match asked.protocol.as_deref() {
        None | Some("tcp") => "tcp",
        Some("udp") => "udp",
        Some(other) => return Err(client(format!("'{other}' is not a valid value for {path}.protocol."))),
    };
    if let Some(name) = &asked.name {
        check_name(name, path)?;
    }
    match asked.app_protocol.as_deref() {
        None | Some("http" | "http2" | "grpc") => {}
        Some(other) => return Err(client(format!("'{other}' is not a valid value for {path}.appProtocol."))),
    }
    let (name, app_protocol) = (asked.name.clone(), asked.app_protocol.clone());
    Ok(PortMapping { container_port, host_port, protocol: protocol.to_owned(), name, app_protocol })
}

fn check_range(range: &str) -> Result<(), Refusal> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let ends = range.split_once('-').and_then(|(first, last)| Some((port(first)?, port(last)?)));
    match ends {
        Some((first, last)) if first < last => Ok(()),
        Some(_) | None => Err(client("Invalid 'containerPortRange' setting")),
    }
}

fn check_name(name: &str, path: &str) -> Result<(), Refusal> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || name.starts_with('-') || !name.chars().all(is_allowed) {
        return Err(client(format!(
            "{path}.name must have between 1 and 64 lowercase letters, numbers, underscores and hyphens and must not \
             start with a hyphen."
        )));
    }
    Ok(())
}

/// Refuses ports and names that two containers of a task would have to share.
pub(super) fn check_task(containers: &[ContainerDefinition], mode: NetworkMode) -> Result<(), Refusal> {
    let (mut ports, mut names) = (BTreeSet::new(), BTreeSet::new());
    for mapping in containers.iter().flat_map(|container| &container.port_mappings) {
        let port = match mode {
            NetworkMode::Awsvpc | NetworkMode::Host => mapping.container_port,
            NetworkMode::Bridge | NetworkMode::None => mapping.host_port,
        };
        // 0 is any free port of the host.
        if port != 0 && !ports.insert((port, mapping.protocol.as_str())) {
            let which = if mode == NetworkMode::Bridge { "host" } else { "container" };
            return Err(client(format!("{which} port is used multiple times in task")));
        }
        if mapping.name.as_ref().is_some_and(|name| !names.insert(name.as_str())) {
            return Err(client("port mapping name is already used"));
        }
    }
    Ok(())
}
