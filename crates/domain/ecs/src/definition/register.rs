// SPDX-License-Identifier: Apache-2.0
//! RegisterTaskDefinition.

use berth_shapes::ecs::{
    RegisterTaskDefinitionRequest as Asked, RegisterTaskDefinitionResponse, TaskDefinitionPlacementConstraint,
};
use berth_state::ecs::{
    CpuArchitecture, FamilyName, IpcMode, OperatingSystemFamily, PidMode, RuntimePlatform, TaskDefinition,
    TaskDefinitionFamily, TaskDefinitionKey,
};
use berth_state::request::unknown_path;
use berth_state::{Change, Draft, Env, Refusal, Snapshot};
use berth_types::Arn;
use berth_types::intent::LaunchType;

use super::super::placement_request::member_of;
use super::super::refuse::{client, not_yet};
use super::super::tag;
use super::around::Around;
use super::container;
use super::known::KNOWN;
use super::network_mode::{self, NetworkMode};
use super::read::word;
use super::size::{invalid_setting, parse_cpu, parse_memory};
use super::{attributes, fargate, linux, show, unsupported, volume};

const CONTAINERS_MAX: usize = 10;

const PLACEMENT_CONSTRAINTS_MAX: usize = 10;

/// Largest definition, in bytes.
const DEFINITION_BYTES_MAX: usize = 65_536;

/// Valid CPU units of a task of launch type EC2.
const EC2_CPU_UNITS: std::ops::RangeInclusive<u32> = 128..=196_608;

/// Minimum memory of a task of launch type EC2, MiB.
const EC2_MEMORY_MIB_MIN: u32 = 6;

/// RegisterTaskDefinition.
pub fn register_task_definition(
    snap: &Snapshot,
    req: &Asked,
    env: &Env,
) -> Result<Change<RegisterTaskDefinitionResponse>, Refusal> {
    let family = family(req)?;
    let around = around(req)?;
    unsupported::check_task(req, around.mode)?;
    let volumes = volume::read(req.volumes.as_deref())?;
    let asked = req.container_definitions.as_deref().unwrap_or_default();
    let containers = asked
        .iter()
        .enumerate()
        .map(|(at, asked)| container::read(asked, &around, &format!("containerDefinitions[{at}]")))
        .collect::<Result<Vec<_>, _>>()?;
    container::check_together(&containers, &around, &volumes)?;
    let last_revision = snap.ecs().families.get(&family).map_or(0, |family| family.last_revision);
    let key = TaskDefinitionKey { family: family.clone(), revision: last_revision + 1 };
    let mut definition = TaskDefinition {
        key: key.clone(),
        network_mode: around.given_mode,
        requires_compatibilities: Some(around.required.clone()).filter(|list| !list.is_empty()),
        compatibilities: Vec::new(),
        requires_attributes: Vec::new(),
        cpu_units: around.cpu_units,
        memory_mib: around.memory_mib,
        task_role_arn: role(req.task_role_arn.as_deref(), env)?,
        execution_role_arn: role(req.execution_role_arn.as_deref(), env)?,
        runtime_platform: runtime_platform(req)?,
        enable_fault_injection: req.enable_fault_injection,
        placement_constraints: placement_constraints(req)?,
        volumes,
        pid_mode: word(req.pid_mode.as_deref(), PidMode::parse, "pidMode")?,
        ipc_mode: word(req.ipc_mode.as_deref(), IpcMode::parse, "ipcMode")?,
        ephemeral_storage_gib: fargate::ephemeral_storage(req.ephemeral_storage.as_ref(), around.fargate)?,
        containers,
        registered_at: env.now,
        registered_by: env.caller.arn(),
        deregistered_at: None,
        delete_requested_at: None,
        tags: tags(req)?,
    };
    if around.fargate {
        fargate::check(&definition)?;
    }
    for container in &definition.containers {
        linux::check_ipc_controls(definition.ipc_mode, &container.system_controls)?;
    }
    definition.compatibilities = attributes::compatibilities(&definition, around.mode);
    definition.requires_attributes = attributes::required(&definition, around.mode);
    if let Some(path) = unknown_path(req, KNOWN) {
        return Err(not_yet(path));
    }
    check_length(&definition)?;
    let response = RegisterTaskDefinitionResponse {
        tags: (!definition.tags.is_empty()).then(|| tag::show(&definition.tags)),
        task_definition: Some(show::definition(&definition, env)),
    };
    let mut draft = Draft::of(snap);
    draft.put(TaskDefinitionFamily { name: family, last_revision: key.revision });
    draft.put(definition);
    Ok(draft.change(response))
}

fn family(req: &Asked) -> Result<FamilyName, Refusal> {
    let family = req.family.as_deref().filter(|family| !family.is_empty());
    let family = family.ok_or_else(|| client("Family should not be null or empty."))?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if family.len() > 255 || !family.chars().all(is_allowed) {
        return Err(client("Family contains invalid characters."));
    }
    Ok(FamilyName(family.to_owned()))
}

/// Network mode, launch types and size, against which all other members are checked.
fn around(req: &Asked) -> Result<Around, Refusal> {
    let containers = req.container_definitions.as_deref().unwrap_or_default();
    if containers.is_empty() {
        return Err(client("Container list cannot be empty."));
    }
    if containers.len() > CONTAINERS_MAX {
        return Err(client("Too many containers."));
    }
    containers.iter().try_for_each(|asked| container::name_and_image(asked).map(drop))?;
    let given_mode = network_mode::read(req.network_mode.as_deref())?;
    let mode = given_mode.unwrap_or(NetworkMode::Bridge);
    let required = requires_compatibilities(req)?;
    let fargate = required.contains(&LaunchType::Fargate);
    if fargate && mode != NetworkMode::Awsvpc {
        return Err(client("Fargate only supports network mode \u{2018}awsvpc\u{2019}."));
    }
    let cpu_units = req.cpu.as_deref().map(parse_cpu).transpose()?;
    let memory_mib = req.memory.as_deref().map(parse_memory).transpose()?;
    if fargate {
        fargate::check_size(cpu_units, memory_mib)?;
        let platform = req.runtime_platform.as_ref();
        if platform.and_then(|asked| asked.operating_system_family.as_deref()).is_some_and(is_windows) {
            fargate::check_windows_size(cpu_units, memory_mib)?;
        }
    }
    if cpu_units.is_some_and(|cpu| !EC2_CPU_UNITS.contains(&cpu)) {
        return Err(invalid_setting("cpu"));
    }
    if memory_mib.is_some_and(|memory| memory < EC2_MEMORY_MIB_MIN) {
        return Err(invalid_setting("memory"));
    }
    let has_execution_role = req.execution_role_arn.as_ref().is_some_and(|role| !role.is_empty());
    Ok(Around { mode, given_mode, required, fargate, has_execution_role, cpu_units, memory_mib })
}

fn requires_compatibilities(req: &Asked) -> Result<Vec<LaunchType>, Refusal> {
    let read = |name: &String| match name.as_str() {
        "EC2" => Ok(LaunchType::Ec2),
        "FARGATE" => Ok(LaunchType::Fargate),
        "EXTERNAL" | "MANAGED_INSTANCES" => Err(not_yet(format!("requiresCompatibilities {name}"))),
        other => Err(client(format!("'{other}' is not a valid value for requiresCompatibilities."))),
    };
    req.requires_compatibilities.iter().flatten().map(read).collect()
}

fn is_windows(operating_system_family: &str) -> bool {
    operating_system_family.starts_with("WINDOWS_")
}

/// The expressions of the constraints; refuses one that does not parse.
fn placement_constraints(req: &Asked) -> Result<Vec<String>, Refusal> {
    let asked = req.placement_constraints.as_deref().unwrap_or_default();
    if asked.len() > PLACEMENT_CONSTRAINTS_MAX {
        return Err(client(format!("placementConstraints can have at most {PLACEMENT_CONSTRAINTS_MAX} items.")));
    }
    let expression = |asked: &TaskDefinitionPlacementConstraint| match asked.r#type.as_deref() {
        Some("memberOf") => {
            member_of(asked.expression.as_deref()).map_err(|refusal| client(refusal.message))?;
            Ok(asked.expression.clone().unwrap_or_default())
        }
        other => {
            let other = other.unwrap_or_default();
            Err(client(format!("'{other}' is not a valid value for placementConstraints.type.")))
        }
    };
    asked.iter().map(expression).collect()
}

/// A role by ARN, or by name in this account.
fn role(text: Option<&str>, env: &Env) -> Result<Option<String>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let invalid = || client("Role is not valid");
    if text.starts_with("arn:") {
        let arn: Arn = text.parse().map_err(|_| invalid())?;
        let is_role = arn.service == "iam" && arn.resource.strip_prefix("role/").is_some_and(|name| !name.is_empty());
        return if is_role { Ok(Some(text.to_owned())) } else { Err(invalid()) };
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c);
    if !text.chars().all(is_allowed) {
        return Err(invalid());
    }
    Ok(Some(format!("arn:aws:iam::{}:role/{}", env.account, text.trim_start_matches('/'))))
}

fn runtime_platform(req: &Asked) -> Result<Option<RuntimePlatform>, Refusal> {
    let Some(asked) = &req.runtime_platform else { return Ok(None) };
    let architecture = asked.cpu_architecture.as_deref();
    let cpu_architecture = word(architecture, CpuArchitecture::parse, "runtimePlatform.cpuArchitecture")?;
    let family = asked.operating_system_family.as_deref();
    let read = |name| {
        OperatingSystemFamily::parse(name)
            .ok_or_else(|| not_yet(format!("runtimePlatform.operatingSystemFamily {name}")))
    };
    let operating_system_family = family.map(read).transpose()?;
    Ok(Some(RuntimePlatform { cpu_architecture, operating_system_family }))
}

fn tags(req: &Asked) -> Result<berth_state::Tags, Refusal> {
    if req.tags.as_ref().is_some_and(Vec::is_empty) {
        return Err(client("Tags can not be empty."));
    }
    tag::read(req.tags.as_deref())
}

fn check_length(definition: &TaskDefinition) -> Result<(), Refusal> {
    // Serializing plain records into memory cannot fail; a record that did would be refused as too long.
    let length = serde_json::to_vec(definition).map_or(usize::MAX, |body| body.len());
    if length > DEFINITION_BYTES_MAX {
        return Err(client(format!(
            "Actual length: '{length}'. Max allowed length is '{DEFINITION_BYTES_MAX}' bytes."
        )));
    }
    Ok(())
}
