//! Processes that need not be our children, held by a handle: an id may pass on to somebody else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Time for a killed process to end.
const END_LIMIT_MS: u16 = 10_000;

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub pid: i32,
    handle: OwnedFd,
}

impl Process {
    /// The process with this id; none if it is over.
    pub fn of(pid: i32) -> Option<Self> {
        let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(Self { pid, handle })
    }

    /// Kills it; one that is over is as good.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.handle, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Waits for the end of a killed process; false if it does not come. Blocks.
    pub fn has_ended(&self) -> io::Result<bool> {
        let mut end = [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)];
        loop {
            match nix::poll::poll(&mut end, END_LIMIT_MS) {
                // The end of a child is told to any thread.
                Err(Errno::EINTR) => {}
                ended => return Ok(ended? > 0),
            }
        }
    }
}
