//! Clusters: names under which tasks run and hosts register.
//!
//! A deleted cluster stays visible as INACTIVE until one with its name is created.

use std::sync::Arc;

use berth_shapes::ecs::{
    self as shape, CreateClusterRequest, CreateClusterResponse, DeleteClusterRequest, DeleteClusterResponse,
    DescribeClustersRequest, DescribeClustersResponse, ErrorCode, Failure, KeyValuePair, ListClustersRequest,
    ListClustersResponse,
};
use berth_types::intent::LaunchType;

use super::capacity_provider::{associated, show_strategy, strategy};
use super::cluster_settings::container_insights;
use super::list::{Asked, Order, page};
use super::load::Progress;
use super::record::{Cluster, ClusterName, Host, InstanceStatus};
use super::reference::{cluster_arn, cluster_name, cluster_not_found};
use super::refuse::{at_most, invalid, parameter_not_yet};
use super::{account_setting, tag};
use crate::vpc::record::Tags;
use crate::{Change, Draft, Env, Refusal, Snapshot};

/// Clusters one DescribeClusters may name.
const DESCRIBED_MAX: usize = 100;

/// CreateCluster. A cluster that exists is answered as it is.
pub fn create_cluster(
    snap: &Snapshot,
    req: &CreateClusterRequest,
    env: &Env,
) -> Result<Change<CreateClusterResponse>, Refusal> {
    refuse_unsupported(req)?;
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
    if let Some(cluster) = snap.clusters.get(&name).filter(|cluster| cluster.deleted_at.is_none()) {
        return Ok(Change::none(CreateClusterResponse { cluster: Some(show(snap, cluster, Include::created(), env)) }));
    }
    let cluster = Cluster { container_insights, capacity_providers, default_strategy, tags, ..plain(name, env) };
    let shown = show(snap, &cluster, Include::created(), env);
    let mut draft = Draft::of(snap);
    draft.put(cluster);
    Ok(draft.change(CreateClusterResponse { cluster: Some(shown) }))
}

/// Makes the cluster `default` on the first start; later starts leave a deleted one deleted.
pub fn ensure_default_cluster(snap: &Snapshot, env: &Env) -> Change<()> {
    let name = ClusterName("default".to_owned());
    if snap.clusters.contains_key(&name) {
        return Change::none(());
    }
    let mut draft = Draft::of(snap);
    draft.put(plain(name, env));
    draft.change(())
}

/// A new cluster of which nothing but the name was said.
fn plain(name: ClusterName, env: &Env) -> Cluster {
    Cluster {
        name,
        created_at: env.now,
        deleted_at: None,
        container_insights: "disabled".to_owned(),
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
    at_most(req.clusters.as_deref(), DESCRIBED_MAX, "clusters")?;
    let include = Include::read(req.include.as_deref())?;
    let default = ["default".to_owned()];
    let asked = req.clusters.as_deref().filter(|asked| !asked.is_empty()).unwrap_or(&default);
    let (mut clusters, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        let name = cluster_name(Some(text), env)?;
        match snap.clusters.get(&name) {
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
    let asked =
        Asked { max_results: req.max_results, next_token: req.next_token.as_deref(), operation: "ListClusters" };
    let active = snap.clusters.values().filter(|cluster| cluster.deleted_at.is_none());
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
    let name = cluster_name(req.cluster.as_deref(), env)?;
    let cluster = snap.clusters.get(&name).ok_or_else(cluster_not_found)?;
    if cluster.deleted_at.is_some() {
        let shown = show(snap, cluster, Include::default(), env);
        return Ok(Change::none(DeleteClusterResponse { cluster: Some(shown) }));
    }
    if instances(snap, &name).any(|host| host.connected) {
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
    for host in instances(snap, &name) {
        draft.put(Host { registered_at: None, ..host.as_ref().clone() });
    }
    let deleted = Cluster { deleted_at: Some(env.now), ..(**cluster).clone() };
    draft.put(deleted.clone());
    let shown = show(&draft, &deleted, Include::default(), env);
    Ok(draft.change(DeleteClusterResponse { cluster: Some(shown) }))
}

/// Hosts registered in a cluster.
pub(super) fn instances<'a>(snap: &'a Snapshot, cluster: &ClusterName) -> impl Iterator<Item = &'a Arc<Host>> {
    let cluster = cluster.clone();
    snap.hosts.values().filter(move |host| host.cluster == cluster && is_registered(host))
}

/// True while the host is a container instance that can have tasks.
fn is_registered(host: &Host) -> bool {
    match host.instance_status() {
        Some(InstanceStatus::Active | InstanceStatus::Draining) => true,
        Some(InstanceStatus::Inactive) | None => false,
    }
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

/// What is answered besides the basic members.
#[derive(Clone, Copy, Default)]
struct Include {
    statistics: bool,
    tags: bool,
    settings: bool,
}

impl Include {
    /// What CreateCluster answers.
    fn created() -> Self {
        Self { statistics: false, tags: true, settings: true }
    }

    fn read(asked: Option<&[String]>) -> Result<Self, Refusal> {
        let mut include = Self::default();
        for word in asked.unwrap_or_default() {
            match word.as_str() {
                "STATISTICS" => include.statistics = true,
                "TAGS" => include.tags = true,
                "SETTINGS" => include.settings = true,
                // A cluster has neither: only providers of Auto Scaling groups attach something, configurations are refused.
                "ATTACHMENTS" | "CONFIGURATIONS" => {}
                other => return Err(invalid(format!("Invalid include value '{other}'."))),
            }
        }
        Ok(include)
    }
}

/// Tasks of a cluster that are not STOPPED, by launch type (EC2, FARGATE).
struct Counts {
    running: [usize; 2],
    pending: [usize; 2],
    ending: [usize; 2],
}

impl Counts {
    fn of(snap: &Snapshot, cluster: &ClusterName) -> Self {
        let count = |progress| {
            [LaunchType::Ec2, LaunchType::Fargate].map(|kind| snap.index().counts.of(cluster, kind, progress))
        };
        Self { running: count(Progress::Running), pending: count(Progress::Pending), ending: count(Progress::Ending) }
    }

    fn is_any(&self) -> bool {
        [self.running, self.pending, self.ending].concat().iter().any(|count| *count > 0)
    }

    fn statistics(&self) -> Vec<KeyValuePair> {
        let none = 0;
        [
            ("runningEC2TasksCount", self.running[0]),
            ("runningFargateTasksCount", self.running[1]),
            ("pendingEC2TasksCount", self.pending[0]),
            ("pendingFargateTasksCount", self.pending[1]),
            ("runningExternalTasksCount", none),
            ("pendingExternalTasksCount", none),
            ("activeEC2ServiceCount", none),
            ("activeFargateServiceCount", none),
            ("drainingEC2ServiceCount", none),
            ("drainingFargateServiceCount", none),
            ("activeExternalServiceCount", none),
            ("drainingExternalServiceCount", none),
        ]
        .map(|(name, value)| KeyValuePair { name: Some(name.to_owned()), value: Some(value.to_string()) })
        .to_vec()
    }
}

fn count(n: usize) -> Option<i32> {
    Some(i32::try_from(n).unwrap_or(i32::MAX))
}

/// A cluster as operations that change it answer it.
pub(super) fn show_changed(snap: &Snapshot, cluster: &Cluster, env: &Env) -> shape::Cluster {
    show(snap, cluster, Include::created(), env)
}

fn show(snap: &Snapshot, cluster: &Cluster, include: Include, env: &Env) -> shape::Cluster {
    let counts = Counts::of(snap, &cluster.name);
    let status = if cluster.deleted_at.is_some() { "INACTIVE" } else { "ACTIVE" };
    let setting = shape::ClusterSetting {
        name: Some("containerInsights".to_owned()),
        value: Some(cluster.container_insights.clone()),
    };
    shape::Cluster {
        active_services_count: Some(0),
        capacity_providers: Some(cluster.capacity_providers.clone()),
        cluster_arn: Some(cluster_arn(&cluster.name, env)),
        cluster_name: Some(cluster.name.0.clone()),
        default_capacity_provider_strategy: Some(show_strategy(&cluster.default_strategy)),
        pending_tasks_count: count(counts.pending.iter().sum()),
        registered_container_instances_count: count(instances(snap, &cluster.name).count()),
        running_tasks_count: count(counts.running.iter().sum()),
        settings: Some(if include.settings { vec![setting] } else { Vec::new() }),
        statistics: Some(if include.statistics { counts.statistics() } else { Vec::new() }),
        status: Some(status.to_owned()),
        tags: Some(if include.tags { tag::show(&cluster.tags) } else { Vec::new() }),
        ..Default::default()
    }
}
