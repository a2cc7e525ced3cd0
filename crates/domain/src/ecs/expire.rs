//! Forgetting stopped tasks.

use super::record::TaskStatus;
use crate::{Change, Draft, Env, RecordKey, Snapshot};

/// How long a stopped task can be described, as on AWS.
pub const STOPPED_TASKS_KEPT_MS: i64 = 60 * 60 * 1000;

/// Removes tasks that stopped longer ago than that.
pub fn expire(snap: &Snapshot, env: &Env) -> Change<()> {
    let mut draft = Draft::of(snap);
    for task in snap.tasks.values() {
        let stopped_at = task.times.stopped_at.filter(|_| task.status == TaskStatus::Stopped);
        if stopped_at.is_some_and(|at| at.0 + STOPPED_TASKS_KEPT_MS < env.now.0) {
            draft.delete(RecordKey::Task(task.id.clone()));
        }
    }
    draft.change(())
}
