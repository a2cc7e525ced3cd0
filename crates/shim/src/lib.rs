//! The shim: between containerd and crun or runc, the parent of a task's containers. It outlives containerd and everything
//! of Berth, keeps the containers' input and output, and tells containerd of their end.
//!
//! containerd calls it with `start` for each container: for the first of a task (or a container of no group) a server is
//! started, for the others the address of that one is answered. It calls it with `delete` when a server has died. The
//! server ([`serve`]) speaks containerd's task service, version 2, over ttrpc. Why there is one: ADR 19.

mod bundle;
mod call;
mod cleanup;
mod console;
mod container;
mod events;
mod fault;
mod handle;
mod log;
mod output;
mod pause;
mod process;
mod reaper;
mod requests;
mod rootfs;
mod runtime;
mod serve;
mod spec;
mod start;
mod tools;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use call::{Action, Call};
use fault::Fault;

pub use handle::ProcessHandle;
pub use log::LogTarget;
pub use runtime::PROGRAMS;
pub use spec::{GROUP, PAUSE, RUNTIME};

/// Name of the program, as processes show it.
pub const NAME: &str = "berth-shim";

/// This program once more, by its own name.
fn this_program() -> Result<Command, Fault> {
    let mut command = Command::new(std::env::current_exe().map_err(Fault::system("find this program"))?);
    command.arg0(NAME);
    Ok(command)
}

/// The program: does what containerd asks. To be called before any thread is started.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Call::parse(&arguments).map_err(Fault::Invalid).and_then(|call| done(&call)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{NAME}: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn done(call: &Call) -> Result<(), Fault> {
    match call.action {
        Action::Start => start::start(call),
        Action::Delete => cleanup::delete(call),
        Action::Serve => serve::serve(call),
        Action::Info => start::info(),
        Action::Pause => pause::create(),
    }
}
