//! Health checks: a command run in the container at an interval; enough failures in a row make it unhealthy.

use std::sync::Arc;
use std::time::Duration;

use berth_types::TimestampMs;
use berth_types::container::HealthCheck;
use berth_types::report::HealthStatus;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Host;
use super::actor::Event;
use crate::clock;

/// Longest output that is kept, as Docker does.
const OUTPUT_BYTES_MAX: usize = 4096;

/// Exit code of a check that could not be run, or took too long.
const NO_EXIT_CODE: i32 = -1;

/// What is known of a container's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// As AWS shows it.
    pub status: HealthStatus,
    /// Since when it is so.
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
    /// What the command wrote.
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

/// The command line of a check.
fn command(check: &HealthCheck) -> Vec<String> {
    match check.command.split_first() {
        Some((kind, line)) if kind == "CMD-SHELL" => {
            ["/bin/sh", "-c"].map(str::to_owned).into_iter().chain(line.iter().cloned()).collect()
        }
        Some((_, words)) => words.to_vec(),
        None => Vec::new(),
    }
}

/// Runs a check again and again, until it is cancelled.
pub(super) async fn watch(
    host: Arc<Host>,
    container: (usize, String),
    check: HealthCheck,
    events: mpsc::Sender<Event>,
    cancel: CancellationToken,
) {
    let (index, runtime_id) = container;
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(check.interval_s.into())) => {}
            () = cancel.cancelled() => return,
        }
        let probe = tokio::select! {
            probe = run(&host, &runtime_id, &check) => probe,
            () = cancel.cancelled() => return,
        };
        if events.send(Event::Health(index, probe)).await.is_err() {
            return;
        }
    }
}

async fn run(host: &Host, runtime_id: &str, check: &HealthCheck) -> Probe {
    let limit = Duration::from_secs(check.timeout_s.into());
    let dir = host.config.node_dir().join("health");
    let file = dir.join(runtime_id);
    if let Err(cause) = tokio::fs::create_dir_all(&dir).await {
        tracing::warn!(dir = %dir.display(), %cause, "no place for the output of health checks");
    }
    let ran = host.containerd.exec(runtime_id, command(check), &file, limit).await;
    let output = tokio::fs::read(&file).await.unwrap_or_default();
    tokio::fs::remove_file(&file).await.ok();
    let output = String::from_utf8_lossy(&output[..output.len().min(OUTPUT_BYTES_MAX)]).into_owned();
    let (exit_code, output) = match ran {
        Ok(Some(code)) => (code, output),
        Ok(None) => (NO_EXIT_CODE, format!("Health check exceeded timeout ({}s)", limit.as_secs())),
        Err(fault) => (NO_EXIT_CODE, fault.to_string()),
    };
    Probe { exit_code, output, at: clock::now() }
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

    #[test]
    fn the_shell_is_used_when_it_is_named() {
        assert_eq!(command(&check(1, None)), ["/bin/sh", "-c", "true"]);
        let plain = HealthCheck { command: vec!["CMD".to_owned(), "curl".to_owned()], ..check(1, None) };
        assert_eq!(command(&plain), ["curl"]);
    }
}
