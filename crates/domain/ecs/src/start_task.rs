// SPDX-License-Identifier: Apache-2.0
//! StartTask: like RunTask with launch type EC2, on the container instances the caller names.

use berth_shapes::ecs::{StartTaskRequest, StartTaskResponse};
use berth_state::ecs::Cluster;
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::intent::LaunchType;

use super::only::only;
use super::placement::failure_on;
use super::placement_request::Placement;
use super::reference::{active_cluster, instance, startable};
use super::refuse::{at_most, invalid};
use super::starting::{Launch, check_launch_type, check_role, group, refuse_unsupported, start, started_by, tags};
use super::{network, overrides, show_task};

/// Members of the request that have an effect.
const KNOWN: &[&str] = &[
    "cluster",
    "containerInstances",
    "enableECSManagedTags",
    "group",
    "networkConfiguration.awsvpcConfiguration.assignPublicIp",
    "networkConfiguration.awsvpcConfiguration.securityGroups",
    "networkConfiguration.awsvpcConfiguration.subnets",
    "overrides.containerOverrides.command",
    "overrides.containerOverrides.cpu",
    "overrides.containerOverrides.environment.name",
    "overrides.containerOverrides.environment.value",
    "overrides.containerOverrides.memory",
    "overrides.containerOverrides.memoryReservation",
    "overrides.containerOverrides.name",
    "overrides.cpu",
    "overrides.ephemeralStorage.sizeInGiB",
    "overrides.executionRoleArn",
    "overrides.memory",
    "propagateTags",
    "startedBy",
    "tags.key",
    "tags.value",
    "taskDefinition",
];

/// Maximum number of container instances in one call.
const INSTANCES_MAX: usize = 10;

/// StartTask: one task on each instance; each succeeds or fails separately.
pub fn start_task(snap: &Snapshot, req: &StartTaskRequest, env: &Env) -> Result<Change<StartTaskResponse>, Refusal> {
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let asked = req.container_instances.as_deref().unwrap_or_default();
    if asked.is_empty() {
        return Err(invalid("Container instances cannot be empty."));
    }
    at_most(Some(asked), INSTANCES_MAX, "containerInstances")?;
    let launch = launch(snap, req, &cluster, env)?;
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
        match failure_on(&draft, &host, &launch.wanted(), env) {
            Some(failure) => failures.push(failure),
            None => {
                let task = start(&mut draft, &launch, &host, None, env);
                tasks.push(show_task::accepted(&draft, &task, env));
            }
        }
    }
    Ok(draft.change(StartTaskResponse { failures: Some(failures), tasks: Some(tasks) }))
}

/// The launch that the request asks for, checked in AWS's order. The caller places the tasks, so constraints do not
/// apply.
fn launch(snap: &Snapshot, req: &StartTaskRequest, cluster: &Cluster, env: &Env) -> Result<Launch, Refusal> {
    let definition = startable(snap, req.task_definition.as_deref(), env)?;
    refuse_unsupported(req.enable_execute_command, req.volume_configurations.as_deref(), req.reference_id.as_deref())?;
    let launch_type = LaunchType::Ec2;
    check_launch_type(&definition, launch_type)?;
    let network = network::read(snap, req.network_configuration.as_ref(), definition.mode(), launch_type)?;
    let overridden = overrides::read(req.overrides.as_ref(), &definition, launch_type)?;
    check_role(&definition)?;
    let is_managed = req.enable_ecs_managed_tags == Some(true);
    let group = group(req.group.as_deref(), &definition)?;
    let started_by = started_by(req.started_by.as_deref())?;
    let tags = tags(req.propagate_tags.as_deref(), req.tags.as_deref(), is_managed, &cluster.name, &definition)?;
    only(req, KNOWN)?;
    Ok(Launch {
        definition,
        overridden,
        cluster: cluster.name.clone(),
        launch_type,
        network,
        placement: Placement::default(),
        group,
        started_by,
        client_token: None,
        enable_ecs_managed_tags: is_managed,
        tags,
    })
}
