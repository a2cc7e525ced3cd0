// SPDX-License-Identifier: Apache-2.0
//! Allow-lists: the members of a request that an operation acts on, by their paths.
//!
//! A request that asks for any other member is refused, at any depth and including those that later service models add.
//! An operation checks its list after its refusals in AWS's own words.

use berth_shapes::Structure;
use berth_state::Refusal;
use berth_state::request::unknown_path;

use super::refuse::parameter_not_yet;

/// Refuses a request that asks for a member whose path is not in `known`, e.g. `settings.value`. Paths continue through
/// lists, and end at the first value that is not a structure.
pub(super) fn only(request: &dyn Structure, known: &[&str]) -> Result<(), Refusal> {
    match unknown_path(request, known) {
        Some(path) => Err(parameter_not_yet(path)),
        None => Ok(()),
    }
}
