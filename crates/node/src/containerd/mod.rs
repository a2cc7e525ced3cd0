// SPDX-License-Identifier: Apache-2.0
//! containerd over its gRPC API: one file for each thing it keeps. Every call has a time limit and a name for messages.
//!
//! Nothing here decides anything; the callers in `engine` and `images` do.

mod bundle;
mod client;
mod containers;
mod content;
mod events;
mod exec;
mod image_records;
mod labels;
mod leases;
mod own_folders;
mod remove;
mod snapshots;
pub(crate) mod supervise;
mod tasks;

pub(crate) use client::{Containerd, NAMESPACE};
pub(crate) use containers::NewContainer;
pub(crate) use content::Descriptor;
pub(crate) use events::Ended;
pub(crate) use exec::Ran;
pub(crate) use labels::{CONTAINER_LABEL, INSTANCE_LABEL, Labelled};
pub(crate) use leases::Lease;
pub(crate) use snapshots::{Mounts, SNAPSHOTTER};
pub(crate) use tasks::{Exit, Io, TaskState};
