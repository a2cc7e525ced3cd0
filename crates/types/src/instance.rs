// SPDX-License-Identifier: Apache-2.0
//! Hosts as EC2 instances.

use serde::{Deserialize, Serialize};

use crate::{SecurityGroupId, SubnetId};

/// A host's wishes for its primary interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceInterface {
    /// Its subnet: the first of these in the host's zone. When empty the present one, at first the zone's default subnet.
    #[serde(default)]
    pub subnets: Vec<SubnetId>,
    /// Its security groups; the present ones when empty, at first the default group of the VPC.
    #[serde(default)]
    pub security_groups: Vec<SecurityGroupId>,
}
