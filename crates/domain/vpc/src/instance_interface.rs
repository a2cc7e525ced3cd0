// SPDX-License-Identifier: Apache-2.0
//! Primary interfaces of hosts: each has its address and security groups in a subnet of the host's zone.
//!
//! A host gets one when it connects, unless it wants none, and another one in its place when it is moved. Not here: what
//! the host does with it (`node`).

use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_state::ecs::Host;
use berth_state::vpc::{Eni, EniOwner, PRIMARY_DEVICE_INDEX, Subnet};
use berth_state::{Draft, Env, Refusal, Snapshot};
use berth_types::instance::InstanceInterface;
use berth_types::{HostId, SecurityGroupId, SubnetId};

use super::{find, interface, public_address};

/// Makes, moves or removes the primary interface of a host, as the host wishes. Without a named subnet a host that
/// cannot have one (there is no default subnet in its zone, or no free address) goes without.
pub fn settle(draft: &mut Draft, host: &Host, wishes: Option<&InstanceInterface>, env: &Env) -> Result<(), Refusal> {
    let Some(wishes) = wishes else {
        detach_all(draft, &host.id);
        return Ok(());
    };
    if !wishes.subnets.is_empty() {
        let subnet = named_subnet(draft, host, &wishes.subnets)?;
        return place(draft, host, &subnet, &wishes.security_groups, env);
    }
    if let Some(present) = present(draft, &host.id) {
        return match wishes.security_groups.as_slice() {
            [] => Ok(()),
            groups => interface::set_groups(draft, &present.id, groups),
        };
    }
    match default_subnet(draft, &host.availability_zone) {
        Some(subnet) if interface::free_addresses(draft, &subnet) > 0 => {
            place(draft, host, &subnet, &wishes.security_groups, env)
        }
        Some(_) | None => Ok(()),
    }
}

/// Puts the host's primary interface into this subnet, with these groups; without groups it gets the VPC's default one,
/// or keeps those it has there.
fn place(
    draft: &mut Draft,
    host: &Host,
    subnet: &Subnet,
    groups: &[SecurityGroupId],
    env: &Env,
) -> Result<(), Refusal> {
    if let Some(present) = present(draft, &host.id).filter(|present| present.subnet == subnet.id) {
        return match groups {
            [] => Ok(()),
            groups => interface::set_groups(draft, &present.id, groups),
        };
    }
    detach_all(draft, &host.id);
    let owner = EniOwner::Instance(host.id.clone());
    let made = interface::create_attached_at(draft, subnet, groups, owner, "", (host, PRIMARY_DEVICE_INDEX), env)?;
    // As an instance that is launched into the subnet; without one where the pool has none left.
    if subnet.map_public_ip_on_launch && public_address::lowest_free(draft).is_ok() {
        interface::give_public_address(draft, &made.id)?;
    }
    Ok(())
}

/// The primary interfaces of a host: at most one that is not being removed.
pub(super) fn of<'a>(snap: &'a Snapshot, host: &'a HostId) -> impl Iterator<Item = &'a Arc<Eni>> {
    let enis = interface::of_host(snap, host).filter_map(|eni| snap.vpc().enis.get(eni));
    enis.filter(move |eni| eni.owner == EniOwner::Instance(host.clone()))
}

/// The primary interface of a host, unless it is being removed.
pub fn present(snap: &Snapshot, host: &HostId) -> Option<Arc<Eni>> {
    of(snap, host).find(|eni| eni.wanted_attachment().is_some()).cloned()
}

fn detach_all(draft: &mut Draft, host: &HostId) {
    let enis: Vec<_> = of(draft, host).map(|eni| eni.id.clone()).collect();
    enis.iter().for_each(|eni| interface::detach(draft, eni));
}

/// The first of these subnets that is in the host's zone.
fn named_subnet(snap: &Snapshot, host: &Host, subnets: &[SubnetId]) -> Result<Arc<Subnet>, Refusal> {
    for id in subnets {
        let subnet = find::subnet(snap, id)?;
        if subnet.availability_zone == host.availability_zone {
            return Ok(subnet.clone());
        }
    }
    let named: Vec<&str> = subnets.iter().map(SubnetId::as_str).collect();
    let words = format!(
        "None of the subnets {} is in {}, the zone of host '{}'. The primary interface of a host is in its own zone.",
        named.join(", "),
        host.availability_zone,
        host.id
    );
    Err(Refusal::new(Code::InvalidParameterValue, words))
}

fn default_subnet(snap: &Snapshot, zone: &str) -> Option<Arc<Subnet>> {
    let mut subnets = snap.vpc().subnets.values();
    subnets.find(|subnet| subnet.default_for_az && subnet.availability_zone == zone).cloned()
}
