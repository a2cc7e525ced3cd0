// SPDX-License-Identifier: Apache-2.0
//! The host around the way to the world: a wall of nftables, without which the way is never open, and the uplink.
//!
//! Tasks reach the host and the namespaces it routes to; only with an uplink do their packets leave the machine, with an
//! address of the machine. A device leads outside unless it is a pair or a bridge; of those, the ones of a default route
//! and bridges with another port lead outside as well. The host's forwarding is switched on for an uplink alone; what was
//! set before is in the journal first, and is set again when the uplink or the world goes. `rules` decides (pure).
//! A simulated host has a wall on each side of its way: in its namespace, and on the machine it is on, which has the
//! uplink. Not here: the devices of the way (`berth_fabric::world`, `outside`) and what a task may send (the data path).

mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_fabric::kernel::{Fault as KernelFault, Namespace, Netlink, sysctl};
use berth_fabric::outside;
use berth_fabric::world::host_device;
use berth_types::intent::HostIntent;
use berth_types::{FaultPoints, Ipv4Cidr};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::blocking::blocking;
use crate::fault::all_of;
use crate::journal::{self, Journal};
use crate::{Fault, NodeConfig, Step, Uplink, nft, step};
use rules::Wall;

/// Key of the wall in the host's namespace.
const HOST: &str = "world";
/// Key of the wall on the machine that a simulated host is on.
const MACHINE: &str = "outside";
/// A shorter prefix is part of a default route.
const DEFAULT_PREFIX_MAX: u8 = 7;

/// Settings by device.
type Forwarding = BTreeMap<String, String>;

/// The wall as the journal keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Walled {
    /// Devices on which forwarding is switched on for the uplink, with the earlier setting.
    forwarding: Forwarding,
    /// Earlier forwarding of the host's end of the way, while it is switched on for the uplink.
    #[serde(default)]
    own: Option<String>,
}

/// Where a wall stands.
#[derive(Clone, Debug)]
struct Side {
    /// Key of its record in the journal.
    key: &'static str,
    /// Name of its table.
    table: String,
    /// The end of the way.
    device: String,
    /// The device by which the way goes on from here, for it alone.
    onward: Option<String>,
    /// The namespace; the node's own when absent.
    space: Option<Arc<Namespace>>,
}

impl Side {
    /// In the host's namespace.
    fn host(config: &NodeConfig) -> Self {
        Self {
            key: HOST,
            table: rules::table(&config.instance),
            device: host_device(&config.instance),
            onward: config.outside.as_ref().map(|_| outside::DEVICE.to_owned()),
            space: None,
        }
    }

    /// On the machine that a simulated host is on.
    fn machine(config: &NodeConfig, machine: Arc<Namespace>) -> Self {
        Self {
            key: MACHINE,
            table: rules::table(&config.instance),
            device: host_device(&config.instance),
            onward: None,
            space: Some(machine),
        }
    }

    /// Does work in the namespace, on a thread that may block.
    async fn within<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let side = self.clone();
        blocking("network worker", move || side.enter(|| work(&side))).await
    }

    fn enter<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        match &self.space {
            None => work(),
            Some(space) => space.inside(work).map_err(Fault::network("enter", "the machine's network"))?,
        }
    }

    fn record(&self, journal: &Journal) -> Result<Option<Walled>, Fault> {
        recorded(journal, self.key)
    }
}

/// One side of the way to the world.
pub(crate) struct HostWorld {
    side: Side,
    uplink: Option<Uplink>,
    journal: Journal,
    fault_points: FaultPoints<Step>,
    state: Mutex<State>,
}

/// What this process has done.
#[derive(Default)]
struct State {
    /// The pool around which it has made the wall.
    walled: Option<Ipv4Cidr>,
    /// The way is open, and forwards if it must.
    is_settled: bool,
}

/// The devices of the host.
#[derive(Debug, Default)]
struct Seen {
    names: Vec<String>,
    /// Those that lead outside.
    outside: Vec<String>,
    /// Those that lead outside although they are pairs or bridges.
    disguised: Vec<String>,
    forwarding: Forwarding,
}

impl HostWorld {
    /// The side of the host. The uplink of a simulated host is on its machine.
    pub fn new(config: &NodeConfig, journal: Journal) -> Self {
        let uplink = config.uplink.clone().filter(|_| config.outside.is_none());
        Self::on(Side::host(config), uplink, config, journal)
    }

    /// The side of the machine that a simulated host is on.
    pub fn on_machine(config: &NodeConfig, machine: Arc<Namespace>, journal: Journal) -> Self {
        Self::on(Side::machine(config, machine), config.uplink.clone(), config, journal)
    }

    fn on(side: Side, uplink: Option<Uplink>, config: &NodeConfig, journal: Journal) -> Self {
        Self { side, uplink, journal, fault_points: config.fault_points.clone(), state: Mutex::default() }
    }

    /// Makes the wall before the way is opened. The way must stay closed after a failure.
    pub async fn wall(&self, intent: &HostIntent) -> Result<(), Fault> {
        let Some(&pool) = intent.worlds.keys().next() else { return Ok(()) };
        let mut state = self.state.lock().await;
        if state.walled == Some(pool) {
            return Ok(());
        }
        let seen = self.side.within(look).await?;
        let before = self.record()?.unwrap_or_default();
        let (wall, forwarding) = decide(&self.side, self.uplink.as_ref(), &seen, &before)?;
        let own = before.own.clone();
        let noted = Walled { forwarding: merged(&before.forwarding, &forwarding), own: own.clone() };
        self.journal.put(journal::WORLD, self.side.key, &noted).await?;
        self.pass(Step::WallNoted);
        let next = forwarding.clone();
        let make = move |side: &Side| {
            nft::apply(&rules::ruleset(&side.table, pool, &wall))?;
            next.keys().try_for_each(|device| forward(device, "1"))?;
            let gone = before.forwarding.iter().filter(|(device, _)| !next.contains_key(*device));
            all_of(gone.map(|(device, was)| forward(device, was)))
        };
        self.side.within(make).await?;
        self.pass(Step::WallMade);
        self.journal.put(journal::WORLD, self.side.key, &Walled { forwarding, own }).await?;
        *state = State { walled: Some(pool), is_settled: false };
        Ok(())
    }

    /// Completes the uplink once the way is open, and removes the wall once there is none.
    pub async fn settle(&self, intent: &HostIntent) -> Result<(), Fault> {
        let mut state = self.state.lock().await;
        if intent.worlds.is_empty() {
            let Some(record) = self.record()? else { return Ok(()) };
            self.side.within(move |side| take_down(side, &record)).await?;
            self.pass(Step::WallRemoved);
            *state = State::default();
            self.journal.remove(journal::WORLD, self.side.key).await?;
            self.pass(Step::WallForgotten);
            return Ok(());
        }
        if state.is_settled || state.walled.is_none() {
            return Ok(());
        }
        let Some(record) = self.record()? else { return Ok(()) };
        match (self.uplink.is_some(), record.own.clone()) {
            (true, earlier) => {
                let seen = self.side.within(|side| forwarding_of(&side.device)).await?;
                let noted = Walled { own: Some(earlier.unwrap_or(seen)), ..record };
                self.journal.put(journal::WORLD, self.side.key, &noted).await?;
                self.pass(Step::UplinkNoted);
                self.side.within(|side| forward(&side.device, "1")).await?;
                self.pass(Step::UplinkMade);
            }
            (false, Some(was)) => {
                self.side.within(move |side| forward(&side.device, &was)).await?;
                self.journal.put(journal::WORLD, self.side.key, &Walled { own: None, ..record }).await?;
            }
            (false, None) => {}
        }
        state.is_settled = true;
        Ok(())
    }

    fn pass(&self, step: Step) {
        step::pass(&self.fault_points, step);
    }

    fn record(&self) -> Result<Option<Walled>, Fault> {
        self.side.record(&self.journal)
    }
}

/// Devices of the host on which forwarding is on for an uplink, or for the way out of a simulated host.
pub(crate) fn forwarding(journal: &Journal, instance: &str) -> Result<Vec<String>, Fault> {
    let way = host_device(instance);
    let mut devices = Vec::new();
    if let Some(record) = recorded(journal, HOST)? {
        devices.extend(record.forwarding.into_keys().chain(record.own.map(|_| way.clone())));
    }
    if recorded(journal, MACHINE)?.is_some() {
        devices.extend([way, outside::DEVICE.to_owned()]);
    }
    Ok(devices)
}

/// Removes the walls of an instance whose way to the world is gone. Blocks.
pub(crate) fn destroy(config: &NodeConfig) -> Result<(), Fault> {
    if !config.journal_file().exists() {
        return Ok(());
    }
    let journal = Journal::open(&config.journal_file())?;
    let machine = config.outside.clone().map(|machine| Side::machine(config, machine));
    let sides = [Some(Side::host(config)), machine];
    all_of(sides.into_iter().flatten().map(|side| {
        let record = side.record(&journal)?;
        record.map_or(Ok(()), |record| side.enter(|| take_down(&side, &record)))
    }))
}

fn recorded(journal: &Journal, key: &str) -> Result<Option<Walled>, Fault> {
    Ok(journal.all::<Walled>(journal::WORLD)?.into_iter().find(|(of, _)| of == key).map(|(_, record)| record))
}

fn take_down(side: &Side, record: &Walled) -> Result<(), Fault> {
    let restored = record.forwarding.iter().map(|(device, was)| forward(device, was)).collect::<Vec<_>>();
    all_of(restored.into_iter().chain([nft::apply(&rules::removal(&side.table))]))
}

/// The wall for the devices of the host, and the devices to switch forwarding on for. Pure.
fn decide(side: &Side, uplink: Option<&Uplink>, seen: &Seen, before: &Walled) -> Result<(Wall, Forwarding), Fault> {
    let uplinks = match uplink {
        None => Vec::new(),
        Some(Uplink::Any) => seen.outside.clone(),
        Some(Uplink::Device(name)) if seen.names.contains(name) && *name != side.device => vec![name.clone()],
        Some(Uplink::Device(name)) => {
            return Err(Fault::Setting(format!("no device {name} for --uplink; `ip link` lists the devices")));
        }
    };
    let earlier = |device: &String| before.forwarding.get(device).or_else(|| seen.forwarding.get(device)).cloned();
    let switched = uplinks.iter().filter_map(|device| Some((device.clone(), earlier(device)?)));
    let forwarding: Forwarding = switched.filter(|(_, was)| was != "1").collect();
    let wall = Wall {
        device: side.device.clone(),
        onward: side.onward.clone(),
        outside: seen.disguised.clone(),
        uplinks,
        is_open: uplink == Some(&Uplink::Any),
        switched_on: forwarding.keys().cloned().collect(),
    };
    Ok((wall, forwarding))
}

fn merged(before: &Forwarding, next: &Forwarding) -> Forwarding {
    next.iter().chain(before).map(|(device, was)| (device.clone(), was.clone())).collect()
}

fn look(side: &Side) -> Result<Seen, Fault> {
    let seen = || -> Result<Seen, KernelFault> {
        let mut host = Netlink::open()?;
        let here = Namespace::of_current_thread()?;
        let (links, routes) = (host.links()?, host.routes()?);
        let is_default = |dst: IpNet| matches!(dst, IpNet::V4(dst) if dst.prefix_len() <= DEFAULT_PREFIX_MAX);
        let mut seen = Seen::default();
        let is_own = |name: &String| *name == side.device || side.onward.as_ref() == Some(name);
        for link in links.iter().filter(|link| link.name != "lo" && !is_own(&link.name)) {
            let kind = link.kind.as_deref();
            let has_route = routes.iter().any(|route| is_default(route.dst) && route.oif == Some(link.index));
            let mut ports = links.iter().filter(|port| port.bridge == Some(link.index));
            let has_way_out = kind == Some("bridge") && ports.any(|port| port.kind.as_deref() != Some("veth"));
            seen.names.push(link.name.clone());
            let is_inside_kind = matches!(kind, Some("veth" | "bridge"));
            if is_inside_kind && (has_route || has_way_out) {
                seen.disguised.push(link.name.clone());
            }
            if has_route || has_way_out || (!is_inside_kind && link.is_up && !host.addresses(link.index)?.is_empty()) {
                seen.outside.push(link.name.clone());
            }
            let setting = sysctl::read(&here, &forwarding_key(&link.name))?;
            seen.forwarding.insert(link.name.clone(), setting);
        }
        Ok(seen)
    };
    seen().map_err(Fault::network("look at", "the host's devices"))
}

fn forwarding_key(device: &str) -> String {
    format!("net/ipv4/conf/{device}/forwarding")
}

/// Sets the forwarding of a device. One that is gone needs none.
pub(crate) fn forward(device: &str, value: &str) -> Result<(), Fault> {
    let written = || match sysctl::write(&Namespace::of_current_thread()?, &forwarding_key(device), value) {
        Err(fault) if fault.is_errno(libc::ENOENT) => Ok(()),
        done => done,
    };
    written().map_err(Fault::network("set the forwarding of", device))
}

/// The forwarding of a device; off where there is no such device.
fn forwarding_of(device: &str) -> Result<String, Fault> {
    let read = || match sysctl::read(&Namespace::of_current_thread()?, &forwarding_key(device)) {
        Err(fault) if fault.is_errno(libc::ENOENT) => Ok("0".to_owned()),
        read => read,
    };
    read().map_err(Fault::network("read the forwarding of", device))
}

#[cfg(test)]
mod tests;
