// SPDX-License-Identifier: Apache-2.0
//! Shows the output of an operation as JSON, and JSON as the text of a transcript.

use berth_shapes::{Structure, View};
use berth_state::Env;
use serde_json::{Value, json};

pub(crate) fn structure(output: &dyn Structure) -> Value {
    let members = output.shape().members.iter().enumerate();
    let shown = members.filter_map(|(index, member)| Some((member.name.to_owned(), view(output.member(index)?))));
    Value::Object(shown.collect())
}

fn view(output: View<'_>) -> Value {
    match output {
        View::Text(text) => json!(text),
        View::Integer(number) => json!(number),
        View::Long(number) => json!(number),
        View::Double(number) => json!(number),
        View::Boolean(boolean) => json!(boolean),
        // Milliseconds since the beginning of the world.
        View::Timestamp(at) => json!(at.0 - Env::fixed().now.0),
        View::Blob(bytes) => json!(bytes),
        View::Structure(inner) => structure(inner),
        View::List(list) => (0..list.len()).map(|at| view(list.item(at).unwrap())).collect(),
        View::Map(map) => {
            let mut object = serde_json::Map::new();
            map.each(&mut |key, value| {
                object.insert(key.to_owned(), view(value));
            });
            Value::Object(object)
        }
    }
}

/// The members with these names at any depth, and what is around them.
pub(crate) fn only(answer: Value, names: &[&str]) -> Value {
    match answer {
        Value::Object(members) => {
            let kept = members.into_iter().filter_map(|(name, value)| match names.contains(&name.as_str()) {
                true => Some((name, value)),
                false => Some((name, only(value, names))).filter(|(_, value)| !is_empty(value)),
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => items.into_iter().map(|item| only(item, names)).filter(|item| !is_empty(item)).collect(),
        _ => Value::Null,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// The members of an answer on one line. Empty lists and the account, which is the same everywhere, are left out.
pub(crate) fn text(answer: &Value) -> String {
    let Value::Object(members) = answer else { panic!("{answer} is not an answer") };
    let shown = members.iter().filter(|(name, value)| {
        let is_empty_list = value.as_array().is_some_and(Vec::is_empty);
        !is_empty_list && *name != "OwnerId"
    });
    shown.map(|(name, value)| format!("{name}={}", value_text(value))).collect::<Vec<_>>().join(" ")
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains(' ') || text.is_empty() => format!("{text:?}"),
        Value::String(text) => text.clone(),
        Value::Object(_) => format!("{{{}}}", text(value)),
        Value::Array(items) => format!("[{}]", items.iter().map(value_text).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
