// SPDX-License-Identifier: Apache-2.0
//! `ecs-bridge`: a second interface for a task, on which the host serves credentials and metadata.
//!
//! The host has one bridge; every task has a veth pair to it, isolated from all others. The container's end has a
//! leased address, the hardware address `0a:58` + that address, and routes only to the host. Not here: the listener at
//! the credentials address (the node), address allocation (`ipam`).

pub(super) mod command;
mod plan;

pub use plan::{CREDENTIALS, Seen, Step, Want, plan};

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use berth_types::MacAddress;
use ipnet::{IpNet, Ipv4Net};

use super::Fault;
use super::ipam::{Ipam, LeaseRequest, Owner, Pool, Wanted};
use super::spec::RouteTo;
use crate::kernel::netlink::Link;
use crate::kernel::{self, Namespace, Netlink, sysctl};
use crate::ports;

/// The bridge of Amazon ECS.
pub const BRIDGE_DEFAULT: &str = "ecs-bridge";
/// MTU of the pairs if none is given.
pub const MTU_DEFAULT: u32 = 1500;
/// Maximum number of attempts to find an unused random name.
const NAME_ATTEMPTS_MAX: u32 = 8;

/// Settings of the bridge on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Name of the bridge in the caller's namespace; created if it does not exist.
    pub bridge: String,
    /// MTU of the pairs.
    pub mtu: u32,
    /// Pool of addresses, with the bridge's own address as gateway.
    pub pool: Pool,
    /// Destinations that the container reaches through the gateway.
    pub routes: Vec<RouteTo>,
    /// Pins of the program that guards the ports.
    pub guard: Option<PathBuf>,
}

impl BridgeConfig {
    /// The settings of Amazon ECS: `ecs-bridge`, 169.254.172.0/22, a route to 169.254.170.2 and nothing else.
    pub fn ecs() -> Self {
        let subnet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 172, 0), 22));
        let credentials = IpNet::V4(Ipv4Net::new_assert(CREDENTIALS, 32));
        Self {
            bridge: BRIDGE_DEFAULT.to_owned(),
            mtu: MTU_DEFAULT,
            pool: Pool::new(subnet, None).expect("a /22 has addresses to lease"),
            routes: vec![RouteTo { dst: credentials, gw: None }],
            guard: None,
        }
    }

    /// The same with ports guarded by the program pinned in a directory.
    pub fn guarded(self, pins: &Path) -> Self {
        Self { guard: Some(pins.to_owned()), ..self }
    }

    fn want(&self, namespace: &Namespace, container_if: &str, address: IpNet) -> Want {
        Want {
            bridge: self.bridge.clone(),
            container_if: container_if.to_owned(),
            namespace: namespace.path().to_owned(),
            mtu: self.mtu,
            addresses: vec![(address, self.pool.gateway())],
            routes: self.routes.clone(),
            default_route: false,
            hairpin: false,
            force_address: false,
            guard: self.guard.clone(),
        }
    }
}

/// A task's connection to the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeLease {
    /// Address of the container's end, with prefix length.
    pub address: IpNet,
    /// Address of the bridge.
    pub gateway: IpAddr,
    /// Hardware address of the container's end.
    pub mac: MacAddress,
    /// Name of the host's end.
    pub host_if: String,
}

/// Connects a namespace to the bridge in the calling thread's namespace.
///
/// `lease_id` must be unique per task. The same id with the same interface name gets the same address again, and the
/// remaining work of a killed call is completed, so this may be called twice. On failure all changes of this call are
/// undone.
pub fn add(
    namespace: &Namespace,
    container_if: &str,
    lease_id: &str,
    config: &BridgeConfig,
    ipam_db: &Path,
) -> Result<BridgeLease, Fault> {
    let ipam = Ipam::at(ipam_db);
    let request = LeaseRequest {
        wanted: vec![Wanted { pool: config.pool, address: None }],
        id: lease_id.to_owned(),
        network: config.bridge.clone(),
        owner: Owner { container_id: lease_id.to_owned(), if_name: container_if.to_owned() },
    };
    let (leases, stood) = ipam.allocate(&request)?;
    let address = leases[0].address;
    let want = config.want(namespace, container_if, address);
    match connect(namespace, &want) {
        Ok(connected) => {
            Ok(BridgeLease { address, gateway: config.pool.gateway(), mac: connected.mac, host_if: connected.host_if })
        }
        // An address that an interface still has stays leased.
        Err(failed) if stood || is_there(namespace, container_if) => Err(failed),
        Err(failed) => Err(undone(failed, ipam.release(lease_id).map(drop).map_err(Fault::Lease))),
    }
}

/// Guards the port of a namespace that was connected with this address by a program without guards.
pub fn guard(namespace: &Namespace, container_if: &str, address: Ipv4Addr, config: &BridgeConfig) -> Result<(), Fault> {
    let want = config.want(namespace, container_if, config.pool.with_prefix(IpAddr::V4(address)));
    if is_there(namespace, container_if) { connect(namespace, &want).map(drop) } else { Ok(()) }
}

/// Disconnects a namespace and frees its lease. Absent objects count as removed; `namespace` is `None` when the
/// namespace has ended, and the pair with it.
pub fn del(
    namespace: Option<&Namespace>,
    container_if: &str,
    lease_id: &str,
    config: &BridgeConfig,
    ipam_db: &Path,
) -> Result<(), Fault> {
    // The lease is freed last: its address must not be assigned while an interface has it.
    if let Some(namespace) = namespace {
        disconnect(namespace, container_if, config.guard.as_deref())?;
    }
    Ipam::at(ipam_db).release(lease_id)?;
    Ok(())
}

/// Creates the bridge in the calling thread's namespace, if it does not exist, and adds the address of the credentials
/// endpoint. The caller then listens at that address. May be called twice.
pub fn serve_credentials_address(config: &BridgeConfig, address: Ipv4Addr) -> Result<(), Fault> {
    let mut host = Netlink::open()?;
    let index = ensure_bridge(&mut host, &config.bridge)?;
    quiet_ipv6(&config.bridge)?;
    host.add_address(index, config.pool.with_prefix(config.pool.gateway()))?;
    host.add_address(index, IpNet::V4(Ipv4Net::new_assert(address, 32)))?;
    host.set_up(index)?;
    Ok(())
}

/// Disables IPv6 on the bridge: the host would answer at its link-local address. A kernel without IPv6 has no such
/// setting.
fn quiet_ipv6(bridge: &str) -> Result<(), Fault> {
    let key = format!("net/ipv6/conf/{bridge}/disable_ipv6");
    match Path::new("/proc/sys").join(&key).exists() {
        true => Ok(sysctl::write(&Namespace::of_current_thread()?, &key, "1")?),
        false => Ok(()),
    }
}

/// The objects that [`connect`] created or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connected {
    pub(super) mac: MacAddress,
    pub(super) host_if: String,
    pub(super) host_mac: Option<MacAddress>,
    pub(super) bridge_mac: Option<MacAddress>,
}

/// Plans and executes. A pair that this call created is removed again on failure.
pub(super) fn connect(namespace: &Namespace, want: &Want) -> Result<Connected, Fault> {
    let mut host = Netlink::open()?;
    let mut container = namespace.netlink()?;
    let seen = look(&mut host, &mut container, want)?;
    let steps = plan(want, &seen)?;
    let Seen { bridge, host_end, container_end, .. } = seen;
    let mut sides = Sides {
        host: &mut host,
        container: &mut container,
        namespace,
        want,
        bridge,
        host_end,
        container_end,
        made_pair: false,
    };
    match steps.iter().try_for_each(|step| sides.act(step)).and_then(|()| found(&mut sides)) {
        Ok(connected) => Ok(connected),
        Err(failed) if sides.made_pair => {
            let undo = sides.container.delete_link(&want.container_if).map_err(Fault::Kernel);
            Err(undone(failed, undo))
        }
        Err(failed) => Err(failed),
    }
}

/// Removes the pair by the container's end, if it is a veth, and the host's records of its port.
pub(super) fn disconnect(namespace: &Namespace, container_if: &str, guard: Option<&Path>) -> Result<(), Fault> {
    let mut container = namespace.netlink()?;
    let Some(link) = container.link_by_name(container_if)?.filter(|link| link.kind.as_deref() == Some("veth")) else {
        return Ok(());
    };
    let addresses = container.addresses(link.index)?;
    let mut host = Netlink::open()?;
    let end = match link.peer_index {
        Some(peer) => host.link_by_index(peer)?.filter(|end| end.peer_index == Some(link.index)),
        None => None,
    };
    container.delete_link(container_if)?;
    let Some(end) = end else { return Ok(()) };
    if let Some(bridge) = end.bridge {
        addresses.iter().try_for_each(|address| host.forget_neighbour(bridge, address.addr()))?;
    }
    match guard {
        Some(pins) => Ok(ports::forget(pins, end.index)?),
        None => Ok(()),
    }
}

/// True unless it is certain that the container has no interface of this name.
pub(super) fn is_there(namespace: &Namespace, container_if: &str) -> bool {
    let looked = namespace.netlink().and_then(|mut container| container.link_by_name(container_if));
    !matches!(looked, Ok(None))
}

/// The input of the plan, read from both namespaces.
pub(super) fn look(host: &mut Netlink, container: &mut Netlink, want: &Want) -> Result<Seen, Fault> {
    let bridge = host.link_by_name(&want.bridge)?;
    let bridge_addresses = match &bridge {
        Some(link) => host.addresses(link.index)?,
        None => Vec::new(),
    };
    let Some(link) = container.link_by_name(&want.container_if)? else {
        return Ok(Seen { bridge, bridge_addresses, ..Seen::default() });
    };
    let host_end = match link.peer_index {
        Some(peer) => host.links()?.into_iter().find(|end| end.index == peer && end.peer_index == Some(link.index)),
        None => None,
    };
    let guarded = match (&want.guard, &host_end) {
        (Some(pins), Some(end)) => ports::lease_of(pins, end.index)?,
        _ => None,
    };
    Ok(Seen {
        guarded,
        bridge,
        bridge_addresses,
        addresses: container.addresses(link.index)?,
        routes: container.routes()?.into_iter().filter(|route| route.oif == Some(link.index)).collect(),
        host_end,
        container_end: Some(link),
    })
}

/// The failure itself, or both failures if undoing failed, too.
pub(super) fn undone(failed: Fault, undo: Result<(), Fault>) -> Fault {
    match undo {
        Ok(()) => failed,
        Err(undo) => Fault::Undo { failed: Box::new(failed), undo: Box::new(undo) },
    }
}

/// Both ends during the execution of steps.
struct Sides<'a> {
    host: &'a mut Netlink,
    container: &'a mut Netlink,
    namespace: &'a Namespace,
    want: &'a Want,
    /// These links are looked up once, as soon as they exist.
    bridge: Option<Link>,
    host_end: Option<Link>,
    container_end: Option<Link>,
    /// True if this call created the pair.
    made_pair: bool,
}

impl Sides<'_> {
    fn act(&mut self, step: &Step) -> Result<(), Fault> {
        match step {
            Step::MakeBridge { name } => {
                ensure_bridge(self.host, name)?;
                quiet_ipv6(name)?;
            }
            Step::AddBridgeAddress { address } => {
                let index = self.bridge()?.index;
                self.host.add_address(index, *address)?;
            }
            Step::RemoveBridgeAddress { address } => {
                let index = self.bridge()?.index;
                self.host.delete_address(index, *address)?;
            }
            Step::BridgeUp => {
                let index = self.bridge()?.index;
                self.host.set_up(index)?;
            }
            Step::MakePair { container_if, mac, mtu } => self.make_pair(container_if, *mac, *mtu)?,
            Step::Attach => {
                let (end, bridge) = (self.host_end()?.index, self.bridge()?.index);
                self.host.enslave(end, bridge)?;
            }
            Step::Pin { mac } => self.pin(*mac)?,
            Step::Isolate => {
                let end = self.host_end()?.index;
                self.host.set_port_isolated(end)?;
            }
            Step::Guard { lease } => {
                let end = self.host_end()?.clone();
                let pins = self.want.guard.as_deref();
                pins.map_or(Ok(()), |pins| ports::guard(pins, &end, lease))?;
            }
            Step::Hairpin => {
                let end = self.host_end()?.index;
                self.host.set_port_hairpin(end)?;
            }
            Step::HostUp => {
                let end = self.host_end()?.index;
                self.host.set_up(end)?;
            }
            Step::AddAddress { address } => {
                let end = self.container_end()?.index;
                self.container.add_address_without_route(end, *address)?;
            }
            Step::ContainerUp => {
                let end = self.container_end()?.index;
                self.container.set_up(end)?;
            }
            Step::AddRoute { dst, gateway } => {
                let end = self.container_end()?.index;
                let route = match gateway {
                    Some(gateway) => kernel::netlink::Route::via(*dst, *gateway, end),
                    None => kernel::netlink::Route::direct(*dst, end),
                };
                self.container.add_route(&route)?;
            }
            Step::RemoveRoute { dst } => {
                let end = self.container_end()?.index;
                self.container.delete_route(&kernel::netlink::Route::direct(*dst, end))?;
            }
        }
        Ok(())
    }

    fn make_pair(&mut self, container_if: &str, mac: MacAddress, mtu: u32) -> Result<(), Fault> {
        let bridge = self.bridge()?.index;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let name = format!("veth{:08x}", rand::random::<u32>());
            let made = self.host.create_veth(&kernel::netlink::VethPair {
                name: &name,
                mtu: Some(mtu),
                bridge: Some(bridge),
                peer_name: container_if,
                peer_mac: Some(mac),
                peer_mtu: Some(mtu),
                peer_ns: Some(self.namespace.as_fd()),
                ..Default::default()
            });
            match made {
                Err(fault) if fault.is_errno(libc::EEXIST) && attempt < NAME_ATTEMPTS_MAX => {}
                made => {
                    self.made_pair = made.is_ok();
                    return Ok(made?);
                }
            }
        }
    }

    /// Adds static entries for the container to the bridge's forwarding table and to the host's neighbour table, which
    /// no frame of a container can change. The bridge removes its entry with the port.
    fn pin(&mut self, mac: MacAddress) -> Result<(), Fault> {
        let (end, bridge) = (self.host_end()?.index, self.bridge()?.index);
        self.host.set_bridge_entry(end, mac)?;
        let mut addresses = self.want.addresses.iter().map(|(address, _)| address.addr());
        addresses.try_for_each(|address| self.host.set_neighbour(bridge, address, mac))?;
        Ok(())
    }

    fn bridge(&mut self) -> Result<&Link, Fault> {
        remembered(&mut self.bridge, || find(self.host, &self.want.bridge))
    }

    fn container_end(&mut self) -> Result<&Link, Fault> {
        remembered(&mut self.container_end, || find(self.container, &self.want.container_if))
    }

    fn host_end(&mut self) -> Result<&Link, Fault> {
        let peer = self.container_end()?.peer_index;
        let gone = || not_there(format!("the host's end of {}", self.want.container_if));
        remembered(&mut self.host_end, || self.host.link_by_index(peer.ok_or_else(gone)?)?.ok_or_else(gone))
    }
}

/// The link, looked up unless it is known.
fn remembered(known: &mut Option<Link>, look: impl FnOnce() -> Result<Link, Fault>) -> Result<&Link, Fault> {
    let link = match known.take() {
        Some(link) => link,
        None => look()?,
    };
    Ok(known.insert(link))
}

fn found(sides: &mut Sides<'_>) -> Result<Connected, Fault> {
    let mac = sides.container_end()?.mac.unwrap_or_else(|| sides.want.mac());
    let host = sides.host_end()?.clone();
    // A bridge created by another program may have taken the address of its new port.
    let bridge = find(sides.host, &sides.want.bridge)?;
    Ok(Connected { mac, host_if: host.name, host_mac: host.mac, bridge_mac: bridge.mac })
}

fn find(netlink: &mut Netlink, name: &str) -> Result<Link, Fault> {
    netlink.link_by_name(name)?.ok_or_else(|| not_there(name.to_owned()))
}

fn not_there(link: String) -> Fault {
    let cause = kernel::Refused::errno(libc::ENODEV);
    Fault::Kernel(kernel::Fault::SetLink { what: "find the state".to_owned(), link, cause })
}

/// A locally administered address that the bridge keeps, whatever ports it has.
fn ensure_bridge(host: &mut Netlink, name: &str) -> Result<u32, Fault> {
    let mut bytes: [u8; 6] = rand::random();
    bytes[0] = (bytes[0] & 0xfc) | 0x02;
    Ok(host.create_bridge(name, MacAddress(bytes))?)
}
