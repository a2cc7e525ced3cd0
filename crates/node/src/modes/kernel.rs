//! What a place takes of the kernel: the bridge, a namespace for each container with a pair to the bridge, settings, and
//! the instance's table of nftables. It does what it is told; every step can be done twice. All calls block.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use berth_fabric::cni::describe;
use berth_fabric::kernel::netlink::{Route, VethPair};
use berth_fabric::kernel::{Fault as KernelFault, Namespace, Netlink, sysctl};
use berth_types::MacAddress;
use berth_types::mode::Protocol;
use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;

use super::choice::{self, Look};
use super::{Bridge, Place};
use crate::Fault;

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

fn fault(step: &'static str, on: impl Into<String>) -> impl FnOnce(KernelFault) -> Fault {
    let on = on.into();
    move |cause| Fault::Network { step, on, cause: describe(&cause) }
}

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
        Ok(Look {
            routes: routes.collect(),
            links: host.links()?.into_iter().map(|link| link.name).collect::<BTreeSet<String>>(),
            ip_forward: sysctl::read(&here, IP_FORWARD)?,
            ephemeral: choice::ephemeral(&sysctl::read(&here, "net.ipv4.ip_local_port_range").unwrap_or_default()),
            listening,
        })
    };
    seen().map_err(fault("look at", "the host's network"))
}

/// What `ip link` shows beside a bridge, so that people and other instances know whose it is.
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
    made().map_err(fault("make bridge", &bridge.name))
}

/// Removes the bridge with what is left on it; the host forwards as it did before, unless another instance needs it.
pub(super) fn remove_bridge(bridge: &Bridge, table: &Value) -> Result<(), Fault> {
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
    // The walls go last.
    removed().map_err(fault("remove bridge", &bridge.name)).and_then(|()| apply(table))
}

/// Removes a link of the host; none is as good.
pub(super) fn remove_link(name: &str) -> Result<(), Fault> {
    Netlink::open().and_then(|mut host| host.delete_link(name)).map_err(fault("remove link", name))
}

/// Makes a container's namespace and, if it has an address, its pair to the bridge.
pub(super) fn make_place(place: &Place, bridge: Option<&Bridge>, netns_dir: &Path) -> Result<(), Fault> {
    let Some(name) = &place.namespace else { return Ok(()) };
    let made = || -> Result<(), KernelFault> {
        let namespace = Namespace::create(&netns_dir.join(name))?;
        let mut inside = namespace.netlink()?;
        if let Some(lo) = inside.link_by_name("lo")? {
            inside.set_up(lo.index)?;
        }
        if let Err(cause) = sysctl::settle_task(&namespace) {
            tracing::warn!(namespace = name, cause = describe(&cause), "the namespace keeps the host's settings");
        }
        match (bridge, &place.link, place.address) {
            (Some(bridge), Some(link), Some(address)) => connect(&namespace, &mut inside, bridge, link, address),
            _ => Ok(()),
        }
    };
    made().map_err(fault("make namespace", name))
}

fn connect(
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
            up: true,
            peer_name: INNER_IF,
            peer_mac: Some(mac(address)),
            peer_ns: Some(namespace.as_fd()),
            ..VethPair::default()
        })?;
    }
    quiet_ipv6(namespace, INNER_IF);
    let Some(inner) = inside.link_by_name(INNER_IF)? else { return Ok(()) };
    inside.add_address(inner.index, with_prefix(address, bridge.network))?;
    inside.set_up(inner.index)?;
    inside.add_route(&Route::default_via(IpAddr::V4(bridge.gateway()), inner.index))
}

/// Removes a container's namespace and pair.
pub(super) fn remove_place(place: &Place, netns_dir: &Path) -> Result<(), Fault> {
    let removed = || -> Result<(), KernelFault> {
        if let Some(link) = &place.link {
            Netlink::open()?.delete_link(link)?;
        }
        match &place.namespace {
            Some(name) => Namespace::delete(&netns_dir.join(name)),
            None => Ok(()),
        }
    };
    removed().map_err(fault("remove the namespace of", &place.container))
}

/// Keeps the namespace of the host at a path, for containers that join it.
pub(super) fn keep_host(path: &Path) -> Result<(), Fault> {
    Namespace::keep_here(path).map(drop).map_err(fault("keep", path.display().to_string()))
}

/// Lets go of the path.
pub(super) fn forget_host(path: &Path) -> Result<(), Fault> {
    Namespace::delete(path).map_err(fault("let go of", path.display().to_string()))
}

/// Applies a ruleset as one transaction.
pub(super) fn apply(ruleset: &Value) -> Result<(), Fault> {
    let failed = |cause: String| Fault::Network { step: "apply", on: "the nftables ruleset".to_owned(), cause };
    let run = || -> std::io::Result<std::process::Output> {
        let mut nft = Command::new("nft")
            .args(["-j", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = nft.stdin.take() {
            input.write_all(ruleset.to_string().as_bytes())?;
        }
        nft.wait_with_output()
    };
    let done = run().map_err(|cause| failed(format!("nft does not run ({cause}); install the nftables package")))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_owned())),
    }
}

/// There is no IPv6 on the bridge; a kernel without it has nothing to be told.
fn quiet_ipv6(namespace: &Namespace, link: &str) {
    sysctl::write(namespace, &format!("net/ipv6/conf/{link}/disable_ipv6"), "1").ok();
}

/// Docker's: the address is in it, so that it is told apart and stays the same with the address.
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
