//! What all containers of a server use.

use std::path::PathBuf;
use std::sync::Arc;

use crate::events::Events;
use crate::reaper::Reaper;

/// What all containers of a server use.
pub(crate) struct Tools {
    pub reaper: Arc<Reaper>,
    pub events: Events,
    /// Where runtimes keep what they know.
    pub runtime_root: PathBuf,
    /// Where sockets may be made.
    pub sockets: PathBuf,
}

impl Tools {
    /// Where the terminal of a process is sent to.
    pub fn console(&self, process: &str) -> PathBuf {
        self.sockets.join(format!("{}-tty", crate::start::short(&[process])))
    }
}
