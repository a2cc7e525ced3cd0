// SPDX-License-Identifier: Apache-2.0
//! A world: the intent of one host, and which of its interfaces are plugged.

use std::net::Ipv4Addr;

use berth_types::intent::{EndpointIntent, EniIntent, HostIntent, SubnetIntent};
use berth_types::{EniId, HostId, Ipv4Cidr, Vni};

use super::datagram::Datagram;
use super::machine::Machine;
use crate::Fault;
use crate::bpf::layout::{WorldPort, mask};
use crate::fabric::Held;

/// Device that leads to the world.
const EDGE: u32 = 5;
/// Device of the first interface.
const FIRST_DEVICE: u32 = 10;

/// An intent, as a host with these plugged interfaces programs it.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// Everything the host knows.
    pub intent: HostIntent,
    /// The interfaces that are plugged here.
    pub plugged: Vec<EniId>,
    /// The host.
    pub host: HostId,
}

/// Sender of a first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A plugged interface.
    Interface(EniId),
    /// The world.
    Outside,
}

/// A conversation: its first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who sends it.
    pub sender: Sender,
    /// What is sent.
    pub first: Datagram,
}

impl World {
    /// The machine with the maps of this world.
    pub fn machine(&self, seed: u32) -> Result<Machine, Fault> {
        let mut port = WorldPort::NONE;
        if let Some((pool, world)) = self.intent.worlds.iter().next() {
            (port.ifindex, port.pool, port.mask) = (EDGE, pool.network().octets(), mask(*pool));
            (port.host, port.mac, port.peer_mac) = (world.host_address.octets(), [2; 6], [4; 6]);
        }
        let devices: Vec<_> =
            (0u16..).zip(&self.plugged).map(|(n, id)| (id.clone(), FIRST_DEVICE + u32::from(n), n + 1)).collect();
        Ok(Machine::new(&Held::of_intent(&self.intent, &devices, port, &self.host)?, seed))
    }

    /// The device of a sender.
    pub fn device(&self, sender: &Sender) -> u32 {
        let place = |id| self.plugged.iter().position(|plugged| plugged == id);
        match sender {
            Sender::Outside => EDGE,
            Sender::Interface(id) => place(id).map_or(0, |n| FIRST_DEVICE + n as u32),
        }
    }

    /// The interface of a device; `None` for the one that leads to the world.
    pub fn interface(&self, device: u32) -> Option<&EniId> {
        self.plugged.get(device.checked_sub(FIRST_DEVICE)? as usize)
    }

    /// A plugged interface.
    pub fn eni(&self, id: &EniId) -> Option<&EniIntent> {
        self.intent.enis.get(id)
    }

    /// The interface with an address.
    pub fn endpoint(&self, vni: Vni, address: Ipv4Addr) -> Option<(&EniId, &EndpointIntent)> {
        self.intent.endpoints.iter().find(|(_, endpoint)| endpoint.vni == vni && endpoint.address == address)
    }

    /// The subnet of an address.
    pub fn subnet(&self, vni: Vni, address: Ipv4Addr) -> Option<&SubnetIntent> {
        self.intent.vpcs.get(&vni)?.subnets.values().find(|subnet| subnet.cidr.contains(address))
    }

    /// The public address of a private one on this host.
    pub fn public(&self, vni: Vni, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let mut owners = self.intent.public_addresses.iter();
        let is_its = |owner: &berth_types::intent::PublicAddressIntent| {
            owner.vni == vni && owner.address == address && owner.host == self.host
        };
        owners.find(|(_, owner)| is_its(owner)).map(|(public, _)| *public)
    }

    /// The pool of public addresses.
    pub fn pool(&self) -> Option<Ipv4Cidr> {
        self.intent.worlds.keys().next().copied()
    }
}
