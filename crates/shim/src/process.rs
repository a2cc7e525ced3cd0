// SPDX-License-Identifier: Apache-2.0
//! One process of a container: its first, or one that was added.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use containerd_shim_protos::api::Status;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;

use crate::console::{Console, Terminal};
use crate::fault::Fault;
use crate::output::{Logger, WantedStreams};
use crate::reaper::Exit;
use crate::runtime::{self, Runtime};
use crate::tools::Tools;

/// The message of containerd's shim about a process that can receive no signal.
pub(crate) const OVER: &str = "process already finished";

/// A process.
pub(crate) struct Process {
    /// Empty for a container's first.
    pub exec_id: String,
    pub streams: WantedStreams,
    state: Mutex<State>,
    end: watch::Sender<Option<Exit>>,
    /// Held during its start, so that its exit is reported after its start.
    pub starting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    pid: i32,
    /// The process itself: its id may be another's once its end was collected.
    handle: Option<OwnedFd>,
    is_started: bool,
    terminal: Option<Terminal>,
    logger: Logger,
}

/// How the runtime is asked for a process.
pub(crate) struct Order<'a> {
    /// The call's name in messages.
    pub call: &'static str,
    /// All but the last ones.
    pub arguments: Vec<&'a OsStr>,
    pub container: &'a str,
    /// Where the runtime writes the process's id to.
    pub pid_file: &'a Path,
}

impl Process {
    pub fn new(exec_id: &str, streams: WantedStreams) -> Self {
        Self {
            exec_id: exec_id.to_owned(),
            streams,
            state: Mutex::default(),
            end: watch::Sender::default(),
            starting: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the runtime to make the process; returns its id. The caller must already wait for its exit.
    pub async fn make(&self, tools: &Tools, runtime: &Runtime, order: Order<'_>) -> Result<i32, Fault> {
        let made = self.try_make(tools, runtime, order).await;
        if made.is_err() {
            self.close().await;
        }
        made
    }

    async fn try_make(&self, tools: &Tools, runtime: &Runtime, order: Order<'_>) -> Result<i32, Fault> {
        let name = format!("{}/{}", order.container, self.exec_id);
        let console = self.streams.terminal.then(|| Console::at(tools.console(&name))).transpose()?;
        let mut arguments = order.arguments;
        if let Some(console) = &console {
            arguments.extend([OsStr::new("--console-socket"), console.path().as_os_str()]);
        }
        arguments.push(OsStr::new(order.container));
        let (mut streams, logger) = self.streams.open(&tools.reaper, order.container).await?;
        self.state().logger = logger;
        let shown = console.is_some().then(|| streams.replace()).transpose()?;
        runtime.make(&tools.reaper, order.call, &arguments, streams).await?;
        let pid = runtime::pid_in(order.pid_file)?;
        let terminal = console.map(Console::receive).transpose()?;
        if let (Some(terminal), Some(shown)) = (&terminal, shown) {
            terminal.connect(&self.streams.stdin, shown)?;
        }
        let handle = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let mut state = self.state();
        (state.pid, state.handle, state.terminal) = (pid, handle, terminal);
        Ok(pid)
    }

    /// Zero before there is one.
    pub fn pid(&self) -> i32 {
        self.state().pid
    }

    /// Sends a signal, unless the process has ended.
    pub fn kill(&self, signal: Signal) -> Result<(), Fault> {
        let sent = self.state().handle.as_ref().map(|process| pidfd_send_signal(process, signal));
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(Fault::Absent(OVER.to_owned())),
        }
    }

    pub fn set_started(&self) {
        self.state().is_started = true;
    }

    pub fn status(&self) -> Status {
        match (self.end(), self.state().is_started) {
            (Some(_), _) => Status::STOPPED,
            (None, true) => Status::RUNNING,
            (None, false) => Status::CREATED,
        }
    }

    pub fn end(&self) -> Option<Exit> {
        *self.end.borrow()
    }

    pub fn set_end(&self, exit: Exit) {
        self.end.send_replace(Some(exit));
    }

    /// Waits for the end of the process.
    pub async fn ended(&self) -> Exit {
        let mut end = self.end.subscribe();
        loop {
            if let Some(exit) = *end.borrow_and_update() {
                return exit;
            }
            // The sender is ours.
            end.changed().await.ok();
        }
    }

    pub fn resize(&self, columns: u32, rows: u32) -> Result<(), Fault> {
        self.state().terminal.as_ref().map_or(Ok(()), |terminal| terminal.resize(columns, rows))
    }

    /// Closes the streams after all output has been written.
    pub async fn close(&self) {
        let (terminal, logger) = {
            let mut state = self.state();
            (state.terminal.take(), std::mem::take(&mut state.logger))
        };
        drop(terminal);
        logger.end().await;
    }
}
