// SPDX-License-Identifier: Apache-2.0
//! RunTask: everything is checked, then each task gets a host, an address and an interface in one change.
//!
//! A task without a host is a failure in the answer and leaves nothing behind.

use std::sync::Arc;

use berth_shapes::ecs::{ErrorCode, Failure, RunTaskRequest, RunTaskResponse};
use berth_state::ecs::{Cluster, StrategyItem, Task, TaskDefinition, task_arn};
use berth_state::{Change, ClientToken, Draft, Env, Refusal, Snapshot};
use berth_types::intent::LaunchType;
use berth_types::{HostId, TaskId, TimestampMs};

use super::network;
use super::only::only;
use super::overrides;
use super::placement::check_instances;
use super::placement_request::{Constraint, Placement, member_of};
use super::reference::{active_cluster, startable};
use super::refuse::{invalid, parameter_not_yet};
use super::starting::{Launch, check_launch_type, check_role, group, refuse_unsupported, start, started_by, tags};
use super::{provider_strategy, show_task};

/// Members of the request that have an effect.
const KNOWN: &[&str] = &[
    "capacityProviderStrategy.base",
    "capacityProviderStrategy.capacityProvider",
    "capacityProviderStrategy.weight",
    "clientToken",
    "cluster",
    "count",
    "enableECSManagedTags",
    "group",
    "launchType",
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
    "placementConstraints.expression",
    "placementConstraints.type",
    "placementStrategy.field",
    "placementStrategy.type",
    "platformVersion",
    "propagateTags",
    "startedBy",
    "tags.key",
    "tags.value",
    "taskDefinition",
];

/// Maximum number of tasks that one call can start.
const COUNT_MAX: i32 = 10;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// Validity of a client token in hours.
const TOKEN_HOURS: i64 = 24;

/// Validity of a client token in hours after its tasks have stopped.
const TOKEN_HOURS_STOPPED: i64 = 1;

/// The only platform version.
const PLATFORM_VERSION: &str = "1.4.0";

/// RunTask.
pub fn run_task(snap: &Snapshot, req: &RunTaskRequest, env: &Env) -> Result<Change<RunTaskResponse>, Refusal> {
    check_known(req)?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let token = client_token(req)?;
    if let Some(tasks) = started_before(snap, &cluster, token.as_ref(), env)? {
        let tasks = tasks.iter().map(|task| show_task::task(snap, task, env)).collect();
        return Ok(Change::none(RunTaskResponse { failures: Some(Vec::new()), tasks: Some(tasks) }));
    }
    let (launch, strategy) = launch(snap, req, &cluster, token, env)?;
    match launch.launch_type {
        LaunchType::Ec2 => check_instances(snap, &cluster.name)?,
        LaunchType::Fargate => {}
    }
    let count = req.count.unwrap_or(1);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(invalid(format!("Tasks count must be between 1 and {COUNT_MAX}")));
    }
    let mut draft = Draft::of(snap);
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for provider in providers(&strategy, count)? {
        let host = match launch.choose_host(&draft, env) {
            Ok(host) => host.clone(),
            Err(lacking) => {
                failures.extend(lacking);
                continue;
            }
        };
        let task = start(&mut draft, &launch, &host, provider, env);
        tasks.push(show_task::accepted(&draft, &task, env));
    }
    Ok(draft.change(RunTaskResponse { failures: Some(failures), tasks: Some(tasks) }))
}

/// The launch that the request asks for, checked in AWS's order, and the strategy that chooses the capacity provider of
/// each task: empty if a launch type decides.
pub(super) fn launch(
    snap: &Snapshot,
    req: &RunTaskRequest,
    cluster: &Cluster,
    client_token: Option<ClientToken>,
    env: &Env,
) -> Result<(Launch, Vec<StrategyItem>), Refusal> {
    let definition = startable(snap, req.task_definition.as_deref(), env)?;
    refuse_unsupported(req.enable_execute_command, req.volume_configurations.as_deref(), req.reference_id.as_deref())?;
    let (launch_type, strategy) = capacity(req, cluster)?;
    check_launch_type(&definition, launch_type)?;
    check_platform(req, launch_type)?;
    let placement = placement(req, launch_type, &definition)?;
    let network = network::read(snap, req.network_configuration.as_ref(), definition.mode(), launch_type)?;
    let overridden = overrides::read(req.overrides.as_ref(), &definition, launch_type)?;
    check_role(&definition)?;
    let is_managed = req.enable_ecs_managed_tags == Some(true);
    let group = group(req.group.as_deref(), &definition)?;
    let started_by = started_by(req.started_by.as_deref())?;
    let tags = tags(req.propagate_tags.as_deref(), req.tags.as_deref(), is_managed, &cluster.name, &definition)?;
    only(req, KNOWN)?;
    let launch = Launch {
        definition,
        overridden,
        cluster: cluster.name.clone(),
        launch_type,
        network,
        placement,
        group,
        started_by,
        client_token,
        enable_ecs_managed_tags: is_managed,
        tags,
    };
    Ok((launch, strategy))
}

/// Refuses an unknown launch type, before any look-up.
fn check_known(req: &RunTaskRequest) -> Result<(), Refusal> {
    match req.launch_type.as_deref() {
        None | Some("EC2" | "FARGATE") => Ok(()),
        Some(other @ ("EXTERNAL" | "MANAGED_INSTANCES")) => Err(parameter_not_yet(format!("launchType {other}"))),
        Some(other) => Err(invalid(format!("'{other}' is not a valid value for launchType."))),
    }
}

/// The launch type, and the strategy that chooses among its providers: the request's, else the cluster's. All existing
/// providers run tasks of launch type FARGATE.
fn capacity(req: &RunTaskRequest, cluster: &Cluster) -> Result<(LaunchType, Vec<StrategyItem>), Refusal> {
    let asked = req.capacity_provider_strategy.as_deref().filter(|asked| !asked.is_empty());
    match (req.launch_type.as_deref(), asked) {
        (Some(_), Some(_)) => Err(invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        )),
        (None, Some(asked)) => {
            Ok((LaunchType::Fargate, provider_strategy::strategy(Some(asked), &cluster.capacity_providers)?))
        }
        (None, None) if !cluster.default_strategy.is_empty() => {
            Ok((LaunchType::Fargate, cluster.default_strategy.clone()))
        }
        (Some("FARGATE"), None) => Ok((LaunchType::Fargate, Vec::new())),
        (None | Some(_), None) => Ok((LaunchType::Ec2, Vec::new())),
    }
}

/// The provider of each task.
fn providers(strategy: &[StrategyItem], count: i32) -> Result<Vec<Option<String>>, Refusal> {
    let count = usize::try_from(count).unwrap_or(0);
    if strategy.is_empty() {
        return Ok(vec![None; count]);
    }
    let providers = provider_strategy::distribute(strategy, count)?;
    Ok(providers.into_iter().map(Some).collect())
}

fn check_platform(req: &RunTaskRequest, launch_type: LaunchType) -> Result<(), Refusal> {
    match (launch_type, req.platform_version.as_deref()) {
        (_, None) => Ok(()),
        (LaunchType::Ec2, Some(_)) => {
            Err(invalid("The platform version must be null when specifying an EC2 launch type."))
        }
        (LaunchType::Fargate, Some("LATEST" | PLATFORM_VERSION)) => Ok(()),
        (LaunchType::Fargate, Some(_)) => {
            Err(Refusal::new(ErrorCode::PlatformUnknownException, "The specified platform does not exist."))
        }
    }
}

/// Constraints and strategies of the request, and the constraints of the definition.
fn placement(req: &RunTaskRequest, launch_type: LaunchType, definition: &TaskDefinition) -> Result<Placement, Refusal> {
    let constraints = req.placement_constraints.as_ref().is_some_and(|list| !list.is_empty());
    let strategies = req.placement_strategy.as_ref().is_some_and(|list| !list.is_empty());
    match (launch_type, constraints, strategies) {
        (LaunchType::Fargate, true, _) => {
            Err(invalid("Placement constraints are not supported with FARGATE launch type."))
        }
        (LaunchType::Fargate, false, true) => {
            Err(invalid("Placement strategies are not supported with FARGATE launch type."))
        }
        (LaunchType::Fargate, false, false) => Ok(Placement::default()),
        (LaunchType::Ec2, _, _) => {
            let strategies = req.placement_strategy.as_deref();
            let mut placement = Placement::read(req.placement_constraints.as_deref(), strategies)?;
            for expression in &definition.placement_constraints {
                placement.constraints.push(Constraint::MemberOf(member_of(Some(expression))?));
            }
            Ok(placement)
        }
    }
}

/// The token with a digest of the request it stands for.
fn client_token(req: &RunTaskRequest) -> Result<Option<ClientToken>, Refusal> {
    let Some(token) = req.client_token.as_deref() else { return Ok(None) };
    if token.len() > 64 || !token.bytes().all(|b| (33..=126).contains(&b)) {
        return Err(invalid("clientToken must have up to 64 ASCII characters in the range of 33-126."));
    }
    Ok(ClientToken::of(Some(token), req))
}

/// The tasks that an earlier call with this token started in the cluster, while the token is valid.
fn started_before(
    snap: &Snapshot,
    cluster: &Cluster,
    token: Option<&ClientToken>,
    env: &Env,
) -> Result<Option<Vec<Arc<Task>>>, Refusal> {
    let Some(token) = token else { return Ok(None) };
    let first = (token.text().to_owned(), TaskId::from_bits(0));
    let known = snap.ecs().index().client_tokens.range(first..).take_while(|(known, _)| known == token.text());
    let known = known.filter_map(|(_, task)| snap.ecs().tasks.get(task).cloned());
    let tasks: Vec<Arc<Task>> = known.filter(|task| task.cluster == cluster.name && holds_token(task, env)).collect();
    if tasks.is_empty() {
        return Ok(None);
    }
    let is_same = |task: &Arc<Task>| task.client_token.as_ref().is_some_and(|known| known.is_same_request(token));
    if !tasks.iter().all(is_same) {
        let arns: Vec<String> = tasks.iter().map(|task| task_arn(&task.cluster, &task.id, env)).collect();
        return Err(Refusal::new(
            ErrorCode::ConflictException,
            format!(
                "The provided clientToken is already in use with a different RunTask request. The tasks associated \
                 with it are: {}",
                arns.join(", ")
            ),
        )
        .because_of(arns));
    }
    Ok(Some(tasks))
}

/// True while the token of this task is valid: for a day, and at most for an hour after the task stopped.
fn holds_token(task: &Task, env: &Env) -> bool {
    let is_over = |since: TimestampMs, hours: i64| since.0 + hours * HOUR_MS <= env.now.0;
    !is_over(task.times.created_at, TOKEN_HOURS)
        && !task.times.stopped_at.is_some_and(|stopped| is_over(stopped, TOKEN_HOURS_STOPPED))
}

/// The host on which RunTask would start the first task now, or AWS's failures. Nothing is started.
pub fn choose_host(snap: &Snapshot, req: &RunTaskRequest, env: &Env) -> Result<Result<HostId, Vec<Failure>>, Refusal> {
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let (launch, _) = launch(snap, req, &cluster, None, env)?;
    Ok(launch.choose_host(snap, env).map(|host| host.id.clone()))
}
