//! What containerd's shim starts this program for: to write a container's output, or as the runtime of pause containers.

use std::io;

use crate::{log_driver, pause};

/// Does what the shim asks, if `arguments` (the program's name first) say that it is the shim who calls.
///
/// Call this before any thread, runtime or command line: such calls come twice or more for every container.
pub fn helper_main(arguments: &[String]) -> Option<io::Result<()>> {
    match arguments {
        [program, rest @ ..] if pause::is_runtime(program) => Some(pause::runtime::main(rest)),
        [_, first, rest @ ..] if first == "log-driver" => Some(log_driver::log_driver_main(rest)),
        _ => None,
    }
}
