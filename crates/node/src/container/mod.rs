// SPDX-License-Identifier: Apache-2.0
//! One container: its specification, its user, its files, its share of the machine. Decisions here are pure.

pub(crate) mod files;
pub(crate) mod image_volumes;
mod inside;
mod linux;
pub(crate) mod loop_device;
pub(crate) mod machine;
pub(crate) mod mounts;
pub(crate) mod names;
mod seccomp;
pub(crate) mod seed;
pub(crate) mod spec;
pub(crate) mod storage;
pub(crate) mod users;
