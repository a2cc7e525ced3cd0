// SPDX-License-Identifier: Apache-2.0
//! The rules of IAM and STS: the identity of the caller.
#![deny(clippy::disallowed_methods)]

mod door;
mod sts;

pub use door::door;
pub use sts::get_caller_identity;
