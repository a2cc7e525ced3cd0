// SPDX-License-Identifier: Apache-2.0
//! The exits of children: the runtime, first processes of containers, and orphans below this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit code, or 128 and the signal.
    pub status: u32,
    /// When it was seen.
    pub at: SystemTime,
}

/// Collects exits and hands each to the caller that waits for it.
#[derive(Default)]
pub(crate) struct Reaper {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    asked: HashMap<i32, oneshot::Sender<Exit>>,
    /// Exits without a waiter, kept while a caller may still learn a child's id.
    early: HashMap<i32, Exit>,
    makers: usize,
}

/// While one exists, exits of unknown children are kept.
pub(crate) struct Making(Arc<Reaper>);

impl Reaper {
    /// Begins to collect. Needs a runtime.
    pub fn start() -> std::io::Result<Arc<Self>> {
        let reaper = Arc::new(Self::default());
        let signals = signal(SignalKind::child())?;
        tokio::spawn(reaper.clone().run(signals));
        Ok(reaper)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held from before a child is started until its end has been asked for.
    pub fn making(self: &Arc<Self>) -> Making {
        self.state().makers += 1;
        Making(self.clone())
    }

    /// Receives the exit of a child, also after the exit if a [`Making`] was held.
    pub fn end_of(&self, pid: i32) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        match state.early.remove(&pid) {
            Some(exit) => drop(sender.send(exit)),
            None => drop(state.asked.insert(pid, sender)),
        }
        receiver
    }

    async fn run(self: Arc<Self>, mut signals: Signal) {
        loop {
            self.collect();
            if signals.recv().await.is_none() {
                return;
            }
        }
    }

    fn collect(&self) {
        while let Ok(ended) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let (pid, status) = match ended {
                WaitStatus::Exited(pid, code) => (pid.as_raw(), code as u32),
                WaitStatus::Signaled(pid, signal, _) => (pid.as_raw(), 128 + signal as u32),
                _ => return,
            };
            let exit = Exit { status, at: SystemTime::now() };
            let mut state = self.state();
            match state.asked.remove(&pid) {
                Some(asked) => drop(asked.send(exit)),
                None if state.makers > 0 => drop(state.early.insert(pid, exit)),
                None => {}
            }
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.makers -= 1;
        if state.makers == 0 {
            state.early.clear();
        }
    }
}
