//! Forgetting stopped tasks.

use berth_types::{TaskId, TimestampMs};

use crate::{Change, Draft, Env, RecordKey, Snapshot};

/// How long a stopped task can be described, as on AWS.
pub const STOPPED_TASKS_KEPT_MS: i64 = 60 * 60 * 1000;

/// Removes tasks that stopped longer ago than that.
pub fn expire(snap: &Snapshot, env: &Env) -> Change<()> {
    let mut draft = Draft::of(snap);
    let is_over = |(at, _): &&(TimestampMs, TaskId)| at.0 + STOPPED_TASKS_KEPT_MS < env.now.0;
    for (_, task) in snap.index().stopped_tasks.iter().take_while(is_over) {
        draft.delete(RecordKey::Task(task.clone()));
    }
    draft.change(())
}
