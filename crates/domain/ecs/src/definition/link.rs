// SPDX-License-Identifier: Apache-2.0
//! Links: aliases of other containers of the task (network mode bridge).

use std::collections::BTreeSet;

use berth_state::Refusal;
use berth_state::ecs::{ContainerDefinition, read_link};

use super::super::refuse::client;

/// Refuses links to an unknown container, links to itself, and invalid names.
pub(super) fn check(container: &ContainerDefinition, names: &BTreeSet<&str>) -> Result<(), Refusal> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    for link in container.links.iter().flatten().map(|text| read_link(text)) {
        if !names.contains(link.container.as_str()) || link.container == container.name {
            return Err(client(format!("Invalid 'links' setting. Unknown container: '{}'", link.container)));
        }
        if link.alias.is_empty() || !link.alias.chars().all(is_allowed) {
            return Err(client(format!("Invalid 'links' setting. Invalid alias: '{}'", link.alias)));
        }
    }
    Ok(())
}
