// SPDX-License-Identifier: Apache-2.0
//! The intent of each host: the VPCs, interfaces and tasks it must hold, made from the records.
//!
//! A pure function of the snapshot. An interface is wanted on its host while it is attaching or attached; every host of
//! the VPC knows its address for the same time. A task is wanted until its host reports that no container is left. The
//! whole intent is made once for a stream; later patches are made from the records that changed.
#![deny(clippy::disallowed_methods)]

mod addresses;
mod routing;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use berth_state::ecs::{Task, TaskStatus};
use berth_state::vpc::{ElasticIp, Eni, EniOwner, GroupSet, NatGateway, SecurityGroup, Vpc};
use berth_state::{Env, Snapshot};
use berth_types::intent::{EndpointIntent, EniIntent, GroupSetIntent, HostIntent, IntentPatch, Plug, diff};
use berth_types::{EniId, HostId, VpcId};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;

/// MTU of the inner end of an interface, as on AWS.
const ENI_MTU: u32 = 9001;

/// The whole intent of `host`.
pub fn host(snap: &Snapshot, host: &HostId, env: &Env) -> HostIntent {
    let scope = Scope::of(snap, host, env);
    let mut intent = HostIntent { worlds: addresses::worlds(snap, &env.region), ..Default::default() };
    scope.vpcs.values().for_each(|vpc| routing::vpc(snap, vpc, &mut intent));
    snap.vpc().group_sets.values().for_each(|set| scope.group_set(set, &mut intent));
    snap.vpc().security_groups.values().for_each(|group| scope.security_group(group, &mut intent));
    for vpc in scope.vpcs.keys() {
        of_vpc(snap, vpc).for_each(|eni| scope.eni(eni, &mut intent));
    }
    snap.vpc().nat_gateways.values().for_each(|gateway| scope.nat_gateway(gateway, &mut intent));
    snap.ecs().host_tasks(host).for_each(|task| scope.task(task, &mut intent));
    intent
}

/// Change of the intent of `host` between two snapshots: the difference of the whole intents, at the cost of the
/// changed records only. `from` is the generation the host holds, which is the intent of `old`.
pub fn patch(from: u64, old: &Snapshot, new: &Snapshot, host: &HostId, env: &Env) -> IntentPatch {
    let (before, after) = (Scope::of(old, host, env), Scope::of(new, host, env));
    let is_same_scope = before.vpcs.keys().eq(after.vpcs.keys())
        && old.vpc().vpcs.ptr_eq(&new.vpc().vpcs)
        && old.vpc().subnets.ptr_eq(&new.vpc().subnets);
    if !is_same_scope {
        return diff(from, &self::host(old, host, env), new.revision, &self::host(new, host, env));
    }
    // Both intents omit everything that is equal in both snapshots.
    let (mut was, mut is) = (HostIntent::default(), HostIntent::default());
    (was.worlds, is.worlds) = (addresses::worlds(old, &env.region), addresses::worlds(new, &env.region));
    let (was_to, is_to) = (&mut was, &mut is);
    each_changed(&old.vpc().group_sets, &new.vpc().group_sets, was_to, is_to, [&before, &after], Scope::group_set);
    each_changed(
        &old.vpc().security_groups,
        &new.vpc().security_groups,
        was_to,
        is_to,
        [&before, &after],
        Scope::security_group,
    );
    each_changed(&old.vpc().enis, &new.vpc().enis, was_to, is_to, [&before, &after], Scope::eni);
    let (elastic_ips, nat_gateways) = (&old.vpc().elastic_ips, &old.vpc().nat_gateways);
    each_changed(elastic_ips, &new.vpc().elastic_ips, was_to, is_to, [&before, &after], Scope::elastic_ip);
    each_changed(nat_gateways, &new.vpc().nat_gateways, was_to, is_to, [&before, &after], Scope::nat_gateway);
    each_changed(&old.ecs().tasks, &new.ecs().tasks, was_to, is_to, [&before, &after], Scope::task);
    for group in routing::groups_of_changed_lists(old, new) {
        old.vpc().security_groups.get(&group).into_iter().for_each(|group| before.security_group(group, was_to));
        new.vpc().security_groups.get(&group).into_iter().for_each(|group| after.security_group(group, is_to));
    }
    for changed in routing::changed(old, new) {
        before.vpcs.get(&changed).into_iter().for_each(|vpc| routing::vpc(old, vpc, was_to));
        after.vpcs.get(&changed).into_iter().for_each(|vpc| routing::vpc(new, vpc, is_to));
    }
    diff(from, &was, new.revision, &is)
}

/// Calls `tell` with the old and the new version of every changed record.
fn each_changed<'a, K: Ord, V: PartialEq>(
    old: &OrdMap<K, Arc<V>>,
    new: &OrdMap<K, Arc<V>>,
    was: &mut HostIntent,
    is: &mut HostIntent,
    [before, after]: [&Scope<'a>; 2],
    tell: fn(&Scope<'a>, &V, &mut HostIntent),
) {
    for change in old.diff(new) {
        match change {
            DiffItem::Add(_, one) => tell(after, one, is),
            DiffItem::Remove(_, one) => tell(before, one, was),
            DiffItem::Update { old: (_, old), new: (_, new) } => {
                tell(before, old, was);
                tell(after, new, is);
            }
        }
    }
}

/// One host, with the VPCs that reach it and their peers.
struct Scope<'a> {
    snap: &'a Snapshot,
    env: &'a Env,
    host: &'a HostId,
    vpcs: BTreeMap<VpcId, &'a Vpc>,
}

impl<'a> Scope<'a> {
    fn of(snap: &'a Snapshot, host: &'a HostId, env: &'a Env) -> Self {
        let mut vpcs = BTreeMap::new();
        // One look-up per VPC: from the last possible interface of a VPC to the first of the next.
        let mut after = Bound::Included((host.clone(), VpcId::from_bits(0), EniId::from_bits(0)));
        while let Some((on, vpc, _)) = snap.vpc().index().host_vpc_enis.range((after, Bound::Unbounded)).next()
            && on == host
        {
            vpcs.extend(snap.vpc().vpcs.get(vpc).map(|found| (vpc.clone(), found.as_ref())));
            after = Bound::Excluded((host.clone(), vpc.clone(), EniId::from_bits(u128::MAX)));
        }
        let peers: Vec<VpcId> = vpcs.keys().flat_map(|vpc| snap.vpc().index().peers_of(vpc)).cloned().collect();
        for peer in peers {
            vpcs.extend(snap.vpc().vpcs.get(&peer).map(|found| (peer, found.as_ref())));
        }
        Self { snap, env, host, vpcs }
    }

    fn group_set(&self, set: &GroupSet, intent: &mut HostIntent) {
        if let Some(vpc) = self.vpcs.get(&set.vpc) {
            intent.group_sets.insert(set.id, GroupSetIntent { vni: vpc.vni, groups: set.groups.clone() });
        }
    }

    fn security_group(&self, group: &SecurityGroup, intent: &mut HostIntent) {
        if self.vpcs.contains_key(&group.vpc) {
            intent.security_groups.insert(group.id.clone(), self.snap.vpc().security_group_intent(group));
        }
    }

    fn eni(&self, eni: &Eni, intent: &mut HostIntent) {
        addresses::public_address(self.snap, &self.vpcs, eni, intent);
        let (Some(vpc), Some(attachment)) = (self.vpcs.get(&eni.vpc), eni.wanted_attachment()) else { return };
        let endpoint = EndpointIntent {
            vni: vpc.vni,
            address: eni.address,
            mac: eni.mac,
            group_set: eni.group_set,
            host: attachment.host.clone(),
        };
        intent.endpoints.insert(eni.id.clone(), endpoint);
        if attachment.host == *self.host
            && let Some(plugged) = plugged(self.snap, eni, vpc)
        {
            intent.enis.insert(eni.id.clone(), plugged);
        }
    }

    fn elastic_ip(&self, elastic: &ElasticIp, intent: &mut HostIntent) {
        addresses::elastic_ip(self.snap, &self.vpcs, elastic, intent);
    }

    fn nat_gateway(&self, gateway: &NatGateway, intent: &mut HostIntent) {
        addresses::nat_gateway(self.snap, &self.vpcs, gateway, intent);
    }

    fn task(&self, task: &Task, intent: &mut HostIntent) {
        if task.host.as_ref() == Some(self.host)
            && task.status < TaskStatus::Deprovisioning
            && let Some(wanted) = task::intent(self.snap, task, self.env)
        {
            intent.tasks.insert(task.id.clone(), wanted);
        }
    }
}

fn of_vpc<'a>(snap: &'a Snapshot, vpc: &'a VpcId) -> impl Iterator<Item = &'a Eni> {
    snap.vpc()
        .index()
        .vpc_enis
        .range((vpc.clone(), EniId::from_bits(0))..)
        .take_while(move |(of, _)| of == vpc)
        .filter_map(|(_, eni)| snap.vpc().enis.get(eni).map(AsRef::as_ref))
}

/// `None` for an interface that is nowhere to be plugged in: that of a NAT gateway, and a user's own, attached to an
/// instance of its own.
fn plugged(snap: &Snapshot, eni: &Eni, vpc: &Vpc) -> Option<EniIntent> {
    let plug = match &eni.owner {
        EniOwner::FargateTask(task) => Plug::InPlace(task.clone()),
        EniOwner::Ec2Task(task) => Plug::HostFirst(task.clone()),
        EniOwner::Instance(_) => Plug::Host,
        EniOwner::Standalone(standalone) => Plug::Standalone(standalone.clone()),
        EniOwner::User | EniOwner::NatGateway(_) => return None,
    };
    Some(EniIntent {
        vni: vpc.vni,
        vpc: Some(eni.vpc.clone()),
        subnet: eni.subnet.clone(),
        subnet_cidr: snap.vpc().subnets.get(&eni.subnet)?.cidr,
        vpc_cidrs: vpc.cidrs().collect(),
        mac: eni.mac,
        address: eni.address,
        group_set: eni.group_set,
        source_dest_check: eni.source_dest_check,
        mtu: ENI_MTU,
        plug,
        rate: eni.rate,
    })
}
