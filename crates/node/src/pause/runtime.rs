//! The runtime of pause containers: containerd's shim calls it as it calls runc, and knows no difference.
//!
//! A pause container is our own program, which waits, in namespaces of its own. runc would start itself three times for
//! it and mount thirty things: half of what the launch of a task costs (ADR 16). Understood is what
//! [`crate::container::spec::pause`] says; every other specification is refused. Not here: containers of applications,
//! which are runc's.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::process::PidfdFlags;
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

/// Name under which the program is this runtime.
pub(super) const NAME: &str = "berth-pause-runtime";

/// What the shim takes as "it is over already".
const NOT_RUNNING: &str = "container not running";

/// A container, in its folder.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    pid: i32,
    /// Clock ticks from the start of the machine to that of the process: another process with its id began later.
    began: u64,
    is_started: bool,
    bundle: PathBuf,
}

/// A call as the shim makes it: options, a command, the container's id, a signal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    root: PathBuf,
    log: Option<PathBuf>,
    bundle: PathBuf,
    pid_file: Option<PathBuf>,
    by_force: bool,
    words: Vec<String>,
}

/// Runs one call; `arguments` are those after the program's name. What failed is in the log the caller named, as runc
/// does it, and answered.
///
/// Call this before any thread is started: the namespaces of the whole process are changed.
pub(crate) fn main(arguments: &[String]) -> io::Result<()> {
    let call = Call::parse(arguments);
    let log = call.log.as_ref().map(|log| File::options().create(true).append(true).open(log)).transpose()?;
    let done = call.run();
    if let (Err(fault), Some(mut log)) = (&done, log) {
        writeln!(log, "{}", serde_json::json!({"level": "error", "msg": fault.to_string()}))?;
    }
    done
}

impl Call {
    fn parse(arguments: &[String]) -> Self {
        let mut call = Self::default();
        let mut left = arguments.iter();
        while let Some(word) = left.next() {
            let mut value = || left.next().map(PathBuf::from).unwrap_or_default();
            match word.as_str() {
                "--root" => call.root = value(),
                "--log" => call.log = Some(value()),
                "--bundle" | "-b" => call.bundle = value(),
                "--pid-file" => call.pid_file = Some(value()),
                "--log-format" | "--format" => drop(value()),
                "--force" | "-f" => call.by_force = true,
                flag if flag.starts_with('-') => {}
                _ => call.words.push(word.clone()),
            }
        }
        call
    }

    fn run(&self) -> io::Result<()> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["create", id] => self.create(id),
            ["start", id] => self.start(id),
            ["state", id] => self.show(id),
            ["ps", id] => self.state(id).map(|state| println!("[{}]", state.pid)),
            ["kill", id, signal] => self.kill(id, signal),
            ["delete", id] => self.delete(id),
            [command, ..] => Err(io::Error::other(format!("a pause container has no {command}"))),
            [] => Err(io::Error::other("usage: create|start|state|ps|kill|delete ID (called by containerd's shim)")),
        }
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    fn state(&self, id: &str) -> io::Result<State> {
        match fs::read(self.folder(id).join("state.json")) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Err(io::Error::other("container does not exist")),
            Err(fault) => Err(fault),
        }
    }

    fn create(&self, id: &str) -> io::Result<()> {
        let spec: Spec = serde_json::from_slice(&fs::read(self.bundle.join("config.json"))?)?;
        let plan = Plan::of(&spec).ok_or_else(|| io::Error::other("this is no pause container"))?;
        let folder = self.folder(id);
        fs::create_dir_all(&folder)?;
        // The host's files are out of sight once the container's root is this process's.
        let mut state_file = File::create_new(folder.join("state.json"))
            .map_err(|fault| io::Error::new(fault.kind(), format!("container with id {id} exists: {fault}")))?;
        let made = self.pid_file.as_ref().map(File::create).transpose().and_then(|pid_file| {
            let processes = File::open("/proc")?;
            let mut child = plan.spawn()?;
            let pid = child.id() as i32;
            let began = began(processes.as_fd(), pid)?;
            let state = State { pid, began, is_started: false, bundle: self.bundle.clone() };
            state_file.write_all(&serde_json::to_vec(&state)?)?;
            if let Some(mut pid_file) = pid_file {
                write!(pid_file, "{pid}")?;
            }
            release(&mut child)
        });
        if made.is_err() {
            // Out of sight if the root is the container's already; then the shim's `delete --force` removes it.
            drop(fs::remove_dir_all(&folder));
        }
        made
    }

    /// The program waits already: there is nothing to start but the name of it.
    fn start(&self, id: &str) -> io::Result<()> {
        let state = State { is_started: true, ..self.state(id)? };
        if !state.is_alive() {
            return Err(io::Error::other(NOT_RUNNING));
        }
        crate::identity::write_whole(&self.folder(id).join("state.json"), &serde_json::to_vec(&state)?)
            .map_err(io::Error::other)
    }

    fn show(&self, id: &str) -> io::Result<()> {
        let state = self.state(id)?;
        let status = match (state.is_alive(), state.is_started) {
            (true, true) => "running",
            (true, false) => "created",
            (false, _) => "stopped",
        };
        let State { pid, bundle, .. } = state;
        println!(
            "{}",
            serde_json::json!({"ociVersion": "1.0.2", "id": id, "pid": pid, "status": status, "bundle": bundle})
        );
        Ok(())
    }

    fn kill(&self, id: &str, signal: &str) -> io::Result<()> {
        let named = || format!("SIG{}", signal.trim_start_matches("SIG")).parse::<Signal>();
        let signal = match signal.parse::<i32>() {
            Ok(number) => Signal::try_from(number),
            Err(_) => named(),
        }?;
        let state = self.state(id)?;
        if !state.is_alive() {
            return Err(io::Error::other(NOT_RUNNING));
        }
        match nix::sys::signal::kill(Pid::from_raw(state.pid), signal) {
            Err(Errno::ESRCH) => Err(io::Error::other(NOT_RUNNING)),
            done => Ok(done?),
        }
    }

    fn delete(&self, id: &str) -> io::Result<()> {
        match self.state(id) {
            Ok(state) if state.is_alive() && !self.by_force => {
                return Err(io::Error::other(format!("cannot delete container {id} that is not stopped: running")));
            }
            Ok(state) => state.end()?,
            Err(_) if self.by_force => {}
            Err(fault) => return Err(fault),
        }
        match fs::remove_dir_all(self.folder(id)) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl State {
    fn is_alive(&self) -> bool {
        let processes = File::open("/proc");
        processes.is_ok_and(|processes| began(processes.as_fd(), self.pid).is_ok_and(|began| began == self.began))
    }

    /// Kills the process, if there is one, and waits for its end.
    fn end(&self) -> io::Result<()> {
        let Some(pid) = rustix::process::Pid::from_raw(self.pid) else { return Ok(()) };
        let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
        if !self.is_alive() {
            return Ok(());
        }
        rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL)?;
        let mut ends = [nix::poll::PollFd::new(process.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut ends, nix::poll::PollTimeout::NONE)?;
        Ok(())
    }
}

/// What there is to know of a pause container.
#[derive(Debug, PartialEq, Eq)]
struct Plan<'a> {
    root: &'a Path,
    program: &'a str,
    netns: &'a Path,
}

impl<'a> Plan<'a> {
    fn of(spec: &'a Spec) -> Option<Self> {
        let [program] = spec.process().as_ref()?.args().as_ref()?.as_slice() else { return None };
        let namespaces = spec.linux().as_ref()?.namespaces().as_ref()?;
        let network = namespaces.iter().find(|one| one.typ() == LinuxNamespaceType::Network)?;
        (program == super::COMMAND).then_some(Self {
            root: spec.root().as_ref()?.path(),
            program,
            netns: network.path().as_ref()?,
        })
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
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(null.try_clone()?)
            .stderr(null)
            .spawn()
    }

    /// Makes the container's root this process's: read-only, with the sysfs of its network namespace. Whoever mounts
    /// that first decides whether anybody may write to it, and a privileged container of the task may.
    fn enter_root(&self) -> io::Result<()> {
        let none = None::<&str>;
        let mount = |source: &str, at: &Path, kind, flags| nix::mount::mount(Some(source), at, kind, flags, none);
        let limits = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount("none", Path::new("/"), none, MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
        let root = self.root.to_string_lossy();
        mount(&root, self.root, none, MsFlags::MS_BIND)?;
        mount("none", self.root, none, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | limits)?;
        mount("sysfs", &self.root.join("sys"), Some("sysfs"), limits | MsFlags::MS_NOEXEC)?;
        nix::unistd::chdir(self.root)?;
        nix::unistd::pivot_root(".", ".")?;
        nix::mount::umount2(".", MntFlags::MNT_DETACH)?;
        Ok(nix::unistd::chdir("/")?)
    }
}

/// The program needs no right at all, and gets none back by what it starts.
fn drop_privileges() -> io::Result<()> {
    for capability in CapabilitySet::all() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Newer than the kernel.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// The program goes on. Had this process died before, it would have seen the end of its input, and ended.
fn release(child: &mut Child) -> io::Result<()> {
    child.stdin.take().map_or(Ok(()), |mut input| input.write_all(b"\n"))
}

/// When a process began, in clock ticks since the start of the machine; an error if it is over.
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

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_calls_of_the_shim_are_understood() {
        let line = "--root /r --log /l/log.json --log-format json create --bundle /b --pid-file /b/init.pid one";
        let call = Call::parse(&words(line));
        assert_eq!((call.root, call.bundle), ("/r".into(), "/b".into()));
        assert_eq!((call.log, call.pid_file), (Some("/l/log.json".into()), Some("/b/init.pid".into())));
        assert_eq!(call.words, words("create one"));
        let call = Call::parse(&words("--root /r --systemd-cgroup --rootless=false delete --force one"));
        assert_eq!((call.by_force, call.words), (true, words("delete one")));
        assert_eq!(Call::parse(&words("--root /r kill --all one 9")).words, words("kill one 9"));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        fs::write(folder.path().join("config.json"), serde_json::to_vec(&Spec::default()).unwrap()).unwrap();
        for (line, said) in [
            ("create one", "this is no pause container"),
            ("start one", "container does not exist"),
            ("kill one 9", "container does not exist"),
            ("kill one NONE", "Invalid argument (os error 22)"),
            ("delete one", "container does not exist"),
            ("exec one", "a pause container has no exec"),
        ] {
            let log = folder.path().join("log.json");
            let call = format!("--root {root}/r --log {} --bundle {root} {line}", log.display());
            assert_eq!(main(&words(&call)).unwrap_err().to_string(), said, "{line}");
            let last: serde_json::Value =
                serde_json::from_str(fs::read_to_string(log).unwrap().lines().last().unwrap()).unwrap();
            assert_eq!(last["msg"], said);
        }
        main(&words(&format!("--root {root}/r delete --force one"))).unwrap();
    }
}
