// SPDX-License-Identifier: Apache-2.0
//! Stored record of an access key.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::records::{NoIndex, Stored};

/// An access key id, e.g. `AKIA...`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccessKeyId(pub String);

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An access key and its owner.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Id.
    pub id: AccessKeyId,
    /// Secret; never shown again, never logged.
    pub secret: String,
    /// ARN of the owner.
    pub owner_arn: String,
    /// UserId returned by GetCallerIdentity.
    pub owner_id: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).field("owner_arn", &self.owner_arn).finish_non_exhaustive()
    }
}

impl Stored for AccessKey {
    type Key = AccessKeyId;
    type Index = NoIndex;
    fn key(&self) -> AccessKeyId {
        self.id.clone()
    }
}
