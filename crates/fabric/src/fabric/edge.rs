// SPDX-License-Identifier: Apache-2.0
//! The edge: the fabric's ends of the pairs of devices that lead to the host and to the regional endpoints.

use super::{Fabric, Fault, world};
use crate::bpf::attach;
use crate::bpf::layout::WorldPort;

impl Fabric {
    /// Attaches the program of the edge to a device, and lets packets leave through it.
    pub(super) fn open_edge(&mut self, ifindex: u32) -> Result<(), Fault> {
        self.attach_edge(ifindex)?;
        let now = self.held()?.world;
        self.set_world(WorldPort { ifindex, mac: world::FABRIC_MAC.0, peer_mac: world::HOST_MAC.0, ..now })
    }

    /// Writes the way to the world into the maps, if they have another.
    pub(super) fn set_world(&mut self, wanted: WorldPort) -> Result<(), Fault> {
        if self.held()?.world != wanted {
            self.maps.set_world(&wanted)?;
            self.held()?.world = wanted;
        }
        Ok(())
    }

    /// Attaches the program of the edge, if the device exists.
    pub(super) fn attach_edge(&mut self, ifindex: u32) -> Result<(), Fault> {
        let Some(link) = self.netlink.links()?.into_iter().find(|link| link.index == ifindex) else {
            return Ok(());
        };
        let program = &mut self.edge_program;
        self.namespace.inside(|| attach::attach(program, &link.name))?
    }
}
