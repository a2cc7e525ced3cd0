//! The only place of the server that asks the clock and the random generator, and makes each rule's `Env` of them.

use std::time::{SystemTime, UNIX_EPOCH};

use berth_domain::Env;
use berth_types::{TimestampMs, ids::uuid_text};

/// Who acts when no caller does: reconcilers and reports of hosts.
const SERVICE: &str = "ecs.amazonaws.com";

/// Where this server is, for `Env`.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) region: String,
    pub(crate) account: String,
}

impl Place {
    /// An environment for a rule asked for by `caller` (an ARN).
    pub(crate) fn env(&self, caller: &str) -> Env {
        Env::new(now(), &self.region, &self.account, caller, rand::random())
    }

    /// An environment for a rule nobody asked for.
    pub(crate) fn service_env(&self) -> Env {
        self.env(SERVICE)
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
