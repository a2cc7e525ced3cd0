// SPDX-License-Identifier: Apache-2.0
//! The eBPF program and its maps: loading, pinning, attaching, reading and writing. Decides nothing about policy.

pub mod attach;
mod batch;
pub mod durations;
pub mod endpoint;
pub mod layout;
pub mod load;
pub mod maps;
pub mod pins;
pub mod port;
pub mod shares;
pub mod takeover;

pub use maps::Maps;
