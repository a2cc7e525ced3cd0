//! The VPC on a host: interfaces, the eBPF data path between them, and what the kernel needs for both.
//!
//! [`Fabric`] takes a `HostIntent` and makes it true: `compile` turns security groups into tables (pure), `bpf` owns
//! program and maps, `fabric` decides in which order they change, `explain` tells what they mean for a packet,
//! `kernel` speaks netlink and enters namespaces, `cni` holds the plugins of the EC2 launch type. Nothing here knows the API, records or containers.
//! All calls block; none needs a runtime.

pub mod cni;
pub mod compile;
pub mod doctor;
pub mod drop_reason;
pub mod explain;
pub mod fabric;
pub mod fault;
pub mod kernel;
pub mod stats;

mod bpf;
mod reading;

#[doc(hidden)]
pub mod oracle;
#[doc(hidden)]
pub mod verdict;

pub use drop_reason::DropReason;
pub use fabric::{Fabric, FabricConfig, Inner, ProgramStats, Trial};
pub use fault::Fault;
pub use stats::{EniStats, read_stats};
