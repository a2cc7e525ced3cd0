// SPDX-License-Identifier: Apache-2.0
//! The pair of devices between the fabric and the namespace that counts as the host: the way to the world outside all
//! VPCs.
//!
//! The end in the fabric has neither address nor route, so that a packet goes only where a program at that end sends it.
//! The end at the host carries the host's address in the pool and a route to the pool; only packets from addresses of the
//! pool are accepted there, and no other setting of the namespace is changed. The pair is told from foreign devices by
//! its name and its alias, or by its other end, and every step can be repeated. Not here: packets (`bpf`), and which
//! packets the host forwards (the node).

use std::net::{IpAddr, Ipv4Addr};

use berth_types::intent::{HostIntent, WorldIntent};
use berth_types::{Ipv4Cidr, MacAddress};
use ipnet::{IpNet, Ipv4Net};

use super::Fault;
use super::data_path::{Fabric, World};
use super::device::UNSPLIT_BYTES;
use crate::kernel::netlink::{Link, Route, RouteKind, VethPair};
use crate::kernel::{self, Namespace, Netlink, sysctl};

/// Name of the end in the fabric's namespace.
pub const DEVICE: &str = "world";
/// Hardware address of the end at the host.
pub const HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
/// Hardware address of the end in the fabric: that of every address of the pool, as the host sees it.
pub const FABRIC_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

/// First word of the alias of a pair to a simulated host.
const OUTSIDE: &str = "berth-outside";

/// Largest frame of both ends, so that neither drops what an interface sends.
const DEVICE_MTU: u32 = 9001;
/// Largest packet of the host to the pool: that of the internet.
const ROUTE_MTU: u32 = 1500;
/// Routes with a shorter prefix do not count as a use of the pool: they divide the whole of the internet.
const USE_PREFIX_MIN: u8 = 8;

/// Name of the end at the host: eight digits tell the instances of a machine apart.
pub fn host_device(instance: &str) -> String {
    let hash = instance.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{DEVICE}-{hash:08x}")
}

/// Alias of the end at the host, by which users and other instances know its owner.
fn alias(instance: &str) -> String {
    format!("berth-world {instance}")
}

/// Alias of the machine's end of the pair to a simulated host.
pub(crate) fn outside_alias(instance: &str) -> String {
    format!("{OUTSIDE} {instance}")
}

/// True for the alias of an end to a simulated host of this installation, whose instances are numbered.
fn is_of_simulated(alias: &str, installation: &str) -> bool {
    let instance = alias.strip_prefix(OUTSIDE).map(str::trim_start);
    let number = instance.and_then(|instance| instance.strip_prefix(installation)?.strip_prefix('-'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The route or address of the calling thread's namespace that uses addresses of the pool, if there is one that does not
/// belong to this instance's own way to the world, or to those of its simulated hosts.
///
/// # Errors
/// The kernel refuses to list routes or addresses.
pub fn clash(pool: Ipv4Cidr, instance: &str) -> Result<Option<String>, kernel::Fault> {
    let mut host = Netlink::open()?;
    let links = host.links()?;
    let way = host_device(instance);
    let is_simulated = |link: &Link| link.alias.as_deref().is_some_and(|alias| is_of_simulated(alias, instance));
    let own: Vec<&str> =
        links.iter().filter(|link| link.name == way || is_simulated(link)).map(|link| link.name.as_str()).collect();
    let name_of = |index: u32| links.iter().find(|link| link.index == index).map_or("?", |link| link.name.as_str());
    let uses = |range: IpNet| match range {
        IpNet::V4(range) if range.prefix_len() >= USE_PREFIX_MIN => {
            Ipv4Cidr::containing(range.network(), range.prefix_len()).is_some_and(|range| range.overlaps(pool))
        }
        IpNet::V4(_) | IpNet::V6(_) => false,
    };
    for route in host.routes()?.into_iter().filter(|route| route.kind == RouteKind::Unicast && uses(route.dst)) {
        let device = route.oif.map_or("?", name_of);
        if !own.contains(&device) {
            return Ok(Some(format!("the route {} dev {device}", route.dst)));
        }
    }
    for link in links.iter().filter(|link| !own.contains(&link.name.as_str())) {
        let single = |address: IpNet| IpNet::from(address.addr());
        if let Some(address) = host.addresses(link.index)?.into_iter().find(|address| uses(single(*address))) {
            return Ok(Some(format!("the address {address} of {}", link.name)));
        }
    }
    Ok(None)
}

impl Fabric {
    /// The open way to the world, if there is one.
    pub fn world(&self) -> Option<&World> {
        self.world.as_ref()
    }

    /// Opens the way to the world that the intent names, between the fabric and the namespace of the calling thread.
    pub(super) fn open_world(&mut self, intent: &HostIntent) -> Result<(), Fault> {
        let Some((&pool, wanted)) = intent.worlds.first_key_value() else { return Ok(()) };
        let is_open = |world: &World| (world.pool, world.address) == (pool, wanted.host_address);
        if self.world.as_ref().is_some_and(is_open) {
            return Ok(());
        }
        self.world = None;
        self.is_world_known = true;
        let here = Namespace::of_current_thread()?;
        let mut host = here.netlink()?;
        let (inner, outer) = match self.found_pair(&mut host, pool, wanted)? {
            Some(pair) => pair,
            None => self.make_world_pair(&here, &mut host, pool)?,
        };
        self.settle_world(&here, &mut host, (inner, outer), pool, wanted)?;
        self.world = Some(World { pool, address: wanted.host_address, ifindex: inner, host_ifindex: outer });
        Ok(())
    }

    /// Removes the way to the world if the intent names none.
    pub(super) fn close_world(&mut self, intent: &HostIntent) -> Result<(), Fault> {
        if !intent.worlds.is_empty() || (self.is_world_known && self.world.is_none()) {
            return Ok(());
        }
        self.world = None;
        self.netlink.delete_link(DEVICE)?;
        // A device of another maker with that name does not matter now.
        match remove_host_device(&mut Netlink::open()?, &self.config.instance) {
            Ok(()) | Err(Fault::WorldNameTaken { .. }) => {}
            Err(fault) => return Err(fault),
        }
        self.is_world_known = true;
        Ok(())
    }

    /// Both ends of an earlier pair, if they belong together and lead to nothing but this pool. Others of this instance
    /// are removed.
    fn found_pair(
        &mut self,
        host: &mut Netlink,
        pool: Ipv4Cidr,
        wanted: &WorldIntent,
    ) -> Result<Option<(u32, u32)>, Fault> {
        let name = host_device(&self.config.instance);
        let (inner, outer) = (self.netlink.link_by_name(DEVICE)?, host.link_by_name(&name)?);
        if let Some((inner, outer)) =
            inner.as_ref().zip(outer.as_ref()).filter(|(inner, outer)| are_a_pair(inner, outer))
        {
            let addresses = host.addresses(outer.index)?;
            let is_address_kept = addresses.iter().all(|address| *address == single(wanted.host_address));
            let routes = host.routes()?;
            let mut own_routes = routes.iter().filter(|route| route.oif == Some(outer.index));
            if is_address_kept && own_routes.all(|route| route.dst == net(pool)) {
                return Ok(Some((inner.index, outer.index)));
            }
        }
        if let Some(inner) = &inner {
            // Its other end is removed with it.
            self.netlink.delete_link(&inner.name)?;
        }
        remove_host_device(host, &self.config.instance)?;
        Ok(None)
    }

    fn make_world_pair(&mut self, here: &Namespace, host: &mut Netlink, pool: Ipv4Cidr) -> Result<(u32, u32), Fault> {
        if let Some(found) = here.inside(|| clash(pool, &self.config.instance))?? {
            return Err(Fault::PoolInUse { pool, found });
        }
        let name = host_device(&self.config.instance);
        let index = self.next_device;
        self.next_device += 1;
        self.netlink.create_veth(&VethPair {
            name: DEVICE,
            index: Some(index),
            mac: Some(FABRIC_MAC),
            mtu: Some(DEVICE_MTU),
            unsplit_bytes: Some(UNSPLIT_BYTES),
            peer_name: &name,
            peer_mac: Some(HOST_MAC),
            peer_mtu: Some(DEVICE_MTU),
            peer_ns: Some(here.as_fd()),
            ..VethPair::default()
        })?;
        let outer = host.link_by_name(&name)?.ok_or(Fault::WorldGone { device: name })?;
        Ok((index, outer.index))
    }

    /// Completes a pair. The end in the fabric takes packets only once they are judged.
    fn settle_world(
        &mut self,
        here: &Namespace,
        host: &mut Netlink,
        (inner, outer): (u32, u32),
        pool: Ipv4Cidr,
        wanted: &WorldIntent,
    ) -> Result<(), Fault> {
        let name = host_device(&self.config.instance);
        host.set_alias(outer, &alias(&self.config.instance))?;
        let ipv6 = format!("net.ipv6.conf.{name}.disable_ipv6");
        if here.inside(|| sysctl::exists(&ipv6))? {
            sysctl::write(here, &ipv6, "1")?;
        }
        // Packets must come from where answers to them would go: from addresses of the pool.
        sysctl::write(here, &format!("net.ipv4.conf.{name}.rp_filter"), "1")?;
        sysctl::write(here, &format!("net.ipv4.conf.{name}.send_redirects"), "0")?;
        self.guard_world(inner)?;
        self.netlink.set_up(inner)?;
        host.add_address(outer, single(wanted.host_address))?;
        host.set_up(outer)?;
        let route = Route::direct(net(pool), outer).with_source(wanted.host_address).with_mtu(ROUTE_MTU);
        Ok(host.add_route(&route)?)
    }

    /// Attaches the program that judges packets of the world. Until then the kernel drops them: it has no route.
    fn guard_world(&mut self, ifindex: u32) -> Result<(), Fault> {
        self.open_edge(ifindex)
    }
}

/// Removes the end at the host if it is this instance's.
fn remove_host_device(host: &mut Netlink, instance: &str) -> Result<(), Fault> {
    let name = host_device(instance);
    match host.link_by_name(&name)? {
        Some(link) if is_own(&link, instance) => Ok(host.delete_link(&name)?),
        Some(_) => Err(Fault::WorldNameTaken { device: name }),
        None => Ok(()),
    }
}

/// A process that was killed between two steps may have left no alias, but no other maker gives this hardware address.
fn is_own(link: &Link, instance: &str) -> bool {
    link.alias.as_deref().map_or(link.mac == Some(HOST_MAC), |said| said == alias(instance))
}

fn are_a_pair(inner: &Link, outer: &Link) -> bool {
    let leads_to = |one: &Link, other: &Link| one.peer_index == Some(other.index);
    outer.kind.as_deref() == Some("veth")
        && leads_to(inner, outer)
        && leads_to(outer, inner)
        && (inner.mac, outer.mac) == (Some(FABRIC_MAC), Some(HOST_MAC))
}

fn single(address: Ipv4Addr) -> IpNet {
    IpNet::from(IpAddr::V4(address))
}

fn net(range: Ipv4Cidr) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(range.network(), range.prefix()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_hosts_of_an_installation_are_known_by_their_alias() {
        let is_own = |instance: &str| is_of_simulated(&outside_alias(instance), "berth");
        assert!(is_own("berth-1") && is_own("berth-12"));
        assert!(!["berth", "berth-", "berth-1-1", "berth-x", "other-1"].into_iter().any(is_own));
        assert!(!is_of_simulated("berth-world berth-1", "berth"));
    }

    #[test]
    fn the_device_of_an_instance_has_a_name_of_its_own_that_the_kernel_takes() {
        let names = ["berth", "berth-1", "acceptance-4711", &"x".repeat(200)].map(host_device);
        assert!(names.iter().all(|name| name.len() <= 15), "{names:?}");
        assert_eq!(names[0], "world-1a9e244a");
        assert!((1..names.len()).all(|at| !names[..at].contains(&names[at])));
    }
}
