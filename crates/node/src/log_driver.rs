//! The log driver: one small process per container, started by containerd's shim, that writes the container's output
//! as `{"log","stream","time"}` lines. It depends on nothing that restarts, so no line is lost when the node does.
//!
//! The shim starts `PROGRAM log-driver TARGET` with stdout and stderr of the container as descriptors 3 and 4, and waits
//! until descriptor 5 is closed before the container starts. `TARGET` is [`Target`] as text.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use berth_types::container::LogIntent;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A log file is rotated when it is larger than this, unless said otherwise.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files kept of a log, unless said otherwise; with a size alone it is one, as Docker has it. `NAME.1` is the youngest
/// after the current one.
const FILES_MAX: u32 = 4;
/// Longer lines are cut into several records, as Docker does.
const LINE_BYTES_MAX: usize = 16 << 10;

/// What becomes of a container's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The file; nothing is written without one.
    file: Option<PathBuf>,
    /// It is rotated when it is larger than this.
    bytes_max: u64,
    /// Files kept, the current one included.
    files_max: u32,
}

impl Target {
    /// What a task definition says, for the log in `file`.
    pub fn of(log: &LogIntent, file: &Path) -> Self {
        let option = |name: &str| log.options.get(name).map(String::as_str);
        let is_json = log.driver == "json-file";
        let bytes_max = option("max-size").filter(|_| is_json).and_then(bytes);
        let files_max = option("max-file").filter(|_| is_json).and_then(|count| count.parse().ok());
        Self {
            file: (log.driver != "none").then(|| file.to_owned()),
            bytes_max: bytes_max.unwrap_or(FILE_BYTES_MAX),
            files_max: files_max.unwrap_or(if bytes_max.is_some() { 1 } else { FILES_MAX }),
        }
    }

    /// Nothing is written.
    pub fn is_nothing(&self) -> bool {
        self.file.is_none()
    }

    /// As one word of a command line: `BYTES:FILES:PATH`, without a path for nothing.
    pub fn text(&self) -> String {
        let file = self.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        format!("{}:{}:{file}", self.bytes_max, self.files_max)
    }

    /// Reads the word. A path alone is how an older node wrote it.
    fn parse(text: &str) -> Self {
        let limits = text.split_once(':').and_then(|(bytes, rest)| {
            let (files, path) = rest.split_once(':')?;
            Some((bytes.parse().ok()?, files.parse().ok()?, path))
        });
        match limits {
            Some((bytes_max, files_max, path)) => {
                let file = (!path.is_empty()).then(|| PathBuf::from(path));
                Self { file, bytes_max, files_max }
            }
            None => Self { file: Some(text.into()), bytes_max: FILE_BYTES_MAX, files_max: FILES_MAX },
        }
    }
}

/// Bytes written as Docker does: `10m`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let shift = match text.chars().last()? {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        _ => 0,
    };
    let number: u64 = text.trim_end_matches(['k', 'm', 'g']).parse().ok()?;
    number.checked_mul(1 << shift)
}

/// Runs the log driver: `arguments` are those after `log-driver`. Returns when the container has closed its output.
///
/// Call this before any thread or runtime is started.
pub(crate) fn log_driver_main(arguments: &[String]) -> io::Result<()> {
    let [target] = arguments else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: log-driver TARGET (started by containerd's shim)",
        ));
    };
    let [stdout, stderr, ready] = [3, 4, 5].map(inherited);
    // The container must get all its output written, even when its task's processes are being ended.
    ignore_signals()?;
    let mut log = Target::parse(target).open()?;
    drop(ready?);
    let mut sources = [Source::new("stdout", stdout?), Source::new("stderr", stderr?)];
    while sources.iter().any(|source| source.file.is_some()) {
        wait(&sources)?;
        for source in &mut sources {
            source.drain(&mut log)?;
        }
    }
    log.map_or(Ok(()), |log| log.file.sync_all())
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

    fn drain(&mut self, log: &mut Option<Log>) -> io::Result<()> {
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

    fn write_lines(&mut self, log: &mut Option<Log>, last: bool) -> io::Result<()> {
        while let Some(length) = record_length(&self.pending, last) {
            let line: Vec<u8> = self.pending.drain(..length).collect();
            if let Some(log) = log {
                log.write(self.stream, &line)?;
            }
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

impl Target {
    fn open(&self) -> io::Result<Option<Log>> {
        self.file.as_ref().map(|path| Log::open(path, (self.bytes_max, self.files_max))).transpose()
    }
}

struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Bytes of a file and number of files.
    limits: (u64, u32),
}

impl Log {
    fn open(path: &Path, limits: (u64, u32)) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = File::options().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, limits })
    }

    fn write(&mut self, stream: &str, line: &[u8]) -> io::Result<()> {
        let time = crate::clock::rfc3339(crate::clock::now_ms());
        let record = record(stream, line, &time);
        let length = u64::try_from(record.len()).unwrap_or(u64::MAX);
        if self.bytes > 0 && self.bytes + length > self.limits.0 {
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
        let rotated_max = self.limits.1.saturating_sub(1);
        for n in (1..rotated_max).rev() {
            if numbered(n).exists() {
                std::fs::rename(numbered(n), numbered(n + 1))?;
            }
        }
        match rotated_max {
            0 => std::fs::remove_file(&self.path)?,
            _ => std::fs::rename(&self.path, numbered(1))?,
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
    fn a_target_is_one_word() {
        let options = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let log =
            |driver: &str, given: &[(&str, &str)]| LogIntent { driver: driver.to_owned(), options: options(given) };
        let file = Path::new("/logs/a:b.log");
        let word = |log: LogIntent| Target::of(&log, file).text();
        assert_eq!(word(LogIntent::default()), "16777216:4:/logs/a:b.log");
        assert_eq!(word(log("json-file", &[("max-size", "2k")])), "2048:1:/logs/a:b.log");
        assert_eq!(word(log("json-file", &[("max-size", "1M"), ("max-file", "3")])), "1048576:3:/logs/a:b.log");
        assert_eq!(word(log("none", &[])), "16777216:4:");
        for text in ["2048:1:/logs/a:b.log", "16777216:4:", "16777216:4:/x"] {
            assert_eq!(Target::parse(text).text(), text);
        }
        assert_eq!(Target::parse("/old/path").text(), "16777216:4:/old/path");
    }

    #[test]
    fn a_log_keeps_as_many_files_as_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        for (files, expected) in [(1, 1), (2, 2), (3, 3)] {
            let mut log = Log::open(&path, (1, files)).unwrap();
            for _ in 0..6 {
                log.write("stdout", b"line\n").unwrap();
            }
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), expected);
        }
    }

    #[test]
    fn a_full_log_moves_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/app.log");
        let mut log = Log::open(&path, (FILE_BYTES_MAX, FILES_MAX)).unwrap();
        log.write("stdout", b"old\n").unwrap();
        log.bytes = FILE_BYTES_MAX;
        log.write("stdout", b"new\n").unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("new"));
        assert!(std::fs::read_to_string(path.with_extension("log.1")).unwrap().contains("old"));
    }
}
