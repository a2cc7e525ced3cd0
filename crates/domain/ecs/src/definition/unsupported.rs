// SPDX-License-Identifier: Apache-2.0
//! Members of a definition and its containers that AWS has and this program has not: first AWS's own refusals of them,
//! then the refusal of all.

use berth_shapes::ecs::{ContainerDefinition as Asked, ProxyConfiguration, RegisterTaskDefinitionRequest};
use berth_state::Refusal;

use super::super::refuse::{client, not_yet};
use super::around::Around;
use super::network_mode::NetworkMode;

const ENVIRONMENT_FILES_MAX: usize = 10;

/// Refuses a definition with unsupported members.
pub(super) fn check_task(req: &RegisterTaskDefinitionRequest, mode: NetworkMode) -> Result<(), Refusal> {
    if req.inference_accelerators.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(client("Unsupported field 'inferenceAccelerators'"));
    }
    if let Some(proxy) = &req.proxy_configuration {
        check_proxy(proxy, req, mode)?;
    }
    let containers = || req.container_definitions.iter().flatten();
    let mounted: Vec<&str> = containers()
        .flat_map(|container| container.mount_points.iter().flatten())
        .filter_map(|mount| mount.source_volume.as_deref())
        .collect();
    let at_launch = req.volumes.iter().flatten().filter(|volume| volume.configured_at_launch == Some(true));
    let unmounted: Vec<&str> =
        at_launch.filter_map(|volume| volume.name.as_deref()).filter(|name| !mounted.contains(name)).collect();
    if !unmounted.is_empty() {
        return Err(client(format!("Volumes [{}] are not referenced by any of the containers", unmounted.join(", "))));
    }
    let given = [
        ("enableFaultInjection", req.enable_fault_injection == Some(true)),
        ("proxyConfiguration", req.proxy_configuration.is_some()),
        ("trustedExecutionConfiguration", req.trusted_execution_configuration.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((member, _)) => Err(not_yet(member)),
        None => Ok(()),
    }
}

fn check_proxy(
    proxy: &ProxyConfiguration,
    req: &RegisterTaskDefinitionRequest,
    mode: NetworkMode,
) -> Result<(), Refusal> {
    if mode != NetworkMode::Awsvpc {
        return Err(client("APPMESH proxy configuration is only supported in networkMode=awsvpc"));
    }
    let name = proxy.container_name.as_deref().unwrap_or_default();
    let mut names = req.container_definitions.iter().flatten().filter_map(|container| container.name.as_deref());
    if !names.any(|known| known == name) {
        return Err(client(format!("Proxy container [{name}] does not exist")));
    }
    let has_ingress = proxy.properties.iter().flatten().any(|pair| pair.name.as_deref() == Some("ProxyIngressPort"));
    if has_ingress { Ok(()) } else { Err(client("Ingress port not found")) }
}

/// Refuses a container with unsupported members; `path` names it.
pub(super) fn check_container(asked: &Asked, around: &Around, path: &str) -> Result<(), Refusal> {
    check_secrets(asked, around.has_execution_role)?;
    let firelens = asked.firelens_configuration.as_ref().and_then(|firelens| firelens.options.as_ref());
    let file_type = firelens.and_then(|options| options.get("config-file-type"));
    if around.fargate && file_type.is_some_and(|kind| kind == "s3") {
        return Err(client("Fargate launch type does not support FirelensConfiguration config file from 's3'"));
    }
    check_environment_files(asked)?;
    let given = [
        ("credentialSpecs", !is_empty(&asked.credential_specs)),
        ("environmentFiles", !is_empty(&asked.environment_files)),
        ("firelensConfiguration", asked.firelens_configuration.is_some()),
        ("repositoryCredentials", asked.repository_credentials.is_some()),
        ("resourceRequirements", !is_empty(&asked.resource_requirements)),
        ("secrets", !is_empty(&asked.secrets)),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((member, _)) => Err(not_yet(format!("{path}.{member}"))),
        None => Ok(()),
    }
}

fn check_secrets(asked: &Asked, has_execution_role: bool) -> Result<(), Refusal> {
    if is_empty(&asked.secrets) {
        return Ok(());
    }
    if !has_execution_role {
        return Err(client(
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.",
        ));
    }
    let mut names: Vec<&str> = asked.environment.iter().flatten().filter_map(|pair| pair.name.as_deref()).collect();
    for name in asked.secrets.iter().flatten().filter_map(|secret| secret.name.as_deref()) {
        if names.contains(&name) {
            return Err(client(format!(
                "The secret name must be unique and not shared with any new or existing environment variables set on \
                 the container, such as '{name}'."
            )));
        }
        names.push(name);
    }
    Ok(())
}

fn check_environment_files(asked: &Asked) -> Result<(), Refusal> {
    let files = asked.environment_files.as_deref().unwrap_or_default();
    if files.len() > ENVIRONMENT_FILES_MAX {
        return Err(client("The maximum number of environment files was exceeded. Specify ten or less and try again"));
    }
    let is_object = |value: &str| {
        let mut parts = value.splitn(6, ':');
        let (arn, service) = (parts.next(), parts.nth(1));
        arn == Some("arn") && service == Some("s3") && parts.last().is_some_and(|object| object.contains('/'))
    };
    match files.iter().all(|file| file.value.as_deref().is_some_and(is_object)) {
        true => Ok(()),
        false => Err(client("Invalid arn syntax")),
    }
}

fn is_empty<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}
