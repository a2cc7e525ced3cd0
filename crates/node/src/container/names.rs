//! Names and labels of containers, as the ECS agent gives them.

use std::collections::{BTreeMap, HashMap};

use berth_types::intent::TaskIntent;

/// Label by which a node finds its containers.
pub(crate) const INSTANCE_LABEL: &str = "berth.instance";

/// Random digits at the end of a name.
pub(crate) fn suffix() -> String {
    format!("{:020x}", rand::random::<u128>() >> 48)
}

/// The random digits at the end of a runtime id.
pub(crate) fn suffix_of(runtime_id: &str) -> &str {
    runtime_id.rsplit('-').next().unwrap_or(runtime_id)
}

/// `ecs-FAMILY-REVISION-NAME-SUFFIX`, with what containerd does not take left out.
pub(crate) fn runtime_id(task: &TaskIntent, container: &str, suffix: &str) -> String {
    let fit = |text: &str, most: usize| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(most).collect()
    };
    // containerd names have at most 76 characters and no two separators in a row.
    let name = format!("ecs-{}-{}-{}", fit(&task.family, 20), task.revision, fit(container, 20));
    let mut tidy = String::with_capacity(name.len());
    for part in name.split('-').filter(|part| !part.is_empty()) {
        tidy.extend([if tidy.is_empty() { "" } else { "-" }, part]);
    }
    format!("{tidy}-{suffix}")
}

/// First words of the id of a pause container.
const PAUSE_PREFIX: &str = "ecs-internalecspause-";

/// Id of a pause container. It is made before its task is known.
pub(crate) fn pause_id(suffix: &str) -> String {
    format!("{PAUSE_PREFIX}{suffix}")
}

/// True for the id of a pause container.
pub(crate) fn is_pause(id: &str) -> bool {
    id.starts_with(PAUSE_PREFIX)
}

/// Labels the ECS agent puts on a container of a task.
pub(crate) fn labels(task: &TaskIntent, container: &str, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let label = |name: &str, value: &str| (format!("com.amazonaws.ecs.{name}"), value.to_owned());
    let mut labels = own.clone();
    labels.extend([
        label("cluster", &task.cluster_arn),
        label("container-name", container),
        label("task-arn", &task.arn),
        label("task-definition-family", &task.family),
        label("task-definition-version", &task.revision.to_string()),
    ]);
    labels
}

/// The same for containerd, which keeps labels of up to 4096 bytes, and the name of the instance.
pub(crate) fn runtime_labels(labels: BTreeMap<String, String>, instance: &str) -> HashMap<String, String> {
    let own = (INSTANCE_LABEL.to_owned(), instance.to_owned());
    labels.into_iter().filter(|(key, value)| key.len() + value.len() <= 4096).chain([own]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_id_is_fit_for_containerd() {
        let task = crate::container::spec::tests::task();
        assert_eq!(runtime_id(&task, "we_b--x", "00ff"), "ecs-web-3-web-x-00ff");
        let id = runtime_id(&task, &"n".repeat(255), &suffix());
        assert!(id.len() <= 76, "{id}");
        assert_eq!(suffix().len(), 20);
    }
}
