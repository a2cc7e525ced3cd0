// SPDX-License-Identifier: Apache-2.0
//! Whether containerd answers. The only thing Berth asks at intervals: a process that is stopped or stuck sends no event,
//! and its sockets stay open (ADR 28).

use std::path::Path;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::Fault;
use crate::containerd::Containerd;

/// Questions in a row without an answer after which containerd counts as stuck.
const MISSES_MAX: u32 = 3;

/// Returns when containerd has left as many questions in a row unanswered; answers what became of the last one.
pub(super) async fn lost(socket: &Path, interval: Duration) -> Fault {
    let mut beats = tokio::time::interval(interval);
    // A node that was stopped itself does not ask everything it has missed.
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut misses = 0;
    loop {
        beats.tick().await;
        // By a connection of its own: it shows that containerd takes one.
        match Containerd::at(socket).version_within(interval).await {
            Ok(_) => misses = 0,
            Err(fault) => {
                misses += 1;
                tracing::warn!(%fault, misses, "containerd misses a heartbeat");
                if misses == MISSES_MAX {
                    return fault;
                }
            }
        }
    }
}
