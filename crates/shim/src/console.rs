// SPDX-License-Identifier: Apache-2.0
//! Terminals: the runtime makes one inside the container and sends its other end here.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::fault::Fault;
use crate::sockets;

/// Where the runtime sends a terminal to.
pub(crate) struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    pub fn at(path: PathBuf) -> Result<Self, Fault> {
        sockets::remove(&path)?;
        let listener = UnixListener::bind(&path).map_err(Fault::file("listen on", &path))?;
        Ok(Self { listener, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal. The runtime has ended, so a terminal that is not there yet will not come.
    pub fn receive(self) -> Result<Terminal, Fault> {
        let received = self.listener.set_nonblocking(true).and_then(|()| receive(&self.listener.accept()?.0));
        received.map(|master| Terminal(File::from(master))).map_err(Fault::system("receive the terminal"))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        sockets::remove(&self.path).ok();
    }
}

fn receive(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // The message carries its name.
    let mut name = [0; 4096];
    recvmsg(stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    files.next().ok_or_else(|| io::Error::other("the runtime sent no terminal"))
}

/// The outer end of a terminal.
pub(crate) struct Terminal(File);

impl Terminal {
    /// Copies the terminal's output to `output` until the process has ended, and the bytes of the pipe `input`, if
    /// named, into the terminal.
    pub fn connect(&self, input: &str, output: OwnedFd) -> Result<(), Fault> {
        let shared = || self.0.try_clone().map_err(Fault::system("share the terminal"));
        let (mut shows, mut takes) = (shared()?, shared()?);
        std::thread::spawn(move || io::copy(&mut shows, &mut File::from(output)));
        if !input.is_empty() {
            let input = PathBuf::from(input);
            std::thread::spawn(move || File::open(input).and_then(|mut input| io::copy(&mut input, &mut takes)));
        }
        Ok(())
    }

    pub fn resize(&self, columns: u32, rows: u32) -> Result<(), Fault> {
        let cut = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
        let size = Winsize { ws_row: cut(rows), ws_col: cut(columns), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.0, size).map_err(Fault::system("resize the terminal"))
    }
}
