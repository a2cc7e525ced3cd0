// SPDX-License-Identifier: Apache-2.0
//! What time does to records of EC2: requests for a peering expire, and peerings and NAT gateways that ended are removed.

use berth_state::deadlines::Deadlines;
use berth_state::{Change, Draft, Env, Snapshot};
use berth_types::{NatGatewayId, PeeringId, TimestampMs};
use imbl::OrdSet;

use super::{nat_gateway, peering};

/// The deadlines of records of EC2.
#[derive(Clone, Debug)]
pub struct Ages {
    requests: Deadlines<(TimestampMs, PeeringId)>,
    peerings: Deadlines<(TimestampMs, PeeringId)>,
    nat_gateways: Deadlines<(TimestampMs, NatGatewayId)>,
}

/// Records whose deadline has passed.
#[derive(Clone, Debug, Default)]
pub struct Expired {
    requests: OrdSet<(TimestampMs, PeeringId)>,
    peerings: OrdSet<(TimestampMs, PeeringId)>,
    nat_gateways: OrdSet<(TimestampMs, NatGatewayId)>,
}

impl Expired {
    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.peerings.is_empty() && self.nat_gateways.is_empty()
    }
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            requests: Deadlines::new(peering::REQUESTS_KEPT_MS),
            peerings: Deadlines::new(peering::ENDED_KEPT_MS),
            nat_gateways: Deadlines::new(nat_gateway::ENDED_KEPT_MS),
        }
    }
}

impl Ages {
    /// Takes in the records at a moment of the steady clock, and returns those whose deadline has passed. The cost is
    /// that of the records that changed since the last look.
    pub fn look(&mut self, snap: &Snapshot, steady_ms: u64) -> Expired {
        let index = snap.vpc().index();
        self.requests.look(&index.pending_peerings, steady_ms);
        self.peerings.look(&index.ended_peerings, steady_ms);
        self.nat_gateways.look(&index.ended_nat_gateways, steady_ms);
        Expired {
            requests: self.requests.expired().clone(),
            peerings: self.peerings.expired().clone(),
            nat_gateways: self.nat_gateways.expired().clone(),
        }
    }

    /// The earliest moment of the steady clock at which a further look returns more, if the records do not change.
    pub fn next_ms(&self) -> Option<u64> {
        [self.requests.next_ms(), self.peerings.next_ms(), self.nat_gateways.next_ms()].into_iter().flatten().min()
    }
}

/// Ends or removes the records whose deadline has passed.
pub fn expire(snap: &Snapshot, expired: &Expired, env: &Env) -> Change<()> {
    let mut draft = Draft::of(snap);
    draft.take(peering::expire(snap, &expired.requests, &expired.peerings, env));
    draft.take(nat_gateway::expire(snap, &expired.nat_gateways));
    draft.change(())
}
