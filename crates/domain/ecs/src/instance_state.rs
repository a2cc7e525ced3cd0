// SPDX-License-Identifier: Apache-2.0
//! Draining and deregistration of container instances.
//!
//! A draining instance gets no new task from placement; its tasks continue. A deregistered one is INACTIVE until its
//! node sends `Hello` again, and its tasks of launch type EC2 are stopped. Neither affects Fargate tasks on the same
//! host.

use std::sync::Arc;

use berth_shapes::ecs::{
    DeregisterContainerInstanceRequest, DeregisterContainerInstanceResponse, Failure,
    UpdateContainerInstancesStateRequest, UpdateContainerInstancesStateResponse,
};
use berth_state::ecs::{Host, InstanceStatus, Task, TaskStop, instance_arn};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::intent::LaunchType;

use super::instance::show;
use super::observe::store;
use super::only::only;
use super::phase::decide_stop;
use super::reference::{active_cluster, instance};
use super::refuse::{at_most, invalid};

/// Maximum number of container instances in one call.
const UPDATED_MAX: usize = 10;

/// UpdateContainerInstancesState: each instance succeeds or fails separately.
pub fn update_container_instances_state(
    snap: &Snapshot,
    req: &UpdateContainerInstancesStateRequest,
    env: &Env,
) -> Result<Change<UpdateContainerInstancesStateResponse>, Refusal> {
    only(req, &["cluster", "containerInstances", "status"])?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let asked = req.container_instances.as_deref().unwrap_or_default();
    if asked.is_empty() {
        return Err(invalid("Container instances cannot be empty."));
    }
    at_most(Some(asked), UPDATED_MAX, "containerInstances")?;
    let draining = match req.status.as_deref() {
        Some("ACTIVE") => false,
        Some("DRAINING") => true,
        Some(_) | None => return Err(invalid("Container instance status should be one of [ACTIVE, DRAINING]")),
    };
    let mut draft = Draft::of(snap);
    let (mut shown, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        match instance(&draft, &cluster.name, text, env)? {
            Ok(host) if host.instance_status() == Some(InstanceStatus::Inactive) => failures.push(Failure {
                arn: Some(instance_arn(&host.cluster, &host.id, env)),
                reason: Some("INACTIVE".to_owned()),
                ..Default::default()
            }),
            Ok(host) => {
                let host = Host { draining, record_version: host.record_version + 1, ..host.as_ref().clone() };
                draft.put(host.clone());
                shown.push(show(&draft, &host, env));
            }
            Err(missing) => failures.push(missing),
        }
    }
    Ok(draft
        .change(UpdateContainerInstancesStateResponse { container_instances: Some(shown), failures: Some(failures) }))
}

/// DeregisterContainerInstance.
pub fn deregister_container_instance(
    snap: &Snapshot,
    req: &DeregisterContainerInstanceRequest,
    env: &Env,
) -> Result<Change<DeregisterContainerInstanceResponse>, Refusal> {
    only(req, &["cluster", "containerInstance", "force"])?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let text = req.container_instance.as_deref().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| invalid("Container instance can not be blank."))?;
    let found = instance(snap, &cluster.name, text, env)?.ok();
    let host = found
        .filter(|host| host.instance_status() != Some(InstanceStatus::Inactive))
        .ok_or_else(|| invalid(format!("Referenced container instance {text} not found.")))?;
    let tasks: Vec<Arc<Task>> =
        snap.ecs().host_tasks(&host.id).filter(|task| task.launch_type == LaunchType::Ec2).cloned().collect();
    if !tasks.is_empty() && req.force != Some(true) {
        return Err(invalid("Found running tasks on the instance."));
    }
    let mut draft = Draft::of(snap);
    for known in tasks {
        let mut task = known.as_ref().clone();
        let reason = "Container instance deregistration forced by user".to_owned();
        decide_stop(&mut task, TaskStop { code: "UserInitiated".to_owned(), reason }, env.now);
        let change = store(&draft, &known, task, env);
        draft.take(change);
    }
    let deregistered_at = Some(env.now);
    let host = Host { deregistered_at, record_version: host.record_version + 1, ..host.as_ref().clone() };
    draft.put(host.clone());
    let shown = show(&draft, &host, env);
    Ok(draft.change(DeregisterContainerInstanceResponse { container_instance: Some(shown) }))
}
