// SPDX-License-Identifier: Apache-2.0
//! Names, ids and ARNs in requests, in every form AWS accepts.
//!
//! Every look-up by reference is here, with its refusal if nothing is found.

use std::sync::Arc;

use berth_shapes::ecs::{ErrorCode, Failure};
use berth_state::ecs::{Cluster, ClusterName, FamilyName, Host, Task, TaskDefinition, TaskDefinitionKey};
use berth_state::{Env, Refusal, Snapshot};
use berth_types::{Arn, HostId, TaskId};

use super::refuse::{client, invalid};

/// The part of `text` after `kind/` when it is an ARN of this account and region; `text` itself when it is no ARN.
pub(super) fn resource(text: &str, kind: &str, env: &Env) -> Result<String, Refusal> {
    if !text.starts_with("arn:") {
        return Ok(text.to_owned());
    }
    let malformed = || invalid(format!("Invalid identifier: {text}"));
    let arn: Arn = text.parse().map_err(|_| malformed())?;
    if arn.service != "ecs" {
        return Err(malformed());
    }
    if arn.account != env.account {
        return Err(invalid(format!("Identifier is for {}. Your accountId is {}", arn.account, env.account)));
    }
    if arn.region != env.region {
        return Err(invalid(format!("Identifier is for {}. Your region is {}", arn.region, env.region)));
    }
    let rest = arn.resource.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/')).ok_or_else(malformed)?;
    Ok(rest.to_owned())
}

/// The name of the cluster meant; `default` if none is given.
pub(super) fn cluster_name(text: Option<&str>, env: &Env) -> Result<ClusterName, Refusal> {
    match text {
        None | Some("") => Ok(ClusterName("default".to_owned())),
        Some(text) => resource(text, "cluster", env).map(ClusterName),
    }
}

/// The cluster meant, if it is ACTIVE.
pub(super) fn active_cluster(snap: &Snapshot, text: Option<&str>, env: &Env) -> Result<Arc<Cluster>, Refusal> {
    let name = cluster_name(text, env)?;
    match snap.ecs().clusters.get(&name) {
        None => Err(cluster_not_found()),
        Some(cluster) if cluster.deleted_at.is_some() => {
            Err(Refusal::new(ErrorCode::ClusterNotFoundException, "The referenced cluster was inactive."))
        }
        Some(cluster) => Ok(cluster.clone()),
    }
}

pub(super) fn cluster_not_found() -> Refusal {
    Refusal::new(ErrorCode::ClusterNotFoundException, "Cluster not found.")
}

/// A task or container instance: the cluster its ARN names, and its id as 32 digits.
pub(super) struct InCluster {
    /// Cluster; long ARNs alone name it.
    pub cluster: Option<ClusterName>,
    /// Id without hyphens.
    pub id: String,
}

/// Reads a task or container instance; `noun` is AWS's name of its id in messages.
pub(super) fn in_cluster(text: &str, kind: &str, noun: &str, env: &Env) -> Result<InCluster, Refusal> {
    let rest = resource(text, kind, env)?;
    let (cluster, id) = match rest.split_once('/') {
        Some((cluster, id)) => (Some(ClusterName(cluster.to_owned())), id),
        None => (None, rest.as_str()),
    };
    if !matches!(id.len(), 32 | 36) {
        return Err(invalid(format!("{noun} length should be one of [32,36]")));
    }
    Ok(InCluster { cluster, id: id.replace('-', "") })
}

impl InCluster {
    /// True unless the ARN names another cluster.
    pub fn may_be_in(&self, cluster: &ClusterName) -> bool {
        self.cluster.as_ref().is_none_or(|named| named == cluster)
    }
}

/// The task meant, if it is in the cluster.
pub(super) fn task<'a>(snap: &'a Snapshot, cluster: &ClusterName, reference: &InCluster) -> Option<&'a Arc<Task>> {
    let id = TaskId::parse(&reference.id).ok()?;
    snap.ecs().tasks.get(&id).filter(|task| task.cluster == *cluster && reference.may_be_in(cluster))
}

/// The container instance meant, if it is or was one of the cluster; AWS's failure otherwise.
pub(super) fn instance<'a>(
    snap: &'a Snapshot,
    cluster: &ClusterName,
    text: &str,
    env: &Env,
) -> Result<Result<&'a Arc<Host>, Failure>, Refusal> {
    let meant = in_cluster(text, "container-instance", "containerInstanceId", env)?;
    let found = HostId::parse(&meant.id).ok().and_then(|id| snap.ecs().hosts.get(&id));
    let found =
        found.filter(|host| host.cluster == *cluster && host.registered_at.is_some() && meant.may_be_in(cluster));
    Ok(found.ok_or_else(|| {
        let named = meant.cluster.as_ref().unwrap_or(cluster);
        Failure {
            arn: Some(env.arn("ecs", format_args!("container-instance/{named}/{}", meant.id))),
            reason: Some("MISSING".to_owned()),
            ..Default::default()
        }
    }))
}

/// `family`, or `family:revision`.
pub(super) enum DefinitionRef {
    /// The latest ACTIVE revision.
    Latest(FamilyName),
    /// Exactly this one.
    Exact(TaskDefinitionKey),
}

/// Reads a task definition's name or ARN; `None` when the revision is no number.
pub(super) fn definition_ref(text: &str, env: &Env) -> Result<Option<DefinitionRef>, Refusal> {
    let rest = resource(text, "task-definition", env)?;
    Ok(match rest.split_once(':') {
        None => Some(DefinitionRef::Latest(FamilyName(rest))),
        Some((family, revision)) => revision.parse().ok().map(|revision| {
            DefinitionRef::Exact(TaskDefinitionKey { family: FamilyName(family.to_owned()), revision })
        }),
    })
}

/// The definition meant, ACTIVE or not when its revision is named.
pub(super) fn definition(snap: &Snapshot, text: &str, env: &Env) -> Result<Option<Arc<TaskDefinition>>, Refusal> {
    Ok(match definition_ref(text, env)? {
        None => None,
        Some(DefinitionRef::Exact(key)) => snap.ecs().task_definitions.get(&key).cloned(),
        Some(DefinitionRef::Latest(family)) => {
            snap.ecs().revisions(&family).rev().find(|definition| definition.deregistered_at.is_none()).cloned()
        }
    })
}

/// The definition of a task to be started, which must be ACTIVE.
pub(super) fn startable(snap: &Snapshot, text: Option<&str>, env: &Env) -> Result<Arc<TaskDefinition>, Refusal> {
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| client("TaskDefinition not found."))?;
    match definition(snap, text, env)? {
        None => Err(client("TaskDefinition not found.")),
        Some(definition) if definition.deregistered_at.is_some() => Err(client("TaskDefinition is inactive")),
        Some(definition) => Ok(definition),
    }
}
