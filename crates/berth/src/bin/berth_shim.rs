// SPDX-License-Identifier: Apache-2.0
//! `berth-shim`: between containerd and crun or runc, the parent of a task's containers.
//!
//! The code is in `berth_shim`; this file must not link the rest of Berth: it is started several times for each task.

use std::process::ExitCode;

fn main() -> ExitCode {
    berth_shim::main()
}
