// SPDX-License-Identifier: Apache-2.0
//! Computes steps from the wanted and the present state. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use berth_types::MacAddress;
use ipnet::IpNet;

use crate::cni::Fault;
use crate::cni::spec::RouteTo;
use crate::kernel::netlink::{Link, Route, RouteKind};
use crate::ports::{Lease, Reach};

/// Address at which tasks request credentials and metadata.
pub const CREDENTIALS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
/// Port of the metadata endpoint at [`CREDENTIALS`].
const ENDPOINT_PORT: u16 = 80;

/// The wanted state of an ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Name of the bridge.
    pub bridge: String,
    /// Name of the container's end.
    pub container_if: String,
    /// The container's namespace, for messages.
    pub namespace: PathBuf,
    /// MTU of both ends.
    pub mtu: u32,
    /// Addresses of the container's end, each with the bridge's address in that subnet.
    pub addresses: Vec<(IpNet, IpAddr)>,
    /// Routes through the bridge.
    pub routes: Vec<RouteTo>,
    /// A default route through the bridge, too.
    pub default_route: bool,
    /// The port may send frames back to their sender (hairpin mode).
    pub hairpin: bool,
    /// Other addresses are removed from the bridge instead of being an error.
    pub force_address: bool,
    /// Pins of the program that guards the port; without them only the port's isolation and the static entries protect
    /// it.
    pub guard: Option<PathBuf>,
}

impl Want {
    /// `0a:58` and the IPv4 address; without one, the last four bytes of the first address.
    pub fn mac(&self) -> MacAddress {
        let v4 = self.addresses.iter().find_map(|(address, _)| match address {
            IpNet::V4(v4) => Some(v4.addr().octets()),
            IpNet::V6(_) => None,
        });
        let v6 = self.addresses.iter().find_map(|(address, _)| match address {
            IpNet::V6(v6) => v6.addr().octets().last_chunk::<4>().copied(),
            IpNet::V4(_) => None,
        });
        let [a, b, c, d] = v4.or(v6).unwrap_or_default();
        MacAddress([0x0a, 0x58, a, b, c, d])
    }

    fn bridge_address(&self, address: IpNet, gateway: IpAddr) -> IpNet {
        IpNet::new_assert(gateway, address.prefix_len())
    }

    /// The frames that the program admits at the port: TCP to the metadata endpoint, from the first IPv4 address.
    /// `None` without one.
    pub fn lease(&self) -> Option<Lease> {
        self.addresses.iter().find_map(|(address, gateway)| match (address, gateway) {
            (IpNet::V4(address), IpAddr::V4(gateway)) => {
                let endpoint = SocketAddrV4::new(CREDENTIALS, ENDPOINT_PORT);
                let reach = Reach::Endpoint { gateway: *gateway, endpoint };
                Some(Lease { address: address.addr(), mac: self.mac(), reach })
            }
            _ => None,
        })
    }

    /// Routes to the gateways themselves. Those of IPv4 go via the gateway, as the official plugin has them; those
    /// of IPv6 are direct.
    pub fn gateway_routes(&self) -> impl Iterator<Item = (IpNet, Option<IpAddr>)> {
        self.addresses.iter().map(|(_, gateway)| (IpNet::from(*gateway), Some(*gateway).filter(IpAddr::is_ipv4)))
    }

    /// Routes of the container.
    fn container_routes(&self) -> Vec<(IpNet, Option<IpAddr>)> {
        let mut routes: Vec<_> = self.gateway_routes().collect();
        for route in &self.routes {
            let same_family = |(_, gateway): &&(IpNet, IpAddr)| gateway.is_ipv4() == route.dst.addr().is_ipv4();
            let gateway = route.gw.or_else(|| self.addresses.iter().find(same_family).map(|(_, gateway)| *gateway));
            routes.extend(gateway.map(|gateway| (route.dst.trunc(), Some(gateway))));
        }
        if self.default_route {
            for (_, gateway) in &self.addresses {
                routes.push((Route::default_via(*gateway, 0).dst, Some(*gateway)));
            }
        }
        // The kernel has one route to a destination.
        let mut destinations = BTreeSet::new();
        routes.retain(|(dst, _)| destinations.insert(*dst));
        routes
    }
}

/// The present state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A link with the bridge's name.
    pub bridge: Option<Link>,
    /// Its addresses.
    pub bridge_addresses: Vec<IpNet>,
    /// A link with the name of the container's end.
    pub container_end: Option<Link>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// The routes over it.
    pub routes: Vec<Route>,
    /// The other end of its pair, if that is on the host.
    pub host_end: Option<Link>,
    /// The lease of the program at the host's end.
    pub guarded: Option<Lease>,
}

/// One step. Repeating it does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Step {
    MakeBridge {
        name: String,
    },
    RemoveBridgeAddress {
        address: IpNet,
    },
    AddBridgeAddress {
        address: IpNet,
    },
    BridgeUp,
    /// The host's end is a port of the bridge from its creation, and down.
    MakePair {
        container_if: String,
        mac: MacAddress,
        mtu: u32,
    },
    Attach,
    /// The port is bound to the container's address, whatever frames claim.
    Pin {
        mac: MacAddress,
    },
    /// Isolated from other ports, and without frames from another hardware address.
    Isolate,
    /// The program is attached before the port is set up.
    Guard {
        lease: Lease,
    },
    Hairpin,
    HostUp,
    AddAddress {
        address: IpNet,
    },
    ContainerUp,
    RemoveRoute {
        dst: IpNet,
    },
    AddRoute {
        dst: IpNet,
        gateway: Option<IpAddr>,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeBridge { name } => write!(f, "make bridge {name}"),
            Self::RemoveBridgeAddress { address } => write!(f, "remove address {address} from the bridge"),
            Self::AddBridgeAddress { address } => write!(f, "add address {address} to the bridge"),
            Self::BridgeUp => f.write_str("switch the bridge on"),
            Self::MakePair { container_if, mac, mtu } => {
                write!(f, "make a veth pair to {container_if} with MAC {mac} and MTU {mtu}")
            }
            Self::Attach => f.write_str("attach the host's end to the bridge"),
            Self::Pin { mac } => write!(f, "pin MAC {mac} to the bridge port"),
            Self::Isolate => f.write_str("isolate the bridge port"),
            Self::Guard { lease } => write!(f, "guard the bridge port of {}", lease.address),
            Self::Hairpin => f.write_str("let the bridge port hairpin"),
            Self::HostUp => f.write_str("switch the host's end on"),
            Self::AddAddress { address } => write!(f, "add address {address} to the container's end"),
            Self::ContainerUp => f.write_str("switch the container's end on"),
            Self::RemoveRoute { dst } => write!(f, "remove route {dst}"),
            Self::AddRoute { dst, gateway: Some(gateway) } => write!(f, "add route {dst} via {gateway}"),
            Self::AddRoute { dst, gateway: None } => write!(f, "add route {dst}"),
        }
    }
}

/// The steps from the present to the wanted state; none if they are equal.
pub fn plan(want: &Want, seen: &Seen) -> Result<Vec<Step>, Fault> {
    let mut steps = bridge_steps(want, seen)?;
    let fresh = seen.container_end.is_none();
    if let Some(link) = &seen.container_end {
        let is_ours = link.kind.as_deref() == Some("veth") && link.mac == Some(want.mac()) && seen.host_end.is_some();
        if !is_ours {
            return Err(Fault::NameTaken {
                name: want.container_if.clone(),
                namespace: want.namespace.clone(),
                found: format!(
                    "a {} with MAC {}",
                    link.kind.as_deref().unwrap_or("hardware device"),
                    link.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string())
                ),
            });
        }
    } else {
        steps.push(Step::MakePair { container_if: want.container_if.clone(), mac: want.mac(), mtu: want.mtu });
    }
    let host = seen.host_end.as_ref();
    let bridge = seen.bridge.as_ref().map(|bridge| bridge.index);
    if !fresh && host.is_none_or(|host| host.bridge.is_none() || host.bridge != bridge) {
        steps.push(Step::Attach);
    }
    // Before the port is up: no frame may pass between two tasks. A port that does not learn already has its entry.
    if fresh || host.is_none_or(|host| !host.port_isolated || host.port_learning) {
        steps.push(Step::Pin { mac: want.mac() });
        steps.push(Step::Isolate);
    }
    if want.guard.is_some()
        && let Some(lease) = want.lease()
        && (fresh || seen.guarded != Some(lease))
    {
        steps.push(Step::Guard { lease });
    }
    if want.hairpin && (fresh || host.is_none_or(|host| !host.port_hairpin)) {
        steps.push(Step::Hairpin);
    }
    if fresh || host.is_none_or(|host| !host.is_up) {
        steps.push(Step::HostUp);
    }
    steps.extend(container_steps(want, seen));
    Ok(steps)
}

fn bridge_steps(want: &Want, seen: &Seen) -> Result<Vec<Step>, Fault> {
    let mut steps = Vec::new();
    if seen.bridge.as_ref().is_none_or(|link| link.kind.as_deref() != Some("bridge")) {
        steps.push(Step::MakeBridge { name: want.bridge.clone() });
    }
    let all: Vec<IpNet> =
        want.addresses.iter().map(|(address, gateway)| want.bridge_address(*address, *gateway)).collect();
    for &wanted in &all {
        let is_there = seen.bridge_addresses.contains(&wanted);
        // A bridge with the address is ours, whatever other addresses it has outside of the subnet; one with only
        // another address is not.
        let is_other = |other: &&IpNet| {
            let is_same_family = other.addr().is_ipv4() == wanted.addr().is_ipv4();
            let is_foreign = wanted.addr().is_ipv4() && !is_there && **other != IpNet::from(IpAddr::V4(CREDENTIALS));
            !all.contains(*other) && is_same_family && (wanted.trunc().contains(*other) || is_foreign)
        };
        for other in seen.bridge_addresses.iter().filter(is_other) {
            if !want.force_address {
                return Err(Fault::BridgeAddress { bridge: want.bridge.clone(), found: *other, wanted });
            }
            steps.push(Step::RemoveBridgeAddress { address: *other });
        }
        if !is_there {
            steps.push(Step::AddBridgeAddress { address: wanted });
        }
    }
    if seen.bridge.as_ref().is_none_or(|link| !link.is_up) {
        steps.push(Step::BridgeUp);
    }
    Ok(steps)
}

fn container_steps(want: &Want, seen: &Seen) -> Vec<Step> {
    let addresses = want.addresses.iter().map(|(address, _)| *address);
    let mut steps: Vec<_> = addresses
        .filter(|address| !seen.addresses.contains(address))
        .map(|address| Step::AddAddress { address })
        .collect();
    if seen.container_end.as_ref().is_none_or(|link| !link.is_up) {
        steps.push(Step::ContainerUp);
    }
    let connected = want.addresses.iter().map(|(address, _)| address.trunc());
    for dst in connected {
        let is_there = |route: &Route| route.dst == dst && route.gateway.is_none() && route.kind == RouteKind::Unicast;
        if seen.routes.iter().any(is_there) && !want.container_routes().contains(&(dst, None)) {
            steps.push(Step::RemoveRoute { dst });
        }
    }
    steps.extend(route_steps(want, seen));
    steps
}

/// The kernel accepts a gateway only if there is a direct route to it: that route is added first, and replaced at the
/// end by the one via the gateway itself.
fn route_steps(want: &Want, seen: &Seen) -> Vec<Step> {
    let is_missing = |(dst, gateway): &(IpNet, Option<IpAddr>)| {
        !seen.routes.iter().any(|route| route.dst == *dst && route.gateway == *gateway)
    };
    let wanted = want.container_routes();
    if !wanted.iter().any(is_missing) {
        return Vec::new();
    }
    let gateways: Vec<_> = want.gateway_routes().collect();
    let direct = gateways.iter().map(|(dst, _)| (*dst, None)).filter(is_missing);
    let others = wanted.into_iter().filter(|route| !gateways.contains(route) && is_missing(route));
    let last = gateways.iter().filter(|(_, gateway)| gateway.is_some()).copied();
    direct.chain(others).chain(last).map(|(dst, gateway)| Step::AddRoute { dst, gateway }).collect()
}

#[cfg(test)]
mod tests;
