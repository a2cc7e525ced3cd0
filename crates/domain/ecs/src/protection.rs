// SPDX-License-Identifier: Apache-2.0
//! Protection of tasks from being stopped by their service's scheduler.
//!
//! Only tasks of services can be protected, and there are no services yet: every task named returns a failure.

use berth_shapes::ecs::{
    Failure, GetTaskProtectionRequest, GetTaskProtectionResponse, UpdateTaskProtectionRequest,
    UpdateTaskProtectionResponse,
};
use berth_state::ecs::{ClusterName, task_arn};
use berth_state::{Change, Env, Refusal, Snapshot};

use super::only::only;
use super::reference::{self, active_cluster, in_cluster};
use super::refuse::{at_most, invalid};

/// Maximum number of tasks in one call, to change or to read.
const UPDATED_MAX: usize = 10;
const LOOKED_AT_MAX: usize = 100;

/// Valid duration of a protection in minutes.
const MINUTES: std::ops::RangeInclusive<i32> = 1..=2880;

/// GetTaskProtection.
pub fn get_task_protection(
    snap: &Snapshot,
    req: &GetTaskProtectionRequest,
    env: &Env,
) -> Result<GetTaskProtectionResponse, Refusal> {
    only(req, &["cluster", "tasks"])?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let asked = req.tasks.as_deref().unwrap_or_default();
    at_most(Some(asked), LOOKED_AT_MAX, "tasks")?;
    let failures = failures(snap, &cluster.name, asked, env)?;
    Ok(GetTaskProtectionResponse { failures: Some(failures), protected_tasks: Some(Vec::new()) })
}

/// UpdateTaskProtection.
pub fn update_task_protection(
    snap: &Snapshot,
    req: &UpdateTaskProtectionRequest,
    env: &Env,
) -> Result<Change<UpdateTaskProtectionResponse>, Refusal> {
    only(req, &["cluster", "expiresInMinutes", "protectionEnabled", "tasks"])?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let asked = req.tasks.as_deref().unwrap_or_default();
    if asked.is_empty() {
        return Err(invalid("Tasks cannot be empty."));
    }
    at_most(Some(asked), UPDATED_MAX, "tasks")?;
    if req.protection_enabled.is_none() {
        return Err(invalid("protectionEnabled must be specified."));
    }
    if req.expires_in_minutes.is_some_and(|minutes| !MINUTES.contains(&minutes)) {
        return Err(invalid(format!("expiresInMinutes must be between {} and {}.", MINUTES.start(), MINUTES.end())));
    }
    let failures = failures(snap, &cluster.name, asked, env)?;
    Ok(Change::none(UpdateTaskProtectionResponse { failures: Some(failures), protected_tasks: Some(Vec::new()) }))
}

fn failures(snap: &Snapshot, cluster: &ClusterName, asked: &[String], env: &Env) -> Result<Vec<Failure>, Refusal> {
    let failure = |text: &String| {
        let meant = in_cluster(text, "task", "taskId", env)?;
        let failure = match reference::task(snap, cluster, &meant) {
            Some(task) => Failure {
                arn: Some(task_arn(&task.cluster, &task.id, env)),
                detail: Some("The task is not part of an Amazon ECS service.".to_owned()),
                reason: Some("TASK_NOT_VALID".to_owned()),
            },
            None => {
                let named = meant.cluster.as_ref().unwrap_or(cluster);
                Failure {
                    arn: Some(env.arn("ecs", format_args!("task/{named}/{}", meant.id))),
                    detail: None,
                    reason: Some("MISSING".to_owned()),
                }
            }
        };
        Ok(failure)
    };
    asked.iter().map(failure).collect()
}
