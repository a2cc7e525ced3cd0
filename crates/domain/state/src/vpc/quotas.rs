// SPDX-License-Identifier: Apache-2.0
//! Record of the quotas that differ from those with which AWS begins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::index::Index;
use crate::records::{Single, Stored};

/// The quotas with which the server was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quotas {
    /// Values by the name of the quota.
    pub values: BTreeMap<String, u32>,
}

impl Stored for Quotas {
    type Key = Single;
    type Index = Index;
    fn key(&self) -> Single {
        Single
    }
}
