// SPDX-License-Identifier: Apache-2.0
//! Task definitions: the bytes are the body of a RegisterTaskDefinition call.
//!
//! Properties: an accepted definition is answered complete and unchanged; the answer equals the later description, and
//! registering it again gives the same definition except for its revision; a refusal has a message and an exception of
//! the operation.

use berth_ecs::{describe_task_definition, ensure_default_cluster, register_task_definition};
use berth_shapes::ecs::{DescribeTaskDefinitionRequest, RegisterTaskDefinitionRequest, RegisterTaskDefinitionResponse};
use berth_shapes::{Input, OperationId, Structure};
use berth_state::{Change, Env, Refusal, Snapshot};
use berth_wire::{RequestParts, compose, decode, encode, route};
use serde_json::Value;

/// Members that AWS adds to a registered definition.
const ADDED: [&str; 9] = [
    "compatibilities",
    "deleteRequestedAt",
    "deregisteredAt",
    "registeredAt",
    "registeredBy",
    "requiresAttributes",
    "revision",
    "status",
    "taskDefinitionArn",
];

pub(crate) fn run(data: &[u8]) {
    let Some(input) = read(data) else { return };
    let (empty, env) = (Snapshot::default(), Env::fixed());
    let snap = after(&empty, &ensure_default_cluster(&empty, &env));
    match register_task_definition(&snap, &input, &env) {
        Err(refusal) => check_refusal(&refusal),
        Ok(change) => {
            let asked = compose(&input, "localhost").expect("localhost is a host");
            let asked: Value = serde_json::from_slice(asked.body()).expect("a request is JSON");
            check_accepted(&after(&snap, &change), &asked, &change.reply, &env);
        }
    }
}

/// The input of a call with this body; `None` when it is invalid (the target `wire` covers that).
fn read(body: &[u8]) -> Option<RegisterTaskDefinitionRequest> {
    let mut request = compose(&RegisterTaskDefinitionRequest::default(), "localhost")?;
    *request.body_mut() = body.to_vec().into();
    decode(&route(&RequestParts::of(&request)).ok()?).ok()
}

/// The snapshot after a change.
pub(super) fn after<T>(snap: &Snapshot, change: &Change<T>) -> Snapshot {
    let mut snap = snap.clone();
    change.writes.iter().for_each(|write| snap.apply(write));
    snap
}

fn check_refusal(refusal: &Refusal) {
    assert!(
        matches!(refusal.code.code(), "ClientException" | "InvalidParameterException"),
        "{} is no exception of RegisterTaskDefinition",
        refusal.code.code()
    );
    assert!(!refusal.message.trim().is_empty(), "a refusal without words");
}

fn check_accepted(snap: &Snapshot, asked: &Value, registered: &RegisterTaskDefinitionResponse, env: &Env) {
    let registered = json(OperationId::EcsRegisterTaskDefinition, registered);
    let described = described(snap, &registered, env);
    assert_eq!(described["taskDefinition"], registered["taskDefinition"], "described unlike it was answered");
    check_kept("", asked, &as_given(&described));
    let again = read(&as_request(&described)).expect("what is described can be asked for");
    let change = register_task_definition(snap, &again, env).expect("what is described can be registered");
    let again = json(OperationId::EcsRegisterTaskDefinition, &change.reply);
    assert_eq!(again["taskDefinition"]["revision"], 2);
    for member in ["compatibilities", "requiresAttributes"] {
        assert_eq!(again["taskDefinition"][member], described["taskDefinition"][member]);
    }
    assert_eq!(as_given(&again), as_given(&described), "registered again and different");
}

/// Members whose text AWS normalises.
const NORMALISED: [&str; 4] = ["/cpu", "/memory", "/taskRoleArn", "/executionRoleArn"];

/// All members of the request are in the answer.
fn check_kept(path: &str, asked: &Value, answered: &Value) {
    match (asked, answered) {
        (Value::Object(asked), Value::Object(answered)) => {
            for (member, value) in asked {
                let path = format!("{path}/{member}");
                match answered.get(member) {
                    Some(answered) => check_kept(&path, value, answered),
                    None => assert!(is_nothing(&path, value), "{path} is lost: {value}"),
                }
            }
        }
        // Tags are answered in the order of their keys.
        (Value::Array(asked), Value::Array(answered)) if path == "/tags" => {
            assert_eq!(asked.len(), answered.len(), "{path}");
            asked.iter().for_each(|tag| assert!(answered.iter().any(|kept| is_same_tag(tag, kept)), "{tag} is lost"));
        }
        (Value::Array(asked), Value::Array(answered)) => {
            assert_eq!(asked.len(), answered.len(), "{path}");
            asked.iter().zip(answered).for_each(|(asked, answered)| check_kept(path, asked, answered));
        }
        (Value::String(_), Value::String(_)) if NORMALISED.contains(&path) => {}
        (asked, answered) => assert_eq!(asked, answered, "{path}"),
    }
}

/// True if omitting the value has the same meaning.
fn is_nothing(path: &str, asked: &Value) -> bool {
    match asked {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty() && NORMALISED.contains(&path),
        Value::Bool(false) => path.ends_with("/configuredAtLaunch"),
        // A port range has no port of the host; 0 means any.
        Value::Number(number) => path.ends_with("/hostPort") && number.as_i64() == Some(0),
        Value::Null | Value::Bool(true) => false,
    }
}

fn is_same_tag(asked: &Value, kept: &Value) -> bool {
    asked["key"] == kept["key"] && asked["value"].as_str().unwrap_or_default() == kept["value"]
}

fn described(snap: &Snapshot, registered: &Value, env: &Env) -> Value {
    let request = DescribeTaskDefinitionRequest {
        task_definition: registered["taskDefinition"]["taskDefinitionArn"].as_str().map(str::to_owned),
        include: Some(vec!["TAGS".to_owned()]),
    };
    let answer = describe_task_definition(snap, &request, env).expect("what was registered can be described");
    json(DescribeTaskDefinitionRequest::OPERATION, &answer)
}

/// The answer as its client decodes it.
fn json(operation: OperationId, answer: &dyn Structure) -> Value {
    serde_json::from_slice(encode(operation.row(), answer, "id").body()).expect("an answer is JSON")
}

/// Definition and tags without the additions of AWS.
fn as_given(answer: &Value) -> Value {
    let mut given = answer["taskDefinition"].clone();
    if let Value::Object(members) = &mut given {
        members.retain(|member, _| !ADDED.contains(&member.as_str()));
        // An empty list of tags is written by omitting it.
        if let Some(tags) = answer["tags"].as_array().filter(|tags| !tags.is_empty()) {
            members.insert("tags".to_owned(), Value::Array(tags.clone()));
        }
    }
    given
}

fn as_request(described: &Value) -> Vec<u8> {
    as_given(described).to_string().into_bytes()
}
