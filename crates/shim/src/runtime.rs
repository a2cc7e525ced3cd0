//! What makes containers: runc, and for pause containers this program.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::OpenOptions;

use crate::call::Call;
use crate::fault::Fault;
use crate::output::Streams;
use crate::pause;
use crate::reaper::{Exit, Reaper};

const RUNC: &str = "runc";
/// Name of the file in a bundle that says what makes its container; written before that is called for the first time.
const NOTE: &str = "runtime";
/// A container that waits is let go by then.
const START_LIMIT: Duration = Duration::from_secs(10);
/// What runc says of a container it does not know.
const UNKNOWN_CONTAINER: &str = "container does not exist";

/// A runtime, for one container.
#[derive(Debug)]
pub(crate) struct Runtime {
    kind: Kind,
    bundle: PathBuf,
    /// Where runc keeps what it knows.
    root: PathBuf,
}

/// Kinds of runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The program of that name.
    Runc,
    /// [`crate::pause`].
    Pause,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Runc => RUNC,
            Self::Pause => "pause",
        }
    }
}

/// Where runtimes keep what they know, of all containers of a namespace.
pub(crate) fn root(call: &Call) -> PathBuf {
    call.address.with_file_name(RUNC).join(&call.namespace)
}

impl Runtime {
    /// The runtime of a new container, noted in its bundle.
    pub fn note(bundle: &Path, kind: Kind, root: &Path) -> Result<Self, Fault> {
        let note = bundle.join(NOTE);
        fs::write(&note, kind.name()).map_err(Fault::file("write", &note))?;
        Ok(Self { kind, bundle: bundle.to_owned(), root: root.to_owned() })
    }

    /// The runtime a bundle was given to; none if none was called for it, which is so as long as the note is not whole.
    pub fn noted(bundle: &Path, root: &Path) -> Option<Self> {
        let note = fs::read_to_string(bundle.join(NOTE)).ok()?;
        let kind = [Kind::Runc, Kind::Pause].into_iter().find(|kind| kind.name() == note)?;
        Some(Self { kind, bundle: bundle.to_owned(), root: root.to_owned() })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn log(&self) -> PathBuf {
        self.bundle.join("log.json")
    }

    fn command(&self, arguments: &[&OsStr]) -> Result<Command, Fault> {
        let mut command = match self.kind {
            Kind::Runc => {
                let mut runc = Command::new(RUNC);
                runc.arg("--root").arg(&self.root).arg("--log").arg(self.log()).args(["--log-format", "json"]);
                runc.args(arguments);
                runc
            }
            Kind::Pause => {
                let mut pause = crate::this_program()?;
                pause.arg("pause").current_dir(&self.bundle);
                pause
            }
        };
        // containerd's own: runc would tell it that a container is ready.
        command.env_remove("NOTIFY_SOCKET");
        dies_with_us(&mut command);
        Ok(command)
    }

    /// Calls the runtime for nothing but its work.
    pub async fn work(&self, reaper: &Arc<Reaper>, call: &'static str, arguments: &[&OsStr]) -> Result<(), Fault> {
        self.ask(reaper, call, arguments).await.map(drop)
    }

    /// Lets the program of a container start. `runc start` opens and removes the pipe at which the container waits; that is
    /// done here, which spares a start of runc for each container. Where there is no such pipe runc does it, or says why
    /// not.
    pub async fn start(&self, reaper: &Arc<Reaper>, id: &str, ended: impl Future<Output = Exit>) -> Result<(), Fault> {
        if self.kind == Kind::Pause {
            // It waits already: there is nothing to start but the name of it.
            return Ok(());
        }
        let pipe = self.root.join(id).join("exec.fifo");
        let is_released = tokio::select! {
            is_released = release(&pipe) => is_released,
            _ = ended => false,
            () = tokio::time::sleep(START_LIMIT) => false,
        };
        match is_released {
            true => fs::remove_file(&pipe).map_err(Fault::file("remove", &pipe)),
            false => self.work(reaper, "start", &["start", id].map(OsStr::new)).await,
        }
    }

    /// Calls the runtime; answers what it printed.
    pub async fn ask(&self, reaper: &Arc<Reaper>, call: &'static str, arguments: &[&OsStr]) -> Result<String, Fault> {
        let (answer, complaint) = (memory()?, memory()?);
        let (stdout, stderr) = (copy(&answer)?, copy(&complaint)?);
        let stdin = File::open("/dev/null").map_err(Fault::system("open /dev/null"))?.into();
        match self.end(reaper, call, arguments, Streams { stdin, stdout, stderr }).await? {
            0 => text(answer),
            status => Err(self.refusal(call, status, &text(complaint)?)),
        }
    }

    /// Calls the runtime to make a process with these streams. A pause container gets none.
    pub async fn make(
        &self,
        reaper: &Arc<Reaper>,
        call: &'static str,
        arguments: &[&OsStr],
        streams: Streams,
    ) -> Result<(), Fault> {
        match self.end(reaper, call, arguments, streams).await? {
            0 => Ok(()),
            status => Err(self.refusal(call, status, "")),
        }
    }

    /// Calls the runtime; answers its exit status.
    async fn end(
        &self,
        reaper: &Arc<Reaper>,
        call: &'static str,
        arguments: &[&OsStr],
        streams: Streams,
    ) -> Result<u32, Fault> {
        let _making = reaper.making();
        let mut command = self.command(arguments)?;
        command.stdin(streams.stdin).stdout(streams.stdout).stderr(streams.stderr);
        let child = command.spawn().map_err(|cause| self.cannot_run(cause))?;
        drop(command);
        let ended = reaper.end_of(child.id() as i32).await;
        ended.map(|exit| exit.status).map_err(|_| Fault::Runtime { call, said: "its end was not seen".to_owned() })
    }

    /// Removes a container, whatever it is doing. For a process that has no other children.
    pub fn remove_by_force(&self, id: &str) -> Result<(), Fault> {
        if self.kind == Kind::Pause {
            return pause::end(&self.bundle);
        }
        let mut command = self.command(&["delete", "--force", id].map(OsStr::new))?;
        let output = command.stdin(Stdio::null()).output().map_err(|cause| self.cannot_run(cause))?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        absent_is_fine(Err(self.refusal("delete", output.status.code().unwrap_or(255) as u32, &complaint)))
    }

    fn cannot_run(&self, cause: io::Error) -> Fault {
        Fault::system(format!("run {}", self.kind.name()))(cause)
    }

    fn refusal(&self, call: &'static str, status: u32, complaint: &str) -> Fault {
        let said = last_error(&fs::read_to_string(self.log()).unwrap_or_default());
        let said = said.unwrap_or_else(|| format!("exit status {status}: {}", complaint.trim()));
        Fault::Runtime { call, said }
    }
}

/// Lets go whoever waits at the pipe, or comes to it: a container writes a byte once somebody reads, and runs its program.
async fn release(pipe: &Path) -> bool {
    // With a writer of our own: it may not be there yet, which would look like the end.
    let Ok(mut pipe) = OpenOptions::new().read_write(true).open_receiver(pipe) else { return false };
    matches!(pipe.read(&mut [0]).await, Ok(1))
}

/// A container the runtime does not know is as good as removed.
pub(crate) fn absent_is_fine(done: Result<(), Fault>) -> Result<(), Fault> {
    match done {
        Err(Fault::Runtime { said, .. }) if said.contains(UNKNOWN_CONTAINER) => Ok(()),
        other => other,
    }
}

/// The last error in a runtime's log.
fn last_error(log: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let mut lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.find(|line| line.level == "error").map(|line| line.msg)
}

/// A runtime whose shim is gone would go on making what the clean-up after the shim does not see any more.
#[allow(unsafe_code)]
fn dies_with_us(command: &mut Command) {
    let die = || Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?);
    // SAFETY: between fork and exec only `prctl` is called, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(die);
    }
}

fn memory() -> Result<File, Fault> {
    let made = rustix::fs::memfd_create("answer", rustix::fs::MemfdFlags::CLOEXEC);
    made.map(File::from).map_err(Fault::system("make a file in memory"))
}

fn copy(file: &File) -> Result<OwnedFd, Fault> {
    file.try_clone().map(OwnedFd::from).map_err(Fault::system("share a file"))
}

fn text(mut file: File) -> Result<String, Fault> {
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut text));
    read.map_err(Fault::system("read the runtime's answer"))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads a process id a runtime has written.
pub(crate) fn pid_in(file: &Path) -> Result<i32, Fault> {
    let text = fs::read_to_string(file).map_err(Fault::file("read", file))?;
    let pid = text.trim().parse().map_err(|_| io::Error::other(format!("{text:?} is no process id")));
    pid.map_err(Fault::file("understand", file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_told() {
        let log = "{\"level\":\"error\",\"msg\":\"a\"}\nrubbish\n{\"level\":\"error\",\"msg\":\"b\"}\n{\"level\":\"info\",\"msg\":\"c\"}";
        assert_eq!(last_error(log).as_deref(), Some("b"));
        assert_eq!(last_error(""), None);
    }

    #[test]
    fn an_unknown_container_is_removed() {
        let said = |said: &str| Err(Fault::Runtime { call: "delete", said: said.to_owned() });
        assert!(absent_is_fine(said(UNKNOWN_CONTAINER)).is_ok());
        assert!(absent_is_fine(said("device or resource busy")).is_err());
    }
}
