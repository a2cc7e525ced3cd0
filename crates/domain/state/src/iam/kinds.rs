// SPDX-License-Identifier: Apache-2.0
//! The kinds of records of IAM and STS, with their names in the store.

use super::record::{AccessKey, AccessKeyId};
use crate::records::{NoIndex, as_stored, records};

records! { indexed by NoIndex, lifted by as_stored;
    /// Access keys and their owners.
    access_keys: AccessKeyId => AccessKey = "access-key" v 1;
}
