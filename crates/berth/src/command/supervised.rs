//! A child of `berth up`, and keeping it running.
//!
//! A child that dies is started again: at once if it had been ready, else after a pause that grows. One that never
//! becomes ready after its first start is a failure with its exit status. Not here: which children there are (`up`).

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixDatagram;
use tokio::process::{Child, ChildStdin, Command};

use crate::command::daemon::SUPERVISED;
use crate::place::{Place, Role};
use crate::ready;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Time for a child to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Time for a child to become ready after its start.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A child that is kept running.
pub struct Supervised {
    place: Place,
    role: Role,
    /// How messages call it.
    name: String,
    /// Where it writes; our standard error when absent.
    log: Option<PathBuf>,
    arguments: Vec<String>,
    running: Option<Child>,
    /// Our end of the child's standard input: closed with us, which tells the child to end. Waiting for a child closes
    /// a pipe that is left inside it, so it is kept apart.
    lifeline: Option<ChildStdin>,
    /// Where the child says that it is ready.
    ready_socket: PathBuf,
    ready: UnixDatagram,
}

impl Supervised {
    /// A child for a role of a place, not yet started.
    pub fn new(place: &Place, role: Role, arguments: Vec<String>, log: Option<PathBuf>) -> Result<Self> {
        let ready_socket = place.run.join(format!("ready.{}", role.command()));
        std::fs::remove_file(&ready_socket).ok();
        let ready = UnixDatagram::bind(&ready_socket)
            .with_context(|| format!("cannot listen at {}", ready_socket.display()))?;
        let (place, name) = (place.clone(), role.command().to_owned());
        Ok(Self { place, role, name, log, arguments, running: None, lifeline: None, ready_socket, ready })
    }

    /// With another name than its role's.
    pub fn called(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// How messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts the child and waits until it says it is ready.
    pub async fn start_first(&mut self) -> Result<()> {
        let mut child = self.spawn()?;
        let mut word = [0; 64];
        let outcome = tokio::select! {
            said = self.ready.recv(&mut word) => said.map(drop).context("cannot hear the child"),
            status = child.wait() => Err(self.failed(status.ok())),
            () = tokio::time::sleep(READY_LIMIT) => {
                self.running = Some(child);
                self.stop().await;
                bail!("{} was not ready after {} s; {}", self.name, READY_LIMIT.as_secs(), self.told())
            }
        };
        self.running = Some(child);
        outcome
    }

    fn failed(&self, status: Option<ExitStatus>) -> anyhow::Error {
        let status = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
        anyhow::anyhow!("{} ended before it was ready ({status}); {}", self.name, self.told())
    }

    /// Where it told why.
    fn told(&self) -> String {
        match &self.log {
            Some(path) => format!("its log ends with:\n{}", last_lines(path, 12)),
            None => "its log lines above say why; `berth doctor` tells what this machine lacks".to_owned(),
        }
    }

    /// Waits for the end of the child and starts it again, for ever.
    pub async fn keep(&mut self) {
        let mut pause = PAUSE_MIN;
        let mut was_ready = true;
        loop {
            if let Some(child) = &mut self.running {
                let status = child.wait().await;
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                eprintln!("{} ended ({status}); starting it again", self.name);
            }
            while self.ready.try_recv(&mut [0; 64]).is_ok() {
                was_ready = true;
            }
            if was_ready {
                pause = PAUSE_MIN;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            was_ready = false;
            self.running = self.spawn().inspect_err(|error| eprintln!("cannot start {}: {error:#}", self.name)).ok();
        }
    }

    fn spawn(&mut self) -> Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(self.place.arguments())
            .arg(self.role.command())
            .args(&self.arguments)
            .env(SUPERVISED, "1")
            .env(ready::VARIABLE, &self.ready_socket)
            .stdin(Stdio::piped())
            .process_group(0);
        if let Some(path) = &self.log {
            let log = append(path)?;
            command.stdout(log.try_clone()?).stderr(log);
        }
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        self.lifeline = child.stdin.take();
        Ok(child)
    }

    /// SIGTERM, then SIGKILL.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
            eprintln!("{} did not end within {} s and is killed", self.name, STOP_LIMIT.as_secs());
            child.kill().await.ok();
        }
    }
}

/// Opens a log to write at its end.
pub fn append(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("cannot write {}", path.display()))
}

/// What a log ends with, and where it is.
pub fn last_lines(path: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    format!("  {}\n  ({})", last.join("\n  "), path.display())
}
