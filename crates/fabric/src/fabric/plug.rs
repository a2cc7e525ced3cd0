// SPDX-License-Identifier: Apache-2.0
//! Plugging: creates the device pair of an interface, attaches the program, and adds its entry, in this order, so that
//! an interface receives nothing until its state is complete.

use std::collections::BTreeSet;

use berth_types::EniId;
use berth_types::intent::EniIntent;

use super::device::UNSPLIT_BYTES;
use super::{Fabric, Fault, device, program};
use crate::bpf::attach;
use crate::bpf::layout::{Eni, SLOTS};
use crate::kernel::Namespace;
use crate::kernel::netlink::VethPair;

/// Location of an interface's inner end.
#[derive(Clone, Copy, Debug)]
pub enum Inner<'a> {
    /// Directly in the task's namespace.
    InNamespace {
        /// The namespace.
        ns: &'a Namespace,
        /// Name of the device there.
        name: &'a str,
    },
    /// In the namespace of the calling thread.
    HostNamespace {
        /// Name of the device there.
        name: &'a str,
    },
}

impl Fabric {
    /// Creates the interface's device pair with addresses and MTU, attaches the program, and admits packets. The inner
    /// end is down and has no IP address. A repetition completes missing parts and changes nothing else; an existing
    /// pair stays where it is.
    pub fn plug(&mut self, id: &EniId, eni: &EniIntent, inner: Inner<'_>) -> Result<(), Fault> {
        let slot = self.slot_for(id)?;
        let name = device::name_of(id);
        let ifindex = match self.netlink.link_by_name(&name)? {
            Some(link) if self.is_row_free_for(id, link.index)? => link.index,
            // Left by a process that died, before its row was assigned to another interface.
            Some(_) => {
                self.netlink.delete_link(&name)?;
                self.make_pair(id, eni, &name, inner)?
            }
            None => self.make_pair(id, eni, &name, inner)?,
        };
        let entry = program::entry(id, eni, slot, ifindex);
        self.limit_slot(slot, eni.rate)?;
        let entry = Eni { subnet: self.subnet_of(&entry)?, ..entry };
        if self.held()?.plugged.get(id) != Some(&entry) {
            let program = &mut self.program;
            self.namespace.inside(|| attach::attach(program, &name))??;
            self.admit(id, entry)?;
        }
        self.point_endpoint(&entry)
    }

    /// Removes an interface: entry, flows, device pair. An absent one counts as success.
    pub fn unplug(&mut self, id: &EniId) -> Result<(), Fault> {
        self.forget(id)?;
        Ok(self.netlink.delete_link(&device::name_of(id))?)
    }

    /// Removes an interface from the maps.
    pub(super) fn forget(&mut self, id: &EniId) -> Result<(), Fault> {
        let done = self.forget_step_by_step(id);
        if done.is_err() {
            // The changes are in the maps only; they are read again before the next change.
            self.held = None;
        }
        done
    }

    fn forget_step_by_step(&mut self, id: &EniId) -> Result<(), Fault> {
        let Some(plugged) = self.held()?.plugged.get(id).copied() else {
            return Ok(());
        };
        self.maps.remove_eni(plugged.ifindex)?;
        let held = self.held()?;
        held.plugged.remove(id);
        held.epoch += 2;
        let epoch = held.epoch;
        let key = plugged.endpoint_key();
        if let Some(endpoint) = held.endpoints.get_mut(&key).filter(|endpoint| endpoint.ifindex == plugged.ifindex) {
            (endpoint.ifindex, endpoint.slot) = (0, 0);
            let endpoint = *endpoint;
            self.maps.put_endpoint(key, &endpoint)?;
        }
        // From here on flows to it are evaluated again, also those inserted during the search of the table.
        self.maps.set_epoch(epoch)?;
        self.limit_slot(plugged.slot, None)?;
        self.maps.forget_flows(plugged.slot)?;
        self.maps.clear_counters(plugged.slot)
    }

    /// The subnet of an interface, according to its endpoint; until this is programmed, an unknown one.
    fn subnet_of(&mut self, entry: &Eni) -> Result<u16, Fault> {
        Ok(self.held()?.endpoints.get(&entry.endpoint_key()).map_or(0, |endpoint| endpoint.subnet))
    }

    fn slot_for(&mut self, id: &EniId) -> Result<u16, Fault> {
        let plugged = &self.held()?.plugged;
        if let Some(plugged) = plugged.get(id) {
            return Ok(plugged.slot);
        }
        let taken: BTreeSet<u16> = plugged.values().map(|plugged| plugged.slot).collect();
        let free = (1..SLOTS).find(|slot| !taken.contains(slot));
        free.ok_or_else(|| Fault::Full { eni: id.clone(), limit: SLOTS - 1 })
    }

    /// True if no other interface uses the row of this device.
    fn is_row_free_for(&mut self, id: &EniId, ifindex: u32) -> Result<bool, Fault> {
        let is_taken = |(other, entry): (&EniId, &Eni)| other != id && Eni::row(entry.ifindex) == Eni::row(ifindex);
        Ok(!self.held()?.plugged.iter().any(is_taken))
    }

    /// An index for a new device. Indexes are not reused, so that no old entry can be mistaken for the new one.
    fn free_index(&mut self, id: &EniId) -> Result<u32, Fault> {
        loop {
            let index = self.next_device;
            self.next_device += 1;
            if self.is_row_free_for(id, index)? {
                return Ok(index);
            }
        }
    }

    fn make_pair(&mut self, id: &EniId, eni: &EniIntent, name: &str, inner: Inner<'_>) -> Result<u32, Fault> {
        let here;
        let (namespace, peer_name) = match inner {
            Inner::InNamespace { ns, name } => (ns, name),
            Inner::HostNamespace { name } => {
                here = Namespace::of_current_thread()?;
                (&here, name)
            }
        };
        let index = Some(self.free_index(id)?);
        let made = self.netlink.create_veth(&VethPair {
            name,
            index,
            mtu: Some(eni.mtu),
            up: true,
            peer_name,
            peer_mac: Some(eni.mac),
            peer_mtu: Some(eni.mtu),
            peer_unsplit_bytes: Some(UNSPLIT_BYTES),
            peer_ns: Some(namespace.as_fd()),
            ..VethPair::default()
        });
        match made {
            Ok(()) => {}
            // Another process was first: the pair exists. Or the inner name is in use: it does not.
            Err(fault) if fault.is_errno(libc::EEXIST) && self.netlink.link_by_name(name)?.is_some() => {}
            Err(fault) => return Err(fault.into()),
        }
        let link = self.netlink.link_by_name(name)?;
        link.map(|link| link.index).ok_or_else(|| Fault::DeviceGone { eni: id.clone(), device: name.to_owned() })
    }

    /// Inserts the entry; counters of a new interface start at zero (they are zero unless a process died in between).
    fn admit(&mut self, id: &EniId, entry: Eni) -> Result<(), Fault> {
        let before = self.held()?.plugged.get(id).copied();
        match before {
            Some(old) if old.ifindex != entry.ifindex => self.forget(id)?,
            Some(_) => {}
            None => self.maps.clear_counters(entry.slot)?,
        }
        self.maps.put_eni(&entry)?;
        self.held()?.plugged.insert(id.clone(), entry);
        Ok(())
    }

    /// Makes the interface reachable, if its endpoint is programmed; otherwise `program` does so later.
    fn point_endpoint(&mut self, entry: &Eni) -> Result<(), Fault> {
        let key = entry.endpoint_key();
        let Some(mut endpoint) = self.held()?.endpoints.get(&key).copied() else {
            return Ok(());
        };
        if endpoint.mac != entry.mac || (endpoint.ifindex, endpoint.slot) == (entry.ifindex, entry.slot) {
            return Ok(());
        }
        (endpoint.ifindex, endpoint.slot) = (entry.ifindex, entry.slot);
        self.maps.put_endpoint(key, &endpoint)?;
        self.held()?.endpoints.insert(key, endpoint);
        Ok(())
    }
}
