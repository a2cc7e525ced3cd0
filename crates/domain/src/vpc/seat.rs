//! Seats: interfaces in a network namespace of their own, for `berth shell`.
//!
//! A seat is an ordinary interface of its VPC: it has an address and groups, shows up in DescribeNetworkInterfaces and
//! keeps its subnet and groups from being deleted.

use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_types::admin::Seat;
use berth_types::{EniId, HostId, SecurityGroupId, SubnetId};

use super::record::{EniOwner, Subnet};
use super::{find, interface};
use crate::ecs::record::Host;
use crate::{Change, Draft, Env, Refusal, Snapshot};

/// Makes an interface and asks a host to plug it. Without a subnet the first default subnet is taken, without groups
/// the VPC's default group, without a host the connected one with most room.
pub fn open(
    snap: &Snapshot,
    subnet: Option<&SubnetId>,
    groups: &[SecurityGroupId],
    host: Option<&HostId>,
    env: &Env,
) -> Result<Change<Seat>, Refusal> {
    let subnet = match subnet {
        Some(id) => find::subnet(snap, id)?.clone(),
        None => first_default_subnet(snap)?,
    };
    let host = match host {
        Some(id) => connected_host(snap, id)?,
        None => roomiest_host(snap)?,
    };
    let mut draft = Draft::of(snap);
    let netns = format!("seat-{:012x}", env.fresh_bits() >> 80);
    let owner = EniOwner::Seat(netns.clone());
    let eni = interface::create_attached(&mut draft, &subnet, groups, owner, "berth shell", &host, env)?;
    let seat =
        Seat { eni: eni.id.clone(), address: eni.address, subnet: subnet.id.clone(), netns, host: host.id.clone() };
    Ok(draft.change(seat))
}

/// Asks the host to take the seat away; the record goes when the host says that it did. Closing twice is closing once.
pub fn close(snap: &Snapshot, eni: &EniId, _env: &Env) -> Result<Change<()>, Refusal> {
    let eni = find::network_interface(snap, eni)?;
    if !matches!(eni.owner, EniOwner::Seat(_)) {
        let words = format!("Network interface '{}' is not a seat of 'berth shell'.", eni.id);
        return Err(Refusal::new(Code::OperationNotPermitted, words));
    }
    let mut draft = Draft::of(snap);
    match eni.attachment {
        Some(_) => interface::detach(&mut draft, &eni.id),
        None => interface::delete(&mut draft, &eni.id),
    }
    Ok(draft.change(()))
}

fn first_default_subnet(snap: &Snapshot) -> Result<Arc<Subnet>, Refusal> {
    let defaults = snap.subnets.values().filter(|subnet| subnet.default_for_az);
    defaults
        .min_by_key(|subnet| &subnet.availability_zone)
        .cloned()
        .ok_or_else(|| Refusal::new(Code::MissingParameter, "There is no default subnet; name the subnet of the seat."))
}

fn connected_host(snap: &Snapshot, id: &HostId) -> Result<Arc<Host>, Refusal> {
    let host = snap
        .hosts
        .get(id)
        .cloned()
        .ok_or_else(|| Refusal::new(Code::InvalidInstanceIdNotFound, format!("The host '{id}' does not exist")))?;
    if !host.connected {
        let words = format!("Host '{id}' is not connected; start 'berth node' on it or choose another host.");
        return Err(Refusal::new(Code::Unavailable, words));
    }
    if room(snap, &host) == 0 {
        let words =
            format!("Host '{id}' has no room for another network interface; stop tasks or choose another host.");
        return Err(Refusal::new(Code::ResourceCountExceeded, words));
    }
    Ok(host)
}

fn roomiest_host(snap: &Snapshot) -> Result<Arc<Host>, Refusal> {
    let hosts = snap.hosts.values().filter(|host| host.connected);
    let Some(host) = hosts.max_by_key(|host| room(snap, host)) else {
        return Err(Refusal::new(Code::Unavailable, "No host is connected; start 'berth node' on a host."));
    };
    if room(snap, host) == 0 {
        let words = "No connected host has room for another network interface; stop tasks or add a host.";
        return Err(Refusal::new(Code::ResourceCountExceeded, words));
    }
    Ok(host.clone())
}

/// Number of interfaces the host can still take.
fn room(snap: &Snapshot, host: &Host) -> usize {
    (host.capacity.enis as usize).saturating_sub(interface::of_host(snap, &host.id).count())
}
