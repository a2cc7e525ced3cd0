//! `berth-cni`: the network plugins `ecs-eni`, `vpc-eni`, `ecs-bridge` and `ecs-ipam` in one executable.
//!
//! Installed once and linked under the four names; called by its own name it goes by the `type` of the configuration.
//! Everything is in `berth_fabric::cni`; this file must not pull in the rest of Berth, so that a call stays cheap.

use std::process::ExitCode;

fn main() -> ExitCode {
    berth_fabric::cni::plugin_main()
}
