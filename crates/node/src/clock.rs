// SPDX-License-Identifier: Apache-2.0
//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use berth_types::TimestampMs;

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The present.
pub(crate) fn now() -> TimestampMs {
    TimestampMs(now_ms())
}
