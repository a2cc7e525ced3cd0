// SPDX-License-Identifier: Apache-2.0
//! Computes steps from a configuration and the present state. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use berth_types::MacAddress;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::kernel::netlink::{Link, Route, RouteKind};

/// The largest packet accepted outside of a VPC.
pub const INTERNET_MTU: u32 = 1500;

/// The wanted state of an interface. Used by `ecs-eni`, `vpc-eni` and interfaces created in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniConfig {
    /// Hardware address, by which the device is found.
    pub mac: MacAddress,
    /// Its addresses with the prefix length of the subnet.
    pub addresses: Vec<IpNet>,
    /// Routers: a default route each.
    pub gateways: Vec<IpAddr>,
    /// MTU; unchanged if `None`.
    pub mtu: Option<u32>,
    /// Ranges reached through the router with the full MTU. If there are any, the default routes are limited to
    /// [`INTERNET_MTU`], so that hosts need not rely on path MTU discovery.
    pub vpc_cidrs: Vec<IpNet>,
    /// Packets to the instance metadata addresses are dropped.
    pub block_instance_metadata: bool,
    /// The device is only moved: no name, address or route.
    pub stay_down: bool,
}

/// The present state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The device, inside the container.
    pub link: Link,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// All routes of the container.
    pub routes: Vec<Route>,
    /// The container supports IPv6; otherwise there is no IPv6 route to drop.
    pub has_ipv6: bool,
}

/// One step. Repeating it does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Step {
    /// Only a link that is down can be renamed.
    Down,
    Rename {
        from: String,
        to: String,
    },
    SetMtu {
        mtu: u32,
    },
    AddAddress {
        address: IpNet,
    },
    Up,
    AddRoute {
        route: Route,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("switch off"),
            Self::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Self::SetMtu { mtu } => write!(f, "set MTU {mtu}"),
            Self::AddAddress { address } => write!(f, "add address {address}"),
            Self::Up => f.write_str("switch on"),
            Self::AddRoute { route } => write!(f, "add route {route}"),
        }
    }
}

/// The steps from the present to the wanted state; none if they are equal.
pub fn plan(config: &EniConfig, if_name: &str, seen: &Seen) -> Vec<Step> {
    let mut steps = Vec::new();
    let renamed = seen.link.name != if_name;
    if renamed {
        if seen.link.is_up {
            steps.push(Step::Down);
        }
        steps.push(Step::Rename { from: seen.link.name.clone(), to: if_name.to_owned() });
    }
    if let Some(mtu) = config.mtu.filter(|mtu| *mtu != seen.link.mtu) {
        steps.push(Step::SetMtu { mtu });
    }
    let missing = config.addresses.iter().filter(|address| !seen.addresses.contains(address));
    steps.extend(missing.map(|address| Step::AddAddress { address: *address }));
    if renamed || !seen.link.is_up {
        steps.push(Step::Up);
    }
    for route in routes(config, seen) {
        if !seen.routes.iter().any(|there| is_same(there, &route)) {
            steps.push(Step::AddRoute { route });
        }
    }
    steps
}

/// Routes in the order in which they can be added: dropping routes first, default routes last.
fn routes(config: &EniConfig, seen: &Seen) -> Vec<Route> {
    let mtu = config.mtu.unwrap_or(seen.link.mtu);
    let mut routes = Vec::new();
    if config.block_instance_metadata {
        let reachable = metadata().into_iter().filter(|net| seen.has_ipv6 || net.addr().is_ipv4());
        routes.extend(reachable.map(Route::blackhole));
    }
    for gateway in &config.gateways {
        let same_family = |cidr: &&IpNet| cidr.addr().is_ipv4() == gateway.is_ipv4();
        for cidr in config.vpc_cidrs.iter().filter(same_family) {
            // The subnet is on the link; a route to it through the router would cut the router off.
            if !config.addresses.iter().any(|address| address.trunc().contains(&cidr.trunc())) {
                routes.push(Route::via(cidr.trunc(), *gateway, seen.link.index).with_mtu(mtu));
            }
        }
    }
    for gateway in &config.gateways {
        let route = Route::default_via(*gateway, seen.link.index);
        let is_limited = !config.vpc_cidrs.is_empty() && mtu > INTERNET_MTU;
        routes.push(if is_limited { route.with_mtu(INTERNET_MTU) } else { route });
    }
    // The kernel has one route to a destination, and a later one would replace the dropping route.
    let mut destinations = BTreeSet::new();
    routes.retain(|route| destinations.insert(route.dst));
    routes
}

/// The instance metadata addresses.
fn metadata() -> [IpNet; 2] {
    let v4 = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 169, 254), 32);
    let v6 = Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128);
    [v4.into(), v6.into()]
}

fn is_same(there: &Route, wanted: &Route) -> bool {
    let same_way = wanted.kind == RouteKind::Blackhole
        || (there.gateway == wanted.gateway && there.oif == wanted.oif && there.mtu == wanted.mtu);
    there.dst == wanted.dst && there.kind == wanted.kind && same_way
}

#[cfg(test)]
mod tests;
