// SPDX-License-Identifier: Apache-2.0
//! Records of IAM and STS: access keys and their owners.

mod kinds;
mod record;

pub use kinds::{Record, RecordKey, Records};
pub use record::{AccessKey, AccessKeyId};
