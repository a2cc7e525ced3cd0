// SPDX-License-Identifier: Apache-2.0
//! The cluster query language: conditions on container instances.
//!
//! ```text
//! expression := all ("||" all)*          all  := one ("&&" one)*
//! one        := "!" one | "(" expression ")" | subject operator [argument]
//! ```
//!
//! `or`, `and`, `not` and the long names of operators may be written too. A condition on an attribute that an instance
//! lacks holds only if it is negative (`!=`, `!in`, `!~`, `!exists`). Not here: the parser (`expression/read.rs`).

mod condition;
mod read;
mod time;

pub(super) use condition::Expression;
pub(super) use read::read;
