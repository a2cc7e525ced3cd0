// SPDX-License-Identifier: Apache-2.0
//! The ends of a packet for `berth explain`, each given as an address, an interface or a task, and their rules.
//!
//! Pure look-ups; `fabric` applies the rules to the packet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_state::vpc::{AttachmentStatus, Eni, EniOwner, Vpc};
use berth_state::{Refusal, Snapshot};
use berth_types::explain::{Attached, Ends, Party, Source, WORLD_ADDRESS};
use berth_types::intent::{GroupSetIntent, HostIntent, RulePeer, SecurityGroupIntent};
use berth_types::{EniId, SecurityGroupId, TaskId, VpcId};

use super::{find, instance};

/// Meaning of the text of one end.
enum Named {
    Address(Ipv4Addr),
    Interface(Arc<Eni>),
    /// An address outside all VPCs, whoever has it.
    World(Ipv4Addr),
}

/// Finds both ends; the ways between them are in the intent of a host, which the caller adds. One of them must be an
/// interface of the VPC. Private addresses are looked up in the VPC of the other end, else in `vpc`, else in the
/// default VPC; any other address is that of an interface if it is its public address, else it lies in the world.
pub fn ends(snap: &Snapshot, from: &str, to: &str, vpc: Option<&VpcId>) -> Result<Ends, Refusal> {
    let (from, to) = (named(snap, from)?, named(snap, to)?);
    let to_world = |address: &Ipv4Addr| public_owner(snap, *address).filter(|_| matches!(from, Named::World(_)));
    let to = match &to {
        Named::Address(address) => to_world(address).map_or(to, Named::Interface),
        Named::Interface(_) | Named::World(_) => to,
    };
    let vpc = vpc_of(snap, [&from, &to], vpc)?;
    let source = match from {
        Named::Interface(eni) => eni,
        Named::World(address) => return from_world(snap, vpc, address, to),
        Named::Address(address) => match at(snap, vpc, address).cloned().or_else(|| public_owner(snap, address)) {
            Some(eni) => eni,
            None if vpc.cidrs().any(|range| range.contains(address)) => {
                return Err(invalid(format!(
                    "No interface of {} has the address {address}, so it sends no packets; name an interface, or the \
                     VPC with --vpc.",
                    vpc.id
                )));
            }
            None => return from_world(snap, vpc, address, to),
        },
    };
    let (destination, receiver) = match to {
        Named::Interface(eni) => (eni.address, Some(eni)),
        Named::Address(address) => (address, at(snap, vpc, address).cloned()),
        Named::World(address) => (address, None),
    };
    describe(snap, vpc, Source::Interface(party(snap, &source)?), (destination, None), receiver.as_deref())
}

/// A packet from an address outside all VPCs: only an interface can receive it, at its public address.
fn from_world(snap: &Snapshot, vpc: &Vpc, sender: Ipv4Addr, to: Named) -> Result<Ends, Refusal> {
    let receiver = match to {
        Named::Interface(eni) => eni,
        Named::Address(address) => at(snap, vpc, address).cloned().ok_or_else(|| {
            invalid(format!("No interface has the address {address}, so nothing there receives packets of the world."))
        })?,
        Named::World(_) => {
            return Err(invalid("Both ends lie outside all VPCs; name a task, an interface or an instance as one."));
        }
    };
    let public = public_address(snap, &receiver);
    describe(snap, vpc, Source::World(sender), (receiver.address, public), Some(&receiver))
}

/// The VPC of the ends and of the request, which must agree; the default VPC if neither names one.
fn vpc_of<'a>(snap: &'a Snapshot, ends: [&Named; 2], asked: Option<&VpcId>) -> Result<&'a Arc<Vpc>, Refusal> {
    let by_ends = ends.into_iter().filter_map(|end| match end {
        Named::Interface(eni) => Some(&eni.vpc),
        Named::Address(_) | Named::World(_) => None,
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
    source: Source,
    (destination, public): (Ipv4Addr, Option<Ipv4Addr>),
    receiver: Option<&Eni>,
) -> Result<Ends, Refusal> {
    let receiver = receiver.map(|eni| party(snap, eni)).transpose()?;
    let sender = match &source {
        Source::Interface(party) => Some(party),
        Source::World(_) => None,
    };
    let groups = sender.into_iter().chain(&receiver).flat_map(|party| &party.security_groups);
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
        source,
        destination,
        public,
        receiver,
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

/// The interface that a text names; none for an address outside all VPCs.
pub(super) fn interface(snap: &Snapshot, text: &str) -> Result<Option<Arc<Eni>>, Refusal> {
    Ok(match named(snap, text)? {
        Named::Interface(eni) => Some(eni),
        Named::World(_) => None,
        Named::Address(address) => public_owner(snap, address)
            .or_else(|| find::default_vpc(snap).and_then(|vpc| at(snap, vpc, address)).cloned()),
    })
}

/// The public address of an interface: an elastic one counts before its own.
fn public_address(snap: &Snapshot, eni: &Eni) -> Option<Ipv4Addr> {
    let elastic = snap.vpc().index().elastic_ips.get(&eni.id).and_then(|id| snap.vpc().elastic_ips.get(id));
    elastic.map(|elastic| elastic.address).or(eni.public_address)
}

/// The interface with this public address.
fn public_owner(snap: &Snapshot, address: Ipv4Addr) -> Option<Arc<Eni>> {
    snap.vpc().enis.values().find(|eni| public_address(snap, eni) == Some(address)).cloned()
}

/// The primary interface of an instance.
fn primary(snap: &Snapshot, text: &str) -> Result<Arc<Eni>, Refusal> {
    let host = &instance::of_instance(snap, text)?.id;
    let is_primary = |eni: &&Arc<Eni>| matches!(&eni.owner, EniOwner::Instance(owner) if owner == host);
    snap.vpc().enis.values().find(is_primary).cloned().ok_or_else(|| {
        invalid(format!("The instance '{text}' has no network interface; it started with --no-instance-interface."))
    })
}

/// Reads `internet`, an address, the id of an interface or an instance, or the id or ARN of a task.
fn named(snap: &Snapshot, text: &str) -> Result<Named, Refusal> {
    if let Some(rest) = text.strip_prefix("internet") {
        return match rest.strip_prefix('@').map(str::parse) {
            None if rest.is_empty() => Ok(Named::World(WORLD_ADDRESS)),
            Some(Ok(address)) => Ok(Named::World(address)),
            Some(Err(_)) | None => Err(invalid(format!("\"{text}\" is neither internet nor internet@ADDRESS."))),
        };
    }
    if text.starts_with("i-") {
        return primary(snap, text).map(Named::Interface);
    }
    if let Ok(address) = text.parse() {
        return Ok(Named::Address(address));
    }
    if text.starts_with("eni-") {
        return find::network_interface(snap, text).cloned().map(Named::Interface);
    }
    let digits = text.rsplit('/').next().unwrap_or(text).replace('-', "");
    let id = TaskId::parse(&digits).map_err(|_| {
        invalid(format!(
            "\"{text}\" is none of internet, an IPv4 address, an interface (eni-...), an instance (i-...), and the id or \
             ARN of a task."
        ))
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
