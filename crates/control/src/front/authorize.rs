// SPDX-License-Identifier: Apache-2.0
//! The place where IAM decides whether a caller may call an operation.
//!
//! Nothing is decided yet: every authenticated caller is an administrator. A decision has all it needs here: the caller,
//! the operation's actions and the resources that the request names.

use berth_shapes::{Operation, Refusal, Structure};
use berth_state::{Door, Env, Snapshot};

/// Lets every call pass, and logs what a decision would be made on.
pub(super) fn authorize(
    operation: &Operation,
    door: &Door,
    input: &dyn Structure,
    snapshot: &Snapshot,
    env: &Env,
) -> Result<(), Refusal> {
    if tracing::enabled!(tracing::Level::TRACE) {
        tracing::trace!(
            caller = env.caller.arn(),
            origin = ?env.caller.origin,
            action = operation.action,
            also = ?operation.also,
            resources = ?door.resources(snapshot, input, env),
            "a call"
        );
    }
    Ok(())
}
