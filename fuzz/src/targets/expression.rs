// SPDX-License-Identifier: Apache-2.0
//! The cluster query language: the bytes are the filter of ListContainerInstances.
//!
//! Properties: an expression and its negation divide the instances between them; parentheses and repetition with `and`
//! and `or` change nothing; a task definition accepts the same expressions as placement constraints as the filter does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use berth_ecs::{
    ensure_default_cluster, host_connected, list_container_instances, put_attributes, register_task_definition,
};
use berth_shapes::ecs::{
    Attribute, ContainerDefinition, ListContainerInstancesRequest, PutAttributesRequest, RegisterTaskDefinitionRequest,
    TaskDefinitionPlacementConstraint,
};
use berth_state::{Env, Snapshot};
use berth_types::link::{Capacity, Hello, PROTOCOL_VERSION};
use berth_types::{HostId, InstanceId};

use super::task_definition::after;

/// Maximum length of an expression on AWS; a longer one cannot be extended.
const CHARACTERS_MAX: usize = 2000;

const HOSTS: u128 = 4;

static WORLD: LazyLock<Snapshot> = LazyLock::new(world);

/// Instances that differ in version, attributes, zone and connection.
fn world() -> Snapshot {
    let (empty, env) = (Snapshot::default(), Env::fixed());
    let mut snap = after(&empty, &ensure_default_cluster(&empty, &env));
    for number in 1..=HOSTS {
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            host: HostId::from_bits(number),
            instance: InstanceId::from_bits(number),
            cluster: "default".to_owned(),
            version: format!("1.{number}.0"),
            runtime_version: "1.6.20".to_owned(),
            capacity: Capacity { cpu_units: 2048, memory_mib: 2048, enis: 3 },
            attributes: BTreeMap::from([("ecs.os-type".to_owned(), Some("linux".to_owned()))]),
            runtime: None,
            instance_interface: None,
            tasks: Vec::new(),
            enis: Vec::new(),
        };
        snap = after(&snap, &host_connected(&snap, &hello, &env).expect("a host joins"));
        let attribute = |name: &str, value: Option<String>| Attribute {
            name: Some(name.to_owned()),
            value,
            target_id: Some(HostId::from_bits(number).to_string()),
            target_type: Some("container-instance".to_owned()),
        };
        let attributes = match number % 2 {
            0 => vec![attribute("stack", Some(format!("prod{number}"))), attribute("even", None)],
            _ => vec![attribute("stack", Some(format!("test-{number}")))],
        };
        let request = PutAttributesRequest { attributes: Some(attributes), ..Default::default() };
        snap = after(&snap, &put_attributes(&snap, &request, &env).expect("attributes are put"));
    }
    snap
}

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Without a filter there is nothing to parse.
    if text.is_empty() {
        return;
    }
    let found = matching(text);
    if !text.trim().is_empty() {
        assert_eq!(is_constraint(text), found.is_ok(), "filter and constraint differ");
    }
    let found = match found {
        Ok(found) => found,
        Err(words) => return assert!(!words.is_empty(), "a refusal without words"),
    };
    if text.chars().count() > CHARACTERS_MAX / 2 - 16 {
        return;
    }
    let all: BTreeSet<String> = (1..=HOSTS).map(|number| HostId::from_bits(number).to_string()).collect();
    let others: BTreeSet<String> = all.difference(&found).cloned().collect();
    let laws = [
        (format!("({text})"), &found),
        (format!("!({text})"), &others),
        (format!("not (not ({text}))"), &found),
        (format!("{text} and ({text})"), &found),
        (format!("({text}) || !({text})"), &all),
        (format!("({text}) && !({text})"), &BTreeSet::new()),
    ];
    for (built, expected) in &laws {
        match matching(built) {
            Ok(found) => assert_eq!(found, **expected, "{built}"),
            Err(words) => assert!(words.contains("levels"), "{built} is refused: {words}"),
        }
    }
}

/// The instances that a filter admits, or the message of the refusal.
fn matching(filter: &str) -> Result<BTreeSet<String>, String> {
    let request = ListContainerInstancesRequest { filter: Some(filter.to_owned()), ..Default::default() };
    let answer = list_container_instances(&WORLD, &request, &Env::fixed()).map_err(|refusal| {
        assert_eq!(refusal.code.code(), "InvalidParameterException");
        refusal.message
    })?;
    let id = |arn: String| arn.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(answer.container_instance_arns.into_iter().flatten().map(id).collect())
}

/// True if a task definition accepts it as a constraint.
fn is_constraint(text: &str) -> bool {
    let container = ContainerDefinition {
        name: Some("app".to_owned()),
        image: Some("app".to_owned()),
        memory: Some(64),
        ..Default::default()
    };
    let constraint =
        TaskDefinitionPlacementConstraint { expression: Some(text.to_owned()), r#type: Some("memberOf".to_owned()) };
    let request = RegisterTaskDefinitionRequest {
        family: Some("app".to_owned()),
        container_definitions: Some(vec![container]),
        placement_constraints: Some(vec![constraint]),
        ..Default::default()
    };
    register_task_definition(&WORLD, &request, &Env::fixed()).is_ok()
}
