// SPDX-License-Identifier: Apache-2.0
//! The operations of the Amazon ECS agent. Hosts are registered and reported by Berth's own node, over a separate
//! socket, so these operations always refuse: with ClientException, on which an agent exits instead of retrying, and a
//! message that says how to add a host.
//! Not here: reports of nodes (`host.rs`, `observe.rs`).

use berth_shapes::ecs::{
    DiscoverPollEndpointRequest, DiscoverPollEndpointResponse, RegisterContainerInstanceRequest,
    RegisterContainerInstanceResponse, SubmitAttachmentStateChangesRequest, SubmitAttachmentStateChangesResponse,
    SubmitContainerStateChangeRequest, SubmitContainerStateChangeResponse, SubmitTaskStateChangeRequest,
    SubmitTaskStateChangeResponse,
};
use berth_state::{Env, Refusal, Snapshot};

use super::refuse::client;

/// RegisterContainerInstance.
pub fn register_container_instance(
    _snap: &Snapshot,
    _req: &RegisterContainerInstanceRequest,
    _env: &Env,
) -> Result<RegisterContainerInstanceResponse, Refusal> {
    Err(of_agents("RegisterContainerInstance"))
}

/// DiscoverPollEndpoint.
pub fn discover_poll_endpoint(
    _snap: &Snapshot,
    _req: &DiscoverPollEndpointRequest,
    _env: &Env,
) -> Result<DiscoverPollEndpointResponse, Refusal> {
    Err(of_agents("DiscoverPollEndpoint"))
}

/// SubmitTaskStateChange.
pub fn submit_task_state_change(
    _snap: &Snapshot,
    _req: &SubmitTaskStateChangeRequest,
    _env: &Env,
) -> Result<SubmitTaskStateChangeResponse, Refusal> {
    Err(of_agents("SubmitTaskStateChange"))
}

/// SubmitContainerStateChange.
pub fn submit_container_state_change(
    _snap: &Snapshot,
    _req: &SubmitContainerStateChangeRequest,
    _env: &Env,
) -> Result<SubmitContainerStateChangeResponse, Refusal> {
    Err(of_agents("SubmitContainerStateChange"))
}

/// SubmitAttachmentStateChanges.
pub fn submit_attachment_state_changes(
    _snap: &Snapshot,
    _req: &SubmitAttachmentStateChangesRequest,
    _env: &Env,
) -> Result<SubmitAttachmentStateChangesResponse, Refusal> {
    Err(of_agents("SubmitAttachmentStateChanges"))
}

fn of_agents(operation: &str) -> Refusal {
    client(format!(
        "{operation} is called by container agents, and this endpoint takes hosts from its own agent only: run `berth \
         up` or `berth node` on the host to register it as a container instance."
    ))
}
