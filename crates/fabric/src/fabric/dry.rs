// SPDX-License-Identifier: Apache-2.0
//! The content of the maps for an intent, without a kernel. Pure.

use berth_types::intent::HostIntent;
use berth_types::{EniId, HostId};

use super::Fault;
use super::held::Held;
use super::plan::{Wanted, plan};
use super::program::{endpoints, enis, entry};
use super::ways::Ways;
use crate::bpf::layout::WorldPort;
use crate::compile;

/// Number and slot of the device of a plugged interface.
pub type Device = (EniId, u32, u16);

impl Held {
    /// What [`super::Fabric::program`] writes for `intent`, with these devices and this way to the world.
    pub(crate) fn of_intent(
        intent: &HostIntent,
        devices: &[Device],
        world: WorldPort,
        host: &HostId,
    ) -> Result<Self, Fault> {
        // Every plug increases the epoch by two.
        let mut held = Self { world, epoch: 2, ..Self::default() };
        for (id, ifindex, slot) in devices {
            if let Some(eni) = intent.enis.get(id) {
                held.plugged.insert(id.clone(), entry(id, eni, *slot, *ifindex));
            }
        }
        let policies = compile::compile(&intent.group_sets, &intent.security_groups)?;
        let ways = Ways::of(intent, &held, host)?;
        let wanted = Wanted {
            policies: &policies,
            endpoints: endpoints(intent, &held, &ways, host),
            cidrs: intent.vpcs.iter().flat_map(|(&vni, vpc)| vpc.cidrs.iter().map(move |&c| (vni, c))).collect(),
            enis: enis(intent, &held, &ways),
            ways,
        };
        for step in &plan(&held, &wanted) {
            held.apply(step);
        }
        Ok(held)
    }
}
