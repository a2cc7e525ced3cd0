//! Log configurations. Output of `json-file` and of `awslogs` is kept on the host, that of `none` is not.

use berth_shapes::ecs::LogConfiguration as Asked;

use super::super::record::LogConfiguration;
use super::super::refuse::{client, not_yet};
use crate::Refusal;

/// Log drivers AWS knows.
const DRIVERS: [&str; 9] =
    ["awsfirelens", "awslogs", "fluentd", "gelf", "journald", "json-file", "none", "splunk", "syslog"];

/// Those that act here.
pub(in super::super) const SUPPORTED: [&str; 3] = ["awslogs", "json-file", "none"];

/// Options the driver json-file may have.
const JSON_FILE_ALLOWED: [&str; 2] = ["max-file", "max-size"];

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
    if !SUPPORTED.contains(&driver.as_str()) {
        return Err(not_yet(format!("{path}.logConfiguration.logDriver {driver}")));
    }
    let options = asked.options.clone();
    let given: Vec<(&str, &str)> =
        options.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
    match driver.as_str() {
        "awslogs" => check_awslogs(&names)?,
        "json-file" => check_json_file(&given)?,
        _ => disallow(&driver, names)?,
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
        let number = match *name {
            "max-size" => value.trim_end_matches(['k', 'm', 'g', 'K', 'M', 'G']),
            _ => value,
        };
        let is_one_unit = value.len() - number.len() <= 1;
        if !is_one_unit || !number.parse::<u32>().is_ok_and(|number| number > 0) {
            return Err(client(format!("'{value}' is not a valid value for the log option {name}.")));
        }
    }
    Ok(())
}

fn disallow(driver: &str, options: Vec<&str>) -> Result<(), Refusal> {
    match options.is_empty() {
        true => Ok(()),
        false => Err(client(format!("Log driver {driver} disallows options: {}", options.join(", ")))),
    }
}
