// SPDX-License-Identifier: Apache-2.0
//! Requests that tests share, and changes to them.

use serde_json::{Value, json};

/// A definition for Fargate and EC2 with one container, `nginx`, of size 256/512.
pub fn fargate_definition() -> Value {
    json!({
        "family": "nginx", "networkMode": "awsvpc", "cpu": "256", "memory": "512",
        "requiresCompatibilities": ["FARGATE"],
        "containerDefinitions": [{"name": "nginx", "image": "nginx", "portMappings": [{"containerPort": 80}]}],
    })
}

/// A definition for EC2 with one container, `nginx`.
pub fn ec2_definition() -> Value {
    json!({
        "family": "nginx", "networkMode": "awsvpc",
        "containerDefinitions": [{"name": "nginx", "image": "nginx", "cpu": 100, "memory": 512}],
    })
}

/// RunTask of `nginx` on Fargate in `subnet-a` with `sg-web`.
pub fn run_request() -> Value {
    json!({
        "taskDefinition": "nginx", "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-a"], "securityGroups": ["sg-web"]}},
    })
}

/// The value with a JSON merge patch applied; the key `0` reaches into the first item of a list.
pub fn merged(mut base: Value, patch: Value) -> Value {
    merge(&mut base, patch);
    base
}

fn merge(base: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *base = patch;
        return;
    };
    for (key, value) in patch {
        match (key.as_str(), &mut *base) {
            ("0", Value::Array(items)) => merge(&mut items[0], value),
            (_, Value::Object(object)) if value.is_null() => {
                object.remove(&key);
            }
            (_, Value::Object(object)) => merge(object.entry(key).or_insert_with(|| json!({})), value),
            (_, other) => {
                *other = json!({});
                merge(other, json!({ key: value }));
            }
        }
    }
}

/// One line per case: its name, and `ok` or the refusal.
pub fn table(cases: &[(&str, Value)], mut ends: impl FnMut(Value) -> Result<Value, String>) -> String {
    let line = |(name, case): &(&str, Value)| match ends(case.clone()) {
        Ok(_) => format!("{name}: ok\n"),
        Err(words) => format!("{name}: {words}\n"),
    };
    cases.iter().map(line).collect()
}
