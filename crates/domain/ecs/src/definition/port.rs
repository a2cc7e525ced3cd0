// SPDX-License-Identifier: Apache-2.0
//! Port mappings and their rules in each network mode.

use super::read::word;
use std::collections::BTreeSet;

use berth_shapes::ecs::PortMapping as Asked;
use berth_state::Refusal;
use berth_state::ecs::{AppProtocol, ContainerDefinition, PortMapping};
use berth_types::mode::Protocol;

use super::super::refuse::client;
use super::network_mode::NetworkMode;

/// Maximum number of port ranges of one container.
const RANGES_MAX: usize = 100;

/// Reads the mappings of one container; `path` names it in refusals.
pub(super) fn read(asked: Option<&[Asked]>, mode: NetworkMode, path: &str) -> Result<Vec<PortMapping>, Refusal> {
    let asked = asked.unwrap_or_default();
    if mode == NetworkMode::None && !asked.is_empty() {
        return Err(client("Port mappings are not supported when networkMode=none."));
    }
    if asked.iter().filter(|asked| asked.container_port_range.is_some()).count() > RANGES_MAX {
        return Err(client(format!("{path}.portMappings can have at most {RANGES_MAX} container port ranges.")));
    }
    asked.iter().enumerate().map(|(at, asked)| one(asked, mode, &format!("{path}.portMappings[{at}]"))).collect()
}

/// Ports of a mapping: the first and, of a range, the last in the container, and the one of the host.
type Ports = (u16, Option<u16>, u16);

fn one(asked: &Asked, mode: NetworkMode, path: &str) -> Result<PortMapping, Refusal> {
    let (container_port, last_container_port, host_port) = match &asked.container_port_range {
        Some(range) => range_ports(asked, range, mode)?,
        None => single_port(asked, mode, path)?,
    };
    let protocol = match asked.protocol.as_deref() {
        None | Some("tcp") => Protocol::Tcp,
        Some("udp") => Protocol::Udp,
        Some(other) => return Err(client(format!("'{other}' is not a valid value for {path}.protocol."))),
    };
    if let Some(name) = &asked.name {
        check_name(name, path)?;
    }
    let app_protocol = word(asked.app_protocol.as_deref(), AppProtocol::parse, &format!("{path}.appProtocol"))?;
    let name = asked.name.clone();
    Ok(PortMapping { container_port, last_container_port, host_port, protocol, name, app_protocol })
}

fn single_port(asked: &Asked, mode: NetworkMode, path: &str) -> Result<Ports, Refusal> {
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
                mode.as_str()
            )));
        }
        (NetworkMode::Awsvpc | NetworkMode::Host, Some(_) | None) => container_port,
    };
    Ok((container_port, None, host_port))
}

/// A range such as `8000-8010`; a request cannot name the host's ports of a range.
fn range_ports(asked: &Asked, range: &str, mode: NetworkMode) -> Result<Ports, Refusal> {
    if asked.container_port.is_some() {
        return Err(client("cannot specify both single port and port range"));
    }
    let invalid = |why: &str| client(format!("Invalid 'containerPortRange' setting '{range}'. {why}"));
    if mode == NetworkMode::Host {
        return Err(invalid("Port ranges are not supported when networkMode=host."));
    }
    if asked.host_port.is_some_and(|port| port != 0) {
        return Err(invalid("A host port cannot be specified with a port range."));
    }
    // Canonical form only: `+80` and `080` would be returned in another form.
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && port.to_string() == text);
    let ends = range.split_once('-').and_then(|(first, last)| Some((port(first)?, port(last)?)));
    match ends {
        Some((first, last)) if first < last => {
            Ok((first, Some(last), if mode == NetworkMode::Awsvpc { first } else { 0 }))
        }
        Some(_) => Err(invalid("The first port must be less than the last port.")),
        None => Err(invalid("It must be two port numbers between 1 and 65535 with a hyphen between them.")),
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

/// Refuses ports and names that two containers of a task use.
pub(super) fn check_task(containers: &[ContainerDefinition], mode: NetworkMode) -> Result<(), Refusal> {
    let (mut inside, mut outside, mut names) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    // On a bridge every container has its own ports, and several host ports may lead to one of them.
    let is_bridge = mode == NetworkMode::Bridge;
    for mapping in containers.iter().flat_map(|container| &container.port_mappings) {
        let mut ports = mapping.container_port..=mapping.last_container_port.unwrap_or(mapping.container_port);
        if !is_bridge && ports.any(|port| !inside.insert((mapping.protocol, port))) {
            return Err(client("container port is used multiple times in task"));
        }
        // 0 asks for any free port of the host.
        let is_fixed = is_bridge && mapping.host_port != 0;
        if is_fixed && !outside.insert((mapping.protocol, mapping.host_port)) {
            return Err(client("host port is used multiple times in task"));
        }
        if mapping.name.as_ref().is_some_and(|name| !names.insert(name.as_str())) {
            return Err(client("port mapping name is already used"));
        }
    }
    Ok(())
}
