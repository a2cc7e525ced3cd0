// SPDX-License-Identifier: Apache-2.0
//! The vocabulary that all crates share: identifiers, ARNs, address ranges, and the messages between server and node.
//!
//! Plain data only: no I/O, no clock, no randomness. Shapes of the AWS API are in `berth-shapes`, stored records are
//! in the crates of the rules. This crate holds the types that cross the border between server, node and fabric.
#![deny(clippy::disallowed_methods)]

pub mod admin;
pub mod arn;
pub mod container;
pub mod edge;
pub mod explain;
pub mod fault_points;
pub mod ids;
pub mod instance;
pub mod intent;
pub mod link;
pub mod mode;
pub mod net;
pub mod report;
mod time;

pub use arn::Arn;
pub use fault_points::FaultPoints;
pub use ids::*;
pub use net::{Ipv4Cidr, MacAddress, Vni};

/// Milliseconds since the Unix epoch. Domain code receives it in `Env`; it never asks a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TimestampMs(pub i64);
