// SPDX-License-Identifier: Apache-2.0
//! UpdateCluster and UpdateClusterSettings.

use berth_shapes::ecs::{
    ClusterSetting, UpdateClusterRequest, UpdateClusterResponse, UpdateClusterSettingsRequest,
    UpdateClusterSettingsResponse,
};
use berth_state::ecs::{Cluster, ContainerInsights};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};

use super::only::only;
use super::reference::active_cluster;
use super::refuse::{invalid, parameter_not_yet};
use super::show_cluster::{Include, show};

/// UpdateCluster. Absent members keep their value.
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
    only(req, &["cluster", "settings.name", "settings.value"])?;
    let change = set(snap, req.cluster.as_deref(), req.settings.as_deref(), env)?;
    Ok(change.map(|cluster| UpdateClusterResponse { cluster: Some(cluster) }))
}

/// UpdateClusterSettings.
pub fn update_cluster_settings(
    snap: &Snapshot,
    req: &UpdateClusterSettingsRequest,
    env: &Env,
) -> Result<Change<UpdateClusterSettingsResponse>, Refusal> {
    only(req, &["cluster", "settings.name", "settings.value"])?;
    if req.settings.as_ref().is_none_or(Vec::is_empty) {
        return Err(invalid("settings can not be empty."));
    }
    let change = set(snap, req.cluster.as_deref(), req.settings.as_deref(), env)?;
    Ok(change.map(|cluster| UpdateClusterSettingsResponse { cluster: Some(cluster) }))
}

/// The value of containerInsights, the only setting.
pub(super) fn container_insights(settings: Option<&[ClusterSetting]>) -> Result<Option<ContainerInsights>, Refusal> {
    let mut value = None;
    for setting in settings.unwrap_or_default() {
        let given = setting.value.as_deref().unwrap_or_default();
        match (setting.name.as_deref(), ContainerInsights::parse(given)) {
            (Some("containerInsights"), Some(known)) => value = Some(known),
            (Some("containerInsights"), None) => {
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
    let container_insights = container_insights(settings)?.unwrap_or(known.container_insights);
    let cluster = Cluster { container_insights, ..known.as_ref().clone() };
    let mut draft = Draft::of(snap);
    draft.put(cluster.clone());
    let shown = show(&draft, &cluster, Include::created(), env);
    Ok(draft.change(shown))
}
