// SPDX-License-Identifier: Apache-2.0
//! A smaller world in which program and records still differ about a conversation.

use berth_types::intent::HostIntent;

use super::trial::{Difference, converse};
use super::world::{Probe, World};

/// The difference of a conversation alone in a world.
pub fn difference(world: &World, probe: &Probe) -> Option<Difference> {
    let mut machine = world.machine(1).ok()?;
    converse(world, &mut machine, probe).err()
}

/// Removes parts as long as the conversation differs in the same way.
pub fn smallest(world: &World, probe: &Probe) -> World {
    let mut small = world.clone();
    let found = difference(world, probe);
    let mut place = 0;
    while let Some(intent) = without(&small.intent, place) {
        let tried = World { intent, ..small.clone() };
        if difference(&tried, probe) == found {
            small = tried;
        } else {
            place += 1;
        }
    }
    small
}

/// The intent without its `n`th part; `None` if it has fewer.
fn without(intent: &HostIntent, n: usize) -> Option<HostIntent> {
    let mut left = intent.clone();
    let mut counted = 0;
    let mut is_it = || {
        counted += 1;
        counted == n + 1
    };
    left.network_acls.values_mut().for_each(|acl| acl.entries.retain(|_| !is_it()));
    left.route_tables.values_mut().for_each(|table| table.routes.retain(|_, _| !is_it()));
    left.security_groups.values_mut().for_each(|group| group.rules.retain(|_, _| !is_it()));
    left.nat_gateways.retain(|_, _| !is_it());
    left.public_addresses.retain(|_, _| !is_it());
    for subnet in left.vpcs.values_mut().flat_map(|vpc| vpc.subnets.values_mut()) {
        subnet.network_acl = subnet.network_acl.take().filter(|_| !is_it());
        subnet.route_table = subnet.route_table.take().filter(|_| !is_it());
    }
    left.vpcs.values_mut().for_each(|vpc| vpc.subnets.retain(|_, _| !is_it()));
    left.endpoints.retain(|_, _| !is_it());
    left.security_groups.retain(|_, _| !is_it());
    left.network_acls.retain(|_, _| !is_it());
    left.route_tables.retain(|_, _| !is_it());
    (counted > n).then_some(left)
}
