// SPDX-License-Identifier: Apache-2.0
//! The VPC on a host: interfaces, the eBPF data path between them, and what the kernel needs for both.
//!
//! [`Fabric`] applies a `HostIntent`: `compile` turns security groups into tables (pure), `bpf` owns program and maps,
//! `fabric` decides the order of changes, `explain` evaluates them for one packet, `kernel` uses netlink and enters
//! namespaces, `primary` routes for the host's own interface, `outside` connects
//! simulated hosts with their machine, `cni` holds the plugins of the EC2 launch type. Nothing here knows the API, records or containers.
//! All calls block; none needs a runtime.

pub mod cni;
pub mod compile;
pub mod doctor;
pub mod drop_reason;
pub mod explain;
pub mod fabric;
pub mod fault;
pub mod kernel;
pub mod outside;
pub mod ports;
pub mod primary;
pub mod senders;
pub mod stats;

mod bpf;
mod reading;

#[doc(hidden)]
pub mod oracle;
#[doc(hidden)]
pub mod verdict;

pub use drop_reason::DropReason;
pub use fabric::{
    Durations, Exceeded, Fabric, FabricConfig, Inner, ProgramStats, Swept, Trial, World, edge_namespace, world,
};
pub use fault::Fault;
pub use stats::{EniStats, read_flow_table, read_stats};
