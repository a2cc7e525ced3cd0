// SPDX-License-Identifier: Apache-2.0
//! A container's log: its output as `{"log","stream","time"}` lines, as Docker's driver `json-file` writes them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use berth_types::TimestampMs;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};

/// Longer lines are cut into several records, as Docker does.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Bytes written for each file that a rotation renames, at least. Bounds what rotation costs, which no limit of the task
/// covers: a log of 1,000 files rotates at 100 kB, however small its `max-size` is.
const BYTES_PER_RENAME: u64 = 100;

/// Where a log is written to, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    /// The file.
    pub file: PathBuf,
    /// It is rotated when it is larger than this.
    pub bytes_max: u64,
    /// Files kept, the current one included. `NAME.1` is the youngest after that one.
    pub files_max: u32,
}

impl LogTarget {
    /// The scheme of its URI.
    pub(crate) const SCHEME: &str = "json-file";

    /// The URI that containerd hands to the shim.
    pub fn uri(&self) -> String {
        let file = percent_encode(self.file.as_os_str().as_bytes(), NON_ALPHANUMERIC);
        format!("{}://{file}?max-size={}&max-file={}", Self::SCHEME, self.bytes_max, self.files_max)
    }

    /// Reads the part after the scheme.
    pub(crate) fn parse(rest: &str) -> Option<Self> {
        let (file, limits) = rest.split_once("?max-size=")?;
        let (bytes_max, files_max) = limits.split_once("&max-file=")?;
        let file = OsString::from_vec(percent_decode(file.as_bytes()).collect()).into();
        Some(Self { file, bytes_max: bytes_max.parse().ok()?, files_max: files_max.parse().ok()? })
    }

    /// The log, ready to be written.
    pub(crate) fn open(&self) -> io::Result<Log> {
        Log::open(&self.file, (self.bytes_max, self.files_max))
    }
}

struct Source {
    stream: &'static str,
    file: Option<File>,
    pending: Vec<u8>,
}

impl Source {
    fn new(stream: &'static str, fd: OwnedFd) -> io::Result<Self> {
        fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { stream, file: Some(File::from(fd)), pending: Vec::new() })
    }

    fn drain(&mut self, log: &mut Log) -> io::Result<()> {
        let mut chunk = [0u8; 8192];
        while let Some(file) = &mut self.file {
            match file.read(&mut chunk) {
                Ok(0) => {
                    self.file = None;
                    self.write_lines(log, true);
                }
                Ok(length) => {
                    self.pending.extend_from_slice(&chunk[..length]);
                    self.write_lines(log, false);
                }
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    fn write_lines(&mut self, log: &mut Log, last: bool) {
        while let Some(length) = record_length(&self.pending, last) {
            let line: Vec<u8> = self.pending.drain(..length).collect();
            log.write(self.stream, &line);
        }
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

/// A log that is open.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// A record that would make the file larger than this rotates it first.
    rotates_at: u64,
    /// Bytes of a file and number of files.
    limits: (u64, u32),
}

impl Log {
    fn open(path: &Path, limits: (u64, u32)) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = File::options().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        let mut log = Self { path: path.to_owned(), file, bytes, rotates_at: 0, limits };
        log.rotates_at = log.bytes_max();
        Ok(log)
    }

    /// Writes the streams to the log until both have ended.
    pub fn copy(mut self, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
        let mut sources = [Source::new("stdout", stdout)?, Source::new("stderr", stderr)?];
        while sources.iter().any(|source| source.file.is_some()) {
            wait(&sources)?;
            for source in &mut sources {
                source.drain(&mut self)?;
            }
        }
        self.file.sync_all()
    }

    fn write(&mut self, stream: &str, line: &[u8]) {
        let time = now().rfc3339();
        let record = record(stream, line, &time);
        let length = u64::try_from(record.len()).unwrap_or(u64::MAX);
        // A disk that is full or broken must not stop the container: the file grows until the next try, or this record is
        // lost.
        if self.bytes > 0 && self.bytes + length > self.rotates_at && self.rotate().is_err() {
            self.rotates_at = self.bytes + self.bytes_max();
        }
        if self.file.write_all(&record).is_ok() {
            self.bytes += length;
        }
    }

    fn numbered(&self, n: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    }

    /// Number of rotated files before the first gap.
    fn rotated(&self) -> u32 {
        (1..self.limits.1).take_while(|n| self.numbered(*n).exists()).last().unwrap_or(0)
    }

    fn bytes_max(&self) -> u64 {
        self.limits.0.max(u64::from(self.rotated()) * BYTES_PER_RENAME)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let rotated_max = self.limits.1.saturating_sub(1);
        for n in (1..=self.rotated().min(rotated_max.saturating_sub(1))).rev() {
            fs::rename(self.numbered(n), self.numbered(n + 1))?;
        }
        match rotated_max {
            0 => fs::remove_file(&self.path)?,
            _ => fs::rename(&self.path, self.numbered(1))?,
        }
        *self = Self::open(&self.path, self.limits)?;
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

fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
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
    fn a_target_is_a_uri_and_back() {
        let target = LogTarget { file: "/logs/a:b c?.log".into(), bytes_max: 2048, files_max: 3 };
        let uri = target.uri();
        assert_eq!(uri, "json-file://%2Flogs%2Fa%3Ab%20c%3F%2Elog?max-size=2048&max-file=3");
        assert_eq!(LogTarget::parse(uri.strip_prefix("json-file://").unwrap()), Some(target));
        assert_eq!(LogTarget::parse("/logs/a"), None);
    }

    #[test]
    fn a_log_keeps_as_many_files_as_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        for (files, expected) in [(1, 1), (2, 2), (3, 3)] {
            let mut log = Log::open(&path, (1, files)).unwrap();
            for _ in 0..6 {
                log.write("stdout", b"line\n");
            }
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), expected);
        }
    }

    #[test]
    fn a_rotation_costs_no_more_than_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let mut log = Log::open(&path, (1, u32::MAX)).unwrap();
        for _ in 0..1000 {
            log.write("stdout", b"line\n");
        }
        let written: u64 =
            std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
        let renames: u64 = (1..=u64::from(log.rotated())).sum();
        assert!(renames * BYTES_PER_RENAME <= 2 * written, "{renames} files were renamed for {written} bytes");
    }

    #[test]
    fn a_rotation_that_fails_is_tried_again_after_as_many_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let mut log = Log::open(&path, (1000, 2)).unwrap();
        // A folder has the name of the rotated file.
        std::fs::create_dir_all(log.numbered(1).join("full")).unwrap();
        log.bytes = 1000;
        log.write("stdout", b"one\n");
        let next = log.rotates_at;
        assert!(next > 1500);
        log.write("stdout", b"two\n");
        assert_eq!(log.rotates_at, next);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_full_log_moves_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/app.log");
        let mut log = Log::open(&path, (1 << 20, 2)).unwrap();
        log.write("stdout", b"old\n");
        log.bytes = 1 << 20;
        log.write("stdout", b"new\n");
        assert!(std::fs::read_to_string(&path).unwrap().contains("new"));
        assert!(std::fs::read_to_string(path.with_extension("log.1")).unwrap().contains("old"));
    }
}
