// SPDX-License-Identifier: Apache-2.0
//! The shim as the tests of this crate run it; the shipped one is `berth-shim` of the crate `berth`.

fn main() -> std::process::ExitCode {
    berth_shim::main()
}
