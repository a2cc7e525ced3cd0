//! Processes that need not be our children, held by a handle: an id may pass on to somebody else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process.
#[derive(Debug)]
pub struct ProcessHandle {
    /// Its id, which nobody else has as long as it lives.
    pub pid: i32,
    handle: OwnedFd,
}

impl ProcessHandle {
    /// A killed process has ended by then, in milliseconds.
    pub const KILL_LIMIT_MS: u16 = 10_000;

    /// The process with this id; none if it is over.
    pub fn of(pid: i32) -> Option<Self> {
        let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(Self { pid, handle })
    }

    /// Kills it; one that is over is as good.
    ///
    /// # Errors
    /// The process is another user's.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.handle, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Waits for its end, for so many milliseconds; false if it does not come. Blocks.
    ///
    /// # Errors
    /// The kernel lacks memory.
    pub fn has_ended(&self, limit: impl Into<PollTimeout>) -> io::Result<bool> {
        let (mut end, limit) = ([PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)], limit.into());
        loop {
            match nix::poll::poll(&mut end, limit) {
                // The end of a child is told to any thread.
                Err(Errno::EINTR) => {}
                ended => return Ok(ended? > 0),
            }
        }
    }
}
