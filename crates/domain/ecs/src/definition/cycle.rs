// SPDX-License-Identifier: Apache-2.0
//! Cycles of containers that name each other.

use std::collections::BTreeSet;

use berth_state::ecs::ContainerDefinition;

/// True if some container is reached from itself by `edges`.
pub(super) fn has_cycle(
    containers: &[ContainerDefinition],
    edges: impl Fn(&ContainerDefinition) -> Vec<String>,
) -> bool {
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    loop {
        let before = settled.len();
        for container in containers {
            if edges(container).iter().all(|name| settled.contains(name.as_str())) {
                settled.insert(&container.name);
            }
        }
        if settled.len() == before {
            return settled.len() < containers.len();
        }
    }
}
