// SPDX-License-Identifier: Apache-2.0
//! Programs the maps from a `HostIntent`.

use std::collections::BTreeMap;

use berth_types::intent::{EniIntent, HostIntent};
use berth_types::{EniId, HostId};

use super::Fault;
use super::data_path::{Compiled, Fabric};
use super::held::{self, Held};
use super::plan::{Step, Wanted, plan};
use super::ways::Ways;
use crate::bpf::Maps;
use crate::bpf::layout::{
    self, ENDPOINT_FORWARDS, ENDPOINT_OTHER_HOST, ENI_LIMITED, ENI_SOURCE_DEST_CHECK, Endpoint, EndpointKey, Eni,
};
use crate::compile;

/// The result of `program`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramStats {
    /// Map entries written or removed.
    pub writes: usize,
    /// True if policies or memberships changed in one step under traffic.
    pub switched: bool,
}

impl Fabric {
    /// Programs endpoints, policies, the entries of plugged interfaces and the way to the world from `intent`. The
    /// calling thread's namespace counts as the host's. A second call with the same
    /// intent writes nothing. After a fault the maps are in a safe intermediate state; the next call continues from
    /// there.
    pub fn program(&mut self, intent: &HostIntent) -> Result<ProgramStats, Fault> {
        self.open_world(intent)?;
        self.settle_endpoints(intent)?;
        self.compile(intent)?;
        self.held()?;
        let (Some(mut held), Some(compiled)) = (self.held.take(), &self.compiled) else {
            return Ok(ProgramStats::default());
        };
        let ways = match Ways::of(intent, &held, &self.config.host) {
            Ok(ways) => ways,
            Err(fault) => {
                self.held = Some(held);
                return Err(fault);
            }
        };
        let wanted = Wanted {
            policies: &compiled.policies,
            endpoints: endpoints(intent, &held, &ways, &self.config.host),
            cidrs: intent.vpcs.iter().flat_map(|(&vni, vpc)| vpc.cidrs.iter().map(move |&c| (vni, c))).collect(),
            enis: enis(intent, &held, &ways),
            ways,
        };
        let steps = plan(&held, &wanted);
        let switched = steps.contains(&Step::Wait);
        let before = self.maps.writes;
        for step in &steps {
            act(&mut self.maps, step)?;
            held.apply(step);
        }
        held.forget_unused_rulesets();
        held.forget_unused_ways();
        self.held = Some(held);
        self.settle_rates(intent)?;
        self.close_world(intent)?;
        Ok(ProgramStats { writes: (self.maps.writes - before) as usize, switched })
    }

    fn compile(&mut self, intent: &HostIntent) -> Result<(), Fault> {
        let same = self.compiled.as_ref().is_some_and(|compiled| {
            compiled.group_sets == intent.group_sets && compiled.security_groups == intent.security_groups
        });
        if !same {
            self.compiled = Some(Compiled {
                policies: compile::compile(&intent.group_sets, &intent.security_groups)?,
                group_sets: intent.group_sets.clone(),
                security_groups: intent.security_groups.clone(),
            });
        }
        Ok(())
    }
}

/// The endpoints of the intent, reachable where their interface is plugged.
pub(super) fn endpoints(
    intent: &HostIntent,
    held: &Held,
    ways: &Ways,
    host: &HostId,
) -> BTreeMap<EndpointKey, Endpoint> {
    let endpoints = intent.endpoints.iter().map(|(id, endpoint)| {
        let key = EndpointKey { vni: endpoint.vni.0, address: endpoint.address.octets() };
        let is_here = endpoint.host == *host;
        let plugged = held.plugged.get(id).filter(|plugged| is_here && plugged.endpoint_key() == key);
        let value = Endpoint {
            ifindex: plugged.map_or(0, |plugged| plugged.ifindex),
            slot: plugged.map_or(0, |plugged| plugged.slot),
            flags: match is_here {
                true if intent.enis.get(id).is_some_and(|eni| !eni.source_dest_check) => ENDPOINT_FORWARDS,
                true => 0,
                false => ENDPOINT_OTHER_HOST,
            },
            group_set: [endpoint.group_set.0; 2],
            mac: endpoint.mac.0,
            subnet: ways.subnet_of(endpoint.vni, endpoint.address),
            rest: [0; 12],
        };
        (key, value)
    });
    endpoints.collect()
}

/// Entries of the plugged interfaces according to the intent; an interface that it does not name keeps its entry.
pub(super) fn enis(intent: &HostIntent, held: &Held, ways: &Ways) -> BTreeMap<u32, Eni> {
    let named = held.plugged.iter().filter_map(|(id, plugged)| {
        let eni = intent.enis.get(id)?;
        let subnet = ways.subnet_of(eni.vni, eni.address);
        Some((plugged.ifindex, Eni { subnet, ..entry(id, eni, plugged.slot, plugged.ifindex) }))
    });
    named.collect()
}

/// The map entry of an interface, in an unknown subnet.
pub(super) fn entry(id: &EniId, eni: &EniIntent, slot: u16, ifindex: u32) -> Eni {
    Eni {
        ifindex,
        vni: eni.vni.0,
        address: eni.address.octets(),
        mask: layout::mask(eni.subnet_cidr),
        router: eni.subnet_cidr.gateway().octets(),
        slot,
        flags: [(eni.source_dest_check, ENI_SOURCE_DEST_CHECK), (eni.rate.is_some(), ENI_LIMITED)]
            .into_iter()
            .filter_map(|(is_set, flag)| is_set.then_some(flag))
            .sum(),
        mac: eni.mac.0,
        pad: [0; 2],
        id: Eni::id_bytes(id),
        subnet: 0,
        rest: [0; 6],
    }
}

fn act(maps: &mut Maps, step: &Step) -> Result<(), Fault> {
    match step {
        Step::PutCidr(vni, range) => maps.put_cidr(&held::cidr_key(*vni, *range)),
        Step::RemoveCidr(vni, range) => maps.remove_cidr(&held::cidr_key(*vni, *range)),
        Step::PutAddress(id, range, row) => maps.put_address(&held::address_key(*id, *range), &row.0),
        Step::RemoveAddress(id, range) => maps.remove_address(&held::address_key(*id, *range)),
        Step::PutPort(id, prefix, row) => maps.put_port(&held::port_key(*id, *prefix), &row.0),
        Step::RemovePort(id, prefix) => maps.remove_port(&held::port_key(*id, *prefix)),
        Step::PutMember(id, set, row) => maps.put_member(held::member_key(*id, *set), &row.0),
        Step::RemoveMember(id, set) => maps.remove_member(held::member_key(*id, *set)),
        Step::PutPolicy(set, policy) => maps.put_policy(set.0, policy),
        Step::PutEndpoint(key, endpoint) => maps.put_endpoint(*key, endpoint),
        Step::RemoveEndpoint(key) => maps.remove_endpoint(*key),
        Step::PutSubnet(number, subnet) => maps.put_subnet(*number, subnet),
        Step::PutRoute(id, range, route) => maps.put_route(&held::address_key(*id, *range), route),
        Step::RemoveRoute(id, range) => maps.remove_route(&held::address_key(*id, *range)),
        Step::PutAclAddress(id, range, row) => maps.put_acl_address(&held::address_key(*id, *range), row),
        Step::RemoveAclAddress(id, range) => maps.remove_acl_address(&held::address_key(*id, *range)),
        Step::PutAclPort(id, prefix, row) => maps.put_acl_port(&held::port_key(*id, *prefix), row),
        Step::RemoveAclPort(id, prefix) => maps.remove_acl_port(&held::port_key(*id, *prefix)),
        Step::PutNat(id, nat) => maps.put_nat(*id, nat),
        Step::PutPublic(key, owner) => maps.put_public(*key, owner),
        Step::RemovePublic(key) => maps.remove_public(*key),
        Step::PutPrivate(key, owner) => maps.put_private(*key, owner),
        Step::RemovePrivate(key) => maps.remove_private(*key),
        Step::SetWorld(world) => maps.set_world(world),
        Step::PutEni(entry) => maps.put_eni(entry),
        Step::SetEpoch(epoch) => maps.set_epoch(*epoch),
        Step::Wait => layout::wait_for_packets().map_err(Fault::Grace),
    }
}
