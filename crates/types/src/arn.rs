// SPDX-License-Identifier: Apache-2.0
//! Amazon Resource Names: `arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE`.

use std::fmt;
use std::str::FromStr;

/// A parsed ARN. The resource part keeps its own separators (`task/CLUSTER/ID`, `subnet/subnet-1`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arn {
    /// e.g. `aws`.
    pub partition: String,
    /// e.g. `ecs`.
    pub service: String,
    /// e.g. `us-west-2`; empty for global services.
    pub region: String,
    /// Twelve digits; empty for some services.
    pub account: String,
    /// Everything after the fifth colon.
    pub resource: String,
}

/// The text is not an ARN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid ARN {0:?}")]
pub struct InvalidArn(pub String);

impl FromStr for Arn {
    type Err = InvalidArn;
    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().map(str::to_owned).ok_or_else(|| InvalidArn(text.to_owned()));
        if next()? != "arn" {
            return Err(InvalidArn(text.to_owned()));
        }
        Ok(Self { partition: next()?, service: next()?, region: next()?, account: next()?, resource: next()? })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:{}:{}:{}:{}", self.partition, self.service, self.region, self.account, self.resource)
    }
}
