// SPDX-License-Identifier: Apache-2.0
//! This program, as the shim starts it for its servers and pause containers.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::fault::Fault;

/// Name of the program, as processes show it.
pub const NAME: &str = "berth-shim";

/// A command that runs this program again, under its own name.
pub(crate) fn this_program() -> Result<Command, Fault> {
    let mut command = Command::new(std::env::current_exe().map_err(Fault::system("find this program"))?);
    command.arg0(NAME);
    Ok(command)
}
