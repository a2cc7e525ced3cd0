// SPDX-License-Identifier: Apache-2.0
//! Pause containers: our own program, which waits, in namespaces of its own. The shim makes them itself; runc would start
//! three programs and mount thirty things for one (ADR 16).
//!
//! Namespaces are changed in a process of its own: this program, called with `pause`. What it has made is noted in the
//! bundle before the program is let go.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::poll::PollTimeout;
use nix::sched::CloneFlags;
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use crate::bundle;
use crate::fault::Fault;
use crate::handle::ProcessHandle;
use crate::spec::{Spec, User};

/// The process of a pause container, as noted in its bundle.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    pid: i32,
    /// Clock ticks from the start of the machine to that of the process: another process with its id began later.
    began: u64,
}

fn note_file(bundle: &Path) -> PathBuf {
    bundle.join("pause.json")
}

/// Makes the pause container whose bundle is the working folder. The namespaces of this process are changed: nothing else
/// can be done in it afterwards.
pub(crate) fn create() -> Result<(), Fault> {
    let folder = Path::new(".");
    let spec = Spec::of(folder)?;
    let plan = Plan::of(&spec).ok_or_else(|| Fault::Invalid("this is no pause container".to_owned()))?;
    // The host's files are unreachable once this process has the container's root.
    let open = |file: &Path| File::create(file).map_err(Fault::file("create", file));
    let (mut note_file, mut pid_file) = (open(&note_file(folder))?, open(&bundle::pid_file(folder))?);
    let made = File::open("/proc").and_then(|processes| {
        let mut child = plan.spawn()?;
        let pid = child.id() as i32;
        let note = Note { pid, began: began(processes.as_fd(), pid)? };
        note_file.write_all(&serde_json::to_vec(&note)?)?;
        write!(pid_file, "{pid}")?;
        release(&mut child)
    });
    made.map_err(Fault::system("make a pause container"))
}

/// Ends the pause container of a bundle, if there is one, and waits for its exit.
pub(crate) fn end(bundle: &Path) -> Result<(), Fault> {
    let Ok(text) = fs::read(note_file(bundle)) else { return Ok(()) };
    // An incomplete note: the process that made it died, and the container with it.
    let Ok(note) = serde_json::from_slice::<Note>(&text) else { return Ok(()) };
    note.end().map_err(Fault::system(format!("end the pause program {}", note.pid)))
}

impl Note {
    fn is_alive(&self) -> bool {
        let processes = File::open("/proc");
        processes.is_ok_and(|processes| began(processes.as_fd(), self.pid).is_ok_and(|began| began == self.began))
    }

    fn end(&self) -> io::Result<()> {
        let Some(process) = ProcessHandle::of(self.pid) else { return Ok(()) };
        if !self.is_alive() {
            return Ok(());
        }
        process.kill()?;
        process.has_ended(PollTimeout::NONE).map(drop)
    }
}

/// The state of a pause container.
struct Plan<'a> {
    root: &'a Path,
    program: &'a str,
    netns: &'a Path,
    user: User,
}

impl<'a> Plan<'a> {
    fn of(spec: &'a Spec) -> Option<Self> {
        spec.is_pause().then_some(())?;
        Some(Self { root: spec.root()?, program: spec.program()?, netns: spec.netns()?, user: spec.user() })
    }

    /// Starts the program as the first process of its namespaces. Afterwards they are this process's too.
    fn spawn(&self) -> io::Result<Child> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        nix::sched::setns(File::open(self.netns)?, CloneFlags::CLONE_NEWNET)?;
        let own =
            [CloneFlags::CLONE_NEWNS, CloneFlags::CLONE_NEWIPC, CloneFlags::CLONE_NEWUTS, CloneFlags::CLONE_NEWPID];
        nix::sched::unshare(own.into_iter().collect())?;
        self.enter_root()?;
        drop_privileges()?;
        Command::new(self.program)
            .env_clear()
            .current_dir("/")
            .uid(self.user.uid)
            .gid(self.user.gid)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(null.try_clone()?)
            .stderr(null)
            .spawn()
    }

    /// Makes the container's root this process's: read-only, and nothing in it but the program.
    fn enter_root(&self) -> io::Result<()> {
        let none = None::<&str>;
        let mount = |source: &str, at: &Path, flags| nix::mount::mount(Some(source), at, none, flags, none);
        let limits = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount("none", Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
        mount(&self.root.to_string_lossy(), self.root, MsFlags::MS_BIND)?;
        mount("none", self.root, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | limits)?;
        nix::unistd::chdir(self.root)?;
        nix::unistd::pivot_root(".", ".")?;
        nix::mount::umount2(".", MntFlags::MNT_DETACH)?;
        Ok(nix::unistd::chdir("/")?)
    }
}

/// Empties the bounding and inheritable sets and sets `no_new_privs`, so that no program started later gains a capability.
/// The capabilities that this process holds end when it changes its user.
fn drop_privileges() -> io::Result<()> {
    for capability in CapabilitySet::all() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Newer than the kernel.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    let held = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..held })?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Lets the program continue. Had this process died before, the program would read the end of its input and exit.
fn release(child: &mut Child) -> io::Result<()> {
    child.stdin.take().map_or(Ok(()), |mut input| input.write_all(b"\n"))
}

/// Start of a process, in clock ticks since the start of the machine; an error if the process has ended.
fn began(processes: BorrowedFd<'_>, pid: i32) -> io::Result<u64> {
    let name = PathBuf::from(format!("{pid}/stat"));
    let file = nix::fcntl::openat(processes, &name, nix::fcntl::OFlag::O_RDONLY, nix::sys::stat::Mode::empty())?;
    let text = io::read_to_string(File::from(file))?;
    // The name, in brackets, may contain anything.
    let mut fields = text.rsplit(") ").next().unwrap_or_default().split(' ');
    let (state, began) = (fields.next(), fields.nth(18).and_then(|field| field.parse().ok()));
    match (state, began) {
        (Some("Z" | "X"), _) | (_, None) => Err(Errno::ESRCH.into()),
        (_, Some(began)) => Ok(began),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_is_ended_that_was_not_made() {
        let bundle = tempfile::tempdir().unwrap();
        end(bundle.path()).unwrap();
        fs::write(note_file(bundle.path()), "{\"pid\":").unwrap();
        end(bundle.path()).unwrap();
        // This process, as it would be noted had it begun at another time.
        let other = Note { pid: std::process::id() as i32, began: 1 };
        fs::write(note_file(bundle.path()), serde_json::to_vec(&other).unwrap()).unwrap();
        end(bundle.path()).unwrap();
    }
}
