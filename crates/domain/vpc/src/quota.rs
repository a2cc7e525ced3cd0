// SPDX-License-Identifier: Apache-2.0
//! Quotas: the greatest numbers of resources, as AWS begins with them, unless the server is told others.

use std::collections::BTreeMap;

use berth_state::records::Single;
use berth_state::vpc::Quotas;
use berth_state::{Change, Draft, Refusal, Snapshot};

use super::request::invalid;

/// A quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quota {
    /// VPCs of the region.
    Vpcs,
    /// Internet gateways of the region; equal to that of VPCs, as on AWS.
    InternetGateways,
    /// Elastic IP addresses of the region.
    ElasticIps,
    /// NAT gateways of one zone that are pending, available or deleting.
    NatGatewaysPerZone,
}

impl Quota {
    /// Names, and the values with which AWS begins.
    const ALL: [(Quota, &str, u32); 4] = [
        (Quota::Vpcs, "vpcs", 5),
        (Quota::InternetGateways, "internet-gateways", 5),
        (Quota::ElasticIps, "elastic-ips", 5),
        (Quota::NatGatewaysPerZone, "nat-gateways-per-zone", 5),
    ];

    /// The greatest number of resources.
    pub fn value(self, snap: &Snapshot) -> u32 {
        let row = Self::ALL.iter().find(|(quota, ..)| *quota == self);
        row.map_or(0, |(_, name, value)| {
            let told = snap.vpc().quotas.get(&Single).and_then(|quotas| quotas.values.get(*name));
            *told.unwrap_or(value)
        })
    }

    /// True if there are so many that a further resource would exceed the quota.
    pub fn is_reached(self, snap: &Snapshot, count: usize) -> bool {
        count >= self.value(snap) as usize
    }
}

/// Keeps the quotas with which the server is started, by name; those that are not named are AWS's.
///
/// # Errors
/// A name is not that of a quota.
pub fn set_quotas(snap: &Snapshot, values: &BTreeMap<String, u32>) -> Result<Change<()>, Refusal> {
    let is_known = |asked: &String| Quota::ALL.iter().any(|(_, name, _)| name == asked);
    if let Some(unknown) = values.keys().find(|name| !is_known(name)) {
        let known: Vec<&str> = Quota::ALL.iter().map(|(_, name, _)| *name).collect();
        return Err(invalid(format!("There is no quota '{unknown}'; the quotas are {}.", known.join(", "))));
    }
    let present = snap.vpc().quotas.get(&Single).map(|quotas| &quotas.values);
    if present.unwrap_or(&BTreeMap::new()) == values {
        return Ok(Change::none(()));
    }
    let mut draft = Draft::of(snap);
    draft.put(Quotas { values: values.clone() });
    Ok(draft.change(()))
}
