// SPDX-License-Identifier: Apache-2.0
//! The state that all requests share.

use std::sync::Arc;

use super::budget::Budget;
use super::connections::Connections;
use crate::clock::Locality;
use crate::commit::Committer;
use crate::config::Limits;
use crate::link::Hosts;
use crate::metrics::Metrics;
use crate::publish::Published;
use crate::throttle::Throttle;

/// Shared state for answering a request.
pub(crate) struct Front {
    pub(crate) instance: String,
    pub(crate) locality: Locality,
    pub(crate) trust_any_key: bool,
    pub(crate) published: Published,
    pub(crate) committer: Committer,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) limits: Limits,
    /// Connections of the AWS API.
    pub(crate) connections: Arc<Connections>,
    /// Bytes of callers of the AWS API that are not verified yet.
    pub(crate) unverified: Arc<Budget>,
}

impl Front {
    /// The same for callers from inside VPCs: with limits of their own, and no key is trusted without verification.
    pub(crate) fn for_callers_inside(&self, limits: Limits) -> Self {
        Self {
            instance: self.instance.clone(),
            locality: self.locality.clone(),
            trust_any_key: false,
            published: self.published.clone(),
            committer: self.committer.clone(),
            throttle: self.throttle.clone(),
            metrics: self.metrics.clone(),
            hosts: self.hosts.clone(),
            limits,
            connections: Connections::new(limits),
            unverified: Budget::new(&limits),
        }
    }
}
