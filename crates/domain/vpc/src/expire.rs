// SPDX-License-Identifier: Apache-2.0
//! What time does to records of EC2: requests for a peering expire, and peerings that ended are removed.

use berth_state::deadlines::Deadlines;
use berth_state::{Change, Env, Snapshot};
use berth_types::{PeeringId, TimestampMs};
use imbl::OrdSet;

use super::peering;

/// The deadlines of records of EC2.
#[derive(Clone, Debug)]
pub struct Ages {
    requests: Deadlines<(TimestampMs, PeeringId)>,
    peerings: Deadlines<(TimestampMs, PeeringId)>,
}

/// Records whose deadline has passed.
#[derive(Clone, Debug, Default)]
pub struct Expired {
    requests: OrdSet<(TimestampMs, PeeringId)>,
    peerings: OrdSet<(TimestampMs, PeeringId)>,
}

impl Expired {
    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.peerings.is_empty()
    }
}

impl Default for Ages {
    fn default() -> Self {
        Self { requests: Deadlines::new(peering::REQUESTS_KEPT_MS), peerings: Deadlines::new(peering::ENDED_KEPT_MS) }
    }
}

impl Ages {
    /// Takes in the records at a moment of the steady clock, and returns those whose deadline has passed. The cost is
    /// that of the records that changed since the last look.
    pub fn look(&mut self, snap: &Snapshot, steady_ms: u64) -> Expired {
        let index = snap.vpc().index();
        self.requests.look(&index.pending_peerings, steady_ms);
        self.peerings.look(&index.ended_peerings, steady_ms);
        Expired { requests: self.requests.expired().clone(), peerings: self.peerings.expired().clone() }
    }

    /// The earliest moment of the steady clock at which a further look returns more, if the records do not change.
    pub fn next_ms(&self) -> Option<u64> {
        [self.requests.next_ms(), self.peerings.next_ms()].into_iter().flatten().min()
    }
}

/// Ends or removes the records whose deadline has passed.
pub fn expire(snap: &Snapshot, expired: &Expired, env: &Env) -> Change<()> {
    peering::expire(snap, &expired.requests, &expired.peerings, env)
}
