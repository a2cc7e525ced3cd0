// SPDX-License-Identifier: Apache-2.0
//! DeleteTaskDefinitions.
//!
//! A deleted revision is DELETE_IN_PROGRESS: it can still be described and starts no new task. It is removed after the
//! last task that refers to it (`expire.rs`). Its number is never reused.

use std::sync::Arc;

use berth_shapes::ecs::{DeleteTaskDefinitionsRequest, DeleteTaskDefinitionsResponse, Failure};
use berth_state::ecs::{DefinitionStatus, TaskDefinition, definition_arn};
use berth_state::{Change, Draft, Env, Refusal, Snapshot};

use super::super::only::only;
use super::super::reference::{DefinitionRef, definition_ref};
use super::super::refuse::invalid;
use super::show;

/// Maximum number of revisions in one call.
const REFERENCES_MAX: usize = 10;

/// DeleteTaskDefinitions: each revision succeeds or fails separately.
pub fn delete_task_definitions(
    snap: &Snapshot,
    req: &DeleteTaskDefinitionsRequest,
    env: &Env,
) -> Result<Change<DeleteTaskDefinitionsResponse>, Refusal> {
    only(req, &["taskDefinitions"])?;
    let asked = req.task_definitions.as_deref().unwrap_or_default();
    if asked.is_empty() {
        return Err(invalid("TaskDefinition references list cannot be empty."));
    }
    if asked.len() > REFERENCES_MAX {
        return Err(invalid(format!("Size of TaskDefinition references list cannot exceed {REFERENCES_MAX}")));
    }
    let mut draft = Draft::of(snap);
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for text in asked {
        match deletable(&draft, text, env) {
            Ok(definition) => {
                let delete_requested_at = definition.delete_requested_at.or(Some(env.now));
                let definition = TaskDefinition { delete_requested_at, ..definition.as_ref().clone() };
                deleted.push(show::definition(&definition, env));
                draft.put(definition);
            }
            Err(failure) => failures.push(failure),
        }
    }
    Ok(draft.change(DeleteTaskDefinitionsResponse { failures: Some(failures), task_definitions: Some(deleted) }))
}

fn deletable(snap: &Snapshot, text: &str, env: &Env) -> Result<Arc<TaskDefinition>, Failure> {
    let failure =
        |arn: String, reason: &str| Failure { arn: Some(arn), reason: Some(reason.to_owned()), ..Default::default() };
    let Ok(Some(DefinitionRef::Exact(key))) = definition_ref(text, env) else {
        return Err(failure(
            text.to_owned(),
            "The specified task definition identifier is invalid. Specify a valid name or ARN and try again.",
        ));
    };
    let definition = snap.ecs().task_definitions.get(&key).ok_or_else(|| {
        failure(
            text.to_owned(),
            "The specified task definition does not exist. Specify a valid account, family, revision and try again.",
        )
    })?;
    match definition.status() {
        DefinitionStatus::Active => Err(failure(
            definition_arn(&key, env),
            "The specified task definition is still in ACTIVE status. Please deregister the target and try again.",
        )),
        DefinitionStatus::Inactive | DefinitionStatus::DeleteInProgress => Ok(definition.clone()),
    }
}
