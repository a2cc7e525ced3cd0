// SPDX-License-Identifier: Apache-2.0
//! Tags of clusters, task definitions, tasks and container instances.

use berth_shapes::ecs::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, Tag, TagResourceRequest, TagResourceResponse,
    UntagResourceRequest, UntagResourceResponse,
};
use berth_state::ecs::{Cluster, ClusterName, Host, InstanceStatus, Task, TaskDefinition, TaskStatus};
use berth_state::tags::{KEY_CHARS_MAX, TAGS_MAX, VALUE_CHARS_MAX, are_too_many, is_reserved};
use berth_state::{Change, Draft, Env, Refusal, Snapshot, Tags};
use berth_types::{Arn, HostId, TaskId};

use super::only::only;
use super::reference::{self, cluster_not_found, definition_ref};
use super::refuse::invalid;

/// ListTagsForResource.
pub fn list_tags_for_resource(
    snap: &Snapshot,
    req: &ListTagsForResourceRequest,
    env: &Env,
) -> Result<ListTagsForResourceResponse, Refusal> {
    only(req, &["resourceArn"])?;
    let tags = Tagged::find(snap, req.resource_arn.as_deref(), env)?;
    Ok(ListTagsForResourceResponse { tags: Some(show(tags.tags())) })
}

/// TagResource.
pub fn tag_resource(
    snap: &Snapshot,
    req: &TagResourceRequest,
    env: &Env,
) -> Result<Change<TagResourceResponse>, Refusal> {
    only(req, &["resourceArn", "tags.key", "tags.value"])?;
    let tagged = Tagged::find(snap, req.resource_arn.as_deref(), env)?;
    let mut tags = tagged.tags().clone();
    tags.extend(read(req.tags.as_deref())?);
    check_number(&tags)?;
    Ok(tagged.with(snap, tags).map(|()| TagResourceResponse {}))
}

/// UntagResource.
pub fn untag_resource(
    snap: &Snapshot,
    req: &UntagResourceRequest,
    env: &Env,
) -> Result<Change<UntagResourceResponse>, Refusal> {
    only(req, &["resourceArn", "tagKeys"])?;
    let tagged = Tagged::find(snap, req.resource_arn.as_deref(), env)?;
    let mut tags = tagged.tags().clone();
    for key in req.tag_keys.iter().flatten() {
        if is_reserved(key) {
            return Err(reserved());
        }
        tags.remove(key);
    }
    Ok(tagged.with(snap, tags).map(|()| UntagResourceResponse {}))
}

/// Checks tags given by a caller.
pub(super) fn read(tags: Option<&[Tag]>) -> Result<Tags, Refusal> {
    let mut read = Tags::new();
    for tag in tags.unwrap_or_default() {
        let (key, value) = (tag.key.clone().unwrap_or_default(), tag.value.clone().unwrap_or_default());
        if is_reserved(&key) {
            return Err(reserved());
        }
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
            return Err(invalid(format!("Tag key '{key}' must have between 1 and {KEY_CHARS_MAX} characters.")));
        }
        if value.chars().count() > VALUE_CHARS_MAX {
            return Err(invalid(format!("The value of tag '{key}' must have at most {VALUE_CHARS_MAX} characters.")));
        }
        if read.insert(key.clone(), value).is_some() {
            return Err(invalid(format!("Duplicate tag key '{key}' found.")));
        }
    }
    check_number(&read)?;
    Ok(read)
}

/// Tags as answered.
pub(super) fn show(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

fn reserved() -> Refusal {
    invalid("aws: prefixed tag key names are not allowed for external use.")
}

fn check_number(tags: &Tags) -> Result<(), Refusal> {
    if are_too_many(tags) {
        return Err(invalid(format!("tags can have at most {TAGS_MAX} items.")));
    }
    Ok(())
}

fn is_taggable(host: &Host) -> bool {
    matches!(host.instance_status(), Some(InstanceStatus::Active | InstanceStatus::Draining))
}

/// A resource that carries tags.
enum Tagged {
    Cluster(Cluster),
    Definition(Box<TaskDefinition>),
    Task(Box<Task>),
    Host(Host),
}

impl Tagged {
    fn find(snap: &Snapshot, text: Option<&str>, env: &Env) -> Result<Self, Refusal> {
        let text = text.unwrap_or_default();
        let malformed = || invalid("The specified ARN is not valid. Specify the ARN of an ECS resource and try again.");
        let arn: Arn = text.parse().map_err(|_| malformed())?;
        let missing =
            |what: &str| invalid(format!("The specified {what} is inactive. Specify an active {what} and try again."));
        match arn.resource.split_once('/').map(|(kind, _)| kind) {
            Some("cluster") => {
                let name = ClusterName(reference::resource(text, "cluster", env)?);
                let cluster = snap.ecs().clusters.get(&name).ok_or_else(cluster_not_found)?;
                if cluster.deleted_at.is_some() {
                    return Err(missing("cluster"));
                }
                Ok(Self::Cluster((**cluster).clone()))
            }
            Some("task-definition") => match definition_ref(text, env)? {
                Some(reference::DefinitionRef::Exact(key)) => match snap.ecs().task_definitions.get(&key) {
                    Some(definition) => Ok(Self::Definition(Box::new((**definition).clone()))),
                    None => Err(missing("task definition")),
                },
                Some(reference::DefinitionRef::Latest(_)) | None => Err(malformed()),
            },
            Some("task") => {
                let task = reference::in_cluster(text, "task", "taskId", env)?;
                let found = TaskId::parse(&task.id).ok().and_then(|id| snap.ecs().tasks.get(&id));
                let is_meant = |found: &&std::sync::Arc<Task>| {
                    task.may_be_in(&found.cluster) && found.status != TaskStatus::Stopped
                };
                found
                    .filter(is_meant)
                    .map(|found| Self::Task(Box::new((**found).clone())))
                    .ok_or_else(|| missing("task"))
            }
            Some("container-instance") => {
                let host = reference::in_cluster(text, "container-instance", "containerInstanceId", env)?;
                let found = HostId::parse(&host.id).ok().and_then(|id| snap.ecs().hosts.get(&id));
                found
                    .filter(|found| host.may_be_in(&found.cluster) && is_taggable(found))
                    .map(|found| Self::Host((**found).clone()))
                    .ok_or_else(|| missing("container instance"))
            }
            Some(_) | None => Err(malformed()),
        }
    }

    fn tags(&self) -> &Tags {
        match self {
            Self::Cluster(cluster) => &cluster.tags,
            Self::Definition(definition) => &definition.tags,
            Self::Task(task) => &task.tags,
            Self::Host(host) => &host.tags,
        }
    }

    fn with(self, snap: &Snapshot, tags: Tags) -> Change<()> {
        let mut draft = Draft::of(snap);
        match self {
            Self::Cluster(cluster) => draft.put(Cluster { tags, ..cluster }),
            Self::Definition(definition) => draft.put(TaskDefinition { tags, ..*definition }),
            Self::Task(task) => draft.put(Task { tags, ..*task }),
            Self::Host(host) => draft.put(Host { tags, ..host }),
        }
        draft.change(())
    }
}
