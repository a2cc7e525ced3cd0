// SPDX-License-Identifier: Apache-2.0
//! The only module of the server that reads the clock and the random generator. It makes the `Env` of each rule.

use std::time::{SystemTime, UNIX_EPOCH};

use berth_state::{Caller, Env};
use berth_types::{TimestampMs, ids::uuid_text};

/// The identity of the server itself, for reconcilers and reports of hosts.
const SERVICE: &str = "ecs.amazonaws.com";

/// Region and account of this server, for `Env`.
#[derive(Clone, Debug)]
pub(crate) struct Locality {
    pub(crate) region: String,
    pub(crate) account: String,
}

impl Locality {
    /// The environment of a rule called by `caller`.
    pub(crate) fn env(&self, caller: Caller) -> Env {
        Env::new(now(), &self.region, &self.account, caller, rand::random())
    }

    /// The environment of a rule without a caller.
    pub(crate) fn service_env(&self) -> Env {
        self.env(Caller::service(SERVICE))
    }
}

/// The present time.
pub(crate) fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A fresh request id.
pub(crate) fn request_id() -> String {
    uuid_text(rand::random())
}
