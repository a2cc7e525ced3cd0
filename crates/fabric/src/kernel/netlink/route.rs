// SPDX-License-Identifier: Apache-2.0
//! Routes, of the main table unless another is named.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
    RouteType,
};

use super::address::family;
use super::{ACT, Fault, Netlink, PUT};

/// The action of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// Packets are forwarded.
    #[default]
    Unicast,
    /// Packets are dropped silently.
    Blackhole,
}

/// A route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Destination. Host bits must be clear.
    pub dst: IpNet,
    /// Router; none for a direct route.
    pub gateway: Option<IpAddr>,
    /// Output link.
    pub oif: Option<u32>,
    /// Largest packet on this route, if smaller than the link's.
    pub mtu: Option<u32>,
    /// Forward or drop.
    pub kind: RouteKind,
    /// The router counts as on the link although no route says so.
    pub onlink: bool,
    /// Source of packets that have none yet; the kernel's choice if absent. [`Netlink::routes`] leaves it out.
    pub source: Option<Ipv4Addr>,
    /// Of routes to the same destination the one with the lowest metric decides; absent is lower than every number. [`Netlink::routes`] leaves
    /// it out, too.
    pub metric: Option<u32>,
}

impl Route {
    /// A route to the link itself.
    pub fn direct(dst: IpNet, oif: u32) -> Self {
        let kind = RouteKind::Unicast;
        Self { dst, gateway: None, oif: Some(oif), mtu: None, kind, onlink: false, source: None, metric: None }
    }

    /// A route through a router.
    pub fn via(dst: IpNet, gateway: IpAddr, oif: u32) -> Self {
        Self { gateway: Some(gateway), ..Self::direct(dst, oif) }
    }

    /// A default route through a router.
    pub fn default_via(gateway: IpAddr, oif: u32) -> Self {
        let any = match gateway {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self::via(IpNet::new_assert(any, 0), gateway, oif)
    }

    /// A route that drops.
    pub fn blackhole(dst: IpNet) -> Self {
        Self { oif: None, kind: RouteKind::Blackhole, ..Self::direct(dst, 0) }
    }

    /// The same route with a limit on packet size.
    pub fn with_mtu(self, mtu: u32) -> Self {
        Self { mtu: Some(mtu), ..self }
    }

    /// The same route with a source for packets that have none yet.
    pub fn with_source(self, source: Ipv4Addr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The same route with a metric.
    pub fn with_metric(self, metric: u32) -> Self {
        Self { metric: Some(metric), ..self }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == RouteKind::Blackhole {
            f.write_str("blackhole ")?;
        }
        match self.dst.prefix_len() {
            0 => f.write_str("default")?,
            full if full == self.dst.max_prefix_len() => write!(f, "{}", self.dst.addr())?,
            _ => write!(f, "{}", self.dst)?,
        }
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(oif) = self.oif {
            write!(f, " dev #{oif}")?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        f.write_str(if self.onlink { " onlink" } else { "" })
    }
}

impl Netlink {
    /// The routes of the main table, IPv4 and IPv6.
    pub fn routes(&mut self) -> Result<Vec<Route>, Fault> {
        let replies = self.dump("routes", Message::GetRoute(RouteMessage::default()))?;
        Ok(replies.into_iter().filter_map(seen).collect())
    }

    /// Adds a route, or replaces the one to the same destination.
    pub fn add_route(&mut self, route: &Route) -> Result<(), Fault> {
        let done = self.act(Message::NewRoute(message(route)), PUT);
        done.map_err(|cause| Fault::Route { verb: "add", route: route.to_string(), cause })
    }

    /// Adds a route to this table, or replaces the one to the same destination there.
    pub fn add_route_to(&mut self, table: u32, route: &Route) -> Result<(), Fault> {
        let mut message = message(route);
        message.header.table = RouteHeader::RT_TABLE_UNSPEC;
        message.attributes.push(RouteAttribute::Table(table));
        let done = self.act(Message::NewRoute(message), PUT);
        done.map_err(|cause| Fault::Route { verb: "add", route: format!("{route} table {table}"), cause })
    }

    /// Removes a route. An absent route counts as success.
    pub fn delete_route(&mut self, route: &Route) -> Result<(), Fault> {
        let mut message = message(route);
        // Any protocol and scope: the kernel's own connected routes are removed by this, too.
        message.header.protocol = RouteProtocol::Unspec;
        message.header.scope = RouteScope::NoWhere;
        match self.act(Message::DelRoute(message), ACT) {
            Err(cause) if cause.errno != libc::ESRCH => {
                Err(Fault::Route { verb: "remove", route: route.to_string(), cause })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.dst.addr());
    message.header.destination_prefix_length = route.dst.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = match route.kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Blackhole => RouteType::BlackHole,
    };
    let is_direct = route.kind == RouteKind::Unicast && route.gateway.is_none();
    message.header.scope = if is_direct { RouteScope::Link } else { RouteScope::Universe };
    if route.onlink {
        message.header.flags = RouteFlags::Onlink;
    }
    if route.dst.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(route.dst.network().into()));
    }
    message.attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
    message.attributes.extend(route.oif.map(RouteAttribute::Oif));
    message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(IpAddr::V4(source).into())));
    message.attributes.extend(route.metric.map(RouteAttribute::Priority));
    message.attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    message
}

fn seen(reply: Message) -> Option<Route> {
    let Message::NewRoute(message) = reply else { return None };
    let header = &message.header;
    let kind = match header.kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::BlackHole => RouteKind::Blackhole,
        _ => return None,
    };
    if header.table != RouteHeader::RT_TABLE_MAIN || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let any = match header.address_family {
        netlink_packet_route::AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        netlink_packet_route::AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let (mut dst, mut gateway, mut oif, mut mtu) = (any, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => dst = ip(address)?,
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Oif(index) => oif = Some(*index),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if kind == RouteKind::Blackhole {
        // Some kernels attach those of IPv6 to `lo`, which has no meaning.
        oif = None;
    }
    let dst = IpNet::new(dst, header.destination_prefix_length).ok()?;
    let onlink = header.flags.contains(RouteFlags::Onlink);
    Some(Route { dst, gateway, oif, mtu, kind, onlink, source: None, metric: None })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
