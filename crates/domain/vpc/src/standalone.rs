// SPDX-License-Identifier: Apache-2.0
//! Standalone interfaces: those that no task has, each in a network namespace of its own.
//!
//! Such an interface is an ordinary one of its VPC: it has an address and groups, shows up in DescribeNetworkInterfaces
//! and keeps its subnet and groups from being deleted. Not here: when a holder wants one (`seat.rs` for `berth shell`).

use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_state::ecs::Host;
use berth_state::vpc::{Eni, EniOwner, Subnet};
use berth_state::{Draft, Env, Refusal, Snapshot};
use berth_types::intent::{Holder, Standalone};
use berth_types::{HostId, SecurityGroupId};

use super::{instance_interface, interface, owner};

/// Makes an interface for `holder` and asks `host` to plug it. Without groups it gets the VPC's default group. Returns
/// the name of its namespace with it.
pub(super) fn open(
    draft: &mut Draft,
    holder: Holder,
    subnet: &Subnet,
    groups: &[SecurityGroupId],
    host: &Host,
    env: &Env,
) -> Result<(Arc<Eni>, String), Refusal> {
    let description = owner::description(&holder);
    let standalone = Standalone::new(holder, env.fresh_bits());
    let namespace = standalone.namespace.clone();
    let owner = EniOwner::Standalone(standalone);
    let eni = interface::create_attached(draft, subnet, groups, owner, description, host, env)?;
    Ok((eni, namespace))
}

/// Asks the host to remove the interface; the record is deleted when the host reports that it did. A second call changes
/// nothing.
pub(super) fn close(draft: &mut Draft, eni: &Eni) {
    match eni.attachment {
        Some(_) => interface::detach(draft, &eni.id),
        None => interface::delete(draft, &eni.id),
    }
}

/// The host with this id, or without one the connected host with most room. It is connected and has room.
pub(super) fn host(snap: &Snapshot, id: Option<&HostId>) -> Result<Arc<Host>, Refusal> {
    match id {
        Some(id) => connected_host(snap, id),
        None => roomiest_host(snap),
    }
}

fn connected_host(snap: &Snapshot, id: &HostId) -> Result<Arc<Host>, Refusal> {
    let host = snap
        .ecs()
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
    let hosts = snap.ecs().hosts.values().filter(|host| host.connected);
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
    let primary = instance_interface::of(snap, &host.id).count();
    (host.capacity.enis as usize).saturating_sub(interface::of_host(snap, &host.id).count() - primary)
}
