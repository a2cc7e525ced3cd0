// SPDX-License-Identifier: Apache-2.0
//! Volumes of a task definition, and their mounts in containers.

use berth_shapes::ecs as shape;
use berth_state::Refusal;
use berth_state::ecs::{ContainerDefinition, DockerScope, DockerVolume, MountPoint, Volume, VolumeKind, VolumesFrom};

use super::super::refuse::{client, not_yet};
use super::container_path;
use super::cycle::has_cycle;
use super::read::{check_name, each, text, word};

/// Reads the volumes of a definition.
pub(super) fn read(asked: Option<&[shape::Volume]>) -> Result<Vec<Volume>, Refusal> {
    let mut volumes: Vec<Volume> = Vec::new();
    for volume in each(asked, "volumes", one)?.unwrap_or_default() {
        if volumes.iter().any(|known| known.name == volume.name) {
            return Err(client(format!("Volume names must be unique within a task definition: '{}'", volume.name)));
        }
        volumes.push(volume);
    }
    Ok(volumes)
}

fn one(asked: &shape::Volume, path: &str) -> Result<Volume, Refusal> {
    let name = text(asked.name.as_ref(), &format!("{path}.name"))?;
    check_name(&name, "Volume name")?;
    if let Some(efs) = &asked.efs_volume_configuration {
        check_efs(efs)?;
    }
    let given = [
        ("configuredAtLaunch", asked.configured_at_launch == Some(true)),
        ("efsVolumeConfiguration", asked.efs_volume_configuration.is_some()),
        ("fsxWindowsFileServerVolumeConfiguration", asked.fsx_windows_file_server_volume_configuration.is_some()),
        ("s3filesVolumeConfiguration", asked.s3files_volume_configuration.is_some()),
    ];
    if let Some((member, _)) = given.iter().find(|(_, is_given)| *is_given) {
        return Err(not_yet(format!("{path}.{member}")));
    }
    let source_path = asked.host.as_ref().and_then(|host| host.source_path.clone());
    let kind = match (source_path, &asked.docker_volume_configuration) {
        (Some(_), Some(_)) => {
            return Err(client(format!("{path} can have only one of host and dockerVolumeConfiguration.")));
        }
        (Some(source_path), None) if !source_path.starts_with('/') => {
            return Err(client(format!("{path}.host.sourcePath must be an absolute path.")));
        }
        (Some(source_path), None) => VolumeKind::Host { source_path },
        (None, Some(docker)) => VolumeKind::Docker(self::docker(docker, path)?),
        (None, None) => VolumeKind::Empty,
    };
    Ok(Volume { name, kind })
}

/// AWS's refusals of an EFS volume, which come before Berth's own.
fn check_efs(efs: &shape::EFSVolumeConfiguration) -> Result<(), Refusal> {
    let is_encrypted = efs.transit_encryption.as_deref() == Some("ENABLED");
    let authorization = efs.authorization_config.as_ref();
    if authorization.is_some_and(|config| config.access_point_id.is_some())
        && efs.root_directory.as_deref().is_some_and(|root| root != "/")
    {
        return Err(client(
            "When using an EFS access point, the root directory must either be set to \"/\" or be omitted",
        ));
    }
    if authorization.is_some_and(|config| config.iam.as_deref() == Some("ENABLED")) && !is_encrypted {
        return Err(client("EFS IAM authorization requires TransitEncryption to be enabled"));
    }
    if efs.transit_encryption_port.is_some() && !is_encrypted {
        return Err(client("TransitEncryptionPort requires that TransitEncryption is enabled"));
    }
    Ok(())
}

fn docker(asked: &shape::DockerVolumeConfiguration, path: &str) -> Result<DockerVolume, Refusal> {
    let path = format!("{path}.dockerVolumeConfiguration");
    if asked.driver_opts.as_ref().is_some_and(|options| !options.is_empty()) {
        return Err(not_yet(format!("{path}.driverOpts")));
    }
    let scope = word(asked.scope.as_deref(), DockerScope::parse, &format!("{path}.scope"))?;
    let scope = scope.unwrap_or(DockerScope::Task);
    if scope == DockerScope::Task && asked.autoprovision == Some(true) {
        return Err(client(format!("{path}.autoprovision can only be true when the scope is shared.")));
    }
    Ok(DockerVolume {
        scope,
        autoprovision: asked.autoprovision,
        driver: asked.driver.clone(),
        labels: asked.labels.clone(),
    })
}

/// Reads mountPoints.
pub(super) fn mount_points(asked: Option<&[shape::MountPoint]>, path: &str) -> Result<Vec<MountPoint>, Refusal> {
    let read = |asked: &shape::MountPoint, path: &str| {
        let source_volume = text(asked.source_volume.as_ref(), &format!("{path}.sourceVolume"))?;
        let member = format!("{path}.containerPath");
        let container_path = text(asked.container_path.as_ref(), &member)?;
        container_path::check(&container_path, &member)?;
        Ok(MountPoint { source_volume, container_path, read_only: asked.read_only })
    };
    Ok(each(asked, &format!("{path}.mountPoints"), read)?.unwrap_or_default())
}

/// Reads volumesFrom.
pub(super) fn volumes_from(asked: Option<&[shape::VolumeFrom]>, path: &str) -> Result<Vec<VolumesFrom>, Refusal> {
    let read = |asked: &shape::VolumeFrom, path: &str| {
        let source_container = text(asked.source_container.as_ref(), &format!("{path}.sourceContainer"))?;
        Ok(VolumesFrom { source_container, read_only: asked.read_only })
    };
    Ok(each(asked, &format!("{path}.volumesFrom"), read)?.unwrap_or_default())
}

/// Refuses names of volumes and containers that do not exist.
pub(super) fn check_together(containers: &[ContainerDefinition], volumes: &[Volume]) -> Result<(), Refusal> {
    for container in containers {
        let unknown = |mount: &&MountPoint| volumes.iter().all(|volume| volume.name != mount.source_volume);
        if let Some(mount) = container.mount_points.iter().find(unknown) {
            return Err(client(format!("Unknown volume '{}'.", mount.source_volume)));
        }
        let unknown = |from: &&VolumesFrom| containers.iter().all(|known| known.name != from.source_container);
        if let Some(from) = container.volumes_from.iter().find(unknown) {
            return Err(client(format!(
                "Invalid 'volumesFrom' setting. Unknown container: '{}'",
                from.source_container
            )));
        }
    }
    let edges = |container: &ContainerDefinition| {
        container.volumes_from.iter().map(|from| from.source_container.clone()).collect()
    };
    match has_cycle(containers, edges) {
        true => Err(client("Invalid 'volumesFrom' setting. Containers cannot take their volumes from each other.")),
        false => Ok(()),
    }
}

/// A volume as answered.
pub(super) fn show(volume: &Volume) -> shape::Volume {
    let shown = shape::Volume { name: Some(volume.name.clone()), ..Default::default() };
    match &volume.kind {
        VolumeKind::Empty => shape::Volume { host: Some(shape::HostVolumeProperties::default()), ..shown },
        VolumeKind::Host { source_path } => {
            let host = shape::HostVolumeProperties { source_path: Some(source_path.clone()) };
            shape::Volume { host: Some(host), ..shown }
        }
        VolumeKind::Docker(docker) => {
            let configuration = shape::DockerVolumeConfiguration {
                autoprovision: docker.autoprovision,
                driver: docker.driver.clone(),
                driver_opts: None,
                labels: docker.labels.clone(),
                scope: Some(docker.scope.as_str().to_owned()),
            };
            shape::Volume { docker_volume_configuration: Some(configuration), ..shown }
        }
    }
}
