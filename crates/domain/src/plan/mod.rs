//! What each host must hold: the records of one host's VPCs, interfaces and tasks as an intent.
//!
//! A pure function of the snapshot. An interface is wanted on its host while it is attaching or attached; its address
//! is known to every host of the VPC for just as long. A task is wanted until its host said that no container is left.
//! Not here: what changed since the last intent (`berth_types::intent::diff`).

mod task;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_types::intent::{
    EndpointIntent, EniIntent, GroupSetIntent, HostIntent, Plug, SecurityGroupIntent, SubnetIntent, VpcIntent,
};
use berth_types::{EniId, HostId, Vni, VpcId};

use crate::ecs::host_tasks;
use crate::ecs::record::TaskStatus;
use crate::vpc::record::{AttachmentStatus, Eni, EniAttachment, EniOwner, Vpc};
use crate::{Env, Snapshot};

/// MTU of the inner end of an interface, as on AWS.
const ENI_MTU: u32 = 9001;

/// Everything `host` must hold.
pub fn host(snap: &Snapshot, host: &HostId, env: &Env) -> HostIntent {
    let enis: Vec<&Arc<Eni>> = plugged_on(snap, host).collect();
    let vpc_ids: BTreeSet<&VpcId> = enis.iter().map(|eni| &eni.vpc).collect();
    let vpcs: BTreeMap<&VpcId, &Arc<Vpc>> =
        vpc_ids.into_iter().filter_map(|id| snap.vpcs.get(id).map(|vpc| (id, vpc))).collect();
    let vni = |id: &VpcId| vpcs.get(id).map(|vpc| vpc.vni);
    let group_sets = snap.group_sets.values().filter_map(|set| {
        let groups = set.groups.clone();
        vni(&set.vpc).map(|vni| (set.id, GroupSetIntent { vni, groups }))
    });
    let security_groups = snap.security_groups.values().filter(|group| vpcs.contains_key(&group.vpc)).map(|group| {
        let rules = group.rules.iter().filter_map(|(id, rule)| Some((id.clone(), rule.matches.intent()?))).collect();
        (group.id.clone(), SecurityGroupIntent { rules })
    });
    HostIntent {
        vpcs: vpc_intents(snap, &vpcs),
        group_sets: group_sets.collect(),
        security_groups: security_groups.collect(),
        endpoints: vpcs.values().flat_map(|vpc| endpoints(snap, vpc)).collect(),
        enis: enis
            .iter()
            .filter_map(|eni| Some((eni.id.clone(), eni_intent(snap, eni, vpcs.get(&eni.vpc)?)?)))
            .collect(),
        tasks: host_tasks(snap, host)
            .filter(|task| task.status < TaskStatus::Deprovisioning)
            .filter_map(|task| Some((task.id.clone(), task::intent(snap, task, env)?)))
            .collect(),
    }
}

/// The attachment, while the interface has to be reachable through it.
fn live(eni: &Eni) -> Option<&EniAttachment> {
    eni.attachment.as_ref().filter(|attachment| match attachment.status {
        AttachmentStatus::Attaching | AttachmentStatus::Attached => true,
        AttachmentStatus::Detaching => false,
    })
}

fn plugged_on<'a>(snap: &'a Snapshot, host: &HostId) -> impl Iterator<Item = &'a Arc<Eni>> {
    let host = host.clone();
    snap.index()
        .host_enis
        .range((host.clone(), EniId::from_bits(0))..)
        .take_while(move |(on, _)| *on == host)
        .filter_map(|(_, eni)| snap.enis.get(eni))
        .filter(|eni| live(eni).is_some())
}

fn vpc_intents(snap: &Snapshot, vpcs: &BTreeMap<&VpcId, &Arc<Vpc>>) -> BTreeMap<Vni, VpcIntent> {
    let mut intents: BTreeMap<Vni, VpcIntent> = vpcs
        .values()
        .map(|vpc| {
            let intent = VpcIntent { vpc: vpc.id.clone(), cidrs: vec![vpc.cidr], subnets: BTreeMap::new() };
            (vpc.vni, intent)
        })
        .collect();
    for subnet in snap.subnets.values() {
        let intent = vpcs.get(&subnet.vpc).and_then(|vpc| intents.get_mut(&vpc.vni));
        if let Some(intent) = intent {
            intent.subnets.insert(subnet.id.clone(), SubnetIntent { cidr: subnet.cidr });
        }
    }
    intents
}

fn endpoints<'a>(snap: &'a Snapshot, vpc: &'a Vpc) -> impl Iterator<Item = (EniId, EndpointIntent)> + 'a {
    snap.index()
        .vpc_enis
        .range((vpc.id.clone(), EniId::from_bits(0))..)
        .take_while(|(of, _)| *of == vpc.id)
        .filter_map(|(_, eni)| snap.enis.get(eni))
        .filter_map(|eni| {
            let endpoint = EndpointIntent {
                vni: vpc.vni,
                address: eni.address,
                mac: eni.mac,
                group_set: eni.group_set,
                host: live(eni)?.host.clone(),
            };
            Some((eni.id.clone(), endpoint))
        })
}

/// `None` for an interface that is nowhere to be plugged in: a user's own, attached to an instance of its own.
fn eni_intent(snap: &Snapshot, eni: &Eni, vpc: &Vpc) -> Option<EniIntent> {
    let plug = match &eni.owner {
        EniOwner::FargateTask(task) => Plug::InPlace(task.clone()),
        EniOwner::Ec2Task(task) => Plug::HostFirst(task.clone()),
        EniOwner::Seat(name) => Plug::Seat(name.clone()),
        EniOwner::User => return None,
    };
    Some(EniIntent {
        vni: vpc.vni,
        subnet: eni.subnet.clone(),
        subnet_cidr: snap.subnets.get(&eni.subnet)?.cidr,
        vpc_cidrs: vec![vpc.cidr],
        mac: eni.mac,
        address: eni.address,
        group_set: eni.group_set,
        source_dest_check: eni.source_dest_check,
        mtu: ENI_MTU,
        plug,
    })
}
