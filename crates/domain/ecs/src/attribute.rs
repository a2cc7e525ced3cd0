// SPDX-License-Identifier: Apache-2.0
//! Attributes of container instances, which placement compares: those a host has, and those set by users.

use std::collections::BTreeMap;

use berth_shapes::ecs::{
    Attribute, DeleteAttributesRequest, DeleteAttributesResponse, ErrorCode, ListAttributesRequest,
    ListAttributesResponse, PutAttributesRequest, PutAttributesResponse,
};
use berth_state::ecs::{ClusterName, Host, InstanceStatus, instance_arn};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};

use super::list::{Order, PageRequest, page};
use super::only::only;
use super::reference::{active_cluster, instance};
use super::refuse::{at_most, invalid};

/// Maximum number of attributes in one call, and of attributes that users set on one instance.
const ATTRIBUTES_MAX: usize = 10;

/// Maximum length of a name, and of a value, in characters.
const CHARACTERS_MAX: usize = 128;

/// Members of PutAttributes and DeleteAttributes that have an effect.
const KNOWN: &[&str] =
    &["attributes.name", "attributes.targetId", "attributes.targetType", "attributes.value", "cluster"];

/// The only kind of target.
const TARGET_TYPE: &str = "container-instance";

/// PutAttributes: adds or replaces attributes; all or none.
pub fn put_attributes(
    snap: &Snapshot,
    req: &PutAttributesRequest,
    env: &Env,
) -> Result<Change<PutAttributesResponse>, Refusal> {
    only(req, KNOWN)?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let asked = asked(req.attributes.as_deref())?;
    let mut draft = Draft::of(snap);
    let mut shown = Vec::new();
    for attribute in asked {
        let (name, value) = checked(attribute)?;
        let mut host = target(&draft, &cluster.name, attribute, env)?;
        host.custom_attributes.insert(name.to_owned(), value.clone());
        if host.custom_attributes.len() > ATTRIBUTES_MAX {
            return Err(Refusal::new(
                ErrorCode::AttributeLimitExceededException,
                format!("You can apply up to {ATTRIBUTES_MAX} custom attributes for each resource."),
            ));
        }
        shown.push(show(&host, name, value.as_deref(), env));
        draft.put(host);
    }
    Ok(draft.change(PutAttributesResponse { attributes: Some(shown) }))
}

/// DeleteAttributes: those with the given value, or with any value if none is given.
pub fn delete_attributes(
    snap: &Snapshot,
    req: &DeleteAttributesRequest,
    env: &Env,
) -> Result<Change<DeleteAttributesResponse>, Refusal> {
    only(req, KNOWN)?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    let asked = asked(req.attributes.as_deref())?;
    let mut draft = Draft::of(snap);
    let mut shown = Vec::new();
    for attribute in asked {
        let (name, value) = checked(attribute)?;
        let mut host = target(&draft, &cluster.name, attribute, env)?;
        let held = host.custom_attributes.get(name).filter(|held| value.is_none() || **held == value).cloned();
        if let Some(held) = held {
            host.custom_attributes.remove(name);
            shown.push(show(&host, name, held.as_deref(), env));
            draft.put(host);
        }
    }
    Ok(draft.change(DeleteAttributesResponse { attributes: Some(shown) }))
}

/// ListAttributes: one entry for each attribute of each container instance.
pub fn list_attributes(
    snap: &Snapshot,
    req: &ListAttributesRequest,
    env: &Env,
) -> Result<ListAttributesResponse, Refusal> {
    only(req, &["attributeName", "attributeValue", "cluster", "maxResults", "nextToken", "targetType"])?;
    let cluster = active_cluster(snap, req.cluster.as_deref(), env)?;
    check_target_type(req.target_type.as_deref())?;
    let (name, value) = (req.attribute_name.as_deref(), req.attribute_value.as_deref());
    if value.is_some() && name.is_none() {
        return Err(invalid("attributeName must be specified when attributeValue is."));
    }
    let is_meant = |(known, held): &(&str, Option<&str>)| {
        name.is_none_or(|name| name == *known) && value.is_none_or(|value| Some(value) == *held)
    };
    let items = snap.ecs().instances(&cluster.name).flat_map(|host| {
        let wanted = host.all_attributes().into_iter().filter(is_meant).collect::<BTreeMap<_, _>>();
        wanted.into_iter().map(move |(name, value)| (format!("{} {name}", host.id), show(host, name, value, env)))
    });
    let asked = PageRequest {
        max_results: req.max_results,
        next_token: req.next_token.as_deref(),
        operation: "ListAttributes",
    };
    let page = page(items, &asked, Order::Ascending)?;
    Ok(ListAttributesResponse { attributes: Some(page.items), next_token: page.next_token })
}

fn asked(attributes: Option<&[Attribute]>) -> Result<&[Attribute], Refusal> {
    let asked = attributes.unwrap_or_default();
    if asked.is_empty() {
        return Err(invalid("Attributes cannot be empty."));
    }
    at_most(Some(asked), ATTRIBUTES_MAX, "attributes")?;
    Ok(asked)
}

fn check_target_type(target_type: Option<&str>) -> Result<(), Refusal> {
    match target_type {
        None | Some(TARGET_TYPE) => Ok(()),
        Some(other) => Err(invalid(format!("'{other}' is not a valid value for targetType."))),
    }
}

fn checked(attribute: &Attribute) -> Result<(&str, Option<String>), Refusal> {
    check_target_type(attribute.target_type.as_deref())?;
    let name = attribute.name.as_deref().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_./\\".contains(c);
    if name.is_empty() || name.len() > CHARACTERS_MAX || !name.chars().all(is_name) {
        return Err(invalid(format!("Invalid attribute name '{name}'.")));
    }
    let value = attribute.value.clone().filter(|value| !value.is_empty());
    let is_value = |c: char| c.is_ascii_alphanumeric() || "-_.@:/\\ ".contains(c);
    let is_valid = |value: &String| {
        value.len() <= CHARACTERS_MAX && value.chars().all(is_value) && value.trim().len() == value.len()
    };
    if let Some(value) = value.as_ref().filter(|value| !is_valid(value)) {
        return Err(invalid(format!("Invalid attribute value '{value}'.")));
    }
    Ok((name, value))
}

/// The instance to set an attribute on; refuses the instance's own attributes.
fn target(snap: &Snapshot, cluster: &ClusterName, attribute: &Attribute, env: &Env) -> Result<Host, Refusal> {
    let text = attribute.target_id.as_deref().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| invalid("targetId must be specified."))?;
    let unknown =
        || Refusal::new(ErrorCode::TargetNotFoundException, format!("The specified target '{text}' was not found."));
    let host = instance(snap, cluster, text, env)?.map_err(|_| unknown())?;
    if host.instance_status() == Some(InstanceStatus::Inactive) {
        return Err(unknown());
    }
    let name = attribute.name.as_deref().unwrap_or_default();
    if host.attributes.contains_key(name) {
        return Err(invalid(format!("The attribute '{name}' is set by the container instance itself.")));
    }
    Ok(host.as_ref().clone())
}

fn show(host: &Host, name: &str, value: Option<&str>, env: &Env) -> Attribute {
    Attribute {
        name: Some(name.to_owned()),
        target_id: Some(instance_arn(&host.cluster, &host.id, env)),
        target_type: None,
        value: value.map(str::to_owned),
    }
}
