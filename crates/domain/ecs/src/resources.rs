// SPDX-License-Identifier: Apache-2.0
//! ARNs of the ECS resources that a request names, on which IAM decides its permission.
//!
//! A text that is an ARN stays as it is; a name or id is completed with the cluster that the request names. A kind that a
//! request does not name is `KIND/*`.

use berth_shapes::{Structure, View};
use berth_state::ecs::ClusterName;
use berth_state::{Env, Snapshot};

use super::reference::cluster_name;

/// Clusters; the default one when none is named.
pub(super) fn cluster(_snap: &Snapshot, input: &dyn Structure, env: &Env) -> Vec<String> {
    let mut named = texts(input, &["cluster", "clusters", "clusterName"]);
    if named.is_empty() {
        named.push("default".to_owned());
    }
    named.iter().map(|text| completed(text, "cluster", None, env)).collect()
}

/// Capacity providers.
pub(super) fn capacity_provider(_snap: &Snapshot, input: &dyn Structure, env: &Env) -> Vec<String> {
    each_or_any(texts(input, &["capacityProviders"]), "capacity-provider", None, env)
}

/// Task definitions: the revisions named; all revisions of a family that is named alone.
pub(super) fn task_definition(_snap: &Snapshot, input: &dyn Structure, env: &Env) -> Vec<String> {
    let mut named = texts(input, &["taskDefinition", "taskDefinitions"]);
    named.extend(texts(input, &["family"]));
    let with_revision = |text: String| match text.rsplit('/').next().is_some_and(|name| name.contains(':')) {
        true => text,
        false => format!("{text}:*"),
    };
    each_or_any(named.into_iter().map(with_revision).collect(), "task-definition", None, env)
}

/// Tasks.
pub(super) fn task(_snap: &Snapshot, input: &dyn Structure, env: &Env) -> Vec<String> {
    each_or_any(texts(input, &["task", "tasks"]), "task", Some(&cluster_of(input, env)), env)
}

/// Container instances.
pub(super) fn container_instance(_snap: &Snapshot, input: &dyn Structure, env: &Env) -> Vec<String> {
    let mut named = texts(input, &["containerInstance", "containerInstances"]);
    for attribute in structures(input, "attributes") {
        named.extend(texts(attribute, &["targetId"]));
    }
    each_or_any(named, "container-instance", Some(&cluster_of(input, env)), env)
}

/// The resource that the request names by its ARN.
pub(super) fn named(_snap: &Snapshot, input: &dyn Structure, _env: &Env) -> Vec<String> {
    texts(input, &["resourceArn"])
}

fn cluster_of(input: &dyn Structure, env: &Env) -> ClusterName {
    let named = texts(input, &["cluster"]);
    let named = named.first().map(String::as_str);
    // The rule refuses a name that cannot be read; here it is used as given.
    cluster_name(named, env).unwrap_or_else(|_| ClusterName(named.unwrap_or_default().to_owned()))
}

fn each_or_any(named: Vec<String>, kind: &str, within: Option<&ClusterName>, env: &Env) -> Vec<String> {
    if named.is_empty() {
        return vec![completed("*", kind, within, env)];
    }
    named.iter().map(|text| completed(text, kind, within, env)).collect()
}

fn completed(text: &str, kind: &str, within: Option<&ClusterName>, env: &Env) -> String {
    match within {
        _ if text.starts_with("arn:") => text.to_owned(),
        Some(cluster) => env.arn("ecs", format_args!("{kind}/{cluster}/{text}")),
        None => env.arn("ecs", format_args!("{kind}/{text}")),
    }
}

/// The texts of the members with these names, of lists each item.
fn texts(input: &dyn Structure, names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, member) in input.shape().members.iter().enumerate() {
        match names.contains(&member.name).then(|| input.member(index)).flatten() {
            Some(View::Text(text)) => found.push(text.to_owned()),
            Some(View::List(list)) => found.extend((0..list.len()).filter_map(|at| match list.item(at) {
                Some(View::Text(text)) => Some(text.to_owned()),
                _ => None,
            })),
            _ => {}
        }
    }
    found
}

/// The structures in the list with this name.
fn structures<'a>(input: &'a dyn Structure, name: &str) -> Vec<&'a dyn Structure> {
    let index = input.shape().members.iter().position(|member| member.name == name);
    let Some(View::List(list)) = index.and_then(|index| input.member(index)) else { return Vec::new() };
    let structure = |at| match list.item(at) {
        Some(View::Structure(structure)) => Some(structure),
        _ => None,
    };
    (0..list.len()).filter_map(structure).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use berth_shapes::OperationId;
    use berth_shapes::ecs::{DescribeClustersRequest, ListClustersRequest, RunTaskRequest, StopTaskRequest};

    use super::*;

    fn on(operation: OperationId, input: &dyn Structure) -> Vec<String> {
        crate::door(operation).unwrap().resources(&Snapshot::default(), input, &Env::fixed())
    }

    #[test]
    fn a_permission_is_decided_on_the_resources_that_a_request_names() {
        let arn = |resource: &str| format!("arn:aws:ecs:us-west-2:111122223333:{resource}");
        let run =
            |definition: &str| RunTaskRequest { task_definition: Some(definition.to_owned()), ..Default::default() };
        assert_eq!(on(OperationId::EcsRunTask, &run("web:3")), [arn("task-definition/web:3")]);
        assert_eq!(on(OperationId::EcsRunTask, &run("web")), [arn("task-definition/web:*")]);
        assert_eq!(on(OperationId::EcsRunTask, &run(&arn("task-definition/web:3"))), [arn("task-definition/web:3")]);
        let stop =
            StopTaskRequest { cluster: Some("blue".to_owned()), task: Some("1234".to_owned()), ..Default::default() };
        assert_eq!(on(OperationId::EcsStopTask, &stop), [arn("task/blue/1234")]);
        let nothing = DescribeClustersRequest::default();
        assert_eq!(on(OperationId::EcsDescribeClusters, &nothing), [arn("cluster/default")]);
        assert_eq!(on(OperationId::EcsListClusters, &ListClustersRequest::default()), ["*"]);
    }
}
