// SPDX-License-Identifier: Apache-2.0
//! Task definitions: registered once, never changed, numbered by revisions that are never reused.
//!
//! Registration checks a definition completely, so that no task can fail because of its definition. A member without
//! effect in this program is refused by name.

mod around;
mod attributes;
mod container;
mod container_path;
mod cycle;
mod delete;
mod fargate;
mod known;
mod lifecycle;
mod link;
mod linux;
mod log;
mod network_mode;
mod port;
mod read;
mod register;
mod show;
mod size;
mod unsupported;
mod volume;

pub use delete::delete_task_definitions;
pub(super) use fargate::{check_size, ephemeral_storage};
pub(super) use log::SUPPORTED as LOG_DRIVERS;
pub use register::register_task_definition;
pub(super) use size::{parse_cpu, parse_memory};

use berth_shapes::ecs::{
    DeregisterTaskDefinitionRequest, DeregisterTaskDefinitionResponse, DescribeTaskDefinitionRequest,
    DescribeTaskDefinitionResponse, ListTaskDefinitionFamiliesRequest, ListTaskDefinitionFamiliesResponse,
    ListTaskDefinitionsRequest, ListTaskDefinitionsResponse,
};
use berth_state::ecs::{DefinitionStatus, FamilyName, TaskDefinition, definition_arn};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};

use super::list::{Order, PageRequest, page};
use super::only::only;
use super::reference::{self, DefinitionRef, definition_ref};
use super::refuse::{client, invalid};
use super::tag;

/// DescribeTaskDefinition.
pub fn describe_task_definition(
    snap: &Snapshot,
    req: &DescribeTaskDefinitionRequest,
    env: &Env,
) -> Result<DescribeTaskDefinitionResponse, Refusal> {
    only(req, &["include", "taskDefinition"])?;
    let tags_asked = includes_tags(req.include.as_deref())?;
    let text = req.task_definition.as_deref().unwrap_or_default();
    let definition =
        reference::definition(snap, text, env)?.ok_or_else(|| client("Unable to describe task definition."))?;
    Ok(DescribeTaskDefinitionResponse {
        tags: tags_asked.then(|| tag::show(&definition.tags)),
        task_definition: Some(show::definition(&definition, env)),
    })
}

/// DeregisterTaskDefinition. An INACTIVE revision is returned unchanged.
pub fn deregister_task_definition(
    snap: &Snapshot,
    req: &DeregisterTaskDefinitionRequest,
    env: &Env,
) -> Result<Change<DeregisterTaskDefinitionResponse>, Refusal> {
    only(req, &["taskDefinition"])?;
    let text = req.task_definition.as_deref().unwrap_or_default();
    let key = match definition_ref(text, env)? {
        Some(DefinitionRef::Exact(key)) => key,
        Some(DefinitionRef::Latest(_)) => return Err(client("Revision is missing.")),
        None => return Err(client(format!("Invalid revision number. Number: {}", revision_text(text)))),
    };
    let found = snap.ecs().task_definitions.get(&key);
    let definition = found.ok_or_else(|| client("The specified task definition does not exist."))?;
    let mut draft = Draft::of(snap);
    let deregistered_at = definition.deregistered_at.or(Some(env.now));
    let definition = TaskDefinition { deregistered_at, ..(**definition).clone() };
    let shown = show::definition(&definition, env);
    draft.put(definition);
    Ok(draft.change(DeregisterTaskDefinitionResponse { task_definition: Some(shown) }))
}

/// ListTaskDefinitions: by family, then revision.
pub fn list_task_definitions(
    snap: &Snapshot,
    req: &ListTaskDefinitionsRequest,
    env: &Env,
) -> Result<ListTaskDefinitionsResponse, Refusal> {
    only(req, &["familyPrefix", "maxResults", "nextToken", "sort", "status"])?;
    let status = match req.status.as_deref() {
        None | Some("ACTIVE") => DefinitionStatus::Active,
        Some("INACTIVE") => DefinitionStatus::Inactive,
        Some("DELETE_IN_PROGRESS") => DefinitionStatus::DeleteInProgress,
        Some(other) => return Err(invalid(format!("Invalid status '{other}'."))),
    };
    let order = match req.sort.as_deref() {
        None | Some("ASC") => Order::Ascending,
        Some("DESC") => Order::Descending,
        Some(other) => return Err(invalid(format!("Invalid sort '{other}'."))),
    };
    let wanted = |definition: &&std::sync::Arc<TaskDefinition>| {
        definition.status() == status
            && req.family_prefix.as_ref().is_none_or(|family| definition.key.family.0 == *family)
    };
    // The space sorts before every character of a family's name; the padding makes numbers sort as text.
    let place = |definition: &TaskDefinition| format!("{} {:010}", definition.key.family, definition.key.revision);
    let item = |definition: &std::sync::Arc<TaskDefinition>| (place(definition), definition_arn(&definition.key, env));
    let asked = PageRequest {
        max_results: req.max_results,
        next_token: req.next_token.as_deref(),
        operation: "ListTaskDefinitions",
    };
    let all = snap.ecs().task_definitions.values();
    let page = match order {
        Order::Ascending => page(all.filter(wanted).map(item), &asked, order)?,
        Order::Descending => page(all.rev().filter(wanted).map(item), &asked, order)?,
    };
    Ok(ListTaskDefinitionsResponse { task_definition_arns: Some(page.items), next_token: page.next_token })
}

/// ListTaskDefinitionFamilies. A family is ACTIVE while one of its revisions is.
pub fn list_task_definition_families(
    snap: &Snapshot,
    req: &ListTaskDefinitionFamiliesRequest,
    _env: &Env,
) -> Result<ListTaskDefinitionFamiliesResponse, Refusal> {
    only(req, &["familyPrefix", "maxResults", "nextToken", "status"])?;
    let is_active = match req.status.as_deref() {
        None | Some("ALL") => None,
        Some("ACTIVE") => Some(true),
        Some("INACTIVE") => Some(false),
        Some(other) => return Err(invalid(format!("Invalid status '{other}'."))),
    };
    let prefix = req.family_prefix.as_deref().unwrap_or_default();
    // A family without revisions keeps its last number and is not listed.
    let has_status = |family: &FamilyName| {
        let mut revisions = snap.ecs().revisions(family).peekable();
        revisions.peek().is_some()
            && is_active.is_none_or(|wanted| wanted == revisions.any(|one| one.status() == DefinitionStatus::Active))
    };
    let families = snap.ecs().families.keys().filter(|family| family.0.starts_with(prefix) && has_status(family));
    let asked = PageRequest {
        max_results: req.max_results,
        next_token: req.next_token.as_deref(),
        operation: "ListTaskDefinitionFamilies",
    };
    let page = page(families.map(|family| (family.0.clone(), family.0.clone())), &asked, Order::Ascending)?;
    Ok(ListTaskDefinitionFamiliesResponse { families: Some(page.items), next_token: page.next_token })
}

fn includes_tags(include: Option<&[String]>) -> Result<bool, Refusal> {
    let include = include.unwrap_or_default();
    match include.iter().find(|word| *word != "TAGS") {
        Some(other) => Err(invalid(format!("Invalid include value '{other}'."))),
        None => Ok(!include.is_empty()),
    }
}

fn revision_text(text: &str) -> &str {
    text.rsplit(':').next().unwrap_or_default()
}
