// SPDX-License-Identifier: Apache-2.0
//! Labels of what Berth keeps in containerd.

use std::collections::HashMap;

use crate::pause;

/// Label by which a node finds its containers.
pub(crate) const INSTANCE_LABEL: &str = "berth.instance";

/// Label with the name a container has in its task definition; that of a pause container tells it from the others.
pub(crate) const CONTAINER_LABEL: &str = "com.amazonaws.ecs.container-name";

/// A thing in containerd, and the instance it says it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labelled {
    /// Its name.
    pub name: String,
    /// The value of its label, if it has one.
    pub instance: Option<String>,
    /// It is a pause container.
    pub is_pause: bool,
}

impl Labelled {
    pub(super) fn of(name: String, labels: &HashMap<String, String>) -> Self {
        let is_pause = labels.get(CONTAINER_LABEL).is_some_and(|name| name == pause::NAME);
        Self { name, instance: labels.get(INSTANCE_LABEL).cloned(), is_pause }
    }
}
