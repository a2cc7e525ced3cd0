// SPDX-License-Identifier: Apache-2.0
//! ARNs of ECS resources.

use berth_types::{HostId, TaskId};

use super::name::{ClusterName, TaskDefinitionKey};
use crate::Env;

/// The ARN of a cluster.
pub fn cluster_arn(cluster: &ClusterName, env: &Env) -> String {
    env.arn("ecs", format_args!("cluster/{cluster}"))
}

/// The ARN of a task.
pub fn task_arn(cluster: &ClusterName, task: &TaskId, env: &Env) -> String {
    env.arn("ecs", format_args!("task/{cluster}/{task}"))
}

/// The ARN of a container of a task.
pub fn container_arn(cluster: &ClusterName, task: &TaskId, container: &str, env: &Env) -> String {
    env.arn("ecs", format_args!("container/{cluster}/{task}/{container}"))
}

/// The ARN of a task definition.
pub fn definition_arn(key: &TaskDefinitionKey, env: &Env) -> String {
    env.arn("ecs", format_args!("task-definition/{key}"))
}

/// The ARN of a container instance.
pub fn instance_arn(cluster: &ClusterName, host: &HostId, env: &Env) -> String {
    env.arn("ecs", format_args!("container-instance/{cluster}/{host}"))
}
