// SPDX-License-Identifier: Apache-2.0
//! Network modes of a task definition and the container members they exclude.

use super::read::word;
use std::net::IpAddr;

use berth_shapes::ecs::ContainerDefinition as Asked;

pub(super) use berth_types::mode::NetworkMode;

use super::super::refuse::client;
use berth_state::Refusal;

/// Longest host name the kernel accepts.
const HOSTNAME_MAX: usize = 63;

/// The mode a definition names.
pub(super) fn read(text: Option<&str>) -> Result<Option<NetworkMode>, Refusal> {
    word(text, NetworkMode::parse, "networkMode")
}

/// Refuses container members that this mode excludes.
pub(super) fn check_members(mode: NetworkMode, asked: &Asked) -> Result<(), Refusal> {
    let is_given = |list: Option<usize>| list.is_some_and(|len| len > 0);
    if mode != NetworkMode::Bridge && is_given(asked.links.as_ref().map(Vec::len)) {
        return Err(client(format!("Links are not supported when networkMode={}.", mode.as_str())));
    }
    if mode != NetworkMode::Awsvpc {
        return check_names(asked);
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

/// Refuses names and addresses that cannot be written into a container's `hostname`, `hosts` and `resolv.conf`.
fn check_names(asked: &Asked) -> Result<(), Refusal> {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let refuse = |member: &str, given: &str, what: &str| {
        Err(client(format!("Invalid '{member}' setting for container. '{given}' is not {what}.")))
    };
    if let Some(hostname) = &asked.hostname
        && !(is_name(hostname) && hostname.len() <= HOSTNAME_MAX)
    {
        return refuse("hostname", hostname, "a host name of up to 63 characters");
    }
    for host in asked.extra_hosts.iter().flatten() {
        let (name, address) = (host.hostname.as_deref().unwrap_or(""), host.ip_address.as_deref().unwrap_or(""));
        // Their presence is checked where they are read.
        if !name.is_empty() && !is_name(name) {
            return refuse("extraHosts", name, "a host name");
        }
        if !address.is_empty() && address.parse::<IpAddr>().is_err() {
            return refuse("extraHosts", address, "an IP address");
        }
    }
    if let Some(server) = asked.dns_servers.iter().flatten().find(|server| server.parse::<IpAddr>().is_err()) {
        return refuse("dnsServers", server, "an IP address");
    }
    match asked.dns_search_domains.iter().flatten().find(|domain| !is_name(domain)) {
        Some(domain) => refuse("dnsSearchDomains", domain, "a domain"),
        None => Ok(()),
    }
}
