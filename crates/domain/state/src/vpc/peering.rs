// SPDX-License-Identifier: Apache-2.0
//! Record of a peering of two VPCs of this region and account.

use std::ops::Bound;

use berth_types::{Ipv4Cidr, PeeringId, TimestampMs, VpcId};
use serde::{Deserialize, Serialize};

use super::index::Index;
use crate::Tags;
use crate::records::Stored;

/// A peering of two VPCs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peering {
    /// Id.
    pub id: PeeringId,
    /// The VPC whose owner asked for it.
    pub requester: PeeringEnd,
    /// The VPC whose owner accepts it.
    pub accepter: PeeringEnd,
    /// State.
    pub state: PeeringState,
    /// Time of the request.
    pub requested_at: TimestampMs,
    /// Time from which it is in a state that it does not leave.
    pub ended_at: Option<TimestampMs>,
    /// Tags.
    pub tags: Tags,
}

/// One of the two VPCs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeeringEnd {
    /// Its id.
    pub vpc: VpcId,
    /// Its ranges at the time of the request; of a VPC that exists the present ones are shown.
    pub cidrs: Vec<Ipv4Cidr>,
    /// Its account.
    pub owner: String,
}

/// State of a peering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeeringState {
    /// Nobody has accepted it yet.
    PendingAcceptance,
    /// Routes lead through it.
    Active,
    /// Deleted by one of the owners.
    Deleted,
    /// The accepter does not want it.
    Rejected,
    /// It is impossible.
    Failed,
    /// It was not accepted in time.
    Expired,
}

impl Peering {
    /// True if routes lead through it.
    pub fn is_active(&self) -> bool {
        self.state == PeeringState::Active
    }

    /// True if it is active or can still become so.
    pub fn is_live(&self) -> bool {
        match self.state {
            PeeringState::PendingAcceptance | PeeringState::Active => true,
            PeeringState::Deleted | PeeringState::Rejected | PeeringState::Failed | PeeringState::Expired => false,
        }
    }

    /// The other VPC; `None` for a VPC that has no part in it.
    pub fn peer_of(&self, vpc: &VpcId) -> Option<&VpcId> {
        match (self.requester.vpc == *vpc, self.accepter.vpc == *vpc) {
            (true, _) => Some(&self.accepter.vpc),
            (false, true) => Some(&self.requester.vpc),
            (false, false) => None,
        }
    }
}

impl Index {
    /// The VPCs that a VPC has an active peering with.
    pub fn peers_of<'a>(&'a self, vpc: &VpcId) -> impl Iterator<Item = &'a VpcId> + use<'a> {
        let vpc = vpc.clone();
        let from = (vpc.clone(), VpcId::from_bits(0), PeeringId::from_bits(0));
        let mine = self.active_peerings.range((Bound::Included(from), Bound::Unbounded));
        mine.take_while(move |(of, ..)| *of == vpc).map(|(_, peer, _)| peer)
    }
}

impl Stored for Peering {
    type Key = PeeringId;
    type Index = Index;
    fn key(&self) -> PeeringId {
        self.id.clone()
    }
    fn index(&self, index: &mut Index) {
        let (one, other) = (&self.requester.vpc, &self.accepter.vpc);
        if self.is_active() {
            index.active_peerings.insert((one.clone(), other.clone(), self.id.clone()));
            index.active_peerings.insert((other.clone(), one.clone(), self.id.clone()));
        }
        if self.state == PeeringState::PendingAcceptance {
            index.pending_peerings.insert((self.requested_at, self.id.clone()));
        }
        if let Some(ended_at) = self.ended_at {
            index.ended_peerings.insert((ended_at, self.id.clone()));
        }
    }
    fn unindex(&self, index: &mut Index) {
        let (one, other) = (&self.requester.vpc, &self.accepter.vpc);
        index.active_peerings.remove(&(one.clone(), other.clone(), self.id.clone()));
        index.active_peerings.remove(&(other.clone(), one.clone(), self.id.clone()));
        index.pending_peerings.remove(&(self.requested_at, self.id.clone()));
        if let Some(ended_at) = self.ended_at {
            index.ended_peerings.remove(&(ended_at, self.id.clone()));
        }
    }
}
