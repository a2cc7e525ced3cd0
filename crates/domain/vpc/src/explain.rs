// SPDX-License-Identifier: Apache-2.0
//! The ends of a packet for `berth explain`, each given as an address, an interface or a task, and their rules.
//!
//! Pure look-ups; `fabric` applies the rules to the packet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_state::vpc::{AttachmentStatus, Eni, Vpc};
use berth_state::{Refusal, Snapshot};
use berth_types::explain::{Attached, Ends, Party};
use berth_types::intent::{GroupSetIntent, HostIntent, RulePeer, SecurityGroupIntent};
use berth_types::{EniId, SecurityGroupId, TaskId, VpcId};

use super::find;

/// Meaning of the text of one end.
enum Named {
    Address(Ipv4Addr),
    Interface(Arc<Eni>),
}

/// Finds both ends; the ways between them are in the intent of the sender's host, which is added by the caller. `from` must be an interface; `to` may be an address without interface. Addresses are looked up in
/// the VPC of the other end, else in `vpc`, else in the default VPC.
pub fn ends(snap: &Snapshot, from: &str, to: &str, vpc: Option<&VpcId>) -> Result<Ends, Refusal> {
    let (from, to) = (named(snap, from)?, named(snap, to)?);
    let vpc = vpc_of(snap, [&from, &to], vpc)?;
    let source = match from {
        Named::Interface(eni) => eni,
        Named::Address(address) => at(snap, vpc, address).cloned().ok_or_else(|| {
            invalid(format!(
                "No interface of {} has the address {address}, so it sends no packets; name an interface, or the \
                 VPC with --vpc.",
                vpc.id
            ))
        })?,
    };
    let (destination, receiver) = match to {
        Named::Interface(eni) => (eni.address, Some(eni)),
        Named::Address(address) => (address, at(snap, vpc, address).cloned()),
    };
    describe(snap, vpc, &source, destination, receiver.as_deref())
}

/// The VPC of the ends and of the request, which must agree; the default VPC if neither names one.
fn vpc_of<'a>(snap: &'a Snapshot, ends: [&Named; 2], asked: Option<&VpcId>) -> Result<&'a Arc<Vpc>, Refusal> {
    let by_ends = ends.into_iter().filter_map(|end| match end {
        Named::Interface(eni) => Some(&eni.vpc),
        Named::Address(_) => None,
    });
    let mut told = by_ends.chain(asked);
    match told.next() {
        Some(first) if told.any(|other| other != first) => Err(find::other_network()),
        Some(id) => find::vpc(snap, id),
        None => find::default_vpc(snap).ok_or_else(|| {
            invalid("There is no default VPC; name the VPC of the addresses with --vpc, or an interface.")
        }),
    }
}

fn describe(
    snap: &Snapshot,
    vpc: &Vpc,
    source: &Eni,
    destination: Ipv4Addr,
    receiver: Option<&Eni>,
) -> Result<Ends, Refusal> {
    let groups = source.groups.iter().chain(receiver.into_iter().flat_map(|eni| &eni.groups));
    let security_groups: BTreeMap<_, _> =
        groups.map(|id| Ok((id.clone(), rules(snap, id)?))).collect::<Result<_, Refusal>>()?;
    // A rule may name a group of a peer.
    let named: BTreeSet<&SecurityGroupId> = security_groups
        .values()
        .flat_map(|group| group.rules.values())
        .filter_map(|rule| match &rule.peer {
            RulePeer::Group(group) => Some(group),
            RulePeer::Cidr(_) | RulePeer::Cidrs(_) => None,
        })
        .collect();
    let group_sets = snap.vpc().group_sets.values().filter_map(|set| {
        let is_told = set.vpc == vpc.id || set.groups.iter().any(|group| named.contains(group));
        let vni = snap.vpc().vpcs.get(&set.vpc)?.vni;
        is_told.then(|| (set.id, GroupSetIntent { vni, groups: set.groups.clone() }))
    });
    let group_sets = group_sets.collect();
    Ok(Ends {
        vpc: vpc.id.clone(),
        vni: vpc.vni,
        cidrs: vpc.cidrs().collect(),
        source: party(snap, source)?,
        destination,
        receiver: receiver.map(|eni| party(snap, eni)).transpose()?,
        group_sets,
        security_groups,
        ways: HostIntent::default(),
    })
}

fn rules(snap: &Snapshot, group: &SecurityGroupId) -> Result<SecurityGroupIntent, Refusal> {
    Ok(snap.vpc().security_group_intent(find::security_group(snap, group)?))
}

fn party(snap: &Snapshot, eni: &Eni) -> Result<Party, Refusal> {
    let attached = |attachment: &berth_state::vpc::EniAttachment| Attached {
        host: attachment.host.clone(),
        is_usable: attachment.status == AttachmentStatus::Attached,
    };
    Ok(Party {
        eni: eni.id.clone(),
        address: eni.address,
        subnet: eni.subnet.clone(),
        subnet_cidr: find::subnet(snap, &eni.subnet)?.cidr,
        task: eni.owner.task().cloned(),
        security_groups: eni.groups.clone(),
        group_set: eni.group_set,
        attachment: eni.wanted_attachment().map(attached),
    })
}

/// Reads an address, an interface's id, or a task's id or ARN.
fn named(snap: &Snapshot, text: &str) -> Result<Named, Refusal> {
    if let Ok(address) = text.parse() {
        return Ok(Named::Address(address));
    }
    if text.starts_with("eni-") {
        return find::network_interface(snap, text).cloned().map(Named::Interface);
    }
    let digits = text.rsplit('/').next().unwrap_or(text).replace('-', "");
    let id = TaskId::parse(&digits).map_err(|_| {
        invalid(format!("\"{text}\" is none of an IPv4 address, an interface (eni-...), and the id or ARN of a task."))
    })?;
    let task = snap.ecs().tasks.get(&id).ok_or_else(|| invalid(format!("The task '{id}' does not exist.")))?;
    let eni = task.network.as_ref().and_then(|network| network.eni.as_ref()).ok_or_else(|| {
        invalid(format!("The task '{id}' has no network interface; only tasks in network mode awsvpc have one."))
    })?;
    let live = snap.vpc().enis.get(&eni.id).cloned();
    live.map(Named::Interface).ok_or_else(|| {
        invalid(format!("The network interface '{}' of the task '{id}' was deleted; the task has ended.", eni.id))
    })
}

/// The interface of a VPC that has the address.
fn at<'a>(snap: &'a Snapshot, vpc: &Vpc, address: Ipv4Addr) -> Option<&'a Arc<Eni>> {
    let subnet = snap.vpc().subnets.values().find(|subnet| subnet.vpc == vpc.id && subnet.cidr.contains(address))?;
    let id: &EniId = snap.vpc().index().addresses.get(&(subnet.id.clone(), address))?;
    snap.vpc().enis.get(id)
}

fn invalid(words: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParameterValue, words)
}
