//! StartTask: like RunTask with launch type EC2, on the container instances the caller names.

use berth_shapes::ecs::{Failure, RunTaskRequest, StartTaskRequest, StartTaskResponse};

use super::placement::failure_on;
use super::reference::{active_cluster, instance};
use super::refuse::{at_most, invalid};
use super::run_task::{prepare, start_on};
use super::show_task;
use crate::{Change, Draft, Env, Refusal, Snapshot};

/// Container instances one call may name.
const INSTANCES_MAX: usize = 10;

/// StartTask: one task on each instance, each for itself.
pub fn start_task(snap: &Snapshot, req: &StartTaskRequest, env: &Env) -> Result<Change<StartTaskResponse>, Refusal> {
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let asked = req.container_instances.as_deref().unwrap_or_default();
    if asked.is_empty() {
        return Err(invalid("Container instances cannot be empty."));
    }
    at_most(Some(asked), INSTANCES_MAX, "containerInstances")?;
    let prepared = prepare(snap, &as_run(req), &cluster, None, env)?;
    let mut draft = Draft::of(snap);
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        let host = match instance(&draft, &cluster.name, text, env)? {
            Ok(host) => host.clone(),
            Err(missing) => {
                failures.push(missing);
                continue;
            }
        };
        let failure: Option<Failure> = failure_on(&draft, &host, &prepared.wanted(), env);
        match failure {
            Some(failure) => failures.push(failure),
            None => {
                let task = start_on(&mut draft, &host, &prepared, None, env);
                tasks.push(show_task::accepted(&draft, &task, env));
            }
        }
    }
    Ok(draft.change(StartTaskResponse { failures: Some(failures), tasks: Some(tasks) }))
}

/// The members both operations have, with the launch type StartTask implies.
fn as_run(req: &StartTaskRequest) -> RunTaskRequest {
    RunTaskRequest {
        enable_ecs_managed_tags: req.enable_ecs_managed_tags,
        enable_execute_command: req.enable_execute_command,
        group: req.group.clone(),
        launch_type: Some("EC2".to_owned()),
        network_configuration: req.network_configuration.clone(),
        overrides: req.overrides.clone(),
        propagate_tags: req.propagate_tags.clone(),
        reference_id: req.reference_id.clone(),
        started_by: req.started_by.clone(),
        tags: req.tags.clone(),
        task_definition: req.task_definition.clone(),
        volume_configurations: req.volume_configurations.clone(),
        ..Default::default()
    }
}
