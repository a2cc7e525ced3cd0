// SPDX-License-Identifier: Apache-2.0
//! Record of the operator's settings that change rules of AWS.

use serde::{Deserialize, Serialize};

use super::index::Index;
use crate::records::{Single, Stored};

/// The settings with which the server was started; without a record the rules are AWS's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Tasks of launch type EC2 may have a public address (`assignPublicIp`).
    pub ec2_task_public_ip: bool,
}

impl Stored for Settings {
    type Key = Single;
    type Index = Index;
    fn key(&self) -> Single {
        Single
    }
}
