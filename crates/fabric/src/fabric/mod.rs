// SPDX-License-Identifier: Apache-2.0
//! The facade: one instance's data path on this host, from opening to removal.
//!
//! All state is in the kernel (maps and program pinned on bpffs, devices in the fabric namespace), so this process can
//! end and restart without an effect on packets. Blocking; meant for one dedicated thread.

mod clock;
mod data_path;
pub(crate) mod device;
mod dry;
mod edge;
mod endpoints;
mod garbage;
mod held;
mod plan;
mod plug;
mod program;
mod rates;
mod sweep;
mod trial;
mod ways;
pub mod world;

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use berth_types::EniId;

pub use crate::fault::Fault;
use clock::Clock;
pub use data_path::{Fabric, FabricConfig, World};
pub use endpoints::edge_namespace;
use garbage::UsedSlots;
pub(crate) use held::{Held, address_key, cidr_key, member_key, port_key};
pub use plug::Inner;
pub use program::ProgramStats;
pub use rates::Exceeded;
pub use sweep::Swept;
pub use trial::Trial;

pub use crate::bpf::durations::Durations;
use crate::bpf::layout::{Returned, Ring};
use crate::bpf::{Maps, attach, endpoint, load, pins, shares, takeover};
use crate::kernel::netlink::Link;
use crate::kernel::{Namespace, sysctl};
use crate::stats::EniStats;

impl Fabric {
    /// Opens the fabric: creates missing objects, adopts those of an earlier process (also of the earlier layout), and
    /// replaces an older program by this build's. Existing flows continue.
    pub fn open(config: FabricConfig) -> Result<Self, Fault> {
        pins::mount()?;
        let earlier = takeover::take_over(&config.instance)?;
        let directory = pins::prepare(&config.instance)?;
        let namespace = Namespace::create(&config.namespace())?;
        quiet(&namespace)?;
        let loaded = load::load(&directory)?;
        let mut fabric = Self {
            netlink: namespace.netlink()?,
            maps: Maps::open(&directory)?,
            program: loaded.port,
            edge_program: loaded.world,
            config,
            namespace,
            held: None,
            compiled: None,
            next_device: 0,
            pins: loaded.pins.into_iter().chain(endpoint::pinned(&directory)?).collect(),
            clock: Clock::new(),
            world: None,
            is_world_known: false,
            endpoints: None,
            rates: None,
        };
        fabric.maps.set_clock(&Durations::default())?;
        fabric.maps.set_shares(shares::division)?;
        fabric.forget_lost_devices()?;
        if loaded.is_new {
            fabric.replace_program()?;
            load::settle(&directory)?;
        }
        if let Some(earlier) = earlier {
            takeover::take_late_flows(&earlier, &directory)?;
            fabric.sweep()?;
        }
        pins::remove_other_layouts(&fabric.config.instance)?;
        Ok(fabric)
    }

    /// Redirects connections for an address and port of the calling thread's namespace to a socket that listens
    /// elsewhere. After the socket is closed they are dropped, until this is called again or the fabric is destroyed.
    pub fn lead(&mut self, address: SocketAddrV4, listener: &impl AsRawFd) -> Result<(), Fault> {
        let pin = endpoint::lead(&self.pins(), address, listener)?;
        self.pins.insert(pin);
        Ok(())
    }

    /// The interfaces plugged here: their device exists and their entry is in the maps.
    pub fn plugged(&self) -> Result<Vec<EniId>, Fault> {
        let links = self.namespace.netlink()?.links()?;
        let mut plugged = Vec::new();
        for (id, entry) in self.maps.enis()? {
            let is_its = |link: &Link| link.index == entry.ifindex && device::eni_of(&link.name).as_ref() == Some(&id);
            if links.iter().any(is_its) {
                plugged.push(id);
            }
        }
        plugged.sort();
        Ok(plugged)
    }

    /// Every interface with a device, an entry in the maps, or both.
    pub fn present(&self) -> Result<BTreeSet<EniId>, Fault> {
        let links = self.namespace.netlink()?.links()?;
        let devices = links.iter().filter_map(|link| device::eni_of(&link.name));
        Ok(devices.chain(self.maps.enis()?.into_iter().map(|(id, _)| id)).collect())
    }

    /// Removes flow table entries without a plugged interface, and pins that do not belong to this build.
    pub fn collect(&mut self) -> Result<(), Fault> {
        let used = UsedSlots(self.held()?.plugged.values().map(|plugged| plugged.slot).collect());
        let flows = self.maps.flows_where(|flow| used.has_lost(flow))?;
        let rows = self.maps.ring_rows_where(|slot| !used.has_owner(slot))?;
        if flows.len() + rows.len() > 0 {
            tracing::warn!(flows = flows.len(), rows = rows.len(), "removed flows without an interface");
        }
        flows.iter().try_for_each(|key| self.maps.remove_flow(key))?;
        rows.iter().try_for_each(|row| self.maps.remove_ring_row(row))?;
        let (rings, returns) = (self.maps.rings()?, self.maps.returns()?);
        let accounts = (0u32..).zip(rings.iter().zip(&returns));
        let is_used =
            |(ring, returned): &(&Ring, &Returned)| **ring != Ring::default() || **returned != Returned::default();
        for (slot, _) in accounts.filter(|(slot, account)| !used.has_owner(*slot) && is_used(account)) {
            self.maps.clear_ring(slot)?;
        }
        for stray in garbage::strays(&pins::list(&self.pins())?, &self.pins) {
            let path = self.pins().join(stray);
            tracing::warn!(path = %path.display(), "removed a pin that belongs to no program of this build");
            pins::remove_one(&path)?;
        }
        Ok(())
    }

    /// Replaces the durations that AWS documents.
    pub fn set_durations(&mut self, durations: &Durations) -> Result<(), Fault> {
        self.maps.set_clock(durations)
    }

    /// Counters of a plugged interface.
    pub fn stats(&self, id: &EniId) -> Result<EniStats, Fault> {
        match self.maps.enis()?.into_iter().find(|(other, _)| other == id) {
            Some((_, entry)) => EniStats::read(&self.maps, entry.slot),
            None => Err(Fault::NotPlugged { eni: id.clone() }),
        }
    }

    /// Packets dropped before they could be counted at an interface.
    pub fn stray(&self) -> Result<EniStats, Fault> {
        EniStats::read(&self.maps, 0)
    }

    /// Map entries written or removed since the fabric was opened.
    pub fn writes(&self) -> u64 {
        self.maps.writes
    }

    /// Number of entries of the flow table, live or not yet removed.
    pub fn flows(&self) -> Result<usize, Fault> {
        let counted: Result<Vec<_>, _> = self.maps.flows.keys().collect();
        Ok(counted.map_err(|source| Fault::map("read", "flows", source))?.len())
    }

    /// Removes the data path: devices, maps, program, namespace.
    pub fn destroy(self) -> Result<(), Fault> {
        let Self { config, namespace, mut netlink, program, edge_program, maps, .. } = self;
        for link in netlink.links()? {
            if device::eni_of(&link.name).is_some() || [world::DEVICE, endpoints::DEVICE].contains(&link.name.as_str())
            {
                netlink.delete_link(&link.name)?;
            }
        }
        drop((netlink, namespace, program, edge_program, maps));
        Namespace::delete(&endpoints::edge_namespace(&config.run_dir))?;
        Namespace::delete(&config.namespace())?;
        pins::remove_instance(&config.instance)
    }

    /// The fabric's namespace, for inspection.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The path of the pinned maps and program.
    pub fn pins(&self) -> PathBuf {
        pins::directory(&self.config.instance)
    }

    /// A deleted namespace of a task takes its devices with it; their entries are removed here.
    fn forget_lost_devices(&mut self) -> Result<(), Fault> {
        let links = self.netlink.links()?;
        self.next_device = links.iter().map(|link| link.index + 1).max().unwrap_or_default();
        let lost: Vec<EniId> = self
            .held()?
            .plugged
            .iter()
            .filter(|(id, plugged)| {
                let name = device::name_of(id);
                !links.iter().any(|link| link.index == plugged.ifindex && link.name == name)
            })
            .map(|(id, _)| id.clone())
            .collect();
        lost.iter().try_for_each(|id| self.forget(id))
    }

    fn replace_program(&mut self) -> Result<(), Fault> {
        let devices: Vec<String> = self.held()?.plugged.keys().map(device::name_of).collect();
        let program = &mut self.program;
        self.namespace.inside(|| devices.iter().try_for_each(|device| attach::attach(program, device)))??;
        let world = self.held()?.world;
        [world.ifindex, world.edge_ifindex].into_iter().try_for_each(|edge| self.attach_edge(edge))
    }

    /// The content of the maps.
    fn held(&mut self) -> Result<&mut Held, Fault> {
        let held = match self.held.take() {
            Some(held) => held,
            None => Held::read(&self.maps)?,
        };
        Ok(self.held.insert(held))
    }
}

/// Keeps the fabric's namespace from sending packets of its own.
fn quiet(namespace: &Namespace) -> Result<(), Fault> {
    for key in ["net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6"] {
        if Path::new("/proc/sys/net/ipv6").exists() {
            sysctl::write(namespace, key, "1")?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod testing {
    //! The subject of the properties in `oracle`.
    pub use super::plan::{Wanted, plan};
}
