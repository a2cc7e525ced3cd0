// SPDX-License-Identifier: Apache-2.0
//! StopTask, DescribeTasks, ListTasks.

use std::sync::Arc;

use berth_shapes::ecs::{
    DescribeTasksRequest, DescribeTasksResponse, ErrorCode, Failure, ListTasksRequest, ListTasksResponse,
    StopTaskRequest, StopTaskResponse,
};
use berth_state::ecs::{Task, TaskStop, task_arn};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::intent::{Desired, LaunchType};

use super::list::{Order, PageRequest, page};
use super::observe::store;
use super::only::only;
use super::phase::decide_stop;
use super::reference::{self, active_cluster, in_cluster};
use super::refuse::{at_most, invalid};
use super::show_task;

/// Maximum number of tasks in one DescribeTasks.
const DESCRIBED_MAX: usize = 100;

/// Maximum length of a stop reason in characters.
const REASON_CHARACTERS_MAX: usize = 255;

/// StopTask. A task that is already stopping stays unchanged.
pub fn stop_task(snap: &Snapshot, req: &StopTaskRequest, env: &Env) -> Result<Change<StopTaskResponse>, Refusal> {
    only(req, &["cluster", "reason", "task"])?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let reason = req.reason.clone().filter(|reason| !reason.is_empty()).unwrap_or("Task stopped by user".to_owned());
    if reason.chars().count() > REASON_CHARACTERS_MAX {
        return Err(invalid(format!("reason can have at most {REASON_CHARACTERS_MAX} characters.")));
    }
    let meant = in_cluster(req.task.as_deref().unwrap_or_default(), "task", "taskId", env)?;
    let found = reference::task(snap, &cluster.name, &meant);
    let known = found.ok_or_else(|| invalid("The referenced task was not found."))?;
    let mut task = (**known).clone();
    decide_stop(&mut task, TaskStop { code: "UserInitiated".to_owned(), reason }, env.now);
    let mut draft = Draft::of(snap);
    draft.take(store(snap, known, task, env));
    let shown = draft.ecs().tasks.get(&known.id).map(|task| show_task::task_with_tags(&draft, task, env));
    Ok(draft.change(StopTaskResponse { task: shown }))
}

/// DescribeTasks.
pub fn describe_tasks(
    snap: &Snapshot,
    req: &DescribeTasksRequest,
    env: &Env,
) -> Result<DescribeTasksResponse, Refusal> {
    only(req, &["cluster", "include", "tasks"])?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let asked = req.tasks.as_deref().unwrap_or_default();
    if asked.is_empty() {
        return Err(invalid("Tasks cannot be empty."));
    }
    at_most(Some(asked), DESCRIBED_MAX, "tasks")?;
    let include = req.include.as_deref().unwrap_or_default();
    if let Some(other) = include.iter().find(|word| *word != "TAGS") {
        return Err(invalid(format!("Invalid include value '{other}'.")));
    }
    let show = if include.is_empty() { show_task::task } else { show_task::task_with_tags };
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        let meant = in_cluster(text, "task", "taskId", env)?;
        match reference::task(snap, &cluster.name, &meant) {
            Some(task) => tasks.push(show(snap, task, env)),
            None => {
                let named = meant.cluster.as_ref().unwrap_or(&cluster.name);
                failures.push(Failure {
                    arn: Some(env.arn("ecs", format_args!("task/{named}/{}", meant.id))),
                    reason: Some("MISSING".to_owned()),
                    ..Default::default()
                });
            }
        }
    }
    Ok(DescribeTasksResponse { failures: Some(failures), tasks: Some(tasks) })
}

/// ListTasks: selects by desired status, not by last status.
pub fn list_tasks(snap: &Snapshot, req: &ListTasksRequest, env: &Env) -> Result<ListTasksResponse, Refusal> {
    only(
        req,
        &[
            "cluster",
            "containerInstance",
            "daemonName",
            "desiredStatus",
            "family",
            "launchType",
            "maxResults",
            "nextToken",
            "serviceName",
            "startedBy",
        ],
    )?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let filter = Filter::read(req, env)?;
    let asked =
        PageRequest { max_results: req.max_results, next_token: req.next_token.as_deref(), operation: "ListTasks" };
    let wanted = snap.ecs().cluster_tasks(&cluster.name).filter(|task| filter.admits(task));
    let items = wanted.map(|task| (task.id.to_string(), task_arn(&task.cluster, &task.id, env)));
    let page = page(items, &asked, Order::Ascending)?;
    Ok(ListTasksResponse { next_token: page.next_token, task_arns: Some(page.items) })
}

struct Filter {
    /// `None`: no task is ever in the status asked for.
    desired: Option<Desired>,
    family: Option<String>,
    launch_type: Option<LaunchType>,
    started_by: Option<String>,
    /// Id of a container instance.
    instance: Option<String>,
}

impl Filter {
    fn read(req: &ListTasksRequest, env: &Env) -> Result<Self, Refusal> {
        if req.service_name.is_some() {
            return Err(Refusal::new(ErrorCode::ServiceNotFoundException, "Service not found."));
        }
        if req.daemon_name.is_some() {
            return Err(Refusal::new(ErrorCode::DaemonNotFoundException, "Daemon not found."));
        }
        let is_narrowed = req.family.is_some() || req.container_instance.is_some() || req.launch_type.is_some();
        if req.started_by.is_some() && is_narrowed {
            return Err(invalid("startedBy can only be combined with desiredStatus."));
        }
        let desired = match req.desired_status.as_deref() {
            None | Some("RUNNING") => Some(Desired::Running),
            Some("STOPPED") => Some(Desired::Stopped),
            Some("PENDING") => None,
            Some(other) => return Err(invalid(format!("'{other}' is not a valid value for desiredStatus."))),
        };
        let launch_type = match req.launch_type.as_deref() {
            None => None,
            Some("EC2") => Some(LaunchType::Ec2),
            Some("FARGATE") => Some(LaunchType::Fargate),
            Some(other) => return Err(invalid(format!("'{other}' is not a valid value for launchType."))),
        };
        let instance = req.container_instance.as_deref();
        let instance =
            instance.map(|text| in_cluster(text, "container-instance", "containerInstanceId", env)).transpose()?;
        Ok(Self {
            desired,
            family: req.family.clone(),
            launch_type,
            started_by: req.started_by.clone(),
            instance: instance.map(|instance| instance.id),
        })
    }

    fn admits(&self, task: &Arc<Task>) -> bool {
        // A Fargate task has no container instance that a caller could name.
        let host = task.host.as_ref().filter(|_| task.launch_type == LaunchType::Ec2);
        self.desired == Some(task.desired)
            && self.family.as_ref().is_none_or(|family| task.definition.family.0 == *family)
            && self.launch_type.is_none_or(|launch_type| task.launch_type == launch_type)
            && self.started_by.as_ref().is_none_or(|given| task.started_by.as_ref() == Some(given))
            && self.instance.as_ref().is_none_or(|id| host.is_some_and(|host| host.as_str() == id))
    }
}
