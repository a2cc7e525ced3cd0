//! RunTask: everything is checked, then each task gets a host, an address and an interface in one change.
//!
//! A task whose interface cannot be made is stored as STOPPED with the reason, as AWS shows it; a task without a host
//! is a failure in the answer and leaves nothing behind.

use std::sync::Arc;

use berth_shapes::ecs::{ErrorCode, Failure, RunTaskRequest, RunTaskResponse};
use berth_types::intent::{Desired, LaunchType};
use berth_types::report::ContainerStatus;
use berth_types::{HostId, TaskId, TimestampMs, uuid_text};

use super::load::Need;
use super::network::{self, Network};
use super::observe::FAILED_TO_START;
use super::overrides::{self, Overridden, cannot_assume};
use super::placement::{Wanted, check_instances, fargate_host, lacking, need};
use super::placement_request::{Constraint, Placement, member_of};
use super::record::{
    Cluster, Host, StrategyItem, Task, TaskAttachmentStatus, TaskContainer, TaskDefinition, TaskStatus, TaskStop,
    TaskTimes,
};
use super::reference::{active_cluster, startable, task_arn};
use super::refuse::{client, invalid, parameter_not_yet};
use super::{capacity_provider, show_task, strategy, tag};
use crate::page::checksum;
use crate::vpc::record::Tags;
use crate::{Change, Draft, Env, Refusal, Snapshot};

/// Tasks one call can start.
const COUNT_MAX: i32 = 10;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// How long a client token stands for the tasks it started.
const TOKEN_HOURS: i64 = 24;

/// How long it does after they stopped.
const TOKEN_HOURS_STOPPED: i64 = 1;

/// The only platform there is.
const PLATFORM_VERSION: &str = "1.4.0";

/// RunTask.
pub fn run_task(snap: &Snapshot, req: &RunTaskRequest, env: &Env) -> Result<Change<RunTaskResponse>, Refusal> {
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let token = client_token(req)?;
    if let Some(tasks) = started_before(snap, &cluster, token.as_ref(), env)? {
        let tasks = tasks.iter().map(|task| show_task::task(snap, task, env)).collect();
        return Ok(Change::none(RunTaskResponse { failures: Some(Vec::new()), tasks: Some(tasks) }));
    }
    let prepared = prepare(snap, req, &cluster, token, env)?;
    match prepared.launch.launch_type {
        LaunchType::Ec2 => check_instances(snap, &cluster.name)?,
        LaunchType::Fargate => {}
    }
    let count = req.count.unwrap_or(1);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(invalid(format!("Tasks count must be between 1 and {COUNT_MAX}")));
    }
    let mut draft = Draft::of(snap);
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    let providers = providers(&prepared.strategy, count)?;
    for provider in providers {
        match start(&mut draft, &prepared, provider, env) {
            Ok(task) => tasks.push(show_task::accepted(&draft, &task, env)),
            Err(lacking) => failures.extend(lacking),
        }
    }
    Ok(draft.change(RunTaskResponse { failures: Some(failures), tasks: Some(tasks) }))
}

/// A checked request: what to start, and a task of it without ids and network.
pub(super) struct Prepared {
    pub definition: Arc<TaskDefinition>,
    pub template: Task,
    launch: Launch,
    /// Empty when a launch type decides.
    strategy: Vec<StrategyItem>,
}

impl Prepared {
    /// What placement looks at.
    pub fn wanted(&self) -> Wanted<'_> {
        Wanted {
            cluster: &self.template.cluster,
            definition: &self.definition,
            need: self.template.need,
            subnets: self.launch.network.as_ref().map(|network| network.subnets.as_slice()),
            ports: &self.template.ports,
            group: Arc::from(self.template.group.as_str()),
            placement: &self.launch.placement,
        }
    }
}

/// Checks everything but the number of tasks.
pub(super) fn prepare(
    snap: &Snapshot,
    req: &RunTaskRequest,
    cluster: &Cluster,
    token: Option<(String, String)>,
    env: &Env,
) -> Result<Prepared, Refusal> {
    let definition = startable(snap, req.task_definition.as_deref(), env)?;
    refuse_unsupported(req)?;
    let (launch_type, strategy) = capacity(req, cluster)?;
    let launch = launch(snap, req, &definition, launch_type)?;
    let template = template(req, cluster, &definition, &launch, token, env)?;
    Ok(Prepared { definition, template, launch, strategy })
}

/// What the request means, checked.
struct Launch {
    launch_type: LaunchType,
    /// In network mode awsvpc.
    network: Option<Network>,
    placement: Placement,
    overridden: Overridden,
}

/// The launch type, and the strategy that chooses among its providers: the request's, else the cluster's. All providers
/// there are run tasks of launch type FARGATE.
fn capacity(req: &RunTaskRequest, cluster: &Cluster) -> Result<(LaunchType, Vec<StrategyItem>), Refusal> {
    let asked = req.capacity_provider_strategy.as_deref().filter(|asked| !asked.is_empty());
    match (req.launch_type.as_deref(), asked) {
        (Some(_), Some(_)) => Err(invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        )),
        (None, Some(asked)) => {
            Ok((LaunchType::Fargate, capacity_provider::strategy(Some(asked), &cluster.capacity_providers)?))
        }
        (None, None) if !cluster.default_strategy.is_empty() => {
            Ok((LaunchType::Fargate, cluster.default_strategy.clone()))
        }
        (None | Some("EC2"), None) => Ok((LaunchType::Ec2, Vec::new())),
        (Some("FARGATE"), None) => Ok((LaunchType::Fargate, Vec::new())),
        (Some(other @ ("EXTERNAL" | "MANAGED_INSTANCES")), None) => {
            Err(parameter_not_yet(format!("launchType {other}")))
        }
        (Some(other), None) => Err(invalid(format!("'{other}' is not a valid value for launchType."))),
    }
}

/// The provider of each task.
fn providers(strategy: &[StrategyItem], count: i32) -> Result<Vec<Option<String>>, Refusal> {
    let count = usize::try_from(count).unwrap_or(0);
    if strategy.is_empty() {
        return Ok(vec![None; count]);
    }
    let providers = capacity_provider::distribute(strategy, count)?;
    Ok(providers.into_iter().map(Some).collect())
}

fn launch(
    snap: &Snapshot,
    req: &RunTaskRequest,
    definition: &TaskDefinition,
    launch_type: LaunchType,
) -> Result<Launch, Refusal> {
    if !definition.compatibilities.iter().any(|name| name == launch_type.as_str()) {
        return Err(invalid(format!("Task definition does not support launch_type {}.", launch_type.as_str())));
    }
    check_platform(req, launch_type)?;
    let placement = placement(req, launch_type, definition)?;
    let network = network::read(snap, req.network_configuration.as_ref(), definition.mode(), launch_type)?;
    let overridden = overrides::read(req.overrides.as_ref(), definition, launch_type)?;
    if let Some(role) = &definition.task_role_arn {
        return Err(cannot_assume(role));
    }
    Ok(Launch { launch_type, network, placement, overridden })
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

fn refuse_unsupported(req: &RunTaskRequest) -> Result<(), Refusal> {
    let given = [
        ("enableExecuteCommand", req.enable_execute_command == Some(true)),
        ("volumeConfigurations", req.volume_configurations.as_ref().is_some_and(|list| !list.is_empty())),
        ("referenceId", req.reference_id.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((member, _)) => Err(parameter_not_yet(member)),
        None => Ok(()),
    }
}

/// The token with a digest of the request it stands for.
fn client_token(req: &RunTaskRequest) -> Result<Option<(String, String)>, Refusal> {
    let Some(token) = req.client_token.as_ref().filter(|token| !token.is_empty()) else { return Ok(None) };
    if token.len() > 64 || !token.bytes().all(|b| (33..=126).contains(&b)) {
        return Err(invalid("clientToken must have up to 64 ASCII characters in the range of 33-126."));
    }
    Ok(Some((token.clone(), format!("{:016x}", checksum(&format!("{req:?}"))))))
}

/// The tasks an earlier call with this token started in the cluster, if there was one and the token still stands for it.
fn started_before(
    snap: &Snapshot,
    cluster: &Cluster,
    token: Option<&(String, String)>,
    env: &Env,
) -> Result<Option<Vec<Arc<Task>>>, Refusal> {
    let Some((token, digest)) = token else { return Ok(None) };
    let first = (token.clone(), TaskId::from_bits(0));
    let known = snap.index().client_tokens.range(first..).take_while(|(known, _)| known == token);
    let known = known.filter_map(|(_, task)| snap.tasks.get(task).cloned());
    let tasks: Vec<Arc<Task>> = known.filter(|task| task.cluster == cluster.name && holds_token(task, env)).collect();
    if tasks.is_empty() {
        return Ok(None);
    }
    let is_same = |task: &Arc<Task>| task.client_token.as_ref().is_some_and(|(_, known)| known == digest);
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

/// Whether a token stands for this task: for a day, and no longer than for an hour after the task stopped.
fn holds_token(task: &Task, env: &Env) -> bool {
    let is_over = |since: TimestampMs, hours: i64| since.0 + hours * HOUR_MS <= env.now.0;
    !is_over(task.times.created_at, TOKEN_HOURS)
        && !task.times.stopped_at.is_some_and(|stopped| is_over(stopped, TOKEN_HOURS_STOPPED))
}

/// What all tasks of the call have in common; ids and network are filled in by `start`.
fn template(
    req: &RunTaskRequest,
    cluster: &Cluster,
    definition: &TaskDefinition,
    launch: &Launch,
    client_token: Option<(String, String)>,
    env: &Env,
) -> Result<Task, Refusal> {
    let network = match &launch.network {
        Some(network) => {
            let subnet = network.subnets.first().ok_or_else(|| invalid("subnets can not be empty."))?;
            Some(network::precreated(subnet, &network.groups, env))
        }
        None => None,
    };
    // Where there is no interface to wait for a task has its place at once.
    let (status, connectivity_at) = match network {
        Some(_) => (TaskStatus::Provisioning, None),
        None => (TaskStatus::Pending, Some(env.now)),
    };
    let mut task = Task {
        id: TaskId::from_bits(0),
        cluster: cluster.name.clone(),
        definition: definition.key.clone(),
        launch_type: launch.launch_type,
        capacity_provider: None,
        host: None,
        network,
        ports: definition.host_ports(),
        desired: Desired::Running,
        status,
        stage: None,
        version: 1,
        cpu_units: launch.overridden.cpu_units,
        memory_mib: launch.overridden.memory_mib,
        need: Need::default(),
        containers: containers(definition, &launch.overridden),
        overrides: launch.overridden.task.clone(),
        group: group(req, definition)?,
        started_by: started_by(req)?,
        client_token,
        stop: None,
        enable_ecs_managed_tags: req.enable_ecs_managed_tags == Some(true),
        times: TaskTimes { created_at: env.now, connectivity_at, ..Default::default() },
        tags: tags(req, cluster, definition)?,
    };
    task.need = need(definition, &task);
    Ok(task)
}

fn containers(definition: &TaskDefinition, overridden: &Overridden) -> Vec<TaskContainer> {
    let container = |(index, name): (usize, &String)| TaskContainer {
        id: String::new(),
        endpoint_id: String::new(),
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

/// The host on which RunTask would start the first task now, or AWS's failures. Nothing is started.
pub fn choose_host(snap: &Snapshot, req: &RunTaskRequest, env: &Env) -> Result<Result<HostId, Vec<Failure>>, Refusal> {
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let prepared = prepare(snap, req, &cluster, None, env)?;
    Ok(host_for(snap, &prepared, env).map(|host| host.id.clone()))
}

fn host_for<'a>(snap: &'a Snapshot, prepared: &Prepared, env: &Env) -> Result<&'a Arc<Host>, Vec<Failure>> {
    let wanted = prepared.wanted();
    match prepared.launch.launch_type {
        LaunchType::Fargate => fargate_host(snap, &wanted),
        LaunchType::Ec2 => strategy::best(snap, &wanted, env).ok_or_else(|| lacking(snap, &wanted, env)),
    }
}

/// Starts one task on a host of its choice.
fn start(draft: &mut Draft, prepared: &Prepared, provider: Option<String>, env: &Env) -> Result<Task, Vec<Failure>> {
    let host = host_for(draft, prepared, env)?.clone();
    Ok(start_on(draft, &host, prepared, provider, env))
}

/// Starts one task on this host: chooses its subnet, makes and attaches its interface, if it is to have one.
pub(super) fn start_on(
    draft: &mut Draft,
    host: &Host,
    prepared: &Prepared,
    capacity_provider: Option<String>,
    env: &Env,
) -> Task {
    let Prepared { template, launch, .. } = prepared;
    // A host serves every zone for Fargate.
    let zone = match launch.launch_type {
        LaunchType::Fargate => None,
        LaunchType::Ec2 => Some(host.availability_zone.as_str()),
    };
    let mut task = Task { capacity_provider, ..template.clone() };
    task.id = TaskId::from_bits(env.fresh_bits());
    for container in &mut task.containers {
        container.id = uuid_text(env.fresh_bits());
        container.endpoint_id = uuid_text(env.fresh_bits());
    }
    let plugged = match &launch.network {
        Some(network) => {
            if let Some(subnet) = network::choose_subnet(draft, &network.subnets, zone) {
                task.network = Some(network::precreated(subnet, &network.groups, env));
            }
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

/// The task ends before it has a place.
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

fn group(req: &RunTaskRequest, definition: &TaskDefinition) -> Result<String, Refusal> {
    match req.group.as_deref().filter(|group| !group.is_empty()) {
        None => Ok(format!("family:{}", definition.key.family)),
        Some(group) if group.starts_with("service:") => Err(invalid("Invalid namespace for group.")),
        Some(group) => Ok(group.to_owned()),
    }
}

fn started_by(req: &RunTaskRequest) -> Result<Option<String>, Refusal> {
    let Some(given) = req.started_by.as_ref().filter(|given| !given.is_empty()) else { return Ok(None) };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-/_".contains(c);
    if given.chars().count() > 128 || !given.chars().all(is_allowed) {
        return Err(invalid(
            "startedBy can have up to 128 letters (uppercase and lowercase), numbers, hyphens, forward slash, and \
             underscores.",
        ));
    }
    Ok(Some(given.clone()))
}

fn tags(req: &RunTaskRequest, cluster: &Cluster, definition: &TaskDefinition) -> Result<Tags, Refusal> {
    let mut tags = match req.propagate_tags.as_deref() {
        None | Some("NONE") => Tags::new(),
        Some("TASK_DEFINITION") => definition.tags.clone(),
        Some("SERVICE") => return Err(invalid("propagateTags SERVICE is not valid for a task without a service.")),
        Some(other) => return Err(client(format!("'{other}' is not a valid value for propagateTags."))),
    };
    tags.extend(tag::read(req.tags.as_deref())?);
    if req.enable_ecs_managed_tags == Some(true) {
        tags.insert("aws:ecs:clusterName".to_owned(), cluster.name.0.clone());
    }
    Ok(tags)
}
