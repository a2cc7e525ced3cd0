// SPDX-License-Identifier: Apache-2.0
//! The plugin executable as the tests of this crate run it; the shipped one is `berth-cni` of the crate `berth`.

use std::process::ExitCode;

fn main() -> ExitCode {
    berth_fabric::cni::plugin_main()
}
