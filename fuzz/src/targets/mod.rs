// SPDX-License-Identifier: Apache-2.0
//! One file per target.

pub(crate) mod cni;
pub(crate) mod expression;
pub(crate) mod manifest;
pub(crate) mod task_definition;
pub(crate) mod verdict;
pub(crate) mod wire;
