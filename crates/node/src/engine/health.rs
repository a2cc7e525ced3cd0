// SPDX-License-Identifier: Apache-2.0
//! What the runs of a health check say of a container: enough failures in a row make it unhealthy. Pure; `probe` runs
//! the checks.

use berth_types::TimestampMs;
use berth_types::container::HealthCheck;
use berth_types::report::HealthStatus;
use serde::{Deserialize, Serialize};

/// The health of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// As AWS shows it.
    pub status: HealthStatus,
    /// The time of the last change of the status.
    pub since: TimestampMs,
    /// Failed runs in a row.
    pub failures: u32,
    /// Of the last run.
    pub exit_code: Option<i32>,
    /// Of the last run.
    pub output: String,
}

/// One run of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Exit code; 0 is healthy.
    pub exit_code: i32,
    /// Output of the command.
    pub output: String,
    /// When it ended.
    pub at: TimestampMs,
}

impl Health {
    /// Before the first run.
    pub fn unknown(at: TimestampMs) -> Self {
        Self { status: HealthStatus::Unknown, since: at, failures: 0, exit_code: None, output: String::new() }
    }

    /// After a run. Failures in the time a container takes to start do not count until it was healthy once.
    pub fn after(&self, check: &HealthCheck, probe: &Probe, started_at: TimestampMs) -> Self {
        let age_ms = probe.at.0 - started_at.0;
        let is_starting =
            self.status == HealthStatus::Unknown && age_ms < i64::from(check.start_period_s.unwrap_or(0)) * 1000;
        let failures = match probe.exit_code {
            0 => 0,
            _ if is_starting => self.failures,
            _ => self.failures.saturating_add(1),
        };
        let status = match probe.exit_code {
            0 => HealthStatus::Healthy,
            _ if failures >= check.retries => HealthStatus::Unhealthy,
            _ => self.status,
        };
        let since = if status == self.status { self.since } else { probe.at };
        Self { status, since, failures, exit_code: Some(probe.exit_code), output: probe.output.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn check(retries: u32, start_period_s: Option<u32>) -> HealthCheck {
        let command = vec!["CMD-SHELL".to_owned(), "true".to_owned()];
        HealthCheck { command, interval_s: 5, timeout_s: 2, retries, start_period_s }
    }

    /// The status after each run; the runs are at second 1, 2, 3 ...
    fn life(check: &HealthCheck, codes: &[i32]) -> String {
        let mut health = Health::unknown(TimestampMs(0));
        let mut seen = Vec::new();
        for (second, code) in (1i64..).zip(codes) {
            let probe = Probe { exit_code: *code, output: String::new(), at: TimestampMs(second * 1000) };
            health = health.after(check, &probe, TimestampMs(0));
            seen.push(format!("{}@{}", health.status.as_str(), health.since.0 / 1000));
        }
        seen.join(" ")
    }

    #[test]
    fn failures_in_a_row_make_a_container_unhealthy_and_one_success_heals_it() {
        expect!["HEALTHY@1 HEALTHY@1 HEALTHY@1 HEALTHY@1 UNHEALTHY@5 HEALTHY@6"]
            .assert_eq(&life(&check(2, None), &[0, 1, 0, 1, 1, 0]));
        expect!["UNKNOWN@0 UNHEALTHY@2 UNHEALTHY@2 HEALTHY@4"].assert_eq(&life(&check(2, None), &[1, 1, 1, 0]));
    }

    #[test]
    fn failures_while_starting_do_not_count() {
        expect!["UNKNOWN@0 UNKNOWN@0 UNHEALTHY@3"].assert_eq(&life(&check(1, Some(3)), &[1, 1, 1]));
        expect!["HEALTHY@1 UNHEALTHY@2"].assert_eq(&life(&check(1, Some(60)), &[0, 1]));
    }
}
