// SPDX-License-Identifier: Apache-2.0
//! Peerings of two VPCs of this account and region.
//!
//! A request is accepted or rejected, or expires. Routes and references to groups lead through an active peering, never
//! on through a second one. One that has ended can be described for some time; its routes remain as blackholes.

use berth_shapes::ec2::{
    self, AcceptVpcPeeringConnectionRequest, AcceptVpcPeeringConnectionResult, CreateVpcPeeringConnectionRequest,
    CreateVpcPeeringConnectionResult, DeleteVpcPeeringConnectionRequest, DeleteVpcPeeringConnectionResult,
    DescribeVpcPeeringConnectionsRequest, DescribeVpcPeeringConnectionsResult,
    ModifyVpcPeeringConnectionOptionsRequest, ModifyVpcPeeringConnectionOptionsResult,
    RejectVpcPeeringConnectionRequest, RejectVpcPeeringConnectionResult, VpcPeeringConnectionStateReason,
    VpcPeeringConnectionVpcInfo,
};
use berth_shapes::{Ec2ErrorCode as Code, Timestamp};
use berth_state::vpc::{Peering, PeeringEnd, PeeringState, RecordKey, Vpc};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::{Ipv4Cidr, PeeringId, TimestampMs, VpcId};
use imbl::OrdSet;

use super::describe::Selection;
use super::filter::{Filters, each, shown, text};
use super::quota::Quota;
use super::request::{only, required, unsupported};
use super::{find, tags};

/// How long a request waits to be accepted.
pub(super) const REQUESTS_KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// How long a peering that has ended can be described.
pub(super) const ENDED_KEPT_MS: u64 = 2 * 60 * 60 * 1000;

/// CreateVpcPeeringConnection. A request that is impossible makes a peering that has failed.
pub fn create_vpc_peering_connection(
    snap: &Snapshot,
    req: &CreateVpcPeeringConnectionRequest,
    env: &Env,
) -> Result<Change<CreateVpcPeeringConnectionResult>, Refusal> {
    only(req, &["VpcId", "PeerVpcId", "PeerOwnerId", "PeerRegion", "TagSpecifications"])?;
    let tags = tags::asked(&req.tag_specifications, tags::Kind::Peering)?;
    if let Some(region) = req.peer_region.as_deref().filter(|region| !region.is_empty() && *region != env.region) {
        return Err(unsupported(&format!("There is no region {region}; both VPCs must be in {}.", env.region)));
    }
    let vpc = find::vpc(snap, required(&req.vpc_id, "vpcId")?)?;
    let peer: VpcId = find::id(required(&req.peer_vpc_id, "peerVpcId")?)?;
    let owner = req.peer_owner_id.clone().filter(|owner| !owner.is_empty()).unwrap_or_else(|| env.account.clone());
    let live = || snap.vpc().peerings.values().filter(|peering| peering.is_live());
    if live().any(|peering| peering.peer_of(&vpc.id) == Some(&peer)) {
        let words = format!("A VPC peering connection between {} and {peer} already exists.", vpc.id);
        return Err(Refusal::new(Code::VpcPeeringConnectionAlreadyExists, words));
    }
    let own = live().filter(|peering| peering.peer_of(&vpc.id).is_some());
    if Quota::PeeringsPerVpc.is_reached(snap, own.count()) {
        let words = format!("The maximum number of VPC peering connections for VPC '{}' has been reached.", vpc.id);
        return Err(Refusal::new(Code::VpcPeeringConnectionsPerVpcLimitExceeded, words));
    }
    let other = snap.vpc().vpcs.get(&peer).filter(|_| owner == env.account);
    let is_possible = other.is_some_and(|other| other.id != vpc.id && !overlap(vpc, other));
    let end = |vpc: &Vpc| PeeringEnd { vpc: vpc.id.clone(), cidrs: vpc.cidrs().collect(), owner: env.account.clone() };
    let peering = Peering {
        id: PeeringId::from_bits(env.fresh_bits()),
        requester: end(vpc),
        accepter: other.map_or(PeeringEnd { vpc: peer, cidrs: Vec::new(), owner }, |other| end(other)),
        state: if is_possible { PeeringState::PendingAcceptance } else { PeeringState::Failed },
        requested_at: env.now,
        ended_at: (!is_possible).then_some(env.now),
        tags,
    };
    let mut answer = show(snap, &peering, env);
    if is_possible {
        answer.status = Some(VpcPeeringConnectionStateReason {
            code: Some("initiating-request".to_owned()),
            message: Some(format!("Initiating Request to {}", env.account)),
        });
    }
    let mut draft = Draft::of(snap);
    draft.put(peering);
    Ok(draft.change(CreateVpcPeeringConnectionResult { vpc_peering_connection: Some(answer) }))
}

/// AcceptVpcPeeringConnection.
pub fn accept_vpc_peering_connection(
    snap: &Snapshot,
    req: &AcceptVpcPeeringConnectionRequest,
    env: &Env,
) -> Result<Change<AcceptVpcPeeringConnectionResult>, Refusal> {
    only(req, &["VpcPeeringConnectionId"])?;
    let peering = find::peering(snap, required(&req.vpc_peering_connection_id, "vpcPeeringConnectionId")?)?;
    if peering.state != PeeringState::PendingAcceptance {
        return Err(wrong_state(peering, "active"));
    }
    let vpc = |end: &PeeringEnd| snap.vpc().vpcs.get(&end.vpc);
    // A range may have been added since the request.
    let is_possible = match (vpc(&peering.requester), vpc(&peering.accepter)) {
        (Some(one), Some(other)) => !overlap(one, other),
        _ => false,
    };
    let state = if is_possible { PeeringState::Active } else { PeeringState::Failed };
    let peering = in_state(peering, state, env.now);
    let answer = AcceptVpcPeeringConnectionResult { vpc_peering_connection: Some(show(snap, &peering, env)) };
    let mut draft = Draft::of(snap);
    draft.put(peering);
    Ok(draft.change(answer))
}

/// RejectVpcPeeringConnection.
pub fn reject_vpc_peering_connection(
    snap: &Snapshot,
    req: &RejectVpcPeeringConnectionRequest,
    env: &Env,
) -> Result<Change<RejectVpcPeeringConnectionResult>, Refusal> {
    only(req, &["VpcPeeringConnectionId"])?;
    let peering = find::peering(snap, required(&req.vpc_peering_connection_id, "vpcPeeringConnectionId")?)?;
    if peering.state != PeeringState::PendingAcceptance {
        return Err(wrong_state(peering, "rejected"));
    }
    let mut draft = Draft::of(snap);
    draft.put(in_state(peering, PeeringState::Rejected, env.now));
    Ok(draft.change(RejectVpcPeeringConnectionResult { r#return: Some(true) }))
}

/// DeleteVpcPeeringConnection.
pub fn delete_vpc_peering_connection(
    snap: &Snapshot,
    req: &DeleteVpcPeeringConnectionRequest,
    env: &Env,
) -> Result<Change<DeleteVpcPeeringConnectionResult>, Refusal> {
    only(req, &["VpcPeeringConnectionId"])?;
    let peering = find::peering(snap, required(&req.vpc_peering_connection_id, "vpcPeeringConnectionId")?)?;
    if !peering.is_live() {
        return Err(wrong_state(peering, "deleted"));
    }
    let mut draft = Draft::of(snap);
    draft.put(in_state(peering, PeeringState::Deleted, env.now));
    Ok(draft.change(DeleteVpcPeeringConnectionResult { r#return: Some(true) }))
}

/// ModifyVpcPeeringConnectionOptions: refused, because a name of a peer is never resolved to a private address.
pub fn modify_vpc_peering_connection_options(
    snap: &Snapshot,
    req: &ModifyVpcPeeringConnectionOptionsRequest,
    _env: &Env,
) -> Result<ModifyVpcPeeringConnectionOptionsResult, Refusal> {
    find::peering(snap, required(&req.vpc_peering_connection_id, "vpcPeeringConnectionId")?)?;
    Err(unsupported("Options of VPC peering connections are not supported."))
}

/// DescribeVpcPeeringConnections.
pub fn describe_vpc_peering_connections(
    snap: &Snapshot,
    req: &DescribeVpcPeeringConnectionsRequest,
    env: &Env,
) -> Result<DescribeVpcPeeringConnectionsResult, Refusal> {
    only(req, &["VpcPeeringConnectionIds", "Filters", "MaxResults", "NextToken"])?;
    let selection = Selection {
        operation: "DescribeVpcPeeringConnections",
        ids_parameter: "vpcPeeringConnectionIds",
        ids: &req.vpc_peering_connection_ids,
        filters: &req.filters,
        max_results: req.max_results,
        next_token: &req.next_token,
    };
    let peerings = selection.records(&snap.vpc().peerings, |id| find::peering(snap, id))?;
    let answers = peerings.into_iter().map(|peering| (peering.id.to_string(), show(snap, peering, env)));
    let page = selection.page(&FILTERS, answers)?;
    Ok(DescribeVpcPeeringConnectionsResult { vpc_peering_connections: Some(page.items), next_token: page.next_token })
}

/// Ends requests that were not accepted in time, and removes peerings that ended long ago.
pub(super) fn expire(
    snap: &Snapshot,
    unaccepted: &OrdSet<(TimestampMs, PeeringId)>,
    ended: &OrdSet<(TimestampMs, PeeringId)>,
    env: &Env,
) -> Change<()> {
    let mut draft = Draft::of(snap);
    let index = snap.vpc().index();
    for entry in unaccepted.iter().filter(|entry| index.pending_peerings.contains(*entry)) {
        if let Some(peering) = snap.vpc().peerings.get(&entry.1) {
            draft.put(in_state(peering, PeeringState::Expired, env.now));
        }
    }
    for entry in ended.iter().filter(|entry| index.ended_peerings.contains(*entry)) {
        draft.delete(RecordKey::Peering(entry.1.clone()));
    }
    draft.change(())
}

/// The active peering of two VPCs.
pub(super) fn between<'a>(snap: &'a Snapshot, one: &VpcId, other: &VpcId) -> Option<&'a PeeringId> {
    let first = (one.clone(), other.clone(), PeeringId::from_bits(0));
    let (from, to, id) = snap.vpc().index().active_peerings.range(first..).next()?;
    (from == one && to == other).then_some(id)
}

/// The peering of two VPCs that was asked for last, whatever its state.
pub(super) fn last_between<'a>(snap: &'a Snapshot, one: &VpcId, other: &VpcId) -> Option<&'a Peering> {
    let both = snap.vpc().peerings.values().filter(|peering| peering.peer_of(one) == Some(other));
    both.max_by_key(|peering| (peering.is_live(), peering.requested_at)).map(AsRef::as_ref)
}

/// AWS's code of a peering's state.
pub(super) fn state_code(peering: &Peering) -> &'static str {
    words(peering).0
}

/// True if a live peering has a part in the VPC.
pub(super) fn has_live(snap: &Snapshot, vpc: &VpcId) -> bool {
    snap.vpc().peerings.values().any(|peering| peering.is_live() && peering.peer_of(vpc).is_some())
}

fn overlap(one: &Vpc, other: &Vpc) -> bool {
    one.cidrs().any(|mine| other.cidrs().any(|theirs| mine.overlaps(theirs)))
}

fn in_state(peering: &Peering, state: PeeringState, now: TimestampMs) -> Peering {
    let ended_at = match state {
        PeeringState::PendingAcceptance | PeeringState::Active => None,
        PeeringState::Deleted | PeeringState::Rejected | PeeringState::Failed | PeeringState::Expired => Some(now),
    };
    Peering { state, ended_at, ..peering.clone() }
}

fn wrong_state(peering: &Peering, to: &str) -> Refusal {
    let (from, _) = words(peering);
    let words = format!("Invalid state transition for {}, attempted to transition from {from} to {to}", peering.id);
    Refusal::new(Code::InvalidStateTransition, words)
}

/// AWS's code of the state, and its message.
fn words(peering: &Peering) -> (&'static str, String) {
    match peering.state {
        PeeringState::PendingAcceptance => {
            ("pending-acceptance", format!("Pending Acceptance by {}", peering.accepter.owner))
        }
        PeeringState::Active => ("active", "Active".to_owned()),
        PeeringState::Deleted => ("deleted", format!("Deleted by {}", peering.requester.owner)),
        PeeringState::Rejected => ("rejected", format!("Rejected by {}", peering.accepter.owner)),
        PeeringState::Failed => {
            ("failed", "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range".to_owned())
        }
        PeeringState::Expired => ("expired", "Expired".to_owned()),
    }
}

static FILTERS: Filters<ec2::VpcPeeringConnection> = Filters {
    rows: &[
        (&["vpc-peering-connection-id"], |it| text(&it.vpc_peering_connection_id)),
        (&["status-code"], |it| it.status.iter().filter_map(|status| status.code.clone()).collect()),
        (&["status-message"], |it| it.status.iter().filter_map(|status| status.message.clone()).collect()),
        (&["expiration-time"], |it| shown(&it.expiration_time.map(|at| at.0))),
        (&["requester-vpc-info.vpc-id"], |it| of(&it.requester_vpc_info, |vpc| text(&vpc.vpc_id))),
        (&["requester-vpc-info.owner-id"], |it| of(&it.requester_vpc_info, |vpc| text(&vpc.owner_id))),
        (&["requester-vpc-info.cidr-block"], |it| of(&it.requester_vpc_info, cidrs)),
        (&["accepter-vpc-info.vpc-id"], |it| of(&it.accepter_vpc_info, |vpc| text(&vpc.vpc_id))),
        (&["accepter-vpc-info.owner-id"], |it| of(&it.accepter_vpc_info, |vpc| text(&vpc.owner_id))),
        (&["accepter-vpc-info.cidr-block"], |it| of(&it.accepter_vpc_info, cidrs)),
    ],
    tags: Some(|it| &it.tags),
};

fn of(
    end: &Option<VpcPeeringConnectionVpcInfo>,
    values: fn(&VpcPeeringConnectionVpcInfo) -> Vec<String>,
) -> Vec<String> {
    end.iter().flat_map(values).collect()
}

fn cidrs(end: &VpcPeeringConnectionVpcInfo) -> Vec<String> {
    each(&end.cidr_block_set, |block| &block.cidr_block)
}

fn show(snap: &Snapshot, peering: &Peering, env: &Env) -> ec2::VpcPeeringConnection {
    let (code, message) = words(peering);
    let expires_at = i64::try_from(REQUESTS_KEPT_MS).map(|kept| Timestamp(peering.requested_at.0 + kept));
    ec2::VpcPeeringConnection {
        accepter_vpc_info: Some(show_end(snap, &peering.accepter, env)),
        expiration_time: expires_at.ok().filter(|_| peering.state == PeeringState::PendingAcceptance),
        requester_vpc_info: Some(show_end(snap, &peering.requester, env)),
        status: Some(VpcPeeringConnectionStateReason { code: Some(code.to_owned()), message: Some(message) }),
        tags: tags::show(&peering.tags),
        vpc_peering_connection_id: Some(peering.id.to_string()),
        ..Default::default()
    }
}

fn show_end(snap: &Snapshot, end: &PeeringEnd, env: &Env) -> VpcPeeringConnectionVpcInfo {
    let present = snap.vpc().vpcs.get(&end.vpc).map(|vpc| vpc.cidrs().collect::<Vec<Ipv4Cidr>>());
    let cidrs = present.unwrap_or_else(|| end.cidrs.clone());
    let block = |cidr: &Ipv4Cidr| ec2::CidrBlock { cidr_block: Some(cidr.to_string()) };
    VpcPeeringConnectionVpcInfo {
        cidr_block: cidrs.first().map(ToString::to_string),
        cidr_block_set: Some(cidrs.iter().map(block).collect()),
        owner_id: Some(end.owner.clone()),
        region: Some(env.region.clone()),
        vpc_id: Some(end.vpc.to_string()),
        ..Default::default()
    }
}
