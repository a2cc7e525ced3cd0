// SPDX-License-Identifier: Apache-2.0
//! Requests read as rows of members: those that ask for something, and among them those a rule does not act on.
//!
//! An operation names the members it acts on; a request that asks for any other is refused, so that no member is
//! accepted and then ignored, including those that later service models add. `false`, zero, empty text and empty lists
//! ask for nothing.

use std::fmt::Write as _;

use berth_shapes::{Kind, Structure, View};

use crate::Refusal;

/// A member that a request asks for and its operation does not act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The structure as the service model names it, without `Request` at the end.
    pub structure: &'static str,
    /// The member as the service model names it.
    pub member: &'static str,
}

/// Refuses a structure that asks for a member neither in `common`, which all operations of the service have, nor in
/// `known`, in the words of the service. Members of members are not looked at.
///
/// # Errors
/// The refusal of the first such member.
pub fn only(
    request: &dyn Structure,
    common: &[&str],
    known: &[&str],
    refuse: impl Fn(Unknown) -> Refusal,
) -> Result<(), Refusal> {
    let shape = request.shape();
    for (index, member) in shape.members.iter().enumerate() {
        let is_known = common.contains(&member.name) || known.contains(&member.name);
        if !is_known && request.member(index).is_some_and(|view| asks(&view)) {
            let structure = shape.name.strip_suffix("Request").unwrap_or(shape.name);
            return Err(refuse(Unknown { structure, member: member.name }));
        }
    }
    Ok(())
}

/// The first member that a request asks for whose path is not in `known`, with its places in lists:
/// `settings[0].value`.
pub fn unknown_path(request: &dyn Structure, known: &[&str]) -> Option<String> {
    let found = in_structure(request, known, &mut Vec::new())?;
    let mut path = String::new();
    for (name, place) in found {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        if let Some(place) = place {
            // Writing to a string cannot fail.
            let _ = write!(path, "[{place}]");
        }
    }
    Some(path)
}

/// A member's name and its place in the list it holds, if it holds one.
type Part = (&'static str, Option<usize>);

fn in_structure(of: &dyn Structure, known: &[&str], path: &mut Vec<Part>) -> Option<Vec<Part>> {
    for (at, member) in of.shape().members.iter().enumerate() {
        let Some(view) = of.member(at) else { continue };
        path.push((member.name, None));
        let found = in_value(&view, known, path);
        path.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

fn in_value(view: &View<'_>, known: &[&str], path: &mut Vec<Part>) -> Option<Vec<Part>> {
    match view {
        View::Structure(inner) => in_structure(*inner, known, path),
        View::List(list) if list.kind() == Kind::Structure => (0..list.len()).find_map(|place| {
            if let Some(last) = path.last_mut() {
                last.1 = Some(place);
            }
            match list.item(place)? {
                View::Structure(item) => in_structure(item, known, path),
                _ => None,
            }
        }),
        leaf => {
            let is_known = known.iter().any(|known| names(known, path));
            (!is_known && asks(leaf)).then(|| path.clone())
        }
    }
}

/// True if the text is the path. Most comparisons end early, which matters because each launch makes all of them.
fn names(text: &str, path: &[Part]) -> bool {
    let mut rest = Some(text);
    for (depth, (name, _)) in path.iter().enumerate() {
        let inner = if depth == 0 { rest } else { rest.and_then(|rest| rest.strip_prefix('.')) };
        rest = inner.and_then(|inner| inner.strip_prefix(name));
    }
    rest == Some("")
}

/// True if a value asks for something.
pub fn asks(view: &View<'_>) -> bool {
    match view {
        View::Text(text) => !text.is_empty(),
        View::Integer(number) => *number != 0,
        View::Long(number) => *number != 0,
        View::Double(number) => *number != 0.0,
        View::Boolean(yes) => *yes,
        View::Timestamp(_) => true,
        View::Blob(bytes) => !bytes.is_empty(),
        View::Structure(structure) => {
            (0..structure.shape().members.len()).any(|index| structure.member(index).is_some_and(|view| asks(&view)))
        }
        View::List(list) => !list.is_empty(),
        View::Map(map) => {
            let mut any = false;
            map.each(&mut |_, _| any = true);
            any
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_shapes::ecs::{ContainerDefinition, HealthCheck, KeyValuePair, RegisterTaskDefinitionRequest};
    use berth_shapes::{Ec2ErrorCode, ec2};

    #[test]
    fn a_member_that_is_not_known_is_refused_unless_it_asks_for_nothing() {
        let refuse = |unknown: Unknown| {
            Refusal::new(Ec2ErrorCode::UnsupportedOperation, format!("{} {}", unknown.structure, unknown.member))
        };
        let mut request = ec2::CreateVpcRequest { cidr_block: Some("10.0.0.0/16".to_owned()), ..Default::default() };
        request.amazon_provided_ipv6_cidr_block = Some(false);
        assert_eq!(only(&request, &[], &["CidrBlock"], refuse), Ok(()));
        request.amazon_provided_ipv6_cidr_block = Some(true);
        let words = "CreateVpc AmazonProvidedIpv6CidrBlock";
        let refused = only(&request, &[], &["CidrBlock"], refuse).map_err(|refusal| refusal.message);
        assert_eq!(refused, Err(words.to_owned()));
    }

    #[test]
    fn a_member_is_found_at_any_depth_unless_it_asks_for_nothing() {
        let pair = KeyValuePair { name: Some("A".to_owned()), value: Some(String::new()) };
        let health_check = HealthCheck { retries: Some(0), timeout: Some(2), ..Default::default() };
        let container = ContainerDefinition {
            environment: Some(vec![pair]),
            essential: Some(false),
            health_check: Some(health_check),
            ..Default::default()
        };
        let containers = Some(vec![ContainerDefinition::default(), container]);
        let request = RegisterTaskDefinitionRequest { container_definitions: containers, ..Default::default() };
        let environment = "containerDefinitions.environment.name";
        let timeout = "containerDefinitions.healthCheck.timeout";
        let found = |known: &[&str]| unknown_path(&request, known);
        assert_eq!(found(&[environment, timeout]), None);
        assert_eq!(found(&[timeout]).as_deref(), Some("containerDefinitions[1].environment[0].name"));
        assert_eq!(found(&[environment]).as_deref(), Some("containerDefinitions[1].healthCheck.timeout"));
    }
}
