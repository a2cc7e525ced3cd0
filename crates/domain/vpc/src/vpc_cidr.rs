// SPDX-License-Identifier: Apache-2.0
//! Further ranges of a VPC.
//!
//! The first range, the primary one, stays as long as its VPC. The ranges of a VPC do not overlap, and AWS forbids some
//! combinations of private ranges.

use berth_shapes::Ec2ErrorCode as Code;
use berth_shapes::ec2::{
    AssociateVpcCidrBlockRequest, AssociateVpcCidrBlockResult, DisassociateVpcCidrBlockRequest,
    DisassociateVpcCidrBlockResult,
};
use berth_state::vpc::Vpc;
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::{Ipv4Cidr, VpcCidrAssociationId};

use super::find::{self, Ec2Id};
use super::quota::Quota;
use super::request::{only, required};
use super::vpc::{show_association, vpc_cidr};

/// Private ranges that exclude each other in one VPC.
const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.19.0.0/16"];

/// A VPC whose primary range is in the first cannot have one in the second.
const APART: (&str, &str) = ("10.0.0.0/15", "10.0.0.0/16");

/// AssociateVpcCidrBlock.
pub fn associate_vpc_cidr_block(
    snap: &Snapshot,
    req: &AssociateVpcCidrBlockRequest,
    env: &Env,
) -> Result<Change<AssociateVpcCidrBlockResult>, Refusal> {
    only(req, &["VpcId", "CidrBlock"])?;
    let mut vpc = find::vpc(snap, required(&req.vpc_id, "vpcId")?)?.as_ref().clone();
    let text = required(&req.cidr_block, "cidrBlock")?;
    let cidr = vpc_cidr(text)?;
    if is_restricted(vpc.cidr, cidr) {
        let words = format!(
            "The CIDR '{text}' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or \
             use a publicly-routable CIDR. For additional restrictions, see \
             https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html"
        );
        return Err(Refusal::new(Code::InvalidVpcRange, words));
    }
    if vpc.cidrs().any(|held| held.overlaps(cidr)) {
        let words = format!("The CIDR '{text}' conflicts with another CIDR block of the network '{}'", vpc.id);
        return Err(Refusal::new(Code::CidrConflict, words));
    }
    if is_at_peer(snap, &vpc, cidr) {
        let words = format!("The CIDR '{text}' conflicts with a peer of the network '{}'", vpc.id);
        return Err(Refusal::new(Code::CidrConflict, words));
    }
    if is_routed(snap, &vpc, cidr) {
        let words = format!("The CIDR '{text}' conflicts with a route of the network '{}'", vpc.id);
        return Err(Refusal::new(Code::CidrConflict, words));
    }
    let cidrs_max = Quota::CidrsPerVpc.value(snap);
    if Quota::CidrsPerVpc.is_reached(snap, vpc.cidrs().count()) {
        let words = format!("This network '{}' has met its maximum number of allowed CIDRs: {cidrs_max}", vpc.id);
        return Err(Refusal::new(Code::CidrLimitExceeded, words));
    }
    let id = VpcCidrAssociationId::from_bits(env.fresh_bits());
    let answer = AssociateVpcCidrBlockResult {
        cidr_block_association: Some(show_association(&id, cidr, "associating")),
        vpc_id: Some(vpc.id.to_string()),
        ..Default::default()
    };
    vpc.secondary_cidrs.insert(id, cidr);
    let mut draft = Draft::of(snap);
    draft.put(vpc);
    Ok(draft.change(answer))
}

/// DisassociateVpcCidrBlock: not the primary range, and not while a subnet is in it.
pub fn disassociate_vpc_cidr_block(
    snap: &Snapshot,
    req: &DisassociateVpcCidrBlockRequest,
    _env: &Env,
) -> Result<Change<DisassociateVpcCidrBlockResult>, Refusal> {
    only(req, &["AssociationId"])?;
    let text = required(&req.association_id, "associationId")?;
    let id: VpcCidrAssociationId = find::id(text)?;
    let has = |vpc: &&std::sync::Arc<Vpc>| vpc.cidr_association == id || vpc.secondary_cidrs.contains_key(&id);
    let vpc = snap.vpc().vpcs.values().find(has).ok_or_else(|| VpcCidrAssociationId::not_found(text))?;
    let Some(cidr) = vpc.secondary_cidrs.get(&id).copied() else {
        let words = format!(
            "The vpc CIDR block with association ID {id} may not be disassociated. It is the primary IPv4 CIDR block of \
             the VPC"
        );
        return Err(Refusal::new(Code::OperationNotPermitted, words));
    };
    if snap.vpc().subnets_of(&vpc.id).any(|subnet| cidr.covers(subnet.cidr)) {
        let words = format!("The vpc {} currently has a subnet within CIDR block {cidr}", vpc.id);
        return Err(Refusal::new(Code::InvalidCidrBlockInUse, words));
    }
    let mut vpc = vpc.as_ref().clone();
    vpc.secondary_cidrs.remove(&id);
    let answer = DisassociateVpcCidrBlockResult {
        cidr_block_association: Some(show_association(&id, cidr, "disassociating")),
        vpc_id: Some(vpc.id.to_string()),
        ..Default::default()
    };
    let mut draft = Draft::of(snap);
    draft.put(vpc);
    Ok(draft.change(answer))
}

/// True if AWS forbids the range in a VPC with this primary range.
fn is_restricted(primary: Ipv4Cidr, added: Ipv4Cidr) -> bool {
    let is_within = |cidr: Ipv4Cidr, range: &str| range.parse().is_ok_and(|range: Ipv4Cidr| range.overlaps(cidr));
    let kind = |cidr| PRIVATE.iter().position(|range| is_within(cidr, range));
    let is_other = kind(added).is_some_and(|added| kind(primary) != Some(added));
    is_other || (is_within(primary, APART.0) && is_within(added, APART.1))
}

/// True if the range overlaps one of a peer.
fn is_at_peer(snap: &Snapshot, vpc: &Vpc, cidr: Ipv4Cidr) -> bool {
    let peers = snap.vpc().index().peers_of(&vpc.id).filter_map(|peer| snap.vpc().vpcs.get(peer));
    peers.into_iter().any(|peer| peer.cidrs().any(|theirs| theirs.overlaps(cidr)))
}

/// True if a route of the VPC leads all of the range, or a part as large, elsewhere.
fn is_routed(snap: &Snapshot, vpc: &Vpc, cidr: Ipv4Cidr) -> bool {
    snap.vpc().route_tables_of(&vpc.id).any(|table| table.routes.keys().any(|routed| cidr.covers(*routed)))
}
