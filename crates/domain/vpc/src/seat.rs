// SPDX-License-Identifier: Apache-2.0
//! Seats: the standalone interfaces of `berth shell`.

use std::sync::Arc;

use berth_shapes::Ec2ErrorCode as Code;
use berth_state::vpc::{EniOwner, Subnet};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::admin::Seat;
use berth_types::intent::{Holder, Standalone};
use berth_types::{EniId, HostId, SecurityGroupId, SubnetId};

use super::{find, standalone};

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
    let host = standalone::host(snap, host)?;
    let mut draft = Draft::of(snap);
    let (eni, netns) = standalone::open(&mut draft, Holder::Shell, &subnet, groups, &host, env)?;
    let seat =
        Seat { eni: eni.id.clone(), address: eni.address, subnet: subnet.id.clone(), netns, host: host.id.clone() };
    Ok(draft.change(seat))
}

/// Asks the host to remove the seat; the record is deleted when the host reports that it did. A second call changes
/// nothing.
pub fn close(snap: &Snapshot, eni: &EniId, _env: &Env) -> Result<Change<()>, Refusal> {
    let eni = find::network_interface(snap, eni)?;
    if !matches!(eni.owner, EniOwner::Standalone(Standalone { holder: Holder::Shell, .. })) {
        let words = format!("Network interface '{}' is not a seat of 'berth shell'.", eni.id);
        return Err(Refusal::new(Code::OperationNotPermitted, words));
    }
    let mut draft = Draft::of(snap);
    standalone::close(&mut draft, eni);
    Ok(draft.change(()))
}

fn first_default_subnet(snap: &Snapshot) -> Result<Arc<Subnet>, Refusal> {
    let defaults = snap.vpc().subnets.values().filter(|subnet| subnet.default_for_az);
    defaults
        .min_by_key(|subnet| &subnet.availability_zone)
        .cloned()
        .ok_or_else(|| Refusal::new(Code::MissingParameter, "There is no default subnet; name the subnet of the seat."))
}
