// SPDX-License-Identifier: Apache-2.0
//! Ids, names and labels of containers, as the ECS agent and Docker give them.

use std::collections::{BTreeMap, HashMap};

use berth_types::TaskId;
use berth_types::intent::{LaunchType, TaskIntent};

use crate::containerd::INSTANCE_LABEL;

/// Label with the name of a container, for people who list containers by their ids.
const NAME_LABEL: &str = "berth.name";

/// Digits of an id that stand for it, as many as Docker takes.
const SHORT_DIGITS: usize = 12;

/// Random digits at the end of a name.
pub(crate) fn suffix() -> String {
    format!("{:020x}", rand::random::<u128>() >> 48)
}

/// A fresh id of a container in containerd: 64 digits as of Docker on EC2, the task's id and a number on Fargate.
pub(crate) fn runtime_id(task: &TaskId, launch_type: LaunchType) -> String {
    match launch_type {
        LaunchType::Ec2 => random_id(),
        LaunchType::Fargate => format!("{task}-{}", rand::random::<u32>()),
    }
}

/// 64 random hexadecimal digits.
fn random_id() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

/// The digits of a runtime id that stand for it in host names and names of links.
pub(crate) fn short(runtime_id: &str) -> &str {
    match runtime_id.rsplit_once('-') {
        None => runtime_id.get(..SHORT_DIGITS).unwrap_or(runtime_id),
        // Of a container made when ids were names: they end in random digits.
        Some((_, digits)) => digits.get(digits.len().saturating_sub(SHORT_DIGITS)..).unwrap_or(digits),
    }
}

/// The name Docker would know a container by: of its family, its revision and a random suffix where many tasks share a
/// Docker, its own on Fargate.
pub(crate) fn docker_name(task: &TaskIntent, container: &str, suffix: &str) -> String {
    match task.launch_type {
        LaunchType::Fargate => container.to_owned(),
        LaunchType::Ec2 => name_of(task, container, suffix),
    }
}

/// `ecs-FAMILY-REVISION-NAME-SUFFIX`, with what Docker does not take left out.
fn name_of(task: &TaskIntent, container: &str, suffix: &str) -> String {
    let fit = |text: &str, most: usize| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(most).collect()
    };
    let name = format!("ecs-{}-{}-{}", fit(&task.family, 20), task.revision, fit(container, 20));
    let mut tidy = String::with_capacity(name.len());
    for part in name.split('-').filter(|part| !part.is_empty()) {
        tidy.extend([if tidy.is_empty() { "" } else { "-" }, part]);
    }
    format!("{tidy}-{suffix}")
}

/// A fresh id of a pause container. It is made before its task is known.
pub(crate) fn pause_id() -> String {
    random_id()
}

/// The name Docker would know a pause container by.
pub(crate) fn pause_name(task: &TaskIntent, pause_id: &str) -> String {
    match pause_id.split_once('-') {
        // Made when ids were names.
        Some(_) => pause_id.to_owned(),
        None => name_of(task, crate::pause::NAME, &pause_id[..pause_id.len().min(20)]),
    }
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

/// The same for containerd, which keeps labels of up to 4096 bytes, with the name of the instance and of the container.
pub(crate) fn runtime_labels(labels: BTreeMap<String, String>, instance: &str, name: &str) -> HashMap<String, String> {
    let own = [(INSTANCE_LABEL, instance), (NAME_LABEL, name)];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    labels.into_iter().filter(|(key, value)| key.len() + value.len() <= 4096).chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_id_is_that_of_docker_or_of_fargate() {
        let task = TaskId::from_bits(7);
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let ec2 = runtime_id(&task, LaunchType::Ec2);
        assert!(ec2.len() == 64 && is_hex(&ec2), "{ec2}");
        assert_ne!(ec2, runtime_id(&task, LaunchType::Ec2));
        let fargate = runtime_id(&task, LaunchType::Fargate);
        let digits = fargate.strip_prefix(&format!("{task}-")).unwrap_or_default();
        assert!((1..=10).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()), "{fargate}");
    }

    #[test]
    fn an_id_is_shortened_as_docker_does_and_as_it_was_before() {
        assert_eq!(short(&"0123456789abcdef".repeat(4)), "0123456789ab");
        assert_eq!(short("ecs-web-3-app-00112233445566778899"), "445566778899");
        assert_eq!(short("t-12"), "12");
    }

    #[test]
    fn a_name_is_of_the_definition_and_random_digits() {
        let task = TaskIntent { launch_type: LaunchType::Ec2, ..crate::container::spec::tests::task() };
        assert_eq!(docker_name(&task, "we_b--x", "00ff"), "ecs-web-3-web-x-00ff");
        assert_eq!(docker_name(&crate::container::spec::tests::task(), "we_b--x", "00ff"), "we_b--x");
        assert_eq!(suffix().len(), 20);
    }
}
