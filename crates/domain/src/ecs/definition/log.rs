//! Log configurations. The output of containers is kept on their host whatever the driver is.

use berth_shapes::ecs::LogConfiguration as Asked;

use super::super::record::LogConfiguration;
use super::super::refuse::{client, not_yet};
use crate::Refusal;

/// Log drivers a container may name.
pub(in super::super) const DRIVERS: [&str; 8] =
    ["awsfirelens", "awslogs", "fluentd", "gelf", "journald", "json-file", "splunk", "syslog"];

/// Options the driver awslogs must have.
const AWSLOGS_REQUIRED: [&str; 2] = ["awslogs-group", "awslogs-region"];

/// Further options the driver awslogs may have.
const AWSLOGS_ALLOWED: [&str; 6] = [
    "awslogs-create-group",
    "awslogs-datetime-format",
    "awslogs-multiline-pattern",
    "awslogs-stream-prefix",
    "max-buffer-size",
    "mode",
];

/// Reads the log configuration of one container; `path` names it in refusals.
pub(super) fn read(asked: Option<&Asked>, path: &str) -> Result<Option<LogConfiguration>, Refusal> {
    let Some(asked) = asked else { return Ok(None) };
    if asked.secret_options.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(not_yet(format!("{path}.logConfiguration.secretOptions")));
    }
    let driver = asked.log_driver.clone().unwrap_or_default();
    if !DRIVERS.contains(&driver.as_str()) {
        return Err(client(format!("{driver} is not a valid log driver. Must be one of [{}]", DRIVERS.join(", "))));
    }
    if driver == "awsfirelens" {
        return Err(client(
            "When awsfirelens log driver is specified in log configuration, a firelens configuration object must be \
             specified",
        ));
    }
    let options = asked.options.clone();
    if driver == "awslogs" {
        let given = options.iter().flatten().map(|(name, _)| name.as_str());
        check_awslogs(&given.collect::<Vec<_>>())?;
    }
    Ok(Some(LogConfiguration { log_driver: driver, options }))
}

fn check_awslogs(given: &[&str]) -> Result<(), Refusal> {
    let missing: Vec<&str> = AWSLOGS_REQUIRED.into_iter().filter(|name| !given.contains(name)).collect();
    if !missing.is_empty() {
        return Err(client(format!("Log driver awslogs requires options: {}", missing.join(", "))));
    }
    let is_unknown = |name: &&str| !AWSLOGS_REQUIRED.contains(name) && !AWSLOGS_ALLOWED.contains(name);
    let unknown: Vec<&str> = given.iter().copied().filter(is_unknown).collect();
    if !unknown.is_empty() {
        return Err(client(format!("Log driver awslogs disallows options: {}", unknown.join(", "))));
    }
    Ok(())
}
