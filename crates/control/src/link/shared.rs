// SPDX-License-Identifier: Apache-2.0
//! State shared by all connections of the link.

use std::sync::Arc;

use super::hosts::Hosts;
use crate::clock::Locality;
use crate::commit::Committer;
use crate::publish::Published;

/// Shared state for serving a connection.
pub(crate) struct Link {
    pub(crate) locality: Locality,
    /// Address of the AWS API, for the command line.
    pub(crate) endpoint: String,
    /// Address of the instance's own pages.
    pub(crate) admin_endpoint: String,
    pub(crate) published: Published,
    pub(crate) committer: Committer,
    pub(crate) hosts: Arc<Hosts>,
}
