//! The log driver: one small process per container, started by containerd's shim, that writes the container's output
//! as `{"log","stream","time"}` lines. It depends on nothing that restarts, so no line is lost when the node does.
//!
//! The shim starts `PROGRAM log-driver FILE` with stdout and stderr of the container as descriptors 3 and 4, and waits
//! until descriptor 5 is closed before the container starts.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A log file is rotated when it is larger than this.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Rotated files kept beside the current one: `NAME.1` is the youngest.
const ROTATED_MAX: u32 = 3;
/// Longer lines are cut into several records, as Docker does.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Runs the log driver: `arguments` are those after `log-driver`. Returns when the container has closed its output.
///
/// Call this before any thread or runtime is started.
pub fn log_driver_main(arguments: &[String]) -> io::Result<()> {
    let [file] = arguments else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: log-driver FILE (started by containerd's shim)",
        ));
    };
    let [stdout, stderr, ready] = [3, 4, 5].map(inherited);
    // The container must get all its output written, even when its task's processes are being ended.
    ignore_signals()?;
    let mut log = Log::open(Path::new(file))?;
    drop(ready?);
    let mut sources = [Source::new("stdout", stdout?), Source::new("stderr", stderr?)];
    while sources.iter().any(|source| source.file.is_some()) {
        wait(&sources)?;
        for source in &mut sources {
            source.drain(&mut log)?;
        }
    }
    log.file.sync_all()
}

#[allow(unsafe_code)]
fn inherited(fd: i32) -> io::Result<OwnedFd> {
    nix::fcntl::fcntl(borrowed(fd), nix::fcntl::FcntlArg::F_GETFD)?;
    // SAFETY: the descriptor is open (just asked), was passed to us by the shim, and is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[allow(unsafe_code)]
fn borrowed(fd: i32) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: used only for fcntl(F_GETFD), which answers EBADF for a descriptor that is not open.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}

fn ignore_signals() -> io::Result<()> {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
    let set: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    Ok(sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?)
}

struct Source {
    stream: &'static str,
    file: Option<File>,
    pending: Vec<u8>,
}

impl Source {
    fn new(stream: &'static str, fd: OwnedFd) -> Self {
        let nonblocking = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
        nix::fcntl::fcntl(&fd, nonblocking).ok();
        Self { stream, file: Some(File::from(fd)), pending: Vec::new() }
    }

    fn drain(&mut self, log: &mut Log) -> io::Result<()> {
        let mut chunk = [0u8; 8192];
        while let Some(file) = &mut self.file {
            match file.read(&mut chunk) {
                Ok(0) => {
                    self.file = None;
                    self.write_lines(log, true)?;
                }
                Ok(length) => {
                    self.pending.extend_from_slice(&chunk[..length]);
                    self.write_lines(log, false)?;
                }
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                // A terminal whose other end is closed answers EIO.
                Err(_) => {
                    self.file = None;
                    self.write_lines(log, true)?;
                }
            }
        }
        Ok(())
    }

    fn write_lines(&mut self, log: &mut Log, last: bool) -> io::Result<()> {
        while let Some(length) = record_length(&self.pending, last) {
            let line: Vec<u8> = self.pending.drain(..length).collect();
            log.write(self.stream, &line)?;
        }
        Ok(())
    }
}

/// Bytes of the next record in `pending`: a line, a part of a long line, or the rest.
fn record_length(pending: &[u8], last: bool) -> Option<usize> {
    let window = &pending[..pending.len().min(LINE_BYTES_MAX)];
    match window.iter().position(|byte| *byte == b'\n') {
        Some(end) => Some(end + 1),
        None if window.len() == LINE_BYTES_MAX || (last && !window.is_empty()) => Some(window.len()),
        None => None,
    }
}

fn wait(sources: &[Source]) -> io::Result<()> {
    let open = sources.iter().filter_map(|source| source.file.as_ref());
    let mut polled: Vec<PollFd<'_>> = open.map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut polled, PollTimeout::NONE) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(cause) => Err(cause.into()),
    }
}

struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = File::options().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    fn write(&mut self, stream: &str, line: &[u8]) -> io::Result<()> {
        let time = crate::clock::rfc3339(crate::clock::now_ms());
        let record = record(stream, line, &time);
        let length = u64::try_from(record.len()).unwrap_or(u64::MAX);
        if self.bytes > 0 && self.bytes + length > FILE_BYTES_MAX {
            self.rotate()?;
        }
        // A full disk must not stop the container: this record is lost, the next one is tried again.
        if self.file.write_all(&record).is_ok() {
            self.bytes += length;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |n: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        for n in (1..ROTATED_MAX).rev() {
            if numbered(n).exists() {
                std::fs::rename(numbered(n), numbered(n + 1))?;
            }
        }
        std::fs::rename(&self.path, numbered(1))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

fn record(stream: &str, line: &[u8], time: &str) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct Record<'a> {
        log: std::borrow::Cow<'a, str>,
        stream: &'a str,
        time: &'a str,
    }
    let record = Record { log: String::from_utf8_lossy(line), stream, time };
    let mut text = serde_json::to_vec(&record).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_records_and_long_lines_are_cut() {
        assert_eq!(record_length(b"one\ntwo", false), Some(4));
        assert_eq!(record_length(b"two", false), None);
        assert_eq!(record_length(b"two", true), Some(3));
        assert_eq!(record_length(b"", true), None);
        assert_eq!(record_length(&vec![b'x'; LINE_BYTES_MAX + 1], false), Some(LINE_BYTES_MAX));
        let text = String::from_utf8(record("stdout", b"say \"hi\"\n", "T")).unwrap();
        assert_eq!(text, "{\"log\":\"say \\\"hi\\\"\\n\",\"stream\":\"stdout\",\"time\":\"T\"}\n");
    }

    #[test]
    fn a_full_log_moves_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/app.log");
        let mut log = Log::open(&path).unwrap();
        log.write("stdout", b"old\n").unwrap();
        log.bytes = FILE_BYTES_MAX;
        log.write("stdout", b"new\n").unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("new"));
        assert!(std::fs::read_to_string(path.with_extension("log.1")).unwrap().contains("old"));
    }
}
