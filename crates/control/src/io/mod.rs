// SPDX-License-Identifier: Apache-2.0
//! Operations with effects other than records, such as log events, blobs and sessions: `access = "io"` in
//! `operations/SERVICE.toml`.
//!
//! The functions of a service are in a file of this folder with the service's name; `rules.rs`, which is generated, leads
//! from an operation to its function.

mod rule;
mod rules;

use berth_shapes::OperationId;

pub(crate) use rule::Rule;

/// The function of an operation; `None` for one that reads or writes records.
pub(crate) fn rule(operation: OperationId) -> Option<Rule> {
    rules::rule(operation)
}
