// SPDX-License-Identifier: Apache-2.0
//! Clusters: names under which tasks run and hosts register.
//!
//! A deleted cluster stays visible as INACTIVE until one with its name is created.

use berth_shapes::ecs::{
    CreateClusterRequest, CreateClusterResponse, DeleteClusterRequest, DeleteClusterResponse, DescribeClustersRequest,
    DescribeClustersResponse, ErrorCode, Failure, ListClustersRequest, ListClustersResponse,
};
use berth_state::ecs::{Cluster, ClusterName, ContainerInsights, Host, cluster_arn};
use berth_state::{Change, Draft, Env, Refusal, Snapshot, Tags};

use super::cluster_settings::container_insights;
use super::list::{Order, PageRequest, page};
use super::only::only;
use super::provider_strategy::{associated, strategy};
use super::reference::{cluster_name, cluster_not_found};
use super::refuse::{at_most, invalid, parameter_not_yet};
use super::show_cluster::{Counts, Include, show};
use super::{account_setting, tag};

/// Maximum number of clusters in one DescribeClusters.
const DESCRIBED_MAX: usize = 100;

/// CreateCluster. Returns an existing cluster unchanged.
pub fn create_cluster(
    snap: &Snapshot,
    req: &CreateClusterRequest,
    env: &Env,
) -> Result<Change<CreateClusterResponse>, Refusal> {
    refuse_unsupported(req)?;
    only(
        req,
        &[
            "capacityProviders",
            "clusterName",
            "defaultCapacityProviderStrategy.base",
            "defaultCapacityProviderStrategy.capacityProvider",
            "defaultCapacityProviderStrategy.weight",
            "settings.name",
            "settings.value",
            "tags.key",
            "tags.value",
        ],
    )?;
    let name = ClusterName(req.cluster_name.clone().filter(|name| !name.is_empty()).unwrap_or("default".to_owned()));
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.0.len() > 255 || !name.0.chars().all(is_allowed) {
        return Err(invalid(
            "Invalid cluster name. A name has up to 255 letters (uppercase and lowercase), numbers, underscores, and hyphens.",
        ));
    }
    let container_insights = container_insights(req.settings.as_deref())?;
    let container_insights = container_insights.unwrap_or_else(|| account_setting::container_insights(snap, env));
    let capacity_providers = associated(req.capacity_providers.as_deref())?;
    let default_strategy = strategy(req.default_capacity_provider_strategy.as_deref(), &capacity_providers)?;
    let tags = tag::read(req.tags.as_deref())?;
    if let Some(cluster) = snap.ecs().clusters.get(&name).filter(|cluster| cluster.deleted_at.is_none()) {
        return Ok(Change::none(CreateClusterResponse { cluster: Some(show(snap, cluster, Include::created(), env)) }));
    }
    let cluster = Cluster { container_insights, capacity_providers, default_strategy, tags, ..plain(name, env) };
    let shown = show(snap, &cluster, Include::created(), env);
    let mut draft = Draft::of(snap);
    draft.put(cluster);
    Ok(draft.change(CreateClusterResponse { cluster: Some(shown) }))
}

/// Makes the cluster `default` unless there is or was one.
pub fn ensure_default_cluster(snap: &Snapshot, env: &Env) -> Change<()> {
    let name = ClusterName("default".to_owned());
    if snap.ecs().clusters.contains_key(&name) {
        return Change::none(());
    }
    let mut draft = Draft::of(snap);
    draft.put(plain(name, env));
    draft.change(())
}

/// A new cluster with defaults for everything but its name.
fn plain(name: ClusterName, env: &Env) -> Cluster {
    Cluster {
        name,
        created_at: env.now,
        deleted_at: None,
        container_insights: ContainerInsights::Disabled,
        capacity_providers: Vec::new(),
        default_strategy: Vec::new(),
        tags: Tags::new(),
    }
}

/// DescribeClusters.
pub fn describe_clusters(
    snap: &Snapshot,
    req: &DescribeClustersRequest,
    env: &Env,
) -> Result<DescribeClustersResponse, Refusal> {
    only(req, &["clusters", "include"])?;
    at_most(req.clusters.as_deref(), DESCRIBED_MAX, "clusters")?;
    let include = Include::read(req.include.as_deref())?;
    let default = ["default".to_owned()];
    let asked = req.clusters.as_deref().filter(|asked| !asked.is_empty()).unwrap_or(&default);
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        let name = cluster_name(Some(text), env)?;
        match snap.ecs().clusters.get(&name) {
            Some(cluster) => clusters.push(show(snap, cluster, include, env)),
            None => failures.push(Failure {
                arn: Some(cluster_arn(&name, env)),
                reason: Some("MISSING".to_owned()),
                ..Default::default()
            }),
        }
    }
    Ok(DescribeClustersResponse { clusters: Some(clusters), failures: Some(failures) })
}

/// ListClusters: the ACTIVE ones.
pub fn list_clusters(snap: &Snapshot, req: &ListClustersRequest, env: &Env) -> Result<ListClustersResponse, Refusal> {
    only(req, &["maxResults", "nextToken"])?;
    let asked =
        PageRequest { max_results: req.max_results, next_token: req.next_token.as_deref(), operation: "ListClusters" };
    let active = snap.ecs().clusters.values().filter(|cluster| cluster.deleted_at.is_none());
    let items = active.map(|cluster| (cluster.name.0.clone(), cluster_arn(&cluster.name, env)));
    let page = page(items, &asked, Order::Ascending)?;
    Ok(ListClustersResponse { cluster_arns: Some(page.items), next_token: page.next_token })
}

/// DeleteCluster. Hosts whose stream is closed leave the cluster with it.
pub fn delete_cluster(
    snap: &Snapshot,
    req: &DeleteClusterRequest,
    env: &Env,
) -> Result<Change<DeleteClusterResponse>, Refusal> {
    only(req, &["cluster"])?;
    let name = cluster_name(req.cluster.as_deref(), env)?;
    let cluster = snap.ecs().clusters.get(&name).ok_or_else(cluster_not_found)?;
    if cluster.deleted_at.is_some() {
        let shown = show(snap, cluster, Include::default(), env);
        return Ok(Change::none(DeleteClusterResponse { cluster: Some(shown) }));
    }
    if snap.ecs().instances(&name).any(|host| host.connected) {
        return Err(Refusal::new(
            ErrorCode::ClusterContainsContainerInstancesException,
            "The Cluster cannot be deleted while Container Instances are active or draining.",
        ));
    }
    if Counts::of(snap, &name).is_any() {
        return Err(Refusal::new(
            ErrorCode::ClusterContainsTasksException,
            "The Cluster cannot be deleted while Tasks are active.",
        ));
    }
    let mut draft = Draft::of(snap);
    for host in snap.ecs().instances(&name) {
        draft.put(Host { registered_at: None, ..host.as_ref().clone() });
    }
    let deleted = Cluster { deleted_at: Some(env.now), ..(**cluster).clone() };
    draft.put(deleted.clone());
    let shown = show(&draft, &deleted, Include::default(), env);
    Ok(draft.change(DeleteClusterResponse { cluster: Some(shown) }))
}

fn refuse_unsupported(req: &CreateClusterRequest) -> Result<(), Refusal> {
    let given = [
        ("configuration", req.configuration.is_some()),
        ("serviceConnectDefaults", req.service_connect_defaults.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((member, _)) => Err(parameter_not_yet(member)),
        None => Ok(()),
    }
}
