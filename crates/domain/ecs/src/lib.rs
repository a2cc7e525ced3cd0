// SPDX-License-Identifier: Apache-2.0
//! Clusters, task definitions, tasks, container instances, reports of nodes.
//!
//! One function per operation, named as in `operations/ecs.toml`, and one per report of a host. A task holds its
//! address, its interface and its resources on a host from its acceptance until the host has released them. Not here:
//! services, schedulers, load balancers.
#![deny(clippy::disallowed_methods)]

mod account_setting;
mod agent;
mod attribute;
mod capacity_provider;
mod cluster;
mod cluster_settings;
mod definition;
mod door;
mod expire;
mod expression;
mod host;
mod instance;
mod instance_state;
mod list;
mod network;
mod observe;
mod only;
mod overrides;
mod phase;
mod placement;
mod placement_request;
mod protection;
mod provider_strategy;
mod reference;
mod refuse;
mod resources;
mod run_task;
mod show_cluster;
mod show_task;
mod start_task;
mod starting;
mod strategy;
mod tag;
mod task;
#[cfg(test)]
mod tests;

pub use account_setting::{
    delete_account_setting, list_account_settings, put_account_setting, put_account_setting_default,
};
pub use agent::{
    discover_poll_endpoint, register_container_instance, submit_attachment_state_changes,
    submit_container_state_change, submit_task_state_change,
};
pub use attribute::{delete_attributes, list_attributes, put_attributes};
pub use capacity_provider::{describe_capacity_providers, put_cluster_capacity_providers};
pub use cluster::{create_cluster, delete_cluster, describe_clusters, ensure_default_cluster, list_clusters};
pub use cluster_settings::{update_cluster, update_cluster_settings};
pub use definition::{
    delete_task_definitions, deregister_task_definition, describe_task_definition, list_task_definition_families,
    list_task_definitions, register_task_definition,
};
pub use door::door;
pub use expire::{Ages, Expired, STOPPED_TASKS_KEPT_MS, expire};
pub use host::{
    host_connected, host_disconnected, move_host, observe_free_space, observe_runtime, register_waiting_hosts,
};
pub use instance::{describe_container_instances, list_container_instances};
pub use instance_state::{deregister_container_instance, update_container_instances_state};
pub use observe::{observe_eni, observe_task};
pub use protection::{get_task_protection, update_task_protection};
pub use run_task::{choose_host, run_task};
pub use start_task::start_task;
pub use tag::{list_tags_for_resource, tag_resource, untag_resource};
pub use task::{describe_tasks, list_tasks, stop_task};
