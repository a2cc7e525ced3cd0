// SPDX-License-Identifier: Apache-2.0
//! The place of the regional endpoints: a namespace in which every address of their range is local, and a pair of devices
//! between it and the fabric.
//!
//! Packets of tasks arrive there with the source that their gateway gives them, those of the host with the host's, and
//! answers go back the same way. A program that listens in the namespace answers for every endpoint. Every step can be
//! repeated; an earlier process's pair is kept.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use berth_types::intent::HostIntent;
use berth_types::{Ipv4Cidr, MacAddress};
use ipnet::{IpNet, Ipv4Net};

use super::Fault;
use super::data_path::Fabric;
use super::device::UNSPLIT_BYTES;
use crate::bpf::layout::{self, WorldPort};
use crate::kernel::netlink::{Link, Route, VethPair};
use crate::kernel::{Namespace, Netlink, sysctl};

/// Name of the end in the fabric's namespace.
pub const DEVICE: &str = "edge";
/// Name of the end in the namespace of the endpoints.
const INNER_DEVICE: &str = "endpoints";
/// Hardware address of the end in the fabric.
const FABRIC_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);
/// Hardware address of the end in the namespace of the endpoints.
const INNER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 4]);

/// Largest frame of both ends, so that neither drops what an interface sends.
const DEVICE_MTU: u32 = 9001;
/// Largest packet to anything outside: that of the internet.
const ROUTE_MTU: u32 = 1500;
/// The first device of every namespace.
const LOOPBACK: u32 = 1;

/// The namespace of the endpoints, under the run folder of an instance.
pub fn edge_namespace(run_dir: &Path) -> PathBuf {
    run_dir.join("netns").join("edge")
}

impl Fabric {
    /// Opens or closes the way to the endpoints that the intent names. The way to the world is open before it.
    pub(super) fn settle_endpoints(&mut self, intent: &HostIntent) -> Result<(), Fault> {
        let world = intent.worlds.values().next();
        let wanted = world.and_then(|world| Some((world.endpoints.as_ref()?.range, world.host_address)));
        if self.endpoints == Some(wanted.map(|(range, _)| range)) {
            return Ok(());
        }
        self.endpoints = None;
        match wanted {
            Some((range, router)) => self.open_endpoints(range, IpAddr::V4(router))?,
            None => self.close_endpoints()?,
        }
        self.endpoints = Some(wanted.map(|(range, _)| range));
        Ok(())
    }

    fn open_endpoints(&mut self, range: Ipv4Cidr, router: IpAddr) -> Result<(), Fault> {
        let namespace = Namespace::create(&edge_namespace(&self.config.run_dir))?;
        let mut inside = namespace.netlink()?;
        let (outer, inner) = match self.found_edge(&mut inside, range)? {
            Some(pair) => pair,
            None => self.make_edge(&namespace, &mut inside)?,
        };
        let ipv6 = format!("net.ipv6.conf.{INNER_DEVICE}.disable_ipv6");
        if namespace.inside(|| sysctl::exists(&ipv6))? {
            sysctl::write(&namespace, &ipv6, "1")?;
        }
        inside.set_up(LOOPBACK)?;
        // On the loopback device every address of the range is the namespace's own.
        inside.add_address(LOOPBACK, net(range))?;
        inside.set_up(inner)?;
        inside.set_neighbour(inner, router, FABRIC_MAC)?;
        let route = Route { onlink: true, ..Route::default_via(router, inner) }.with_mtu(ROUTE_MTU);
        inside.add_route(&route)?;
        self.attach_edge(outer)?;
        self.netlink.set_up(outer)?;
        let now = self.held()?.world;
        self.set_world(WorldPort {
            edge_ifindex: outer,
            endpoints: range.network().octets(),
            endpoints_mask: layout::mask(range),
            edge_mac: FABRIC_MAC.0,
            edge_peer_mac: INNER_MAC.0,
            ..now
        })
    }

    /// Both ends of an earlier pair, if they belong together and the namespace has no addresses of another range.
    fn found_edge(&mut self, inside: &mut Netlink, range: Ipv4Cidr) -> Result<Option<(u32, u32)>, Fault> {
        let (outer, inner) = (self.netlink.link_by_name(DEVICE)?, inside.link_by_name(INNER_DEVICE)?);
        for address in inside.addresses(LOOPBACK)? {
            if matches!(address.addr(), IpAddr::V4(it) if !it.is_loopback()) && address != net(range) {
                inside.delete_address(LOOPBACK, address)?;
            }
        }
        if let Some((outer, inner)) =
            outer.as_ref().zip(inner.as_ref()).filter(|(outer, inner)| are_a_pair(outer, inner))
        {
            return Ok(Some((outer.index, inner.index)));
        }
        if outer.is_some() {
            // Its other end is removed with it.
            self.netlink.delete_link(DEVICE)?;
        }
        if inside.link_by_name(INNER_DEVICE)?.is_some() {
            inside.delete_link(INNER_DEVICE)?;
        }
        Ok(None)
    }

    fn make_edge(&mut self, namespace: &Namespace, inside: &mut Netlink) -> Result<(u32, u32), Fault> {
        let index = self.next_device;
        self.next_device += 1;
        self.netlink.create_veth(&VethPair {
            name: DEVICE,
            index: Some(index),
            mac: Some(FABRIC_MAC),
            mtu: Some(DEVICE_MTU),
            unsplit_bytes: Some(UNSPLIT_BYTES),
            peer_name: INNER_DEVICE,
            peer_mac: Some(INNER_MAC),
            peer_mtu: Some(DEVICE_MTU),
            peer_ns: Some(namespace.as_fd()),
            ..VethPair::default()
        })?;
        let inner = inside.link_by_name(INNER_DEVICE)?.ok_or(Fault::WorldGone { device: INNER_DEVICE.to_owned() })?;
        Ok((index, inner.index))
    }

    fn close_endpoints(&mut self) -> Result<(), Fault> {
        let now = self.held()?.world;
        let without = WorldPort {
            edge_ifindex: 0,
            endpoints: [0; 4],
            endpoints_mask: [0; 4],
            edge_mac: [0; 6],
            edge_peer_mac: [0; 6],
            ..now
        };
        self.set_world(without)?;
        self.netlink.delete_link(DEVICE)?;
        Ok(Namespace::delete(&edge_namespace(&self.config.run_dir))?)
    }
}

fn are_a_pair(outer: &Link, inner: &Link) -> bool {
    outer.peer_index == Some(inner.index)
        && inner.peer_index == Some(outer.index)
        && (outer.mac, inner.mac) == (Some(FABRIC_MAC), Some(INNER_MAC))
}

fn net(range: Ipv4Cidr) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(range.network(), range.prefix()))
}
