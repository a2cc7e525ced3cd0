// SPDX-License-Identifier: Apache-2.0
//! `berth-cni`: the network plugins `ecs-eni`, `vpc-eni`, `ecs-bridge` and `ecs-ipam` in one executable.
//!
//! Installed once and linked under the four names; when called by its own name it uses the `type` of the configuration.
//! The code is in `berth_fabric::cni`; this file must not link the rest of Berth, so that a call stays cheap.

use std::process::ExitCode;

fn main() -> ExitCode {
    berth_fabric::cni::plugin_main()
}
