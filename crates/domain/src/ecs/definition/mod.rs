//! Task definitions: registered once, never changed, numbered by revisions that are never given twice.
//!
//! What is registered is checked here completely, so that a task of it cannot fail for its definition. A member that
//! this program does not act on is refused by name.

mod attributes;
mod container;
mod delete;
mod fargate;
mod lifecycle;
mod link;
mod linux;
mod log;
mod network_mode;
mod port;
mod register;
mod show;
mod size;
mod unsupported;
mod volume;

pub use delete::delete_task_definitions;
pub(super) use fargate::{check_size, ephemeral_storage};
pub(crate) use link::read as read_link;
pub(super) use log::SUPPORTED as LOG_DRIVERS;
pub use register::register_task_definition;
pub(super) use size::{parse_cpu, parse_memory};

use berth_shapes::ecs::{
    DeregisterTaskDefinitionRequest, DeregisterTaskDefinitionResponse, DescribeTaskDefinitionRequest,
    DescribeTaskDefinitionResponse, ListTaskDefinitionFamiliesRequest, ListTaskDefinitionFamiliesResponse,
    ListTaskDefinitionsRequest, ListTaskDefinitionsResponse,
};

use super::list::{Asked, Order, page};
use super::record::{DefinitionStatus, FamilyName, TaskDefinition};
use super::reference::{self, DefinitionRef, definition_arn, definition_ref, revisions};
use super::refuse::{client, invalid};
use super::tag;
use crate::{Change, Draft, Env, Refusal, Snapshot};

/// DescribeTaskDefinition.
pub fn describe_task_definition(
    snap: &Snapshot,
    req: &DescribeTaskDefinitionRequest,
    env: &Env,
) -> Result<DescribeTaskDefinitionResponse, Refusal> {
    let tags_asked = includes_tags(req.include.as_deref())?;
    let text = req.task_definition.as_deref().unwrap_or_default();
    let definition =
        reference::definition(snap, text, env)?.ok_or_else(|| client("Unable to describe task definition."))?;
    Ok(DescribeTaskDefinitionResponse {
        tags: tags_asked.then(|| tag::show(&definition.tags)),
        task_definition: Some(show::definition(&definition, env)),
    })
}

/// DeregisterTaskDefinition. One that is INACTIVE stays so.
pub fn deregister_task_definition(
    snap: &Snapshot,
    req: &DeregisterTaskDefinitionRequest,
    env: &Env,
) -> Result<Change<DeregisterTaskDefinitionResponse>, Refusal> {
    let text = req.task_definition.as_deref().unwrap_or_default();
    let key = match definition_ref(text, env)? {
        Some(DefinitionRef::Exact(key)) => key,
        Some(DefinitionRef::Latest(_)) => return Err(client("Revision is missing.")),
        None => return Err(client(format!("Invalid revision number. Number: {}", revision_text(text)))),
    };
    let found = snap.task_definitions.get(&key);
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
    // The space sorts before every character of a family's name, the padding makes numbers sort as text.
    let place = |definition: &TaskDefinition| format!("{} {:010}", definition.key.family, definition.key.revision);
    let item = |definition: &std::sync::Arc<TaskDefinition>| (place(definition), definition_arn(&definition.key, env));
    let asked =
        Asked { max_results: req.max_results, next_token: req.next_token.as_deref(), operation: "ListTaskDefinitions" };
    let all = snap.task_definitions.values();
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
    let is_active = match req.status.as_deref() {
        None | Some("ALL") => None,
        Some("ACTIVE") => Some(true),
        Some("INACTIVE") => Some(false),
        Some(other) => return Err(invalid(format!("Invalid status '{other}'."))),
    };
    let prefix = req.family_prefix.as_deref().unwrap_or_default();
    // A family without revisions keeps its number and is not told of.
    let has_status = |family: &FamilyName| {
        let mut revisions = revisions(snap, family).peekable();
        revisions.peek().is_some()
            && is_active.is_none_or(|wanted| wanted == revisions.any(|one| one.status() == DefinitionStatus::Active))
    };
    let families = snap.families.keys().filter(|family| family.0.starts_with(prefix) && has_status(family));
    let asked = Asked {
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
