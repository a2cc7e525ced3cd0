//! `berth-shim`: between containerd and crun or runc, the parent of a task's containers.
//!
//! Everything is in `berth_shim`; this file must not pull in the rest of Berth: it is started several times for each task.

use std::process::ExitCode;

fn main() -> ExitCode {
    berth_shim::main()
}
