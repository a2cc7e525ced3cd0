// SPDX-License-Identifier: Apache-2.0
//! Processes that need not be our children, held by a handle: the kernel may give a freed id to another process.
//!
//! A process is found by what it holds (a listening socket, a place in a cgroup, a child), never by its command line,
//! which any container can imitate.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process.
#[derive(Debug)]
pub struct ProcessHandle {
    /// Its id, which no other process has while it lives.
    pub pid: i32,
    handle: OwnedFd,
}

impl ProcessHandle {
    /// Maximum wait for a killed process to exit, in milliseconds.
    pub const KILL_LIMIT_MS: u16 = 10_000;

    /// The process with this id; none if it has ended.
    pub fn of(pid: i32) -> Option<Self> {
        let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(Self { pid, handle })
    }

    /// The process that listens at a Unix socket; none if no process of our pid namespace does.
    pub fn listening_at(socket: &Path) -> Option<Self> {
        let pid = listener(socket)?;
        let process = Self::of(pid).filter(|process| process.is_in_our_pid_namespace())?;
        // Connects again: a socket whose listener ended before the handle was opened refuses connections.
        (listener(socket) == Some(pid)).then_some(process)
    }

    /// The parent of a process, unless it is of another pid namespace or the first process of ours.
    pub fn parent_of(pid: i32) -> Option<Self> {
        let parent = parent(pid).filter(|parent| *parent > 1)?;
        let process = Self::of(parent).filter(|process| process.is_in_our_pid_namespace())?;
        (self::parent(pid) == Some(parent)).then_some(process)
    }

    fn is_in_our_pid_namespace(&self) -> bool {
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid"));
        matches!((of(&self.pid.to_string()), of("self")), (Ok(its), Ok(ours)) if its == ours)
    }

    /// Kills it; a process that has ended counts as killed.
    ///
    /// # Errors
    /// The process is another user's.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.handle, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Waits for its exit, at most the given milliseconds; false if it does not exit in time. Blocks.
    ///
    /// # Errors
    /// The kernel lacks memory.
    pub fn has_ended(&self, limit: impl Into<PollTimeout>) -> io::Result<bool> {
        let (mut end, limit) = ([PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)], limit.into());
        loop {
            match nix::poll::poll(&mut end, limit) {
                // Any thread may wait for the exit of a child.
                Err(Errno::EINTR) => {}
                ended => return Ok(ended? > 0),
            }
        }
    }
}

/// Id of the process that made a Unix socket listen. Does not block, although the listener may be stopped.
fn listener(socket: &Path) -> Option<i32> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let asking = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    nix::sys::socket::connect(asking.as_raw_fd(), &UnixAddr::new(socket).ok()?).ok()?;
    let peer = nix::sys::socket::getsockopt(&asking, PeerCredentials).ok()?;
    Some(peer.pid()).filter(|pid| *pid > 0)
}

fn parent(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may contain anything.
    text.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listener_is_known_by_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        assert!(ProcessHandle::listening_at(&socket).is_none());
        let listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(ProcessHandle::listening_at(&socket).unwrap().pid, std::process::id() as i32);
        // Not closed: a program that another test starts holds a copy of the socket until it is executed.
        nix::sys::socket::shutdown(listening.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
        assert!(ProcessHandle::listening_at(&socket).is_none());
    }

    #[test]
    fn a_parent_is_known_by_its_child() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = child.id() as i32;
        assert_eq!(ProcessHandle::parent_of(pid).unwrap().pid, std::process::id() as i32);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ProcessHandle::parent_of(pid).is_none());
    }
}
