// SPDX-License-Identifier: Apache-2.0
//! The runtimes that make containers: crun or runc, and this program for pause containers.

use std::ffi::{CStr, OsStr};
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use nix::sys::statfs::CGROUP2_SUPER_MAGIC;
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::OpenOptions;

use crate::call::Call;
use crate::fault::Fault;
use crate::output::Streams;
use crate::pause;
use crate::read::{read_first, regular_file};
use crate::reaper::{Exit, Reaper};
use crate::spec::Spec;

/// File in a bundle that names the container's runtime; written before the runtime is first called.
const NOTE: &str = "runtime";
/// Maximum time to start a container that waits at its pipe.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Longest log and answer of a runtime that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Where a version 2 hierarchy of cgroups is mounted in addition to those of version 1.
const UNIFIED: &CStr = c"/sys/fs/cgroup/unified";

/// A runtime, for one container.
#[derive(Debug)]
pub(crate) struct Runtime {
    kind: Kind,
    bundle: PathBuf,
    /// Where crun and runc keep their state.
    root: PathBuf,
}

/// Programs that can run containers.
pub const PROGRAMS: [&str; 2] = ["crun", "runc"];

/// Kinds of runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The program of that name; it uses a third of runc's processor time (ADR 20).
    Crun,
    /// The program of that name.
    Runc,
    /// [`crate::pause`].
    Pause,
}

impl Kind {
    /// The runtime of a container: the one its specification names, else crun if it is installed.
    pub fn of(spec: &Spec) -> Result<Self, Fault> {
        match spec.runtime() {
            _ if spec.is_pause() => Ok(Self::Pause),
            Some(name) => [Self::Crun, Self::Runc].into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
                Fault::Invalid(format!("invalid runtime {name:?}: there are {}", PROGRAMS.join(" and ")))
            }),
            None if is_installed(Self::Crun.name()) => Ok(Self::Crun),
            None => Ok(Self::Runc),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Crun => PROGRAMS[0],
            Self::Runc => PROGRAMS[1],
            Self::Pause => "pause",
        }
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Where runtimes keep their state of all containers of a namespace.
pub(crate) fn root(call: &Call) -> PathBuf {
    call.address.with_file_name("oci").join(&call.namespace)
}

impl Runtime {
    /// The runtime of a new container, noted in its bundle.
    pub fn note(bundle: &Path, kind: Kind, root: &Path) -> Result<Self, Fault> {
        let note = bundle.join(NOTE);
        fs::write(&note, kind.name()).map_err(Fault::file("write", &note))?;
        Ok(Self { kind, bundle: bundle.to_owned(), root: root.to_owned() })
    }

    /// The runtime noted in a bundle; none if no runtime was called for it, which holds while the note is incomplete.
    pub fn noted(bundle: &Path, root: &Path) -> Option<Self> {
        let note = fs::read_to_string(bundle.join(NOTE)).ok()?;
        let kind = [Kind::Crun, Kind::Runc, Kind::Pause].into_iter().find(|kind| kind.name() == note)?;
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
            Kind::Crun | Kind::Runc => {
                let mut program = Command::new(self.kind.name());
                program.arg("--root").arg(&self.root).arg("--log").arg(self.log()).args(["--log-format", "json"]);
                program.args(arguments);
                program
            }
            Kind::Pause => {
                let mut pause = crate::program::this_program()?;
                pause.arg("pause").current_dir(&self.bundle);
                pause
            }
        };
        // containerd's own: the runtime would tell it that a container is ready.
        command.env_remove("NOTIFY_SOCKET");
        prepare(&mut command, self.kind == Kind::Crun && is_hybrid());
        Ok(command)
    }

    /// Calls the runtime and discards its output.
    pub async fn work(&self, reaper: &Arc<Reaper>, call: &'static str, arguments: &[&OsStr]) -> Result<(), Fault> {
        self.ask(reaper, call, arguments).await.map(drop)
    }

    /// Lets the program of a container start. The runtime's `start` is little more than a byte through the pipe at which the
    /// container waits; that is done here, which spares a process for each container. Where there is no such pipe the
    /// runtime does it, or says why not.
    pub async fn start(&self, reaper: &Arc<Reaper>, id: &str, ended: impl Future<Output = Exit>) -> Result<(), Fault> {
        let pipe = self.root.join(id).join("exec.fifo");
        let is_released = match self.kind {
            // A pause program runs since it was made; nothing is left to start.
            Kind::Pause => return Ok(()),
            Kind::Crun => tell(&pipe),
            Kind::Runc => tokio::select! {
                is_released = hear(&pipe) => is_released,
                _ = ended => false,
                () = tokio::time::sleep(START_LIMIT) => false,
            },
        };
        match is_released {
            true => fs::remove_file(&pipe).map_err(Fault::file("remove", &pipe)),
            false => self.work(reaper, "start", &["start", id].map(OsStr::new)).await,
        }
    }

    /// Calls the runtime; returns its output.
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

    /// Calls the runtime; returns its exit status.
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

    /// True if the runtime knows the container.
    fn knows(&self, id: &str) -> bool {
        self.root.join(id).exists()
    }

    /// Makes the runtime forget a container that has ended, or by force any container. An unknown container counts as
    /// forgotten.
    pub async fn forget(&self, reaper: &Arc<Reaper>, id: &str, by_force: bool) -> Result<(), Fault> {
        match self.kind {
            Kind::Pause if by_force => pause::end(&self.bundle),
            // The runtime keeps nothing of a container that has ended.
            Kind::Pause => Ok(()),
            Kind::Crun | Kind::Runc if !self.knows(id) => Ok(()),
            Kind::Crun | Kind::Runc => {
                let words = ["delete"].into_iter().chain(by_force.then_some("--force")).chain([id]);
                self.work(reaper, "delete", &words.map(OsStr::new).collect::<Vec<_>>()).await
            }
        }
    }

    /// Removes a container in any state. Only for a process that has no other children.
    pub fn remove_by_force(&self, id: &str) -> Result<(), Fault> {
        if self.kind == Kind::Pause {
            return pause::end(&self.bundle);
        }
        if !self.knows(id) {
            return Ok(());
        }
        let mut command = self.command(&["delete", "--force", id].map(OsStr::new))?;
        let output = command.stdin(Stdio::null()).output().map_err(|cause| self.cannot_run(cause))?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(self.refusal("delete", output.status.code().unwrap_or(255) as u32, &complaint))
    }

    fn cannot_run(&self, cause: io::Error) -> Fault {
        Fault::system(format!("run {} (`berth doctor` tells what is missing)", self.kind.name()))(cause)
    }

    /// The runtime's log. It contains the container's arguments.
    fn logged(&self) -> io::Result<String> {
        let (text, _) = read_first(regular_file(&self.log())?, ANSWER_BYTES_MAX)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn refusal(&self, call: &'static str, status: u32, complaint: &str) -> Fault {
        let said = last_error(&self.logged().unwrap_or_default());
        let said = said.unwrap_or_else(|| format!("exit status {status}: {}", complaint.trim()));
        // That of an added process is not in the bundle's specification.
        let spec = || Spec::of(&self.bundle).ok().filter(|_| call == "create");
        let known = in_known_words(&said, || spec()?.first_word().map(str::to_owned));
        Fault::Runtime { call, said: known.unwrap_or(said) }
    }
}

/// Starts a container of crun's: it has the pipe open, and runs its program when it reads a byte.
fn tell(pipe: &Path) -> bool {
    let waiter = File::options().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(pipe);
    waiter.and_then(|mut pipe| pipe.write_all(&[0])).is_ok()
}

/// Starts a container of runc's, which may not have reached the pipe yet: it writes a byte when the pipe has a reader,
/// and runs its program.
async fn hear(pipe: &Path) -> bool {
    // This process is a writer too: without one, a container that is not at the pipe yet looks like the end.
    let Ok(mut pipe) = OpenOptions::new().read_write(true).open_receiver(pipe) else { return false };
    matches!(pipe.read(&mut [0]).await, Ok(1))
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

/// crun's message about a program that cannot be run, in the wording of runc and Docker, which users search for.
fn in_known_words(said: &str, program: impl FnOnce() -> Option<String>) -> Option<String> {
    let absent = said.strip_prefix("executable file `").and_then(|rest| rest.split_once("` not found in $PATH"));
    let (program, why) = match (absent, said.strip_prefix("open executable: ")) {
        (Some((program, _)), _) if program.contains('/') => {
            (program.to_owned(), format!("stat {program}: no such file or directory"))
        }
        (Some((program, _)), _) => (program.to_owned(), "executable file not found in $PATH".to_owned()),
        (None, Some(_)) => (program()?, "permission denied".to_owned()),
        (None, None) => return None,
    };
    Some(format!("unable to start container process: exec: \"{program}\": {why}"))
}

/// True if there is a version 2 hierarchy of cgroups beside those of version 1. crun refuses that.
fn is_hybrid() -> bool {
    nix::sys::statfs::statfs(UNIFIED).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Prepares the runtime's process. It dies with this process: otherwise it could make things that the clean-up after
/// the shim does not see. It does not inherit this process's protection from the out-of-memory killer. It can be given
/// mounts of its own, without the version 2 hierarchy.
#[allow(unsafe_code)]
fn prepare(command: &mut Command, hides_unified: bool) {
    let prepare = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // The usual umask, because the runtime makes mount points that the container sees.
        rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
        stop_being_spared()?;
        if hides_unified {
            nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
            // Later mounts of the host appear here; changes here do not appear on the host.
            let (none, downwards) = (None::<&CStr>, MsFlags::MS_REC | MsFlags::MS_SLAVE);
            nix::mount::mount(none, c"/", none, downwards, none)?;
            nix::mount::umount2(UNIFIED, MntFlags::MNT_DETACH)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made (`prctl`, `umask`, `openat`, `write`, `unshare`, `mount`,
    // `umount2`), with strings that are static: nothing is allocated, and no lock taken.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Gives this process the usual likelihood of being killed when memory is short. To be called between fork and exec.
fn stop_being_spared() -> rustix::io::Result<()> {
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::io::write(file, b"0") {
        // The caller of Berth may have raised it, and lowering it needs a capability.
        Ok(_) | Err(rustix::io::Errno::ACCESS) => Ok(()),
        Err(refused) => Err(refused),
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
    let read = file.rewind().and_then(|()| read_first(file, ANSWER_BYTES_MAX));
    let (text, _) = read.map_err(Fault::system("read the runtime's answer"))?;
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
    fn a_program_that_cannot_be_run_is_told_as_docker_tells_it() {
        let told = |said: &str| in_known_words(said, || Some("/etc/x".to_owned())).unwrap_or_default();
        let absent =
            |program: &str| format!("executable file `{program}` not found in $PATH: No such file or directory");
        let begin = "unable to start container process: exec: ";
        assert_eq!(told(&absent("x")), format!("{begin}\"x\": executable file not found in $PATH"));
        assert_eq!(told(&absent("/b/x")), format!("{begin}\"/b/x\": stat /b/x: no such file or directory"));
        assert_eq!(told("open executable: Permission denied"), format!("{begin}\"/etc/x\": permission denied"));
        assert_eq!(told("chdir `/x`: Not a directory"), "");
    }
}
