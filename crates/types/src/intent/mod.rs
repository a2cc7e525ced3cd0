// SPDX-License-Identifier: Apache-2.0
//! The intent of one host: complete, numbered, and without choices for the node.
//!
//! `plan::host` makes a `HostIntent` from the records, the server pushes it, and the node applies it. Applying the same
//! intent twice changes nothing. `diff` and `apply` move an intent over the link as a patch.

mod eni;
mod routing;
mod standalone;
mod task;
mod vpc;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use self::eni::{EndpointIntent, EniIntent, Plug};
pub use self::routing::{
    AclEntryIntent, EndpointsIntent, NatGatewayIntent, NetworkAclIntent, PublicAddressIntent, Rate, RouteIntent,
    RouteTableIntent, WorldIntent,
};
pub use self::standalone::{Holder, Standalone};
pub use self::task::{
    ContainerIntent, Desired, DnsIntent, LaunchType, MountIntent, PortIntent, TaskIntent, VolumesFrom,
};
pub use self::vpc::{
    Direction, GroupSetIntent, PortRange, RuleIntent, RulePeer, SecurityGroupIntent, SubnetIntent, VpcIntent,
};
use crate::{EniId, GroupSetId, Ipv4Cidr, NatGatewayId, NetworkAclId, RouteTableId, SecurityGroupId, TaskId, Vni};

/// Declares the maps of [`HostIntent`] once; [`IntentPatch`], [`diff`] and [`apply`] handle each of them.
/// Names and order of the maps are part of the link's format.
macro_rules! intents {
    ($($(#[$doc:meta])* $map:ident: $key:ty => $intent:ty,)*) => {
        /// The complete state of one host. The node removes everything that is absent here.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct HostIntent {
            $($(#[$doc])* #[serde(default = "BTreeMap::new")] pub $map: BTreeMap<$key, $intent>,)*
        }

        /// Moves a `HostIntent` from one generation to the next.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct IntentPatch {
            /// The generation the patch starts from.
            pub from: u64,
            /// The generation it leads to.
            pub to: u64,
            $(#[serde(default = "MapPatch::empty")] $map: MapPatch<$key, $intent>,)*
        }

        impl IntentPatch {
            /// True if the two generations are equal.
            pub fn is_empty(&self) -> bool {
                [$(self.$map.is_empty()),*].into_iter().all(|is_empty| is_empty)
            }
        }

        /// The patch that leads from `old` to `new`.
        pub fn diff(from: u64, old: &HostIntent, to: u64, new: &HostIntent) -> IntentPatch {
            IntentPatch { from, to, $($map: MapPatch::between(&old.$map, &new.$map),)* }
        }

        /// Applies a patch. The caller checks that `patch.from` is the generation it holds.
        pub fn apply(intent: &mut HostIntent, patch: IntentPatch) {
            $(patch.$map.apply(&mut intent.$map);)*
        }
    };
}

intents! {
    /// The VPCs that have an interface on this host, and the peers of these.
    vpcs: Vni => VpcIntent,
    /// Every distinct set of groups used inside these VPCs, by number.
    group_sets: GroupSetId => GroupSetIntent,
    /// The rules of every security group of these VPCs.
    security_groups: SecurityGroupId => SecurityGroupIntent,
    /// Every attached interface of these VPCs, wherever it is plugged.
    endpoints: EniId => EndpointIntent,
    /// The interfaces to be plugged on this host.
    enis: EniId => EniIntent,
    /// The tasks of this host that have not ended.
    tasks: TaskId => TaskIntent,
    /// The route tables of these VPCs that a subnet uses.
    route_tables: RouteTableId => RouteTableIntent,
    /// The network ACLs of these VPCs that a subnet uses.
    network_acls: NetworkAclId => NetworkAclIntent,
    /// Every public address in use.
    public_addresses: Ipv4Addr => PublicAddressIntent,
    /// The available NAT gateways of these VPCs.
    nat_gateways: NatGatewayId => NatGatewayIntent,
    /// The world by its pool of public addresses: one, or none without a world.
    worlds: Ipv4Cidr => WorldIntent,
}

/// Difference between two maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapPatch<K: Ord, V> {
    /// New and changed entries.
    #[serde(default = "BTreeMap::new")]
    pub put: BTreeMap<K, V>,
    /// Removed entries.
    #[serde(default = "Vec::new")]
    pub gone: Vec<K>,
}

impl<K: Ord, V> MapPatch<K, V> {
    fn empty() -> Self {
        Self { put: BTreeMap::new(), gone: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> MapPatch<K, V> {
    fn between(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Self {
        let put = new.iter().filter(|(k, v)| old.get(k) != Some(v)).map(|(k, v)| (k.clone(), v.clone())).collect();
        let gone = old.keys().filter(|k| !new.contains_key(k)).cloned().collect();
        Self { put, gone }
    }

    fn apply(self, map: &mut BTreeMap<K, V>) {
        for key in &self.gone {
            map.remove(key);
        }
        map.extend(self.put);
    }

    fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }
}

#[cfg(test)]
mod tests;
