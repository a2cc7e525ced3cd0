// SPDX-License-Identifier: Apache-2.0
//! Life cycle of a container: its dependencies, time limits, health check and restarts.

use berth_shapes::ecs as shape;
use berth_state::Refusal;
use berth_state::ecs::{ContainerDefinition, read_link};
use berth_types::container::{Condition, Dependency, HealthCheck, RestartPolicy};

use super::super::refuse::client;
use super::cycle::has_cycle;
use super::read::{each, natural, text};

/// Shortest startTimeout and stopTimeout.
const TIMEOUT_S_MIN: u32 = 2;

/// Default seconds that a container must have run before it is restarted.
const ATTEMPT_PERIOD_S: u32 = 300;

const IGNORED_EXIT_CODES_MAX: usize = 50;

/// Reads dependsOn; [`check_together`] checks the names.
pub(super) fn depends_on(
    asked: Option<&[shape::ContainerDependency]>,
    path: &str,
) -> Result<Option<Vec<Dependency>>, Refusal> {
    each(asked, &format!("{path}.dependsOn"), |asked, path| {
        let container = text(asked.container_name.as_ref(), &format!("{path}.containerName"))?;
        let condition = text(asked.condition.as_ref(), &format!("{path}.condition"))?;
        let condition = Condition::parse(&condition)
            .ok_or_else(|| client(format!("'{condition}' is not a valid value for {path}.condition.")))?;
        Ok(Dependency { container, condition })
    })
}

/// Reads startTimeout or stopTimeout.
pub(super) fn timeout(given: Option<i32>, kind: &str, container: &str) -> Result<Option<u32>, Refusal> {
    let timeout = natural(given, &format!("{kind}Timeout"), container)?;
    match timeout {
        Some(..TIMEOUT_S_MIN) => Err(client(format!(
            "Granular {kind} timeout on container '{container}' must be at least {TIMEOUT_S_MIN} seconds."
        ))),
        Some(_) | None => Ok(timeout),
    }
}

/// Reads healthCheck, with defaults filled in.
pub(super) fn health_check(
    asked: Option<&shape::HealthCheck>,
    container: &str,
) -> Result<Option<HealthCheck>, Refusal> {
    let Some(asked) = asked else { return Ok(None) };
    let command = asked.command.clone().unwrap_or_default();
    // AWS accepts any words; the host interprets them.
    if command.is_empty() {
        return Err(client(format!(
            "the 'command' setting of healthCheck for container '{container}' must not be empty"
        )));
    }
    let within = |given: Option<i32>, member: &str, range: std::ops::RangeInclusive<i32>| match given {
        Some(value) if !range.contains(&value) => {
            let (least, most) = range.into_inner();
            Err(client(format!(
                "the '{member}' setting for container '{container}' must be between {least} and {most}"
            )))
        }
        given => Ok(given.and_then(|value| u32::try_from(value).ok())),
    };
    Ok(Some(HealthCheck {
        command,
        interval_s: within(asked.interval, "interval", 5..=300)?.unwrap_or(30),
        timeout_s: within(asked.timeout, "timeout", 2..=60)?.unwrap_or(5),
        retries: within(asked.retries, "retries", 1..=10)?.unwrap_or(3),
        start_period_s: within(asked.start_period, "startPeriod", 0..=300)?,
    }))
}

/// Reads restartPolicy, with its default filled in.
pub(super) fn restart_policy(
    asked: Option<&shape::ContainerRestartPolicy>,
    container: &str,
) -> Result<Option<RestartPolicy>, Refusal> {
    let Some(asked) = asked else { return Ok(None) };
    let Some(enabled) = asked.enabled else {
        return Err(client(format!("the 'enabled' setting for container '{container}' must be specified")));
    };
    if asked.ignored_exit_codes.as_ref().is_some_and(|codes| codes.len() > IGNORED_EXIT_CODES_MAX) {
        return Err(client(format!(
            "the 'ignoredExitCodes' setting for container '{container}' can have at most {IGNORED_EXIT_CODES_MAX} items"
        )));
    }
    let attempt_period_s = match asked.restart_attempt_period {
        None => ATTEMPT_PERIOD_S,
        Some(period) => u32::try_from(period).ok().filter(|period| (60..=1800).contains(period)).ok_or_else(|| {
            client(format!(
                "the 'restartAttemptPeriod' setting for container '{container}' must be between 60 and 1800"
            ))
        })?,
    };
    Ok(Some(RestartPolicy { enabled, ignored_exit_codes: asked.ignored_exit_codes.clone(), attempt_period_s }))
}

/// Refuses dependencies that can never be met.
pub(super) fn check_together(containers: &[ContainerDefinition]) -> Result<(), Refusal> {
    for dependency in containers.iter().filter_map(|container| container.depends_on.as_ref()).flatten() {
        let name = &dependency.container;
        let Some(target) = containers.iter().find(|container| container.name == *name) else {
            return Err(client(format!("Cannot depend on container + '{name}' because it does not exist")));
        };
        match dependency.condition {
            Condition::Start => {}
            Condition::Complete | Condition::Success if target.essential => {
                return Err(client(
                    "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container",
                ));
            }
            Condition::Complete | Condition::Success => {}
            Condition::Healthy if target.health_check.as_ref().is_none_or(HealthCheck::is_none) => {
                return Err(client("A dependency container with HEALTHY condition must have health check configured"));
            }
            Condition::Healthy => {}
        }
    }
    let linked = |container: &ContainerDefinition| -> Vec<String> {
        container.links.iter().flatten().map(|text| read_link(text).container).collect()
    };
    if has_cycle(containers, linked) {
        return Err(client("Container links should not have a cycle"));
    }
    // A link is a dependency too: the linked container starts first.
    let edges = |container: &ContainerDefinition| {
        let named = container.depends_on.iter().flatten().map(|dependency| dependency.container.clone());
        named.chain(linked(container)).collect()
    };
    match has_cycle(containers, edges) {
        true => Err(client("Container dependsOn contains a cycle")),
        false => Ok(()),
    }
}

/// A dependency as answered.
pub(super) fn show_dependency(dependency: &Dependency) -> shape::ContainerDependency {
    shape::ContainerDependency {
        condition: Some(dependency.condition.as_str().to_owned()),
        container_name: Some(dependency.container.clone()),
    }
}

/// A health check as answered.
pub(super) fn show_health_check(check: &HealthCheck) -> shape::HealthCheck {
    let integer = |value: u32| i32::try_from(value).ok();
    shape::HealthCheck {
        command: Some(check.command.clone()),
        interval: integer(check.interval_s),
        retries: integer(check.retries),
        start_period: check.start_period_s.and_then(integer),
        timeout: integer(check.timeout_s),
    }
}

/// A restart policy as answered.
pub(super) fn show_restart_policy(policy: &RestartPolicy) -> shape::ContainerRestartPolicy {
    shape::ContainerRestartPolicy {
        enabled: Some(policy.enabled),
        ignored_exit_codes: policy.ignored_exit_codes.clone(),
        restart_attempt_period: i32::try_from(policy.attempt_period_s).ok(),
    }
}
