// SPDX-License-Identifier: Apache-2.0
//! Ports of the host's bridges: the frames admitted at the host's end of a container's pair.
//!
//! A port carries frames with exactly the source addresses of its lease, so that an address seen behind it identifies
//! its container; a port for the metadata endpoint leads to nothing else. The node [`install`]s program and map once
//! for an instance, as pins; the code that connects a container [`guard`]s its port before it sets it up. Ports of one
//! network namespace share a map, keyed by the device's index. Not here: the devices and bridges themselves
//! (`cni::bridge`, the node), interfaces of a VPC (`fabric`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use berth_types::MacAddress;

use crate::bpf::pins;
use crate::bpf::port::{self, Guard, NOBODY, Port};
use crate::fault::Fault;
use crate::kernel::netlink::Link;

include!(concat!(env!("OUT_DIR"), "/port_drop_reasons.rs"));

impl fmt::Display for PortDropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The lease of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The container's address on the bridge.
    pub address: Ipv4Addr,
    /// Its hardware address.
    pub mac: MacAddress,
    /// The allowed destinations of its frames.
    pub reach: Reach,
}

/// Allowed destinations of a port's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any IPv4 address.
    Anywhere,
    /// TCP to the endpoint only.
    Endpoint {
        /// The bridge's own address, through which the endpoint is reached.
        gateway: Ipv4Addr,
        /// The endpoint.
        endpoint: SocketAddrV4,
    },
}

/// Frames that a port passed and dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStats {
    /// Name of the host's end; empty for ports without a lease, counted together.
    pub device: String,
    /// The leased address.
    pub address: Ipv4Addr,
    /// Admitted frames of the container.
    pub packets: u64,
    /// Bytes of these, with Ethernet headers.
    pub bytes: u64,
    /// Frames dropped, by reason; reasons without drops are absent.
    pub drops: BTreeMap<PortDropReason, u64>,
}

/// Path of an instance's pins for its ports.
pub fn directory(instance: &str) -> PathBuf {
    pins::ports_directory(instance)
}

/// Creates an instance's pins, or adopts those of an earlier process; another build's program is replaced on every port
/// of the calling thread's namespace. Returns their directory.
pub fn install(instance: &str) -> Result<PathBuf, Fault> {
    pins::mount()?;
    let directory = directory(instance);
    port::install(&directory)?;
    Ok(directory)
}

/// Guards a port: from here on it carries frames according to the lease. Before that a new port drops everything, if
/// the program is attached at all, so guard it before it is set up. A port that has this lease already is not changed.
/// Must be called in the namespace of the device.
pub fn guard(directory: &Path, link: &Link, lease: &Lease) -> Result<(), Fault> {
    let mut guard = Guard::open(directory)?;
    match guard.port(link.index)?.and_then(|port| port.lease()) == Some(*lease) {
        true => Ok(()),
        false => guard.admit(&link.name, link.index, &Port::of(&link.name, lease)),
    }
}

/// The lease that guards a port.
pub fn lease_of(directory: &Path, ifindex: u32) -> Result<Option<Lease>, Fault> {
    Ok(Guard::open(directory)?.port(ifindex)?.and_then(|port| port.lease()))
}

/// Removes the row of a port that was removed. Removed pins count as success.
pub fn forget(directory: &Path, ifindex: u32) -> Result<(), Fault> {
    match directory.exists() {
        true => Guard::open(directory)?.remove(ifindex),
        false => Ok(()),
    }
}

/// Removes the rows of ports whose device is not among `links`; returns the leased addresses of the others.
pub fn forget_lost(directory: &Path, links: &[Link]) -> Result<BTreeSet<Ipv4Addr>, Fault> {
    let mut guard = Guard::open(directory)?;
    let mut kept = BTreeSet::new();
    for (ifindex, port) in guard.ports()? {
        let is_there = links.iter().any(|link| link.index == ifindex && port.device() == link.name);
        match (ifindex, is_there) {
            (NOBODY, _) => {}
            (_, true) => drop(kept.insert(Ipv4Addr::from(port.address))),
            (_, false) => guard.remove(ifindex)?,
        }
    }
    Ok(kept)
}

/// Counters of every port of a running instance, read from the pinned map, without its node. `run_dir` only names the
/// instance in the error when there is none.
pub fn read_port_stats(instance: &str, run_dir: &Path) -> Result<Vec<PortStats>, Fault> {
    let directory = directory(instance);
    if !directory.exists() {
        let instance = format!("{instance} ({})", run_dir.display());
        return Err(Fault::NotRunning { instance, path: directory });
    }
    let mut all: Vec<PortStats> = port::read_pinned(&directory)?.iter().map(|(_, port)| port.stats()).collect();
    all.sort_by_key(|stats| stats.address);
    Ok(all)
}

impl Port {
    fn of(device: &str, lease: &Lease) -> Self {
        let mut port = Self { address: lease.address.octets(), mac: lease.mac.0, ..Self::default() };
        for (to, from) in port.name.iter_mut().zip(device.bytes()) {
            *to = from;
        }
        if let Reach::Endpoint { gateway, endpoint } = lease.reach {
            port.gateway = gateway.octets();
            port.endpoint = endpoint.ip().octets();
            port.service = endpoint.port().to_be_bytes();
        }
        port
    }

    /// `None` for the row of ports without a lease.
    fn lease(&self) -> Option<Lease> {
        if self.address == [0; 4] {
            return None;
        }
        let reach = match self.endpoint {
            [0, 0, 0, 0] => Reach::Anywhere,
            endpoint => Reach::Endpoint {
                gateway: self.gateway.into(),
                endpoint: SocketAddrV4::new(endpoint.into(), u16::from_be_bytes(self.service)),
            },
        };
        Some(Lease { address: self.address.into(), mac: MacAddress(self.mac), reach })
    }

    fn device(&self) -> String {
        let bytes: Vec<u8> = self.name.iter().copied().take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn stats(&self) -> PortStats {
        let drops = PortDropReason::ALL.into_iter().zip(self.drops).filter(|(_, count)| *count > 0);
        PortStats {
            device: self.device(),
            address: self.address.into(),
            packets: self.packets,
            bytes: self.bytes,
            drops: drops.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lease_can_be_read_back_from_its_row() {
        let endpoint = SocketAddrV4::new(Ipv4Addr::new(169, 254, 170, 2), 80);
        for reach in [Reach::Anywhere, Reach::Endpoint { gateway: Ipv4Addr::new(169, 254, 172, 1), endpoint }] {
            let lease =
                Lease { address: Ipv4Addr::new(169, 254, 172, 2), mac: "0a:58:a9:fe:ac:02".parse().unwrap(), reach };
            let port = Port::of("veth01234567", &lease);
            assert_eq!((port.lease(), port.device()), (Some(lease), "veth01234567".to_owned()));
        }
        assert_eq!(Port::default().lease(), None);
    }
}
