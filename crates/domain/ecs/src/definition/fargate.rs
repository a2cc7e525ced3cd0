// SPDX-License-Identifier: Apache-2.0
//! Fargate's requirements of a task definition.

use berth_shapes::ecs::{ContainerDefinition as Asked, EphemeralStorage};
use berth_state::Refusal;
use berth_state::ecs::{ContainerDefinition, LogDriver, PidMode, TaskDefinition, VolumeKind};

use super::super::refuse::client;

/// One row: CPU units, and memory from, to, step in MiB.
type Row = (u32, &'static [u32]);

const fn steps<const N: usize>(from: u32, step: u32) -> [u32; N] {
    let mut row = [0; N];
    let mut at = 0;
    while at < N {
        row[at] = from + step * at as u32;
        at += 1;
    }
    row
}

/// Sizes a Fargate task can have.
pub(super) const SIZES: [Row; 7] = [
    (256, &[512, 1024, 2048]),
    (512, &steps::<4>(1024, 1024)),
    (1024, &steps::<7>(2048, 1024)),
    (2048, &steps::<13>(4096, 1024)),
    (4096, &steps::<23>(8192, 1024)),
    (8192, &steps::<12>(16384, 4096)),
    (16384, &steps::<12>(32768, 8192)),
];

/// CPU units a Fargate task with Windows can have.
const WINDOWS_CPU_UNITS: [u32; 3] = [1024, 2048, 4096];

/// Longest startTimeout and stopTimeout.
const TIMEOUT_S_MAX: u32 = 120;

/// Log drivers that Fargate supports.
const LOG_DRIVERS: [&str; 3] = ["awslogs", "splunk", "awsfirelens"];

/// Refuses a size that is not in the table.
pub(in super::super) fn check_size(cpu_units: Option<u32>, memory_mib: Option<u32>) -> Result<(), Refusal> {
    let cpu = cpu_units.ok_or_else(|| client("Fargate requires that 'cpu' be defined at the task level."))?;
    let memory = memory_mib.ok_or_else(|| client("Fargate requires that 'memory' be defined at the task level."))?;
    match SIZES.iter().any(|(units, sizes)| *units == cpu && sizes.contains(&memory)) {
        true => Ok(()),
        false => Err(no_such_size(cpu, memory)),
    }
}

/// Refuses a size that is in the table, but not for Windows.
pub(super) fn check_windows_size(cpu_units: Option<u32>, memory_mib: Option<u32>) -> Result<(), Refusal> {
    match (cpu_units, memory_mib) {
        (Some(cpu), Some(memory)) if !WINDOWS_CPU_UNITS.contains(&cpu) => Err(no_such_size(cpu, memory)),
        _ => Ok(()),
    }
}

fn no_such_size(cpu: u32, memory: u32) -> Refusal {
    client(format!(
        "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the Amazon ECS \
         documentation for the valid values."
    ))
}

/// Refuses a definition Fargate could not run.
pub(super) fn check(definition: &TaskDefinition) -> Result<(), Refusal> {
    if !definition.placement_constraints.is_empty() {
        return Err(unsupported("constraints"));
    }
    if definition.ipc_mode.is_some() {
        return Err(unsupported("ipcMode"));
    }
    if definition.pid_mode == Some(PidMode::Host) {
        return Err(client(
            "Tasks using the Fargate launch type do not support pidMode 'host'. The supported value for pidMode is \
             'task'.",
        ));
    }
    for volume in &definition.volumes {
        match &volume.kind {
            VolumeKind::Empty => {}
            VolumeKind::Host { .. } => return Err(unsupported("sourcePath")),
            VolumeKind::Docker(_) => return Err(unsupported("dockerVolumeConfiguration")),
        }
    }
    definition.containers.iter().try_for_each(check_privileges)?;
    check_containers(definition)
}

fn check_privileges(container: &ContainerDefinition) -> Result<(), Refusal> {
    if container.privileged == Some(true) {
        return Err(client("Fargate requires that the 'privileged' setting be 'false'"));
    }
    if container.docker_security_options.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(unsupported("dockerSecurityOptions"));
    }
    let Some(linux) = &container.linux_parameters else { return Ok(()) };
    let given = [
        ("devices", linux.devices.as_ref().is_some_and(|list| !list.is_empty())),
        ("sharedMemorySize", linux.shared_memory_mib.is_some()),
        ("maxSwap", linux.max_swap_mib.is_some()),
        ("swappiness", linux.swappiness.is_some()),
    ];
    if let Some((name, _)) = given.iter().find(|(_, is_given)| *is_given) {
        return Err(unsupported(name));
    }
    let mut added = linux.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    match added.find(|name| *name != "SYS_PTRACE") {
        Some(name) => Err(client(format!("{name} is not allowed on Fargate."))),
        None => Ok(()),
    }
}

/// AWS's refusals of members that Fargate never supports, which come before Berth's own.
pub(super) fn check_asked(asked: &Asked) -> Result<(), Refusal> {
    if asked.resource_requirements.iter().flatten().any(|need| need.r#type.as_deref() == Some("GPU")) {
        return Err(client("Tasks using the Fargate launch type do not support GPU resource requirements"));
    }
    if asked.docker_security_options.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(unsupported("dockerSecurityOptions"));
    }
    match asked.log_configuration.as_ref().and_then(|log| log.log_driver.as_deref()) {
        Some(driver) => check_log_driver(driver),
        None => Ok(()),
    }
}

fn check_log_driver(driver: &str) -> Result<(), Refusal> {
    match LOG_DRIVERS.contains(&driver) {
        true => Ok(()),
        false => {
            let known = LOG_DRIVERS.join(", ");
            Err(client(format!("{driver} is not a valid log driver. Must be one of [{known}]")))
        }
    }
}

/// Refuses containers Fargate could not run: log drivers, private images, stop timeouts.
fn check_containers(definition: &TaskDefinition) -> Result<(), Refusal> {
    let has_role = definition.execution_role_arn.is_some();
    for container in &definition.containers {
        if let Some(log) = &container.log_configuration {
            check_log_driver(log.log_driver.as_str())?;
            let is_awslogs = log.log_driver == LogDriver::Awslogs;
            if is_awslogs && !has_role {
                return Err(role_needed("log driver awslogs"));
            }
            let has_prefix = log.options.iter().flatten().any(|(name, _)| name == "awslogs-stream-prefix");
            if is_awslogs && !has_prefix {
                return Err(client(
                    "Fargate requires log configuration options to include awslogs-stream-prefix to support log \
                     driver awslogs.",
                ));
            }
        }
        if is_private_ecr(&container.image) && !has_role {
            return Err(role_needed("ECR images"));
        }
        for (kind, timeout) in [("start", container.start_timeout_s), ("stop", container.stop_timeout_s)] {
            if timeout.is_some_and(|timeout| timeout > TIMEOUT_S_MAX) {
                return Err(client(format!(
                    "Tasks using the Fargate launch type must have a container {kind} timeout of less than \
                     {TIMEOUT_S_MAX} seconds."
                )));
            }
        }
    }
    Ok(())
}

/// An image of a private ECR registry: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/...`.
pub(super) fn is_private_ecr(image: &str) -> bool {
    image.split_once('/').is_some_and(|(registry, _)| {
        registry.contains(".dkr.ecr.")
            && (registry.ends_with(".amazonaws.com") || registry.ends_with(".amazonaws.com.cn"))
    })
}

fn role_needed(what: &str) -> Refusal {
    client(format!("Fargate requires task definition to have execution role ARN to support {what}."))
}

fn unsupported(member: &str) -> Refusal {
    client(format!("Fargate compatible task definitions do not support {member}"))
}

/// Ephemeral storage of a task in GiB; a task that is not of Fargate cannot set it.
pub(in super::super) fn ephemeral_storage(
    asked: Option<&EphemeralStorage>,
    is_fargate: bool,
) -> Result<Option<u32>, Refusal> {
    let Some(size) = asked.and_then(|storage| storage.size_in_gib) else { return Ok(None) };
    match size {
        ..21 => Err(client("EphemeralStorage size should be at least 21")),
        201.. => Err(client("EphemeralStorage size should be at most 200")),
        21..=200 if !is_fargate => Err(client("Tasks using the EC2 launch type do not support EphemeralStorage")),
        21..=200 => Ok(u32::try_from(size).ok()),
    }
}
