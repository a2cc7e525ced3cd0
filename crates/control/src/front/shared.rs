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
