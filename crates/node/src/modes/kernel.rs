// SPDX-License-Identifier: Apache-2.0
//! The kernel's side of places: the bridge, a namespace for each container with a pair to the bridge, settings, and the
//! instance's table of nftables. It decides nothing; every step can be repeated. All calls block.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use berth_fabric::cni::describe;
use berth_fabric::kernel::netlink::{Route, VethPair};
use berth_fabric::kernel::{Fault as KernelFault, Namespace, Netlink, sysctl};
use berth_fabric::ports::{self, Lease, Reach};
use berth_types::MacAddress;
use berth_types::mode::Protocol;
use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;

use super::choice::{self, Look};
use super::place::{Bridge, NetworkPlace};
use crate::fault::NetworkFault;
use crate::{Fault, nft, world};

/// A container's interface on the bridge, inside.
const INNER_IF: &str = "eth0";

const IP_FORWARD: &str = "net.ipv4.ip_forward";

/// The tables of sockets in the namespace of the calling thread.
const SOCKET_TABLES: [(&str, Protocol); 4] = [
    ("/proc/thread-self/net/tcp", Protocol::Tcp),
    ("/proc/thread-self/net/tcp6", Protocol::Tcp),
    ("/proc/thread-self/net/udp", Protocol::Udp),
    ("/proc/thread-self/net/udp6", Protocol::Udp),
];

/// Looks at the host.
pub(super) fn look() -> Result<Look, Fault> {
    let seen = || -> Result<Look, KernelFault> {
        let mut host = Netlink::open()?;
        let here = Namespace::of_current_thread()?;
        let routes = host.routes()?.into_iter().filter_map(|route| match route.dst {
            IpNet::V4(range) if range.prefix_len() > 0 => Some(range),
            IpNet::V4(_) | IpNet::V6(_) => None,
        });
        // A kernel without IPv6 has no tables for it.
        let tables =
            SOCKET_TABLES.map(|(path, protocol)| (std::fs::read_to_string(path).unwrap_or_default(), protocol));
        let listening = tables.iter().flat_map(|(text, protocol)| choice::listening(text, *protocol)).collect();
        let links = host.links()?.into_iter().map(|link| link.name).collect::<BTreeSet<String>>();
        let forwards = |link: &&String| {
            sysctl::read(&here, &format!("net/ipv4/conf/{link}/forwarding")).is_ok_and(|setting| setting == "1")
        };
        Ok(Look {
            routes: routes.collect(),
            forwarding: links.iter().filter(forwards).cloned().collect(),
            links,
            ip_forward: sysctl::read(&here, IP_FORWARD)?,
            ephemeral: choice::ephemeral(&sysctl::read(&here, "net.ipv4.ip_local_port_range").unwrap_or_default()),
            listening,
        })
    };
    seen().map_err(Fault::network("look at", "the host's network"))
}

/// The alias of a bridge, which `ip link` shows, so that users and other instances know its owner.
pub(crate) fn alias(instance: &str) -> String {
    format!("berth {instance}")
}

/// Makes the bridge and lets the host forward.
pub(super) fn make_bridge(bridge: &Bridge, instance: &str) -> Result<(), Fault> {
    let made = || -> Result<(), KernelFault> {
        let mut host = Netlink::open()?;
        let here = Namespace::of_current_thread()?;
        let index = host.create_bridge(&bridge.name, mac(bridge.gateway()))?;
        host.set_alias(index, &alias(instance))?;
        quiet_ipv6(&here, &bridge.name);
        host.add_address(index, with_prefix(bridge.gateway(), bridge.network))?;
        host.set_up(index)?;
        // Packets of the host to 127.0.0.1 may be led to a container, and come back.
        sysctl::write(&here, &format!("net.ipv4.conf.{}.route_localnet", bridge.name), "1")?;
        sysctl::write(&here, IP_FORWARD, "1")
    };
    made().map_err(Fault::network("make bridge", &bridge.name))
}

/// Removes the bridge with what is left on it; the host forwards as it did before, unless another instance needs it.
/// Devices that forwarded before, or are to forward for another reason (`others`), go on to.
pub(super) fn remove_bridge(bridge: &Bridge, table: &Value, others: &[String]) -> Result<(), Fault> {
    let removed = || -> Result<(), KernelFault> {
        let mut host = Netlink::open()?;
        let links = host.links()?;
        if let Some(own) = links.iter().find(|link| link.name == bridge.name) {
            for port in links.iter().filter(|link| link.bridge == Some(own.index)) {
                host.delete_link(&port.name)?;
            }
        }
        host.delete_link(&bridge.name)?;
        let is_other = |alias: &String| alias.starts_with("berth ");
        if links.iter().any(|link| link.name != bridge.name && link.alias.as_ref().is_some_and(is_other)) {
            return Ok(());
        }
        sysctl::write(&Namespace::of_current_thread()?, IP_FORWARD, &bridge.ip_forward)
    };
    // The rules that protect the bridge are removed last.
    removed().map_err(Fault::network("remove bridge", &bridge.name))?;
    bridge.forwarding.iter().chain(others).try_for_each(|device| world::forward(device, "1"))?;
    nft::apply(table)
}

/// Removes a link of the host, if it exists.
pub(super) fn remove_link(name: &str) -> Result<(), Fault> {
    Netlink::open().and_then(|mut host| host.delete_link(name)).map_err(Fault::network("remove link", name))
}

/// Makes a container's namespace and, if it has an address, its pair to the bridge, whose port is guarded.
pub(super) fn make_place(
    place: &NetworkPlace,
    bridge: Option<&Bridge>,
    netns_dir: &Path,
    guard: &Path,
) -> Result<(), Fault> {
    let Some(name) = &place.namespace else { return Ok(()) };
    let made = || -> Result<(), NetworkFault> {
        let namespace = Namespace::create(&netns_dir.join(name))?;
        let mut inside = namespace.netlink()?;
        if let Some(lo) = inside.link_by_name("lo")? {
            inside.set_up(lo.index)?;
        }
        if let Err(cause) = sysctl::settle_task(&namespace) {
            tracing::warn!(namespace = name, cause = describe(&cause), "the namespace keeps the host's settings");
        }
        match (bridge, &place.link, place.address) {
            (Some(bridge), Some(link), Some(address)) => {
                make_pair(&namespace, &mut inside, bridge, link, address)?;
                switch_on(link, address, guard)?;
                Ok(configure(&namespace, &mut inside, bridge, address)?)
            }
            _ => Ok(()),
        }
    };
    made().map_err(Fault::network("make namespace", name))
}

/// Makes the pair, if it is not there; its outer end is down.
fn make_pair(
    namespace: &Namespace,
    inside: &mut Netlink,
    bridge: &Bridge,
    link: &str,
    address: Ipv4Addr,
) -> Result<(), KernelFault> {
    let mut host = Netlink::open()?;
    let index = host.create_bridge(&bridge.name, mac(bridge.gateway()))?;
    if inside.link_by_name(INNER_IF)?.is_none() {
        // An outer end without its inner one is left of a namespace that is gone.
        host.delete_link(link)?;
        host.create_veth(&VethPair {
            name: link,
            bridge: Some(index),
            peer_name: INNER_IF,
            peer_mac: Some(mac(address)),
            peer_ns: Some(namespace.as_fd()),
            ..VethPair::default()
        })?;
    }
    Ok(())
}

/// Guards the outer end of a pair, so that the container speaks for itself only, and then switches it on.
fn switch_on(link: &str, address: Ipv4Addr, guard: &Path) -> Result<(), NetworkFault> {
    let mut host = Netlink::open()?;
    let Some(outer) = host.link_by_name(link)? else { return Ok(()) };
    ports::guard(guard, &outer, &Lease { address, mac: mac(address), reach: Reach::Anywhere })?;
    Ok(host.set_up(outer.index)?)
}

/// Guards a port that an earlier version of the node left without.
pub(super) fn guard_place(place: &NetworkPlace, guard: &Path) -> Result<(), Fault> {
    match (&place.link, place.address) {
        (Some(link), Some(address)) => switch_on(link, address, guard).map_err(Fault::network("guard the port", link)),
        _ => Ok(()),
    }
}

fn configure(
    namespace: &Namespace,
    inside: &mut Netlink,
    bridge: &Bridge,
    address: Ipv4Addr,
) -> Result<(), KernelFault> {
    quiet_ipv6(namespace, INNER_IF);
    let Some(inner) = inside.link_by_name(INNER_IF)? else { return Ok(()) };
    inside.add_address(inner.index, with_prefix(address, bridge.network))?;
    inside.set_up(inner.index)?;
    inside.add_route(&Route::default_via(IpAddr::V4(bridge.gateway()), inner.index))
}

/// Removes a container's namespace and pair.
pub(super) fn remove_place(place: &NetworkPlace, netns_dir: &Path, guard: &Path) -> Result<(), Fault> {
    let removed = || -> Result<(), NetworkFault> {
        if let Some(link) = &place.link {
            let mut host = Netlink::open()?;
            let outer = host.link_by_name(link)?;
            host.delete_link(link)?;
            outer.map_or(Ok(()), |outer| ports::forget(guard, outer.index))?;
        }
        match &place.namespace {
            Some(name) => Ok(Namespace::delete(&netns_dir.join(name))?),
            None => Ok(()),
        }
    };
    removed().map_err(Fault::network("remove the namespace of", &place.container))
}

/// Keeps the namespace of the host at a path, for containers that join it.
pub(super) fn keep_host(path: &Path) -> Result<(), Fault> {
    Namespace::keep_here(path).map(drop).map_err(Fault::network("keep", path.display().to_string()))
}

/// Unmounts the host's namespace from the path.
pub(super) fn forget_host(path: &Path) -> Result<(), Fault> {
    Namespace::delete(path).map_err(Fault::network("let go of", path.display().to_string()))
}

/// Disables IPv6 on a link. A kernel without IPv6 lacks the setting; the error is ignored.
fn quiet_ipv6(namespace: &Namespace, link: &str) {
    sysctl::write(namespace, &format!("net/ipv6/conf/{link}/disable_ipv6"), "1").ok();
}

/// As Docker's: it contains the address, so it is unique and stable on the bridge.
fn mac(address: Ipv4Addr) -> MacAddress {
    let [a, b, c, d] = address.octets();
    MacAddress([2, 0x42, a, b, c, d])
}

fn with_prefix(address: Ipv4Addr, network: Ipv4Net) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(address, network.prefix_len()))
}

/// File that keeps the host's namespace.
pub(super) fn host_path(netns_dir: &Path) -> PathBuf {
    netns_dir.join(".host")
}
