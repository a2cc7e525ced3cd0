//! UpdateCluster and UpdateClusterSettings.

use berth_shapes::ecs::{
    ClusterSetting, UpdateClusterRequest, UpdateClusterResponse, UpdateClusterSettingsRequest,
    UpdateClusterSettingsResponse,
};

use super::cluster::show_changed;
use super::record::Cluster;
use super::reference::active_cluster;
use super::refuse::{invalid, parameter_not_yet};
use crate::{Change, Draft, Env, Refusal, Snapshot};

/// UpdateCluster. What is not given stays.
pub fn update_cluster(
    snap: &Snapshot,
    req: &UpdateClusterRequest,
    env: &Env,
) -> Result<Change<UpdateClusterResponse>, Refusal> {
    let given = [
        ("configuration", req.configuration.is_some()),
        ("serviceConnectDefaults", req.service_connect_defaults.is_some()),
    ];
    if let Some((member, _)) = given.iter().find(|(_, is_given)| *is_given) {
        return Err(parameter_not_yet(member));
    }
    let change = set(snap, req.cluster.as_deref(), req.settings.as_deref(), env)?;
    Ok(change.map(|cluster| UpdateClusterResponse { cluster: Some(cluster) }))
}

/// UpdateClusterSettings.
pub fn update_cluster_settings(
    snap: &Snapshot,
    req: &UpdateClusterSettingsRequest,
    env: &Env,
) -> Result<Change<UpdateClusterSettingsResponse>, Refusal> {
    if req.settings.as_ref().is_none_or(Vec::is_empty) {
        return Err(invalid("settings can not be empty."));
    }
    let change = set(snap, req.cluster.as_deref(), req.settings.as_deref(), env)?;
    Ok(change.map(|cluster| UpdateClusterSettingsResponse { cluster: Some(cluster) }))
}

/// The value of containerInsights that settings name, the only setting there is.
pub(super) fn container_insights(settings: Option<&[ClusterSetting]>) -> Result<Option<String>, Refusal> {
    let mut value = None;
    for setting in settings.unwrap_or_default() {
        let given = setting.value.as_deref().unwrap_or_default();
        match (setting.name.as_deref(), given) {
            (Some("containerInsights"), "enabled" | "enhanced" | "disabled") => value = Some(given.to_owned()),
            (Some("containerInsights"), given) => {
                return Err(invalid(format!("Invalid value '{given}' for the cluster setting containerInsights.")));
            }
            (name, _) => return Err(invalid(format!("Invalid cluster setting '{}'.", name.unwrap_or_default()))),
        }
    }
    Ok(value)
}

fn set(
    snap: &Snapshot,
    cluster: Option<&str>,
    settings: Option<&[ClusterSetting]>,
    env: &Env,
) -> Result<Change<berth_shapes::ecs::Cluster>, Refusal> {
    let known = active_cluster(snap, cluster, env)?;
    let container_insights = container_insights(settings)?.unwrap_or_else(|| known.container_insights.clone());
    let cluster = Cluster { container_insights, ..known.as_ref().clone() };
    let mut draft = Draft::of(snap);
    draft.put(cluster.clone());
    let shown = show_changed(&draft, &cluster, env);
    Ok(draft.change(shown))
}
