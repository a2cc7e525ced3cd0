//! Forgetting what is over: stopped tasks, and deleted definitions to which no task refers.

use berth_types::{TaskId, TimestampMs};

use super::record::TaskDefinitionKey;
use crate::{Change, Draft, Env, RecordKey, Snapshot};

/// How long a stopped task can be described, as on AWS, and a deleted definition at least.
pub const STOPPED_TASKS_KEPT_MS: i64 = 60 * 60 * 1000;

/// Removes what ended longer ago than that.
pub fn expire(snap: &Snapshot, env: &Env) -> Change<()> {
    let mut draft = Draft::of(snap);
    let is_over = |at: &TimestampMs| at.0 + STOPPED_TASKS_KEPT_MS < env.now.0;
    for (_, task) in snap.index().stopped_tasks.iter().take_while(|(at, _)| is_over(at)) {
        draft.delete(RecordKey::Task(task.clone()));
    }
    for (_, definition) in snap.index().deleted_definitions.iter().take_while(|(at, _)| is_over(at)) {
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
