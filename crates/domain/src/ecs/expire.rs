//! Forgetting what is over: stopped tasks, and deleted definitions to which no task refers.

use berth_types::{TaskId, TimestampMs};

use super::record::TaskDefinitionKey;
use crate::{Change, Draft, Env, RecordKey, Snapshot};

/// How long a stopped task can be described on AWS.
pub const STOPPED_TASKS_KEPT_MS: i64 = 60 * 60 * 1000;

/// How long a deleted definition can be described at least.
const DELETED_DEFINITIONS_KEPT_MS: i64 = 60 * 60 * 1000;

/// Removes what ended longer ago than that; stopped tasks after `tasks_kept_ms`.
pub fn expire(snap: &Snapshot, tasks_kept_ms: i64, env: &Env) -> Change<()> {
    let mut draft = Draft::of(snap);
    let is_over = |at: &TimestampMs, kept_ms: i64| at.0.saturating_add(kept_ms) < env.now.0;
    for (_, task) in snap.index().stopped_tasks.iter().take_while(|(at, _)| is_over(at, tasks_kept_ms)) {
        draft.delete(RecordKey::Task(task.clone()));
    }
    let deleted = snap.index().deleted_definitions.iter();
    for (_, definition) in deleted.take_while(|(at, _)| is_over(at, DELETED_DEFINITIONS_KEPT_MS)) {
        if !is_used(&draft, definition) {
            draft.delete(RecordKey::TaskDefinition(definition.clone()));
        }
    }
    draft.change(())
}

fn is_used(snap: &Snapshot, definition: &TaskDefinitionKey) -> bool {
    let first = (definition.clone(), TaskId::from_bits(0));
    snap.index().definition_tasks.range(first..).next().is_some_and(|(of, _)| of == definition)
}
