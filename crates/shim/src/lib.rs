// SPDX-License-Identifier: Apache-2.0
//! The shim: between containerd and crun or runc, the parent of a task's containers. It outlives containerd and everything
//! of Berth, keeps the containers' input and output, and tells containerd of their end.
//!
//! containerd calls it with `start` for each container: for the first of a task (or a container of no group) a server is
//! started, for the others the address of that one is returned. It calls it with `delete` when a server has died. The
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
mod program;
pub mod read;
mod reaper;
mod requests;
mod rootfs;
mod runtime;
mod serve;
mod sockets;
mod spec;
mod start;
mod tools;

use std::process::ExitCode;

use call::{Action, Call};
use fault::Fault;

pub use handle::ProcessHandle;
pub use log::LogTarget;
pub use program::NAME;
pub use runtime::PROGRAMS;
pub use sockets::server_socket;
pub use spec::{GROUP, PAUSE, RUNTIME};
pub use start::cgroup_note;

/// The program: handles one call of containerd. To be called before any thread is started.
pub fn main() -> ExitCode {
    // Its files are for root alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
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
