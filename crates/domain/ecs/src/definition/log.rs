// SPDX-License-Identifier: Apache-2.0
//! Log configurations. Output of `json-file` and of `awslogs` is kept on the host, that of `none` is not.

use berth_shapes::ecs::LogConfiguration as Asked;
use berth_state::Refusal;
use berth_state::ecs::{LogConfiguration, LogDriver};

use super::super::refuse::{client, not_yet};

/// Log drivers that Berth supports.
pub(in super::super) const SUPPORTED: [LogDriver; 3] = [LogDriver::Awslogs, LogDriver::JsonFile, LogDriver::None];

/// Options the driver json-file may have.
const JSON_FILE_ALLOWED: [&str; 2] = ["max-file", "max-size"];

/// Largest value of `max-file`: a rotation renames each file, outside of the task's CPU share.
const MAX_FILE: u64 = 1000;

/// Largest value of `max-size`.
const MAX_SIZE_BYTES: u64 = 1 << 40;

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
    let driver = asked.log_driver.as_deref().unwrap_or_default();
    let driver = LogDriver::parse(driver).ok_or_else(|| {
        let known: Vec<&str> = LogDriver::ALL.iter().map(|driver| driver.as_str()).collect();
        client(format!("{driver} is not a valid log driver. Must be one of [{}]", known.join(", ")))
    })?;
    let options = asked.options.clone();
    let given: Vec<(&str, &str)> =
        options.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
    match driver {
        LogDriver::Awslogs => check_awslogs(&names)?,
        LogDriver::JsonFile => check_json_file(&given)?,
        LogDriver::None => disallow(driver.as_str(), names)?,
        LogDriver::Awsfirelens => {
            return Err(client(
                "When awsfirelens log driver is specified in log configuration, a firelens configuration object must \
                 be specified",
            ));
        }
        LogDriver::Fluentd | LogDriver::Gelf | LogDriver::Journald | LogDriver::Splunk | LogDriver::Syslog => {
            return Err(not_yet(format!("{path}.logConfiguration.logDriver {}", driver.as_str())));
        }
    }
    Ok(Some(LogConfiguration { log_driver: driver, options }))
}

fn check_awslogs(given: &[&str]) -> Result<(), Refusal> {
    let missing: Vec<&str> = AWSLOGS_REQUIRED.into_iter().filter(|name| !given.contains(name)).collect();
    if !missing.is_empty() {
        return Err(client(format!("Log driver awslogs requires options: {}", missing.join(", "))));
    }
    let is_unknown = |name: &&str| !AWSLOGS_REQUIRED.contains(name) && !AWSLOGS_ALLOWED.contains(name);
    disallow("awslogs", given.iter().copied().filter(is_unknown).collect())
}

fn check_json_file(given: &[(&str, &str)]) -> Result<(), Refusal> {
    disallow(
        "json-file",
        given.iter().map(|(name, _)| *name).filter(|name| !JSON_FILE_ALLOWED.contains(name)).collect(),
    )?;
    for (name, value) in given {
        let (read, range) = match *name {
            "max-size" => (size_in_bytes(value), 1..=MAX_SIZE_BYTES),
            _ => (value.parse().ok(), 1..=MAX_FILE),
        };
        let invalid = |range: &str| client(format!("'{value}' is not a valid value for the log option {name}.{range}"));
        match read {
            Some(number) if range.contains(&number) => {}
            // Docker's own message; a number that Docker accepts and Berth refuses needs a reason.
            Some(0) | None => return Err(invalid("")),
            Some(_) if *name == "max-size" => return Err(invalid(" It must be at most 1024g.")),
            Some(_) => return Err(invalid(" It must be between 1 and 1000.")),
        }
    }
    Ok(())
}

/// Bytes of a size as Docker writes it, e.g. `10m`; sizes beyond 64 bits count as the largest number.
fn size_in_bytes(value: &str) -> Option<u64> {
    let (number, shift) = match value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']) {
        Some(number) => (number, 10 * (1 + "kmg".find(value.chars().last()?.to_ascii_lowercase())?)),
        None => (value, 0),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).unwrap_or(u64::MAX))
}

fn disallow(driver: &str, options: Vec<&str>) -> Result<(), Refusal> {
    match options.is_empty() {
        true => Ok(()),
        false => Err(client(format!("Log driver {driver} disallows options: {}", options.join(", ")))),
    }
}
