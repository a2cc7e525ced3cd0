// SPDX-License-Identifier: Apache-2.0
//! The input of an operation as text for the log: names, ids and numbers in full, any other text as its length.
//!
//! Environments, commands, tags and options may contain secrets, so text is shown only in members that name objects.

use std::fmt::Write as _;

use berth_shapes::{Structure, View};

/// Maximum length of an outline; the rest is cut off.
const BYTES_MAX: usize = 4096;

/// Members whose text names an object: those that end with one of these words.
const NAMING: &[&str] = &[
    "id",
    "ids",
    "arn",
    "arns",
    "name",
    "names",
    "cluster",
    "clusters",
    "family",
    "group",
    "groups",
    "image",
    "mode",
    "protocol",
    "region",
    "revision",
    "status",
    "subnets",
    "task",
    "taskdefinition",
    "tasks",
    "type",
    "cidrip",
    "cidrblock",
];

/// The outline.
pub(super) fn outline(input: &dyn Structure) -> String {
    let mut out = String::new();
    structure(input, &mut out);
    if out.len() > BYTES_MAX {
        let end = (0..=BYTES_MAX).rev().find(|end| out.is_char_boundary(*end)).unwrap_or(0);
        out.truncate(end);
        out.push_str("...");
    }
    out
}

fn structure(of: &dyn Structure, out: &mut String) {
    out.push('{');
    let mut separator = "";
    for (index, member) in of.shape().members.iter().enumerate() {
        if out.len() > BYTES_MAX {
            break;
        }
        if let Some(found) = of.member(index) {
            let name = member.name.to_ascii_lowercase();
            push(out, format_args!("{separator}{}: ", member.name));
            value(&found, NAMING.iter().any(|word| name.ends_with(word)), out);
            separator = ", ";
        }
    }
    out.push('}');
}

fn value(of: &View<'_>, names_things: bool, out: &mut String) {
    match of {
        View::Text(text) if names_things => push(out, format_args!("{text:?}")),
        View::Text(text) => push(out, format_args!("<{} bytes>", text.len())),
        View::Integer(number) => push(out, format_args!("{number}")),
        View::Long(number) => push(out, format_args!("{number}")),
        View::Double(number) => push(out, format_args!("{number}")),
        View::Boolean(is_so) => push(out, format_args!("{is_so}")),
        View::Timestamp(at) => push(out, format_args!("{}", at.0)),
        View::Blob(bytes) => push(out, format_args!("<{} bytes>", bytes.len())),
        View::Structure(inner) => structure(*inner, out),
        View::List(list) => {
            out.push('[');
            for item in (0..list.len()).map_while(|index| list.item(index)) {
                if out.len() > BYTES_MAX {
                    break;
                }
                value(&item, names_things, out);
                out.push(' ');
            }
            out.push(']');
        }
        View::Map(map) => {
            let mut count = 0;
            map.each(&mut |_, _| count += 1);
            push(out, format_args!("<{count} entries>"));
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_shapes::ecs;

    #[test]
    fn names_and_numbers_are_shown_and_what_may_be_secret_is_not() {
        let pair =
            |name: &str, value: &str| ecs::KeyValuePair { name: Some(name.to_owned()), value: Some(value.to_owned()) };
        let container = ecs::ContainerDefinition {
            name: Some("db".to_owned()),
            image: Some("postgres:17".to_owned()),
            command: Some(vec!["--password=hunter2".to_owned()]),
            environment: Some(vec![pair("PASSWORD", "hunter2")]),
            docker_labels: Some([("key".to_owned(), "hunter2".to_owned())].into()),
            memory: Some(512),
            ..Default::default()
        };
        let input = ecs::RegisterTaskDefinitionRequest {
            family: Some("web".to_owned()),
            container_definitions: Some(vec![container]),
            ..Default::default()
        };
        let text = outline(&input);
        for shown in
            ["family: \"web\"", "image: \"postgres:17\"", "memory: 512", "name: \"PASSWORD\"", "value: <7 bytes>"]
        {
            assert!(text.contains(shown), "{shown}: {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn an_outline_is_of_bounded_length() {
        let input = ecs::DeleteTaskDefinitionsRequest { task_definitions: Some(vec!["ü".repeat(9); 1000]) };
        let text = outline(&input);
        assert!(text.len() <= BYTES_MAX + 3, "{}", text.len());
    }
}
