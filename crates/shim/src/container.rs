// SPDX-License-Identifier: Apache-2.0
//! A container: its life from the first process made to the last thing removed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use containerd_shim_protos::api::{CreateTaskRequest, ExecProcessRequest, Status};
use containerd_shim_protos::events::task;
use containerd_shim_protos::topics;
use rustix::process::Signal;
use tokio::sync::oneshot;

use crate::bundle;
use crate::events::timestamp;
use crate::fault::Fault;
use crate::output::WantedStreams;
use crate::process::{OVER, Order, Process};
use crate::reaper::Exit;
use crate::rootfs;
use crate::runtime::{Kind, Runtime};
use crate::spec::Spec;
use crate::tools::Tools;

/// The signal that no process survives.
pub(crate) const SIGKILL: u32 = 9;
/// Maximum wait for a killed process to exit.
const END_LIMIT: Duration = Duration::from_secs(10);
/// The status of a process that could not be started.
const NOT_STARTED: u32 = 255;

/// A container.
pub(crate) struct Container {
    pub id: String,
    pub bundle: PathBuf,
    pub first: Arc<Process>,
    tools: Arc<Tools>,
    runtime: Runtime,
    has_own_processes: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    added: BTreeMap<String, Arc<Process>>,
    is_paused: bool,
}

impl Container {
    /// Makes a container, up to where its program would start.
    pub async fn create(tools: Arc<Tools>, request: CreateTaskRequest) -> Result<Arc<Self>, Fault> {
        if !request.checkpoint.is_empty() {
            return Err(Fault::Unsupported("containers are not restored from checkpoints".to_owned()));
        }
        let bundle = PathBuf::from(&request.bundle);
        let spec = Spec::of(&bundle)?;
        let runtime = Runtime::note(&bundle, Kind::of(&spec)?, &tools.runtime_root)?;
        rootfs::mount_all(&request.rootfs, &bundle.join(bundle::ROOT))?;
        let CreateTaskRequest { id, stdin, stdout, stderr, terminal, .. } = request;
        let first = Arc::new(Process::new("", WantedStreams { stdin, stdout, stderr, terminal }));
        let has_own_processes = spec.has_own_processes();
        let state = Mutex::default();
        let container = Arc::new(Self { id, bundle, first, tools, runtime, has_own_processes, state });
        if let Err(fault) = container.make_first().await {
            // Removes the parts made before the failure; the caller receives the failure itself.
            container.runtime.forget(&container.tools.reaper, &container.id, true).await.ok();
            rootfs::unmount_all(&container.bundle.join(bundle::ROOT))?;
            return Err(fault);
        }
        Ok(container)
    }

    fn is_pause(&self) -> bool {
        self.runtime.kind() == Kind::Pause
    }

    async fn make_first(self: &Arc<Self>) -> Result<(), Fault> {
        let _making = self.tools.reaper.making();
        let pid_file = bundle::pid_file(&self.bundle);
        let arguments = ["create", "--bundle"].map(OsStr::new).into_iter();
        let arguments = arguments.chain([self.bundle.as_os_str(), OsStr::new("--pid-file"), pid_file.as_os_str()]);
        let order = Order { call: "create", arguments: arguments.collect(), container: &self.id, pid_file: &pid_file };
        let pid = self.first.make(&self.tools, &self.runtime, order).await?;
        self.watch(self.first.clone(), pid);
        let (container_id, pid) = (self.id.clone(), pid as u32);
        let bundle = self.bundle.display().to_string();
        let event = task::TaskCreate { container_id, pid, bundle, ..Default::default() };
        self.tools.events.publish(topics::TASK_CREATE_EVENT_TOPIC, &event);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process with this id; the first one if it is empty.
    pub fn process(&self, exec_id: &str) -> Result<Arc<Process>, Fault> {
        if exec_id.is_empty() {
            return Ok(self.first.clone());
        }
        let added = self.state().added.get(exec_id).cloned();
        added.ok_or_else(|| Fault::Absent(format!("process {exec_id} does not exist in {}", self.id)))
    }

    /// What a process is doing.
    pub fn status(&self, process: &Process) -> Status {
        match process.status() {
            Status::RUNNING if self.state().is_paused => Status::PAUSED,
            status => status,
        }
    }

    fn watch(self: &Arc<Self>, process: Arc<Process>, pid: i32) {
        let ended = self.tools.reaper.end_of(pid);
        tokio::spawn(self.clone().see_off(process, pid, ended));
    }

    /// Reports the exit of a process, after its start was reported.
    async fn see_off(self: Arc<Self>, process: Arc<Process>, pid: i32, ended: oneshot::Receiver<Exit>) {
        let Ok(exit) = ended.await else { return };
        let _told = process.starting.lock().await;
        let is_first = process.exec_id.is_empty();
        if is_first && !self.has_own_processes {
            // Its remaining processes are in another container's process namespace, and continue there.
            self.kill_by_runtime(SIGKILL, true).await.ok();
        }
        process.set_end(exit);
        let event = task::TaskExit {
            container_id: self.id.clone(),
            id: if is_first { self.id.clone() } else { process.exec_id.clone() },
            pid: pid as u32,
            exit_status: exit.status,
            exited_at: Some(timestamp(exit.at)).into(),
            ..Default::default()
        };
        self.tools.events.publish(topics::TASK_EXIT_EVENT_TOPIC, &event);
    }

    /// Starts a process; returns its id.
    pub async fn start(self: &Arc<Self>, exec_id: &str) -> Result<u32, Fault> {
        let process = self.process(exec_id)?;
        let _starting = process.starting.lock().await;
        if process.status() != Status::CREATED {
            return Err(Fault::State(format!("process {exec_id} of {} was started before", self.id)));
        }
        match exec_id {
            "" => self.start_first(&process).await,
            exec_id => self.start_added(&process, exec_id).await,
        }
    }

    async fn start_first(&self, first: &Process) -> Result<u32, Fault> {
        self.runtime.start(&self.tools.reaper, &self.id, first.ended()).await?;
        first.set_started();
        let pid = first.pid() as u32;
        let event = task::TaskStart { container_id: self.id.clone(), pid, ..Default::default() };
        self.tools.events.publish(topics::TASK_START_EVENT_TOPIC, &event);
        Ok(pid)
    }

    async fn start_added(self: &Arc<Self>, process: &Arc<Process>, exec_id: &str) -> Result<u32, Fault> {
        let _making = self.tools.reaper.making();
        let (description, pid_file) = (self.file(exec_id, "json"), self.file(exec_id, "pid"));
        let arguments = [
            OsStr::new("exec"),
            OsStr::new("--detach"),
            OsStr::new("--process"),
            description.as_os_str(),
            OsStr::new("--pid-file"),
            pid_file.as_os_str(),
        ];
        let order = Order { call: "exec", arguments: arguments.into(), container: &self.id, pid_file: &pid_file };
        let made = process.make(&self.tools, &self.runtime, order).await;
        let pid = made.inspect_err(|_| process.set_end(Exit { status: NOT_STARTED, at: SystemTime::now() }))?;
        process.set_started();
        self.watch(process.clone(), pid);
        let (container_id, exec_id, pid) = (self.id.clone(), exec_id.to_owned(), pid as u32);
        let event = task::TaskExecStarted { container_id, exec_id, pid, ..Default::default() };
        self.tools.events.publish(topics::TASK_EXEC_STARTED_EVENT_TOPIC, &event);
        Ok(pid)
    }

    /// Adds a process that can be started.
    pub fn add(&self, request: ExecProcessRequest) -> Result<(), Fault> {
        self.must_not_be_pause("added processes")?;
        let ExecProcessRequest { exec_id, stdin, stdout, stderr, terminal, spec, .. } = request;
        let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if exec_id.is_empty() || !exec_id.chars().all(is_fit) {
            return Err(Fault::Invalid(format!("invalid exec id {exec_id:?}: use letters, digits, - _ and .")));
        }
        let mut state = self.state();
        if state.added.contains_key(&exec_id) {
            return Err(Fault::Taken(format!("process {exec_id} exists in {}", self.id)));
        }
        let file = self.file(&exec_id, "json");
        fs::write(&file, &spec.value).map_err(Fault::file("write", &file))?;
        let process = Process::new(&exec_id, WantedStreams { stdin, stdout, stderr, terminal });
        state.added.insert(exec_id.clone(), Arc::new(process));
        let event = task::TaskExecAdded { container_id: self.id.clone(), exec_id, ..Default::default() };
        self.tools.events.publish(topics::TASK_EXEC_ADDED_EVENT_TOPIC, &event);
        Ok(())
    }

    fn file(&self, exec_id: &str, ending: &str) -> PathBuf {
        self.bundle.join(format!("{exec_id}.{ending}"))
    }

    /// Sends a signal to a process, or to all of the container.
    pub async fn kill(&self, exec_id: &str, signal: u32, all: bool) -> Result<(), Fault> {
        let process = self.process(exec_id)?;
        if process.end().is_some() {
            return Err(Fault::Absent(OVER.to_owned()));
        }
        let is_final = self.has_own_processes && signal == SIGKILL && !self.state().is_paused;
        let is_first = exec_id.is_empty() && !self.is_pause();
        match Signal::from_named_raw(signal as i32) {
            Some(named) if !all || is_final || !is_first => process.kill(named),
            // All processes, or a signal for real-time programs.
            _ if is_first => self.kill_by_runtime(signal, all).await,
            _ => Err(Fault::Invalid(format!("there is no signal {signal}"))),
        }
    }

    async fn kill_by_runtime(&self, signal: u32, all: bool) -> Result<(), Fault> {
        let signal = signal.to_string();
        let words = ["kill"].into_iter().chain(all.then_some("--all")).chain([self.id.as_str(), &signal]);
        let words: Vec<&OsStr> = words.map(OsStr::new).collect();
        let is_over =
            |said: &str| ["not running", "not exist", "No such process"].iter().any(|word| said.contains(word));
        self.runtime.work(&self.tools.reaper, "kill", &words).await.map_err(|fault| match &fault {
            Fault::Runtime { said, .. } if is_over(said) => Fault::Absent(OVER.to_owned()),
            _ => fault,
        })
    }

    /// Removes a process that has ended or was never started; returns its id and its exit.
    pub async fn delete(&self, exec_id: &str) -> Result<(u32, Exit), Fault> {
        let process = self.process(exec_id)?;
        if matches!(self.status(&process), Status::RUNNING | Status::PAUSED) {
            return Err(Fault::State(format!("process {exec_id} of {} is running", self.id)));
        }
        let exit = match exec_id {
            "" => self.delete_first(&process).await?,
            exec_id => self.delete_added(&process, exec_id),
        };
        process.close().await;
        let pid = process.pid() as u32;
        let event = task::TaskDelete {
            container_id: self.id.clone(),
            id: exec_id.to_owned(),
            pid,
            exit_status: exit.status,
            exited_at: Some(timestamp(exit.at)).into(),
            ..Default::default()
        };
        self.tools.events.publish(topics::TASK_DELETE_EVENT_TOPIC, &event);
        Ok((pid, exit))
    }

    async fn delete_first(&self, first: &Process) -> Result<Exit, Fault> {
        let is_over = first.end().is_some();
        self.runtime.forget(&self.tools.reaper, &self.id, !is_over).await?;
        let ended = tokio::time::timeout(END_LIMIT, first.ended()).await;
        let exit = ended.map_err(|_| Fault::State(format!("the process of {} does not end", self.id)))?;
        rootfs::unmount_all(&self.bundle.join(bundle::ROOT))?;
        Ok(exit)
    }

    fn delete_added(&self, process: &Process, exec_id: &str) -> Exit {
        self.state().added.remove(exec_id);
        for ending in ["json", "pid"] {
            // It may never have been started.
            fs::remove_file(self.file(exec_id, ending)).ok();
        }
        process.end().unwrap_or(Exit { status: 0, at: SystemTime::now() })
    }

    /// Ids of all processes.
    pub async fn pids(&self) -> Result<Vec<u32>, Fault> {
        if self.is_pause() {
            return Ok(if self.first.end().is_some() { Vec::new() } else { vec![self.first.pid() as u32] });
        }
        let arguments = ["ps", "--format", "json", &self.id].map(OsStr::new);
        let answer = self.runtime.ask(&self.tools.reaper, "ps", &arguments).await?;
        let unclear = |cause| Fault::Runtime { call: "ps", said: format!("{answer:?}: {cause}") };
        // Nothing is written as null.
        serde_json::from_str::<Option<Vec<u32>>>(&answer).map(Option::unwrap_or_default).map_err(unclear)
    }

    /// Pauses or resumes all processes.
    pub async fn pause(&self, is_paused: bool) -> Result<(), Fault> {
        self.must_not_be_pause("a state between running and not")?;
        self.call(if is_paused { "pause" } else { "resume" }, &[]).await?;
        self.state().is_paused = is_paused;
        let container_id = self.id.clone();
        let events = &self.tools.events;
        match is_paused {
            true => {
                let event = task::TaskPaused { container_id, ..Default::default() };
                events.publish(topics::TASK_PAUSED_EVENT_TOPIC, &event);
            }
            false => {
                let event = task::TaskResumed { container_id, ..Default::default() };
                events.publish(topics::TASK_RESUMED_EVENT_TOPIC, &event);
            }
        }
        Ok(())
    }

    /// Sets limits, given as the specification has them.
    pub async fn update(&self, resources: &[u8]) -> Result<(), Fault> {
        self.must_not_be_pause("limits")?;
        let file = self.bundle.join("resources.json");
        fs::write(&file, resources).map_err(Fault::file("write", &file))?;
        let arguments = [OsStr::new("update"), OsStr::new("--resources"), file.as_os_str(), OsStr::new(&self.id)];
        self.runtime.work(&self.tools.reaper, "update", &arguments).await
    }

    fn must_not_be_pause(&self, what: &str) -> Result<(), Fault> {
        match self.is_pause() {
            true => Err(Fault::Unsupported(format!("a pause container has no {what}"))),
            false => Ok(()),
        }
    }

    async fn call(&self, call: &'static str, arguments: &[&str]) -> Result<(), Fault> {
        let words: Vec<&OsStr> =
            [call].iter().chain(arguments).chain([&self.id.as_str()]).map(|word| OsStr::new(*word)).collect();
        self.runtime.work(&self.tools.reaper, call, &words).await
    }
}
