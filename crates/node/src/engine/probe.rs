// SPDX-License-Identifier: Apache-2.0
//! The commands of health checks: which one a check means, and its runs in the container at an interval.

use std::sync::Arc;
use std::time::Duration;

use berth_types::container::HealthCheck;
use berth_types::intent::LaunchType;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::event::Event;
use super::health::Probe;
use super::host::NodeHost;
use crate::containerd::Ran;
use crate::{SpecFault, clock};

/// The shell of a `CMD-SHELL` check if the image names none.
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Exit code of a check that could not be run, or took too long.
const NO_EXIT_CODE: i32 = -1;

/// The command line of a check; `None` for a check that never runs.
///
/// The first word says what the others are. Where it is another word than Docker knows, Docker runs nothing and Fargate
/// runs all the words as a program with its arguments. Words after the line of `CMD-SHELL` are arguments of the shell,
/// not of the line: `["CMD-SHELL", "curl", "-f", "URL"]` runs `curl` alone.
pub(super) fn command(check: &HealthCheck, launch_type: LaunchType, shell: Option<&[String]>) -> Option<Vec<String>> {
    let (kind, rest) = check.command.split_first()?;
    match (kind.as_str(), launch_type) {
        ("CMD", _) => Some(rest.to_vec()),
        ("CMD-SHELL", _) => {
            let shell = shell.map_or_else(|| DEFAULT_SHELL.map(str::to_owned).to_vec(), <[String]>::to_vec);
            Some([&shell, rest].concat())
        }
        ("NONE", _) | (_, LaunchType::Ec2) => None,
        (_, LaunchType::Fargate) => Some(check.command.clone()),
    }
}

/// Runs the command line of a check again and again, until it is cancelled.
pub(super) async fn watch(
    host: Arc<NodeHost>,
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

async fn run(host: &NodeHost, runtime_id: &str, check: &HealthCheck) -> Probe {
    let limit = Duration::from_secs(check.timeout_s.into());
    let ran = match check.command.is_empty() {
        true => Err(SpecFault::NoExecCommand.into()),
        false => host.containerd.exec(runtime_id, check.command.clone(), &host.config.exec_dir(), limit).await,
    };
    let (exit_code, output) = match ran {
        Ok(Ran { code: Some(code), output }) => (code, String::from_utf8_lossy(&output).into_owned()),
        Ok(Ran { code: None, .. }) => (NO_EXIT_CODE, format!("Health check exceeded timeout ({}s)", limit.as_secs())),
        Err(fault) => (NO_EXIT_CODE, fault.to_string()),
    };
    Probe { exit_code, output, at: clock::now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_a_check_says_what_runs_on_each_launch_type() {
        let line = |words: &str, launch_type, shell: Option<&[String]>| {
            let command = words.split(' ').map(str::to_owned).collect();
            let ran = super::command(
                &HealthCheck { command, interval_s: 5, timeout_s: 2, retries: 1, start_period_s: None },
                launch_type,
                shell,
            );
            ran.map_or("nothing".to_owned(), |words| words.join(" "))
        };
        let bash = ["/bin/bash".to_owned(), "-ec".to_owned()];
        let cases = [
            ("CMD-SHELL true", "/bin/sh -c true", "/bin/sh -c true"),
            ("CMD-SHELL curl -f URL || exit 1", "/bin/sh -c curl -f URL || exit 1", "/bin/sh -c curl -f URL || exit 1"),
            ("CMD curl -f URL", "curl -f URL", "curl -f URL"),
            ("CMD", "", ""),
            ("NONE", "nothing", "nothing"),
            ("/healthcheck", "nothing", "/healthcheck"),
            ("curl -f URL", "nothing", "curl -f URL"),
            ("cmd true", "nothing", "cmd true"),
        ];
        for (words, on_ec2, on_fargate) in cases {
            assert_eq!(line(words, LaunchType::Ec2, None), on_ec2, "{words}");
            assert_eq!(line(words, LaunchType::Fargate, None), on_fargate, "{words}");
        }
        assert_eq!(line("CMD-SHELL true", LaunchType::Ec2, Some(&bash)), "/bin/bash -ec true");
        assert_eq!(line("CMD true", LaunchType::Ec2, Some(&bash)), "true");
    }
}
