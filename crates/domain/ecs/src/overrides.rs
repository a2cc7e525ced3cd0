// SPDX-License-Identifier: Apache-2.0
//! Overrides of RunTask.

use berth_shapes::ecs::{ContainerOverride, KeyValuePair, TaskOverride};
use berth_state::Refusal;
use berth_state::ecs::{ContainerOverrides, TaskDefinition, TaskOverrides};
use berth_types::intent::LaunchType;

use super::definition::{check_size, ephemeral_storage, parse_cpu, parse_memory};
use super::refuse::{client, invalid, parameter_not_yet};

/// Maximum length of all overrides together, in characters.
const OVERRIDES_CHARACTERS_MAX: usize = 8192;

/// Checked overrides with the size that results.
pub(super) struct Overridden {
    pub task: TaskOverrides,
    /// One for each container of the definition, in its order.
    pub containers: Vec<ContainerOverrides>,
    pub cpu_units: Option<u32>,
    pub memory_mib: Option<u32>,
}

/// Checks the overrides of a definition in RunTask.
pub(super) fn read(
    asked: Option<&TaskOverride>,
    definition: &TaskDefinition,
    launch_type: LaunchType,
) -> Result<Overridden, Refusal> {
    let empty = TaskOverride::default();
    let asked = asked.unwrap_or(&empty);
    refuse_unsupported(asked)?;
    let mut containers = vec![ContainerOverrides::default(); definition.containers.len()];
    for (at, asked) in asked.container_overrides.iter().flatten().enumerate() {
        let name = asked.name.as_deref().unwrap_or_default();
        let found = definition.containers.iter().position(|container| container.name == name);
        let found = found.ok_or_else(|| {
            invalid(format!("Override for container named {name} is not a container in the TaskDefinition."))
        })?;
        containers[found] = container(asked, at)?;
    }
    let cpu_units = asked.cpu.as_deref().map(parse_cpu).transpose()?.or(definition.cpu_units);
    let memory_mib = asked.memory.as_deref().map(parse_memory).transpose()?.or(definition.memory_mib);
    let is_fargate = launch_type == LaunchType::Fargate;
    if is_fargate {
        check_size(cpu_units, memory_mib)?;
    }
    let task = TaskOverrides {
        cpu: asked.cpu.clone(),
        memory: asked.memory.clone(),
        execution_role_arn: asked.execution_role_arn.clone(),
        ephemeral_storage_gib: ephemeral_storage(asked.ephemeral_storage.as_ref(), is_fargate)?,
    };
    check_length(asked)?;
    Ok(Overridden { task, containers, cpu_units, memory_mib })
}

/// Refusal of a role; this release has no roles that a task could assume.
pub(super) fn cannot_assume(role: &str) -> Refusal {
    client(format!(
        "ECS was unable to assume the role '{role}' that was provided for this task. Please verify that the role being \
         passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this \
         role."
    ))
}

fn refuse_unsupported(asked: &TaskOverride) -> Result<(), Refusal> {
    if let Some(role) = asked.task_role_arn.as_deref().filter(|role| !role.is_empty()) {
        return Err(cannot_assume(role));
    }
    if asked.inference_accelerator_overrides.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(parameter_not_yet("overrides.inferenceAcceleratorOverrides"));
    }
    Ok(())
}

fn container(asked: &ContainerOverride, at: usize) -> Result<ContainerOverrides, Refusal> {
    let path = format!("overrides.containerOverrides[{at}]");
    if asked.environment_files.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(parameter_not_yet(format!("{path}.environmentFiles")));
    }
    if asked.resource_requirements.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(parameter_not_yet(format!("{path}.resourceRequirements")));
    }
    let natural = |given: Option<i32>, member: &str| {
        given
            .map(|given| u32::try_from(given).map_err(|_| invalid(format!("{path}.{member} must not be negative."))))
            .transpose()
    };
    let pair = |pair: &KeyValuePair| match pair.name.as_deref() {
        None | Some("") => Err(invalid(format!("{path}.environment names must not be empty."))),
        Some(name) => Ok((name.to_owned(), pair.value.clone().unwrap_or_default())),
    };
    let overrides = ContainerOverrides {
        given: true,
        command: asked.command.clone(),
        environment: asked
            .environment
            .as_ref()
            .map(|pairs| pairs.iter().map(pair).collect::<Result<Vec<_>, _>>())
            .transpose()?,
        cpu_units: natural(asked.cpu, "cpu")?,
        memory_mib: natural(asked.memory, "memory")?,
        memory_reservation_mib: natural(asked.memory_reservation, "memoryReservation")?,
    };
    if let (Some(hard), Some(soft)) = (overrides.memory_mib, overrides.memory_reservation_mib)
        && hard < soft
    {
        return Err(invalid(format!("{path}: 'memory' must be greater than or equal to 'memoryReservation'.")));
    }
    Ok(overrides)
}

fn check_length(asked: &TaskOverride) -> Result<(), Refusal> {
    let words = |asked: &ContainerOverride| {
        let command = asked.command.iter().flatten().map(String::len).sum::<usize>();
        let pairs = asked.environment.iter().flatten();
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        command + pairs.map(|pair| length(&pair.name) + length(&pair.value)).sum::<usize>() + length(&asked.name)
    };
    if asked.container_overrides.iter().flatten().map(words).sum::<usize>() > OVERRIDES_CHARACTERS_MAX {
        return Err(invalid(format!("Container Overrides length must be at most {OVERRIDES_CHARACTERS_MAX}")));
    }
    Ok(())
}
