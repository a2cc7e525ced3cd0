//! Members of a container that AWS has and this program has not: first what AWS itself would refuse of them, then all.

use berth_shapes::ecs::ContainerDefinition as Asked;

use super::super::refuse::{client, not_yet};
use crate::Refusal;

const ENVIRONMENT_FILES_MAX: usize = 10;

/// Refuses a container that cannot do what it asks for; `path` names it.
pub(super) fn check_container(asked: &Asked, has_execution_role: bool, path: &str) -> Result<(), Refusal> {
    check_secrets(asked, has_execution_role)?;
    check_environment_files(asked)?;
    let given = [
        ("credentialSpecs", !is_empty(&asked.credential_specs)),
        ("environmentFiles", !is_empty(&asked.environment_files)),
        ("firelensConfiguration", asked.firelens_configuration.is_some()),
        ("repositoryCredentials", asked.repository_credentials.is_some()),
        ("resourceRequirements", !is_empty(&asked.resource_requirements)),
        ("secrets", !is_empty(&asked.secrets)),
        ("versionConsistency", asked.version_consistency.is_some()),
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
