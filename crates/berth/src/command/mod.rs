// SPDX-License-Identifier: Apache-2.0
//! One file for each command of `berth`.

pub mod daemon;
pub mod doctor;
pub mod down;
pub mod edge;
pub mod eni_stats;
pub mod env;
pub mod explain;
pub mod host_attach;
pub mod image;
pub mod logs;
pub mod node;
pub mod rate;
pub mod server;
pub mod shell;
pub mod status;
pub mod supervised;
pub mod up;
