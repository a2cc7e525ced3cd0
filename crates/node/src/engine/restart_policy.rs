// SPDX-License-Identifier: Apache-2.0
//! Whether a container whose program ended is started again. Pure.

use berth_types::TimestampMs;
use berth_types::container::RestartPolicy;

use crate::containerd::Exit;

/// Whether a container whose program ended is started again.
pub(super) fn restarts(policy: Option<&RestartPolicy>, exit: Exit, started_at: Option<TimestampMs>) -> bool {
    let Some(policy) = policy.filter(|policy| policy.enabled) else { return false };
    let is_ignored = policy.ignored_exit_codes.iter().flatten().any(|code| *code == exit.code);
    let ran_ms = exit.at.0 - started_at.unwrap_or(exit.at).0;
    !is_ignored && ran_ms >= i64::from(policy.attempt_period_s) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_started_again_unless_its_code_is_ignored_or_it_ran_too_short() {
        let policy = RestartPolicy { enabled: true, ignored_exit_codes: Some(vec![0]), attempt_period_s: 60 };
        let exit = |code, at| Exit { code, at: TimestampMs(at) };
        let started = Some(TimestampMs(0));
        assert!(restarts(Some(&policy), exit(1, 60_000), started));
        assert!(!restarts(Some(&policy), exit(1, 59_999), started));
        assert!(!restarts(Some(&policy), exit(0, 60_000), started));
        assert!(!restarts(None, exit(1, 60_000), started));
        let disabled = RestartPolicy { enabled: false, ..policy };
        assert!(!restarts(Some(&disabled), exit(1, 60_000), started));
    }
}
