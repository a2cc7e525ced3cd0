//! The facade: one instance's data path on this host, from opening to taking it down.
//!
//! All state is in the kernel (maps and program pinned on bpffs, devices in the fabric namespace), so this process can
//! go away and come back without a packet noticing. Blocking; meant for one dedicated thread.

mod device;
mod garbage;
mod held;
mod plan;
mod plug;
mod program;
mod trial;

#[cfg(test)]
pub(crate) mod testing {
    //! What the laws in `oracle` are about.
    pub use super::plan::{Wanted, plan};
}

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use aya::programs::SchedClassifier;
use berth_types::{EniId, HostId};

pub use crate::fault::Fault;
use garbage::UsedSlots;
pub(crate) use held::Held;
pub use plug::Inner;
pub use program::ProgramStats;
pub use trial::Trial;

use crate::bpf::{Maps, attach, endpoint, load, pins};
use crate::kernel::netlink::Link;
use crate::kernel::{Namespace, Netlink, sysctl};
use crate::stats::EniStats;

/// Where the fabric of an instance lives.
#[derive(Clone, Debug)]
pub struct FabricConfig {
    /// Name of the instance; pins are under `/sys/fs/bpf/berth/<instance>/`.
    pub instance: String,
    /// Run folder; the fabric's namespace is `<run_dir>/netns/fabric`.
    pub run_dir: PathBuf,
    /// This host, to tell local endpoints from others.
    pub host: HostId,
}

impl FabricConfig {
    fn namespace(&self) -> PathBuf {
        self.run_dir.join("netns").join("fabric")
    }
}

/// The data path of one instance.
pub struct Fabric {
    config: FabricConfig,
    namespace: Namespace,
    netlink: Netlink,
    program: SchedClassifier,
    maps: Maps,
    /// `None` after a failed change: what the maps hold is read again before the next one.
    held: Option<Held>,
    compiled: Option<program::Compiled>,
    /// Above the index of every device there is or was since the fabric was opened.
    next_device: u32,
    /// Names of the pins that are in use.
    pins: BTreeSet<String>,
}

impl Fabric {
    /// Opens the fabric: makes what is missing, adopts what an earlier process left, and puts this build's program in
    /// the place of an older one. Flows that exist go on.
    pub fn open(config: FabricConfig) -> Result<Self, Fault> {
        let directory = pins::prepare(&config.instance)?;
        let namespace = Namespace::create(&config.namespace())?;
        quiet(&namespace)?;
        let loaded = load::load(&directory)?;
        let mut fabric = Self {
            netlink: namespace.netlink()?,
            maps: Maps::open(&directory)?,
            program: loaded.program,
            config,
            namespace,
            held: None,
            compiled: None,
            next_device: 0,
            pins: loaded.pins.into_iter().chain(endpoint::pinned(&directory)?).collect(),
        };
        fabric.maps.set_clock()?;
        fabric.forget_lost_devices()?;
        if loaded.is_new {
            fabric.replace_program()?;
            load::settle(&directory)?;
        }
        pins::remove_other_layouts(&fabric.config.instance)?;
        Ok(fabric)
    }

    /// Leads connections to an address and port of the calling thread's namespace to a socket that listens elsewhere. When
    /// the socket is closed nobody gets them, until this is called again or the fabric is destroyed.
    pub fn lead(&mut self, address: SocketAddrV4, listener: &impl AsRawFd) -> Result<(), Fault> {
        let pin = endpoint::lead(&self.pins(), address, listener)?;
        self.pins.insert(pin);
        Ok(())
    }

    /// The interfaces plugged here: their device is in the kernel and their entry is in the maps.
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

    /// Every interface that something is here of: a device, an entry in the maps, or both.
    pub fn present(&self) -> Result<BTreeSet<EniId>, Fault> {
        let links = self.namespace.netlink()?.links()?;
        let devices = links.iter().filter_map(|link| device::eni_of(&link.name));
        Ok(devices.chain(self.maps.enis()?.into_iter().map(|(id, _)| id)).collect())
    }

    /// Removes what no plugged interface claims of the flow table, and pins that are none of this build's.
    pub fn collect(&mut self) -> Result<(), Fault> {
        let used = UsedSlots(self.held()?.plugged.values().map(|plugged| plugged.slot).collect());
        let flows = self.maps.flows_where(|flow| used.has_lost(flow))?;
        let rows = self.maps.ring_rows_where(|slot| !used.has_owner(slot))?;
        if flows.len() + rows.len() > 0 {
            tracing::warn!(flows = flows.len(), rows = rows.len(), "flows of interfaces that are gone are removed");
        }
        flows.iter().try_for_each(|key| self.maps.remove_flow(key))?;
        rows.iter().try_for_each(|row| self.maps.remove_ring_row(row))?;
        for slot in self.maps.used_rings()?.into_iter().filter(|slot| !used.has_owner(*slot)) {
            self.maps.clear_ring(slot)?;
        }
        for stray in garbage::strays(&pins::list(&self.pins())?, &self.pins) {
            let path = self.pins().join(stray);
            tracing::warn!(path = %path.display(), "a pin of no program of ours is removed");
            pins::remove_one(&path)?;
        }
        Ok(())
    }

    /// Counters of a plugged interface.
    pub fn stats(&self, id: &EniId) -> Result<EniStats, Fault> {
        match self.maps.enis()?.into_iter().find(|(other, _)| other == id) {
            Some((_, entry)) => Ok(EniStats::of(&self.maps.counters(entry.slot)?)),
            None => Err(Fault::NotPlugged { eni: id.clone() }),
        }
    }

    /// Packets dropped before they could be charged to an interface.
    pub fn stray(&self) -> Result<EniStats, Fault> {
        Ok(EniStats::of(&self.maps.counters(0)?))
    }

    /// Map entries written or removed since the fabric was opened.
    pub fn writes(&self) -> u64 {
        self.maps.writes
    }

    /// Number of entries of the flow table, live or not yet reclaimed.
    pub fn flows(&self) -> Result<usize, Fault> {
        let counted: Result<Vec<_>, _> = self.maps.flows.keys().collect();
        Ok(counted.map_err(|source| Fault::map("read", "flows", source))?.len())
    }

    /// Takes the data path down: devices, maps, program, namespace.
    pub fn destroy(self) -> Result<(), Fault> {
        let Self { config, namespace, mut netlink, program, maps, .. } = self;
        for link in netlink.links()? {
            if device::eni_of(&link.name).is_some() {
                netlink.delete_link(&link.name)?;
            }
        }
        drop((netlink, namespace, program, maps));
        Namespace::delete(&config.namespace())?;
        pins::remove_instance(&config.instance)
    }

    /// The fabric's namespace, for those who look into it.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The path of the pinned maps and program.
    pub fn pins(&self) -> PathBuf {
        pins::directory(&self.config.instance)
    }

    /// A task's namespace that is deleted takes its devices along; their entries go here.
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
        self.namespace.inside(|| devices.iter().try_for_each(|device| attach::attach(program, device)))?
    }

    /// What the maps hold.
    fn held(&mut self) -> Result<&mut Held, Fault> {
        let held = match self.held.take() {
            Some(held) => held,
            None => Held::read(&self.maps)?,
        };
        Ok(self.held.insert(held))
    }
}

/// Keeps the fabric's namespace from speaking for itself.
fn quiet(namespace: &Namespace) -> Result<(), Fault> {
    for key in ["net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6"] {
        if Path::new("/proc/sys/net/ipv6").exists() {
            sysctl::write(namespace, key, "1")?;
        }
    }
    Ok(())
}
