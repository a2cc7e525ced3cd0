//! The front door: the AWS API over HTTP.
//!
//! * `serve`: connections and their limits.
//! * `answer`: one request: route, authenticate, dispatch, encode.
//! * `dispatch`: the table from operation to rule.
//! * `own`: the endpoints that are not AWS's: health and metrics.

mod answer;
mod authenticate;
mod dispatch;
mod own;
mod serve;

use std::sync::Arc;

pub(crate) use serve::serve;

use crate::clock::Place;
use crate::commit::Committer;
use crate::link::Hosts;
use crate::metrics::Metrics;
use crate::publish::Published;
use crate::throttle::Throttle;

/// What answering a request needs.
pub(crate) struct Front {
    pub(crate) instance: String,
    pub(crate) place: Place,
    pub(crate) trust_any_key: bool,
    pub(crate) published: Published,
    pub(crate) committer: Committer,
    pub(crate) throttle: Throttle,
    pub(crate) metrics: Metrics,
    pub(crate) hosts: Arc<Hosts>,
}
