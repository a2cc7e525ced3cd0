// SPDX-License-Identifier: Apache-2.0
//! The parts that all containers of a server share.

use std::path::PathBuf;
use std::sync::Arc;

use crate::events::Events;
use crate::reaper::Reaper;
use crate::sockets;

/// The parts that all containers of a server share.
pub(crate) struct Tools {
    pub reaper: Arc<Reaper>,
    pub events: Events,
    /// Where runtimes keep their state.
    pub runtime_root: PathBuf,
    /// Where sockets may be made.
    pub sockets: PathBuf,
}

impl Tools {
    /// The socket that receives the terminal of a process.
    pub fn console(&self, process: &str) -> PathBuf {
        self.sockets.join(format!("{}-tty", sockets::short(&[process])))
    }
}
