// SPDX-License-Identifier: Apache-2.0
//! Where a process reads from and writes to: files, pipes with names, a log, or a logging program.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use crate::fault::Fault;
use crate::log::LogTarget;
use crate::reaper::{Exit, Reaper};

/// Maximum wait for a logging program to become ready.
const BEGIN_LIMIT: Duration = Duration::from_secs(30);
/// Maximum wait for a logging program to write the rest after its process has ended.
const END_LIMIT: Duration = Duration::from_secs(12);

/// The streams of a process, as containerd's request names them.
#[derive(Clone, Debug, Default)]
pub(crate) struct WantedStreams {
    /// A pipe's path, or empty.
    pub stdin: String,
    /// A URI, a pipe's path, or empty.
    pub stdout: String,
    /// The same.
    pub stderr: String,
    /// The process has a terminal: its input and output are one.
    pub terminal: bool,
}

/// The streams a process is started with.
pub(crate) struct Streams {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// The writer of a process's output, if there is one.
#[derive(Default)]
pub(crate) enum Logger {
    #[default]
    Nobody,
    /// A thread of this process, which signals when it has written everything.
    Thread(oneshot::Receiver<()>),
    /// A program.
    Program(Pid, oneshot::Receiver<Exit>),
}

/// The meaning of a URI.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Nothing,
    Pipe(PathBuf),
    File(PathBuf),
    Log(LogTarget),
    Program(PathBuf, Vec<OsString>),
}

impl WantedStreams {
    /// Opens the streams. For a terminal, the first is read from, the second is written to, and the third is unused.
    pub async fn open(&self, reaper: &Arc<Reaper>, container: &str) -> Result<(Streams, Logger), Fault> {
        let stdin = match (self.stdin.as_str(), self.terminal) {
            ("", _) | (_, true) => nothing()?,
            (path, false) => fed_from(Path::new(path))?,
        };
        let (stdout, stderr, logger) = match Target::parse(&self.stdout)? {
            Target::Log(log) => write_to(&log)?,
            Target::Program(program, arguments) => log_to(&program, &arguments, reaper, container).await?,
            other => (other.open()?, Target::parse(&self.stderr)?.open()?, Logger::Nobody),
        };
        Ok((Streams { stdin, stdout, stderr }, logger))
    }
}

impl Target {
    fn parse(uri: &str) -> Result<Self, Fault> {
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Ok(if uri.is_empty() { Self::Nothing } else { Self::Pipe(uri.into()) });
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = PathBuf::from(OsString::from_vec(percent_encoding::percent_decode_str(path).collect()));
        match scheme {
            LogTarget::SCHEME => {
                let log = LogTarget::parse(rest).map(Self::Log);
                log.ok_or_else(|| Fault::Invalid(format!("{uri:?} is no log; it needs max-size and max-file")))
            }
            "fifo" => Ok(Self::Pipe(path)),
            "file" => Ok(Self::File(path)),
            "binary" => {
                let words = form_urlencoded::parse(query.as_bytes()).flat_map(|(key, value)| [key, value]);
                let words = words.filter(|word| !word.is_empty()).map(|word| OsString::from(word.as_ref()));
                Ok(Self::Program(path, words.collect()))
            }
            other => Err(Fault::Invalid(format!("streams cannot go to {other}://; use a path, file:// or binary://"))),
        }
    }

    fn open(&self) -> Result<OwnedFd, Fault> {
        match self {
            Self::Nothing | Self::Log(_) | Self::Program(..) => nothing(),
            // Open for reading and writing, because readers may come and go.
            Self::Pipe(path) => open(path, File::options().read(true).write(true)),
            Self::File(path) => {
                let dir = path.parent().unwrap_or(Path::new("/"));
                fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
                open(path, File::options().create(true).append(true))
            }
        }
    }
}

impl Streams {
    /// Replaces all of them with nothing; returns the one that was written to.
    pub fn replace(&mut self) -> Result<OwnedFd, Fault> {
        let Self { stdout, .. } =
            std::mem::replace(self, Self { stdin: nothing()?, stdout: nothing()?, stderr: nothing()? });
        Ok(stdout)
    }
}

impl Logger {
    /// Waits until everything is written.
    pub async fn end(self) {
        match self {
            Self::Nobody => {}
            // If another process still has the streams open, the thread continues until this process ends.
            Self::Thread(written) => drop(tokio::time::timeout(END_LIMIT, written).await),
            Self::Program(pid, mut ended) => {
                if tokio::time::timeout(END_LIMIT, &mut ended).await.is_err() {
                    kill(pid, Signal::SIGKILL).ok();
                    ended.await.ok();
                }
            }
        }
    }
}

fn open(path: &Path, options: &fs::OpenOptions) -> Result<OwnedFd, Fault> {
    options.open(path).map(OwnedFd::from).map_err(Fault::file("open", path))
}

fn nothing() -> Result<OwnedFd, Fault> {
    open(Path::new("/dev/null"), File::options().read(true).write(true))
}

/// A pipe that receives the bytes written to the named pipe. It ends when the last writer closes.
fn fed_from(path: &Path) -> Result<OwnedFd, Fault> {
    let (reader, mut writer) = pipe()?;
    let path = path.to_owned();
    std::thread::spawn(move || File::open(path).and_then(|mut source| io::copy(&mut source, &mut writer)));
    Ok(reader.into())
}

/// Writes a log, in a thread.
fn write_to(log: &LogTarget) -> Result<(OwnedFd, OwnedFd, Logger), Fault> {
    let ((stdout_there, stdout), (stderr_there, stderr)) = (pipe()?, pipe()?);
    let writer = log.open().map_err(Fault::file("open the log", &log.file))?;
    let (done, written) = oneshot::channel();
    std::thread::spawn(move || {
        writer.copy(stdout_there.into(), stderr_there.into()).ok();
        done.send(()).ok();
    });
    Ok((stdout.into(), stderr.into(), Logger::Thread(written)))
}

fn pipe() -> Result<(io::PipeReader, io::PipeWriter), Fault> {
    io::pipe().map_err(Fault::system("make a pipe"))
}

/// Starts a logging program as containerd's own shim does: the two streams as its descriptors 3 and 4, and 5, which it
/// closes when it is ready.
async fn log_to(
    program: &Path,
    arguments: &[OsString],
    reaper: &Arc<Reaper>,
    container: &str,
) -> Result<(OwnedFd, OwnedFd, Logger), Fault> {
    let ((stdout_there, stdout), (stderr_there, stderr), (ready, ready_there)) = (pipe()?, pipe()?, pipe()?);
    let mut command = Command::new(program);
    command.args(arguments).env("CONTAINER_ID", container);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let given = [OwnedFd::from(stdout_there), stderr_there.into(), ready_there.into()];
    let mappings = given.into_iter().zip(3..).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).map_err(|cause| Fault::Invalid(cause.to_string()))?;
    let child = command.spawn().map_err(Fault::file("run", program))?;
    drop(command);
    let ended = reaper.end_of(child.id() as i32);
    let mut ready = Receiver::from_owned_fd(ready.into()).map_err(Fault::system("listen to a pipe"))?;
    match tokio::time::timeout(BEGIN_LIMIT, ready.read(&mut [0])).await {
        Ok(Ok(_)) => Ok((stdout.into(), stderr.into(), Logger::Program(Pid::from_raw(child.id() as i32), ended))),
        _ => Err(Fault::State(format!("{} did not begin to log", program.display()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn uris_are_understood() {
        let parse = |uri| Target::parse(uri).unwrap();
        assert_eq!(parse(""), Target::Nothing);
        assert_eq!(parse("/run/a/out"), Target::Pipe("/run/a/out".into()));
        assert_eq!(parse("file:///log/a%20b"), Target::File("/log/a b".into()));
        let words = |words: &[&str]| words.iter().map(OsString::from).collect();
        let program = Target::Program("/berth".into(), words(&["write", "9:1:/x y"]));
        assert_eq!(parse("binary:///berth?write=9%3A1%3A%2Fx%20y"), program);
        assert!(Target::parse("npipe://x").unwrap_err().to_string().contains("npipe"));
    }
}
