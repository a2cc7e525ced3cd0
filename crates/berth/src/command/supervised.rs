// SPDX-License-Identifier: Apache-2.0
//! A supervised child of `berth up`.
//!
//! A child that dies is started again: at once if it had been ready, otherwise after a pause that grows. If the first
//! start never becomes ready, that is a failure with the child's exit status. Not here: the list of children (`up`).

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
use crate::installation::{Installation, Role};
use crate::ready;
use crate::told::told;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Maximum time for a child to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Maximum time for a child to become ready after its start.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A supervised child.
pub struct Supervised {
    installation: Installation,
    role: Role,
    /// Its name in messages.
    name: String,
    /// The file for its output; our standard error when absent.
    log: Option<PathBuf>,
    arguments: Vec<String>,
    running: Option<Child>,
    /// Our end of the child's standard input. It is closed with this process, which makes the child end. Waiting for a
    /// child closes a pipe that is left inside it, so it is kept separately.
    lifeline: Option<ChildStdin>,
    /// The socket for the child's readiness.
    ready_socket: PathBuf,
    ready: UnixDatagram,
}

impl Supervised {
    /// A child for a role of an installation, not yet started.
    pub fn new(installation: &Installation, role: Role, arguments: Vec<String>, log: Option<PathBuf>) -> Result<Self> {
        let ready_socket = installation.run.join(format!("ready.{}", role.command()));
        std::fs::remove_file(&ready_socket).ok();
        let ready = UnixDatagram::bind(&ready_socket)
            .with_context(|| format!("cannot listen at {}", ready_socket.display()))?;
        let (installation, name) = (installation.clone(), role.command().to_owned());
        Ok(Self { installation, role, name, log, arguments, running: None, lifeline: None, ready_socket, ready })
    }

    /// Sets another name than its role's.
    pub fn called(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts the child and waits until it reports that it is ready.
    pub async fn start_first(&mut self) -> Result<()> {
        let mut child = self.spawn()?;
        let mut word = [0; 64];
        let outcome = tokio::select! {
            said = self.ready.recv(&mut word) => said.map(drop).context("cannot read the child's readiness"),
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

    /// The location of its error message.
    fn told(&self) -> String {
        match &self.log {
            Some(path) => format!("its log ends with:\n{}", last_lines(path, 12)),
            None => "its log lines above say why; `berth doctor` lists missing requirements".to_owned(),
        }
    }

    /// Waits for the end of the child and starts it again, in an endless loop.
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
            self.running =
                self.spawn().inspect_err(|error| eprintln!("cannot start {}: {}", self.name, told(error))).ok();
        }
    }

    fn spawn(&mut self) -> Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(self.installation.arguments())
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
            eprintln!("{} did not end within {} s and has been killed", self.name, STOP_LIMIT.as_secs());
            child.kill().await.ok();
        }
    }
}

/// Opens a log for appending.
pub fn append(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("cannot write {}", path.display()))
}

/// The last lines of a log, and its path.
pub fn last_lines(path: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    format!("  {}\n  ({})", last.join("\n  "), path.display())
}
