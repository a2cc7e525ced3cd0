// SPDX-License-Identifier: Apache-2.0
//! Start of tasks, after an operation has parsed its request.
//!
//! RunTask and StartTask each translate their request into a [`Launch`]. A task whose interface cannot be made is
//! stored as STOPPED with the reason, as AWS shows it. Not here: the hosts that can run a task (`placement.rs`), and
//! the choice of the best container instance (`strategy.rs`).

use std::sync::Arc;

use berth_shapes::ecs::{Failure, Tag, TaskVolumeConfiguration};
use berth_state::ecs::{
    ClusterName, Compatibility, Host, Task, TaskAttachmentStatus, TaskContainer, TaskDefinition, TaskNetwork,
    TaskStatus, TaskStop, TaskTimes,
};
use berth_state::{ClientToken, Draft, Env, Refusal, Snapshot, Tags};
use berth_types::intent::{Desired, LaunchType};
use berth_types::report::ContainerStatus;
use berth_types::{TaskId, uuid_text};

use super::network::{self, Network};
use super::observe::FAILED_TO_START;
use super::overrides::{Overridden, cannot_assume};
use super::placement::{Wanted, fargate_host, lacking, need};
use super::placement_request::Placement;
use super::refuse::{client, invalid, parameter_not_yet};
use super::{strategy, tag};

/// Longest `startedBy`. AWS does not check its characters.
const STARTED_BY_CHARS_MAX: usize = 128;

/// Tasks to start.
pub(super) struct Launch {
    /// Definition of the tasks.
    pub definition: Arc<TaskDefinition>,
    /// Changes to the definition for these tasks.
    pub overridden: Overridden,
    /// The cluster the tasks belong to.
    pub cluster: ClusterName,
    /// Launch type of the tasks.
    pub launch_type: LaunchType,
    /// Subnets and groups of their interfaces, in network mode awsvpc.
    pub network: Option<Network>,
    /// Constraints on the container instances, and strategies that choose the best.
    pub placement: Placement,
    /// e.g. `family:nginx`.
    pub group: String,
    /// As given.
    pub started_by: Option<String>,
    /// Token of the request.
    pub client_token: Option<ClientToken>,
    /// As given.
    pub enable_ecs_managed_tags: bool,
    /// Tags of the tasks.
    pub tags: Tags,
}

impl Launch {
    /// The requirements of a task for placement.
    pub fn wanted(&self) -> Wanted<'_> {
        Wanted {
            cluster: &self.cluster,
            definition: &self.definition,
            need: need(&self.definition, &self.overridden, self.network.is_some()),
            subnets: self.network.as_ref().map(|network| network.subnets.as_slice()),
            ports: self.definition.host_ports(),
            group: Arc::from(self.group.as_str()),
            placement: &self.placement,
        }
    }

    /// The host on which the next task would start, or AWS's failures.
    pub fn choose_host<'a>(&self, snap: &'a Snapshot, env: &Env) -> Result<&'a Arc<Host>, Vec<Failure>> {
        let wanted = self.wanted();
        match self.launch_type {
            LaunchType::Fargate => fargate_host(snap, &wanted),
            LaunchType::Ec2 => strategy::best(snap, &wanted, env).ok_or_else(|| lacking(snap, &wanted, env)),
        }
    }
}

/// Starts one task on this host: chooses its subnet, and makes and attaches its interface if it needs one.
pub(super) fn start(
    draft: &mut Draft,
    launch: &Launch,
    host: &Host,
    capacity_provider: Option<String>,
    env: &Env,
) -> Task {
    let mut task = Task { capacity_provider, ..accepted(launch, env) };
    let plugged = match &launch.network {
        Some(network) => {
            task.network = own_network(draft, network, launch.launch_type, host, env);
            network::plug(draft, &mut task, host, network, env)
        }
        None => Ok(()),
    };
    match plugged {
        Ok(()) => task.host = Some(host.id.clone()),
        Err(reason) => fail(&mut task, reason, env),
    }
    draft.put(task.clone());
    task
}

/// A task of this launch that has no host and no interface yet.
fn accepted(launch: &Launch, env: &Env) -> Task {
    let Launch { definition, overridden, .. } = launch;
    // A task without interface skips PROVISIONING, because it has nothing to wait for.
    let (status, connectivity_at) = match launch.network {
        Some(_) => (TaskStatus::Provisioning, None),
        None => (TaskStatus::Pending, Some(env.now)),
    };
    Task {
        id: TaskId::from_bits(env.fresh_bits()),
        cluster: launch.cluster.clone(),
        definition: definition.key.clone(),
        launch_type: launch.launch_type,
        capacity_provider: None,
        host: None,
        network: None,
        ports: definition.host_ports(),
        desired: Desired::Running,
        status,
        stage: None,
        version: 1,
        cpu_units: overridden.cpu_units,
        memory_mib: overridden.memory_mib,
        need: need(definition, overridden, launch.network.is_some()),
        containers: containers(definition, overridden, env),
        overrides: overridden.task.clone(),
        group: launch.group.clone(),
        started_by: launch.started_by.clone(),
        client_token: launch.client_token.clone(),
        stop: None,
        enable_ecs_managed_tags: launch.enable_ecs_managed_tags,
        times: TaskTimes { created_at: env.now, connectivity_at, ..Default::default() },
        tags: launch.tags.clone(),
    }
}

fn containers(definition: &TaskDefinition, overridden: &Overridden, env: &Env) -> Vec<TaskContainer> {
    let container = |(index, name): (usize, &String)| TaskContainer {
        id: uuid_text(env.fresh_bits()),
        endpoint_id: uuid_text(env.fresh_bits()),
        name: name.clone(),
        overrides: overridden.containers[index].clone(),
        status: ContainerStatus::Pending,
        runtime_id: None,
        image_digest: None,
        exit_code: None,
        reason: None,
        network_bindings: Vec::new(),
        health: None,
    };
    definition.containers.iter().map(|container| &container.name).enumerate().map(container).collect()
}

/// The subnet of one task, near its host, and its groups.
fn own_network(
    snap: &Snapshot,
    network: &Network,
    launch_type: LaunchType,
    host: &Host,
    env: &Env,
) -> Option<TaskNetwork> {
    // A host serves every zone for Fargate.
    let zone = match launch_type {
        LaunchType::Fargate => None,
        LaunchType::Ec2 => Some(host.availability_zone.as_str()),
    };
    let subnet = network::choose_subnet(snap, &network.subnets, zone).or(network.subnets.first())?;
    Some(network::precreated(subnet, &network.groups, env))
}

/// Stops a task that could not be placed.
fn fail(task: &mut Task, reason: String, env: &Env) {
    task.desired = Desired::Stopped;
    task.status = TaskStatus::Stopped;
    task.stop = Some(TaskStop { code: FAILED_TO_START.to_owned(), reason });
    if let Some(network) = &mut task.network {
        network.status = TaskAttachmentStatus::Deleted;
    }
    task.times.stopping_at = Some(env.now);
    task.times.stopped_at = Some(env.now);
    for container in &mut task.containers {
        container.status = ContainerStatus::Stopped;
    }
}

/// Refuses the members that RunTask and StartTask have and that have no effect yet.
pub(super) fn refuse_unsupported(
    enable_execute_command: Option<bool>,
    volume_configurations: Option<&[TaskVolumeConfiguration]>,
    reference_id: Option<&str>,
) -> Result<(), Refusal> {
    let given = [
        ("enableExecuteCommand", enable_execute_command == Some(true)),
        ("volumeConfigurations", volume_configurations.is_some_and(|list| !list.is_empty())),
        ("referenceId", reference_id.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((member, _)) => Err(parameter_not_yet(member)),
        None => Ok(()),
    }
}

/// Refuses a launch type whose rules the definition does not satisfy.
pub(super) fn check_launch_type(definition: &TaskDefinition, launch_type: LaunchType) -> Result<(), Refusal> {
    let wanted = match launch_type {
        LaunchType::Ec2 => Compatibility::Ec2,
        LaunchType::Fargate => Compatibility::Fargate,
    };
    match definition.compatibilities.contains(&wanted) {
        true => Ok(()),
        false => Err(invalid(format!("Task definition does not support launch_type {}.", launch_type.as_str()))),
    }
}

/// Refuses a definition with a role, which its tasks could not assume.
pub(super) fn check_role(definition: &TaskDefinition) -> Result<(), Refusal> {
    match &definition.task_role_arn {
        Some(role) => Err(cannot_assume(role)),
        None => Ok(()),
    }
}

/// Reads `group`; tasks that name none belong to their family.
pub(super) fn group(asked: Option<&str>, definition: &TaskDefinition) -> Result<String, Refusal> {
    match asked.filter(|group| !group.is_empty()) {
        None => Ok(format!("family:{}", definition.key.family)),
        Some(group) if group.starts_with("service:") => Err(invalid("Invalid namespace for group.")),
        Some(group) => Ok(group.to_owned()),
    }
}

/// Reads `startedBy`.
pub(super) fn started_by(asked: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(given) = asked.filter(|given| !given.is_empty()) else { return Ok(None) };
    if given.chars().count() > STARTED_BY_CHARS_MAX {
        return Err(invalid(format!("startedBy can have up to {STARTED_BY_CHARS_MAX} characters.")));
    }
    Ok(Some(given.to_owned()))
}

/// Tags of tasks: those propagated, the request's own, and with `is_managed` those of ECS.
pub(super) fn tags(
    propagate: Option<&str>,
    asked: Option<&[Tag]>,
    is_managed: bool,
    cluster: &ClusterName,
    definition: &TaskDefinition,
) -> Result<Tags, Refusal> {
    let mut tags = match propagate {
        None | Some("NONE") => Tags::new(),
        Some("TASK_DEFINITION") => definition.tags.clone(),
        Some("SERVICE") => return Err(invalid("propagateTags SERVICE is not valid for a task without a service.")),
        Some(other) => return Err(client(format!("'{other}' is not a valid value for propagateTags."))),
    };
    tags.extend(tag::read(asked)?);
    if is_managed {
        tags.insert("aws:ecs:clusterName".to_owned(), cluster.0.clone());
    }
    Ok(tags)
}
