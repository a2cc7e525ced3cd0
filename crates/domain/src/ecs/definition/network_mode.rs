//! Network modes of a task definition and what they forbid its containers.

use berth_shapes::ecs::ContainerDefinition as Asked;
pub(super) use berth_types::mode::NetworkMode;

use super::super::refuse::client;
use crate::Refusal;

/// The mode a definition names; bridge when it names none.
pub(super) fn read(text: Option<&str>) -> Result<NetworkMode, Refusal> {
    let Some(text) = text else { return Ok(NetworkMode::Bridge) };
    NetworkMode::parse(text).ok_or_else(|| client(format!("'{text}' is not a valid value for networkMode.")))
}

/// Refuses container members that make no sense in this mode.
pub(super) fn check_members(mode: NetworkMode, asked: &Asked) -> Result<(), Refusal> {
    let is_given = |list: Option<usize>| list.is_some_and(|len| len > 0);
    if mode != NetworkMode::Bridge && is_given(asked.links.as_ref().map(Vec::len)) {
        return Err(client(format!("Links are not supported when networkMode={}.", mode.as_str())));
    }
    if mode != NetworkMode::Awsvpc {
        return Ok(());
    }
    let given = [
        ("hostname is", asked.hostname.is_some()),
        ("Extra hosts are", is_given(asked.extra_hosts.as_ref().map(Vec::len))),
        ("DNS servers are", is_given(asked.dns_servers.as_ref().map(Vec::len))),
        ("DNS search domains are", is_given(asked.dns_search_domains.as_ref().map(Vec::len))),
        ("Disable Networking is", asked.disable_networking == Some(true)),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((what, _)) => Err(client(format!("{what} not supported on container when networkMode=awsvpc"))),
        None => Ok(()),
    }
}
