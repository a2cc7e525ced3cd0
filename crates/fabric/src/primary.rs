// SPDX-License-Identifier: Apache-2.0
//! The primary interface of a host, in the host's own namespace.
//!
//! It has its address and a routing table of its own. Packets from its address, and answers of connections that came in
//! by it ([`MARK`]), use that table; all other packets of the host use the routes they used before. Everything here can
//! be repeated.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::kernel::netlink::{Route, Rule, Selector};
use crate::kernel::{Fault, Namespace, Netlink, sysctl};

/// Mark of connections that came in by a primary interface, in the bits of [`MARK_MASK`].
pub const MARK: u32 = 0x0062_0000;

/// The bits of a mark that are Berth's.
pub const MARK_MASK: u32 = 0x00ff_0000;

/// The table of an interface is this number and its index, which no other link of the namespace has.
const TABLES: u32 = 0x6265_0000;

/// Numbers of tables above [`TABLES`] that are Berth's.
const TABLES_MAX: u32 = 0xffff;

/// Before all rules of the kernel's own but the first, which leads to local addresses.
const PRIORITY: u32 = 98;

/// Largest packet to destinations outside the VPC.
const INTERNET_MTU: u32 = 1500;

/// Addresses of a primary interface.
#[derive(Clone, Debug)]
pub struct PrimaryConfig {
    /// Its address.
    pub address: Ipv4Addr,
    /// The router of its subnet.
    pub router: Ipv4Addr,
    /// Ranges reached with the interface's whole MTU.
    pub vpc_cidrs: Vec<Ipv4Net>,
}

/// Gives the device its address and its routes.
pub fn configure(device: &str, config: &PrimaryConfig) -> Result<(), Fault> {
    let here = Namespace::of_current_thread()?;
    let mut host = Netlink::open()?;
    let Some(link) = host.link_by_name(device)? else {
        return Err(Fault::NoLink { link: device.to_owned() });
    };
    // A kernel without IPv6 lacks the setting.
    sysctl::write(&here, &format!("net/ipv6/conf/{device}/disable_ipv6"), "1").ok();
    // The way back of a packet that a published port leads elsewhere is not known yet when it comes in.
    sysctl::write(&here, &format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
    host.add_address_without_route(link.index, IpNet::V4(Ipv4Net::from(config.address)))?;
    host.set_up(link.index)?;
    let table = TABLES | (link.index & TABLES_MAX);
    let router = IpAddr::V4(config.router);
    let onlink = |route: Route| Route { onlink: true, ..route };
    host.add_route_to(table, &onlink(Route::default_via(router, link.index).with_mtu(INTERNET_MTU)))?;
    for range in &config.vpc_cidrs {
        host.add_route_to(table, &onlink(Route::via(IpNet::V4(*range), router, link.index)))?;
    }
    rules(table, config.address).iter().try_for_each(|rule| host.add_rule(rule))
}

/// Removes the rules of the interface with this index. Its routes go with its device.
pub fn forget(index: u32) -> Result<(), Fault> {
    remove_rules(|table| table == TABLES | (index & TABLES_MAX))
}

/// Removes the rules of every interface but those with these indexes.
pub fn forget_others(kept: &[u32]) -> Result<(), Fault> {
    remove_rules(|table| !kept.iter().any(|index| table == TABLES | (index & TABLES_MAX)))
}

fn remove_rules(is_gone: impl Fn(u32) -> bool) -> Result<(), Fault> {
    let mut host = Netlink::open()?;
    let rules = host.rules()?;
    let own = rules.iter().filter(|rule| rule.priority.abs_diff(PRIORITY) <= 1 && rule.table & !TABLES_MAX == TABLES);
    own.filter(|rule| is_gone(rule.table)).try_for_each(|rule| host.delete_rule(rule))
}

fn rules(table: u32, address: Ipv4Addr) -> [Rule; 2] {
    [
        Rule { priority: PRIORITY, selector: Selector::From(address), table },
        Rule { priority: PRIORITY + 1, selector: Selector::Mark { value: MARK, mask: MARK_MASK }, table },
    ]
}
