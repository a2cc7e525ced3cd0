// SPDX-License-Identifier: Apache-2.0
//! The outside of a simulated host: a pair of devices between the network namespace that counts as the host and the
//! machine that it is on.
//!
//! The machine's end has the name that a host's end of the way to the world has, the machine's address in the pool, and
//! routes to the public addresses that the host holds. The whole pool leads to some host, so that no packet for it leaves
//! the machine by a default route. At the host only what comes from the fabric goes out by the pair, by a routing table of
//! its own: the host itself has no way out. Everything here can be repeated. Not here: which packets the machine forwards
//! (the node).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use berth_types::intent::WorldIntent;
use berth_types::{Ipv4Cidr, MacAddress};
use ipnet::{IpNet, Ipv4Net};

use crate::fabric::device::UNSPLIT_BYTES;
use crate::fabric::world::{host_device, outside_alias};
use crate::fault::Fault;
use crate::kernel::netlink::{Link, Route, Rule, Selector, VethPair};
use crate::kernel::{Namespace, Netlink, sysctl};

/// Name of the end in the host's namespace.
pub const DEVICE: &str = "outside";

/// Hardware address of the end on the machine.
const MACHINE_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);
/// Hardware address of the end in the host's namespace.
const HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 4]);
/// Largest frame of both ends: that of interfaces, so that tasks of two hosts are not limited by the pairs.
const DEVICE_MTU: u32 = 9001;
/// Largest packet of the machine to the pool: that of the internet.
const ROUTE_MTU: u32 = 1500;
/// The table for what comes from the fabric, after those of primary interfaces.
const TABLE: u32 = 0x6266_0000;
/// Place of the rule that leads there, after those of primary interfaces.
const PRIORITY: u32 = 100;
/// The metric of a host's route to the whole pool is this number and the index of its device.
const METRICS: u32 = 0x6265_0000;

/// The outside of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideConfig {
    /// The host's instance.
    pub instance: String,
    /// The pool of public addresses.
    pub pool: Ipv4Cidr,
    /// The host's own address in the pool.
    pub host_address: Ipv4Addr,
}

impl OutsideConfig {
    fn machine_address(&self) -> Ipv4Addr {
        WorldIntent::outside_address(self.pool)
    }
}

/// Makes or completes the pair between the namespace of the calling thread, which counts as the host, and the machine.
///
/// # Errors
/// The kernel refuses, or a device of another owner has the name of the machine's end.
pub fn open(machine: &Namespace, config: &OutsideConfig) -> Result<(), Fault> {
    let here = Namespace::of_current_thread()?;
    let (mut inside, mut outside) = (here.netlink()?, machine.netlink()?);
    let (inner, outer) = match found(&mut inside, &mut outside, config)? {
        Some(pair) => pair,
        None => make(&mut inside, machine, &mut outside, config)?,
    };
    settle_host(&here, &mut inside, inner, config)?;
    settle_machine(machine, &mut outside, outer, config)
}

/// The pair of an earlier process, if both ends belong together. Parts of others of this instance are removed.
fn found(inside: &mut Netlink, outside: &mut Netlink, config: &OutsideConfig) -> Result<Option<(u32, u32)>, Fault> {
    let name = host_device(&config.instance);
    let (inner, outer) = (inside.link_by_name(DEVICE)?, outside.link_by_name(&name)?);
    if let Some((inner, outer)) = inner.as_ref().zip(outer.as_ref()).filter(|(inner, outer)| are_a_pair(inner, outer)) {
        let addresses = outside.addresses(outer.index)?;
        // Another pool has other addresses and routes.
        if addresses.iter().all(|address| *address == single(config.machine_address())) {
            return Ok(Some((inner.index, outer.index)));
        }
    }
    inside.delete_link(DEVICE)?;
    remove_machine_device(outside, &config.instance)?;
    Ok(None)
}

fn make(
    inside: &mut Netlink,
    machine: &Namespace,
    outside: &mut Netlink,
    config: &OutsideConfig,
) -> Result<(u32, u32), Fault> {
    let name = host_device(&config.instance);
    inside.create_veth(&VethPair {
        name: DEVICE,
        mac: Some(HOST_MAC),
        mtu: Some(DEVICE_MTU),
        unsplit_bytes: Some(UNSPLIT_BYTES),
        peer_name: &name,
        peer_mac: Some(MACHINE_MAC),
        peer_mtu: Some(DEVICE_MTU),
        peer_unsplit_bytes: Some(UNSPLIT_BYTES),
        peer_ns: Some(machine.as_fd()),
        ..VethPair::default()
    })?;
    let gone = |device: &str| Fault::WorldGone { device: device.to_owned() };
    let outer = outside.link_by_name(&name)?.ok_or_else(|| gone(&name))?;
    let inner = inside.link_by_name(DEVICE)?.ok_or_else(|| gone(DEVICE))?;
    Ok((inner.index, outer.index))
}

/// The host forwards between the pair and its way to the world, in a namespace that is Berth's own.
fn settle_host(here: &Namespace, inside: &mut Netlink, inner: u32, config: &OutsideConfig) -> Result<(), Fault> {
    let world = host_device(&config.instance);
    let machine = config.machine_address();
    // What comes by the pair comes from everywhere; a strict setting for all devices would overrule this one's.
    settle(here, DEVICE, "0")?;
    sysctl::write(here, "net/ipv4/conf/all/rp_filter", "0")?;
    inside.set_up(inner)?;
    inside.set_neighbour(inner, IpAddr::V4(machine), MACHINE_MAC)?;
    let way = Route { onlink: true, ..Route::default_via(IpAddr::V4(machine), inner) };
    inside.add_route_to(TABLE, &way)?;
    inside.add_rule(&rule(&config.instance))?;
    forward(here, &[DEVICE, &world])
}

/// The machine's end has one address, and forwards; what it forwards is for the wall around it.
fn settle_machine(machine: &Namespace, outside: &mut Netlink, outer: u32, config: &OutsideConfig) -> Result<(), Fault> {
    let name = host_device(&config.instance);
    outside.set_alias(outer, &outside_alias(&config.instance))?;
    // A host speaks for its own public addresses only.
    settle(machine, &name, "1")?;
    outside.add_address_without_route(outer, single(config.machine_address()))?;
    outside.set_up(outer)?;
    outside.set_neighbour(outer, IpAddr::V4(config.host_address), HOST_MAC)?;
    // Each host has a route to the whole pool, and the machine takes one of them.
    let whole = IpNet::V4(Ipv4Net::new_assert(config.pool.network(), config.pool.prefix()));
    let metric = METRICS | (outer & 0xffff);
    outside.add_route(&way_to(whole, outer, config).with_metric(metric))?;
    forward(machine, &[&name])
}

/// Leads exactly these addresses of the pool to the host of the calling thread's namespace.
///
/// # Errors
/// The kernel refuses, or the pair is gone.
pub fn lead(machine: &Namespace, config: &OutsideConfig, addresses: &BTreeSet<Ipv4Addr>) -> Result<(), Fault> {
    let name = host_device(&config.instance);
    let mut outside = machine.netlink()?;
    let link = outside.link_by_name(&name)?.ok_or(Fault::WorldGone { device: name })?;
    let routes = outside.routes()?;
    let present: BTreeSet<Ipv4Addr> = routes
        .iter()
        .filter(|route| route.oif == Some(link.index))
        .filter_map(|route| match route.dst {
            IpNet::V4(dst) if dst.prefix_len() == 32 => Some(dst.addr()),
            IpNet::V4(_) | IpNet::V6(_) => None,
        })
        .collect();
    for address in addresses.difference(&present) {
        // Replaces the route by another host, which held the address before.
        outside.add_route(&way_to(single(*address), link.index, config))?;
    }
    for address in present.difference(addresses) {
        let route =
            Route { gateway: Some(IpAddr::V4(config.host_address)), ..Route::direct(single(*address), link.index) };
        outside.delete_route(&route)?;
    }
    Ok(())
}

/// True if the machine, which is the namespace of the calling thread, is connected with the host of this instance.
///
/// # Errors
/// The kernel refuses to list devices.
pub fn is_open(instance: &str) -> Result<bool, Fault> {
    let link = Netlink::open()?.link_by_name(&host_device(instance))?;
    Ok(link.is_some_and(|link| link.is_up && is_own(&link, instance)))
}

/// Removes the pair, with its addresses and routes, and the rule at the host. What is absent counts as removed.
///
/// # Errors
/// The kernel refuses.
pub fn close(machine: &Namespace, instance: &str) -> Result<(), Fault> {
    let mut inside = Netlink::open()?;
    // The other end is removed with it, wherever it is.
    inside.delete_link(DEVICE)?;
    inside.delete_rule(&rule(instance))?;
    match remove_machine_device(&mut machine.netlink()?, instance) {
        // A device of another owner does not matter now.
        Ok(()) | Err(Fault::WorldNameTaken { .. }) => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn remove_machine_device(outside: &mut Netlink, instance: &str) -> Result<(), Fault> {
    let name = host_device(instance);
    match outside.link_by_name(&name)? {
        Some(link) if is_own(&link, instance) => Ok(outside.delete_link(&name)?),
        Some(_) => Err(Fault::WorldNameTaken { device: name }),
        None => Ok(()),
    }
}

/// A process that was killed between two steps may have left no alias, but no other maker gives this hardware address.
fn is_own(link: &Link, instance: &str) -> bool {
    link.alias.as_deref().map_or(link.mac == Some(MACHINE_MAC), |said| said == outside_alias(instance))
}

fn are_a_pair(inner: &Link, outer: &Link) -> bool {
    inner.peer_index == Some(outer.index)
        && outer.peer_index == Some(inner.index)
        && (inner.mac, outer.mac) == (Some(HOST_MAC), Some(MACHINE_MAC))
}

fn settle(namespace: &Namespace, device: &str, rp_filter: &str) -> Result<(), Fault> {
    let ipv6 = format!("net/ipv6/conf/{device}/disable_ipv6");
    if namespace.inside(|| sysctl::exists(&ipv6))? {
        sysctl::write(namespace, &ipv6, "1")?;
    }
    sysctl::write(namespace, &format!("net/ipv4/conf/{device}/rp_filter"), rp_filter)?;
    Ok(sysctl::write(namespace, &format!("net/ipv4/conf/{device}/send_redirects"), "0")?)
}

fn forward(namespace: &Namespace, devices: &[&str]) -> Result<(), Fault> {
    let on = |device| sysctl::write(namespace, &format!("net/ipv4/conf/{device}/forwarding"), "1");
    Ok(devices.iter().try_for_each(on)?)
}

/// A route of the machine to addresses of the pool, by the pair.
fn way_to(range: IpNet, outer: u32, config: &OutsideConfig) -> Route {
    let route = Route::via(range, IpAddr::V4(config.host_address), outer);
    Route { onlink: true, ..route }.with_source(config.machine_address()).with_mtu(ROUTE_MTU)
}

fn rule(instance: &str) -> Rule {
    Rule { priority: PRIORITY, selector: Selector::In(host_device(instance)), table: TABLE }
}

fn single(address: Ipv4Addr) -> IpNet {
    IpNet::from(IpAddr::V4(address))
}
