//! Links: other containers of the task under a name of their own (network mode bridge).

use std::collections::BTreeSet;

use berth_types::mode::ContainerLink;

use super::super::record::ContainerDefinition;
use super::super::refuse::client;
use crate::Refusal;

/// Reads `name` or `name:alias`.
pub(crate) fn read(text: &str) -> ContainerLink {
    let (container, alias) = text.split_once(':').unwrap_or((text, text));
    ContainerLink { container: container.to_owned(), alias: alias.to_owned() }
}

/// Refuses links to nobody, to itself, and names that are none.
pub(super) fn check(container: &ContainerDefinition, names: &BTreeSet<&str>) -> Result<(), Refusal> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    for link in container.links.iter().flatten().map(|text| read(text)) {
        if !names.contains(link.container.as_str()) || link.container == container.name {
            return Err(client(format!("Invalid 'links' setting. Unknown container: '{}'", link.container)));
        }
        if link.alias.is_empty() || !link.alias.chars().all(is_allowed) {
            return Err(client(format!("Invalid 'links' setting. Invalid alias: '{}'", link.alias)));
        }
    }
    Ok(())
}
