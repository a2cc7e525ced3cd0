// SPDX-License-Identifier: Apache-2.0
//! The tasks of this host as others see them: the metadata endpoint, the cleaning of images and logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use berth_types::TaskId;
use berth_types::report::TaskStage;

use super::record::TaskRecord;

/// The last published record of each task. Only the task's actor writes it.
#[derive(Default)]
pub(crate) struct Directory(Mutex<BTreeMap<TaskId, Arc<TaskRecord>>>);

impl Directory {
    /// Publishes a record.
    pub(super) fn put(&self, record: TaskRecord) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(record.id.clone(), Arc::new(record));
    }

    /// Forgets a task.
    pub(super) fn remove(&self, id: &TaskId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Names of the images of tasks that have not stopped.
    pub(super) fn image_names(&self) -> BTreeSet<String> {
        let tasks = self.all();
        let going_on = tasks.iter().filter(|task| task.stage != TaskStage::Stopped);
        let written = going_on.flat_map(|task| task.intent.containers.iter().map(|container| &container.image));
        written.filter_map(|image| crate::images::parse(image).ok()).map(|name| name.whole()).collect()
    }

    /// All tasks.
    pub fn all(&self) -> Vec<Arc<TaskRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
