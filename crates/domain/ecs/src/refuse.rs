// SPDX-License-Identifier: Apache-2.0
//! Refusals that several operations of ECS share.

use std::fmt::Display;

use berth_shapes::ecs::ErrorCode;
use berth_state::Refusal;

/// ClientException.
pub(super) fn client(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::ClientException, message)
}

/// InvalidParameterException.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidParameterException, message)
}

/// A member of a task definition that AWS has and this program has not.
pub(super) fn not_yet(member: impl Display) -> Refusal {
    client(format!("{member} is not supported by this endpoint yet."))
}

/// A parameter of another operation that AWS has and this program has not.
pub(super) fn parameter_not_yet(member: impl Display) -> Refusal {
    invalid(format!("{member} is not supported by this endpoint yet."))
}

/// Refuses a list with too many items.
pub(super) fn at_most<T>(list: Option<&[T]>, max: usize, name: &str) -> Result<(), Refusal> {
    match list {
        Some(list) if list.len() > max => Err(invalid(format!("{name} can have at most {max} items."))),
        Some(_) | None => Ok(()),
    }
}
