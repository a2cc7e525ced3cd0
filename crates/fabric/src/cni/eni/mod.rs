// SPDX-License-Identifier: Apache-2.0
//! `ecs-eni` and `vpc-eni`: a task's own network interface.
//!
//! [`add`] finds the device by its hardware address in the caller's namespace, moves it into the container and
//! configures it there; [`configure_in_place`] configures a device that was created inside. Both follow the same plan.
//! Not here: creating the device and programming its other end (the data path).

pub(super) mod command;
mod plan;

pub use plan::{EniConfig, INTERNET_MTU, Seen, Step, plan};

use berth_types::MacAddress;

use super::Fault;
use super::bridge::undone;
use crate::kernel::netlink::Link;
use crate::kernel::{self, Namespace, Netlink, sysctl};

/// Configures the link `if_name`, which is already inside the namespace: addresses, MTU, up, routes. May be called
/// twice. Its hardware address must be the configuration's.
pub fn configure_in_place(namespace: &Namespace, if_name: &str, config: &EniConfig) -> Result<(), Fault> {
    let mut inside = Inside::of(namespace)?;
    let link = inside.netlink.link_by_name(if_name)?.ok_or(Fault::NoDevice { mac: config.mac })?;
    check_mac(&link, namespace, config)?;
    inside.make_ready(&link, if_name, config)
}

/// Moves the device from the calling thread's namespace into the container and configures it under the name `if_name`.
/// Returns the device as it was found. A device that a killed call left inside is configured. On failure a device that
/// this call moved is moved back.
pub fn add(namespace: &Namespace, if_name: &str, config: &EniConfig) -> Result<Link, Fault> {
    let mut inside = Inside::of(namespace)?;
    if let Some(device) = find(&mut inside.netlink, config.mac)? {
        inside.finish(if_name, config)?;
        return Ok(device);
    }
    if let Some(taken) = inside.netlink.link_by_name(if_name)?.filter(|_| !config.stay_down) {
        check_mac(&taken, namespace, config)?;
    }
    let home = Namespace::of_current_thread()?;
    let mut outside = Netlink::open()?;
    let device = find(&mut outside, config.mac)?.ok_or(Fault::NoDevice { mac: config.mac })?;
    outside.move_to(device.index, namespace.as_fd())?;
    match inside.finish(if_name, config) {
        Ok(()) => Ok(device),
        Err(failed) => Err(undone(failed, take_back(&mut inside.netlink, &home, config.mac, &device.name))),
    }
}

/// Moves the device of the container back into the calling thread's namespace, down and named after its hardware
/// address. A missing device counts as success.
pub fn give_back(namespace: &Namespace, mac: MacAddress) -> Result<(), Fault> {
    let home = Namespace::of_current_thread()?;
    let [a, b, c, d, e, f] = mac.0;
    // The official plugin's name; the other bytes distinguish devices whose first three are the same.
    let official = format!("ecs{a:x}{b:x}{c:x}");
    let is_free = Netlink::open()?.link_by_name(&official)?.is_none();
    let name = if is_free { official } else { format!("ecs{d:x}{e:x}{f:x}") };
    take_back(&mut namespace.netlink()?, &home, mac, &name)
}

/// The steps that are missing for the state after [`add`].
pub fn missing(namespace: &Namespace, if_name: &str, config: &EniConfig) -> Result<Vec<Step>, Fault> {
    let mut inside = Inside::of(namespace)?;
    let link = find(&mut inside.netlink, config.mac)?.ok_or(Fault::NoDevice { mac: config.mac })?;
    if config.stay_down {
        return Ok(Vec::new());
    }
    let seen = inside.look(&link)?;
    Ok(plan(config, if_name, &seen))
}

/// The container during the work.
struct Inside<'a> {
    namespace: &'a Namespace,
    netlink: Netlink,
    /// The namespace supports IPv6.
    has_ipv6: bool,
}

impl<'a> Inside<'a> {
    fn of(namespace: &'a Namespace) -> Result<Self, Fault> {
        let has_ipv6 = sysctl::read(namespace, "net.ipv6.conf.lo.disable_ipv6").is_ok_and(|disabled| disabled == "0");
        Ok(Self { namespace, netlink: namespace.netlink()?, has_ipv6 })
    }

    fn finish(&mut self, if_name: &str, config: &EniConfig) -> Result<(), Fault> {
        let device = find(&mut self.netlink, config.mac)?.ok_or(Fault::NoDevice { mac: config.mac })?;
        if config.stay_down { Ok(()) } else { self.make_ready(&device, if_name, config) }
    }

    fn make_ready(&mut self, link: &Link, if_name: &str, config: &EniConfig) -> Result<(), Fault> {
        let seen = self.look(link)?;
        for step in plan(config, if_name, &seen) {
            self.act(link.index, &step)?;
        }
        // Where /proc/sys is read-only, an interface with the machine's settings is better than none.
        if let Err(fault) = sysctl::settle_task(self.namespace) {
            tracing::warn!(cause = %crate::cni::describe(&fault), "the task keeps the machine's network settings");
        }
        Ok(())
    }

    fn look(&mut self, link: &Link) -> Result<Seen, Fault> {
        Ok(Seen {
            addresses: self.netlink.addresses(link.index)?,
            routes: self.netlink.routes()?,
            has_ipv6: self.has_ipv6,
            link: link.clone(),
        })
    }

    fn act(&mut self, index: u32, step: &Step) -> Result<(), kernel::Fault> {
        match step {
            Step::Down => self.netlink.set_down(index),
            Step::Rename { to, .. } => self.netlink.rename(index, to),
            Step::SetMtu { mtu } => self.netlink.set_mtu(index, *mtu),
            Step::AddAddress { address } => self.netlink.add_address(index, *address),
            Step::Up => self.netlink.set_up(index),
            Step::AddRoute { route } => self.netlink.add_route(route),
        }
    }
}

/// The one device with this hardware address. Bridges, VLANs and similar devices share the address of their base device
/// and are excluded.
fn find(netlink: &mut Netlink, mac: MacAddress) -> Result<Option<Link>, Fault> {
    const UPPER: [&str; 8] = ["bridge", "vlan", "bond", "team", "macvlan", "macvtap", "ipvlan", "ipvtap"];
    let is_upper = |link: &Link| link.kind.as_deref().is_some_and(|kind| UPPER.contains(&kind));
    let mut devices = netlink.links_by_mac(mac)?;
    devices.retain(|link| !is_upper(link));
    if devices.len() > 1 {
        let names = devices.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Fault::SeveralDevices { mac, names });
    }
    Ok(devices.pop())
}

fn check_mac(link: &Link, namespace: &Namespace, config: &EniConfig) -> Result<(), Fault> {
    if link.mac == Some(config.mac) {
        return Ok(());
    }
    let mac = link.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
    let (name, namespace) = (link.name.clone(), namespace.path().to_owned());
    Err(Fault::NameTaken { name, namespace, found: format!("MAC {mac}, not {}", config.mac) })
}

fn take_back(inside: &mut Netlink, home: &Namespace, mac: MacAddress, name: &str) -> Result<(), Fault> {
    let Some(device) = find(inside, mac)? else { return Ok(()) };
    inside.set_down(device.index)?;
    if device.name != name {
        inside.rename(device.index, name)?;
    }
    inside.move_to(device.index, home.as_fd())?;
    Ok(())
}
