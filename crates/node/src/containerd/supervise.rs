// SPDX-License-Identifier: Apache-2.0
//! A containerd of our own: started in its own session and in a cgroup of the instance, so that it outlives the node and
//! is found again: by its cgroup, and by the socket it listens at. It is in its cgroup before it is containerd, so a node
//! killed at any line loses none. Shims have a cgroup beside it. What a process is called is never asked: a container can
//! call its programs as it likes (ADR 28).
//!
//! containerd reports its readiness itself (sd_notify). The heartbeat (`engine`) checks that it still answers.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use berth_shim::ProcessHandle;
use tokio::net::UnixDatagram;

use super::client::Containerd;
use super::own_folders::OwnFolders;
use crate::blocking::blocking;
use crate::cgroups::{self, Cgroups};
use crate::config::containerd_socket;
use crate::{Fault, NodeConfig, folders};

/// Time for containerd to say that it is ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// The log of containerd is cut when it is larger than this at a start.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// Process id of the private containerd of the node with this run folder, if one listens.
pub fn private_containerd(run_dir: &Path) -> Option<i32> {
    ProcessHandle::listening_at(&containerd_socket(run_dir)).map(|process| process.pid)
}

/// A private containerd, and what keeps it running.
#[derive(Clone, Debug)]
pub(crate) struct Private {
    folders: OwnFolders,
    instance: String,
    cgroups: Cgroups,
}

impl Private {
    pub fn of(config: &NodeConfig, cgroups: &Cgroups) -> Self {
        Self { folders: OwnFolders::of(config), instance: config.instance.clone(), cgroups: cgroups.clone() }
    }

    /// Its folders.
    pub fn folders(&self) -> &OwnFolders {
        &self.folders
    }

    /// The version of containerd, when it answers: adopts the one that runs, or starts one.
    pub async fn ensure(&self) -> Result<String, Fault> {
        let containerd = Containerd::at(&self.folders.socket());
        // Being connected proves nothing: the kernel takes connections for one that is stuck, or killed and not yet gone.
        let fault = match containerd.version().await {
            Ok(version) => return Ok(version),
            Err(fault) => fault,
        };
        for process in self.running()? {
            tracing::warn!(pid = process.pid, %fault, "containerd does not answer and is replaced");
        }
        self.end().await?;
        self.start().await?;
        containerd.version().await
    }

    /// Moves the containerd that runs, and the shims of the tasks it knows, to their cgroups. An earlier version started
    /// them elsewhere.
    pub async fn gather(&self, containerd: &Containerd) -> Result<(), Fault> {
        if let Some(process) = self.listening() {
            cgroups::join(&self.containerd_cgroup()?, &process)?;
        }
        let shims = self.shims_cgroup()?;
        let fault = |cause| Fault::file("list", &shims)(cause);
        let gathered: Vec<i32> = cgroups::members(&shims).map_err(fault)?.iter().map(|shim| shim.pid).collect();
        // The runtime has left the first process of a container to its shim.
        for pid in containerd.task_pids().await? {
            let Some(shim) = ProcessHandle::parent_of(pid) else { continue };
            if !gathered.contains(&shim.pid) && !is_this_process(&shim) {
                tracing::info!(pid = shim.pid, "moving a shim of an earlier version to the cgroup of the shims");
                cgroups::join(&shims, &shim)?;
            }
        }
        Ok(())
    }

    fn containerd_cgroup(&self) -> Result<PathBuf, Fault> {
        self.cgroups.make_mark(&cgroups::containerd_cgroup(&self.instance))
    }

    /// The cgroup of the shims, noted where shims look for it.
    fn shims_cgroup(&self) -> Result<PathBuf, Fault> {
        let dir = self.cgroups.make_mark(&cgroups::shims_cgroup(&self.instance))?;
        let (note, text) = (berth_shim::cgroup_note(&self.folders.socket()), dir.display().to_string());
        if !fs::read_to_string(&note).is_ok_and(|noted| noted == text) {
            crate::identity::write_whole(&note, text.as_bytes())?;
        }
        Ok(dir)
    }

    async fn start(&self) -> Result<(), Fault> {
        for dir in [&self.folders.root, &self.folders.state] {
            folders::private_folder(dir)?;
        }
        crate::identity::write_whole(&self.folders.config_file(), self.settings()?.as_bytes())?;
        let notify = self.folders.state.join("notify.sock");
        folders::remove_file(&notify)?;
        let ready = UnixDatagram::bind(&notify).map_err(Fault::file("listen on", &notify))?;
        let (log, cgroup) = (self.open_log()?, self.containerd_cgroup()?);
        self.shims_cgroup()?;
        let mut command = std::process::Command::new("containerd");
        command.arg("--config").arg(self.folders.config_file()).env("NOTIFY_SOCKET", &notify);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(log));
        set_apart(&mut command, &cgroup)?;
        let mut child = tokio::process::Command::from(command).spawn().map_err(|cause| {
            self.fault(match cause.kind() {
                std::io::ErrorKind::NotFound => {
                    "containerd is not installed; install the containerd package".to_owned()
                }
                _ => cause.to_string(),
            })
        })?;
        let pid = child.id().unwrap_or_default();
        let started = tokio::select! {
            said = said_ready(&ready) => said.map_err(Fault::file("read", &notify)),
            ended = child.wait() => {
                let how = ended.map_or_else(|cause| cause.to_string(), |status| status.to_string());
                Err(self.fault(format!("it ended with {how}")))
            }
            () = tokio::time::sleep(READY_LIMIT) => {
                Err(self.fault(format!("it was not ready after {} s", READY_LIMIT.as_secs())))
            }
        };
        if let Err(fault) = started {
            child.kill().await.map_err(Fault::system(format!("end containerd ({pid})")))?;
            return Err(fault);
        }
        folders::remove_file(&notify)?;
        tracing::info!(pid, "containerd started");
        // This process collects its exit status while it is the parent.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }

    /// Ends our containerd, if it runs, and any other that was started by a node of ours. Its tasks live on.
    ///
    /// By SIGKILL, which its data survives: a containerd that receives SIGTERM during its start takes shims that it is
    /// just connecting to for dead and removes their containers.
    pub async fn end(&self) -> Result<(), Fault> {
        loop {
            let running = self.running()?;
            if running.is_empty() {
                return Ok(());
            }
            for process in &running {
                process.kill().map_err(Fault::system(format!("end containerd ({})", process.pid)))?;
            }
            if let Some(pid) = ended(running).await? {
                return Err(self.fault(format!("process {pid} does not end")));
            }
        }
    }

    /// Kills the shims of this containerd and what runs beside them: containers that were being made when the node ended
    /// are in no list. To be called when containerd itself is gone.
    pub async fn end_shims(&self) -> Result<(), Fault> {
        let (cgroups, name) = (self.cgroups.clone(), cgroups::shims_cgroup(&self.instance));
        blocking("cleaner", move || cgroups.end_programs(&name)).await
    }

    /// The listener of our socket and the processes of our cgroup: two processes while a killed one is being replaced.
    fn running(&self) -> Result<Vec<ProcessHandle>, Fault> {
        let dir = self.cgroups.mark_dir(&cgroups::containerd_cgroup(&self.instance));
        let mut running = cgroups::members(&dir).map_err(Fault::file("list", &dir))?;
        let is_new = |listening: &ProcessHandle| running.iter().all(|process| process.pid != listening.pid);
        let listening = self.listening().filter(is_new);
        running.extend(listening);
        Ok(running)
    }

    fn listening(&self) -> Option<ProcessHandle> {
        ProcessHandle::listening_at(&self.folders.socket()).filter(|process| !is_this_process(process))
    }

    fn settings(&self) -> Result<String, Fault> {
        let text = |path: &Path| toml::Value::String(path.display().to_string());
        let disabled = [
            "io.containerd.grpc.v1.cri",
            "io.containerd.internal.v1.opt",
            "io.containerd.internal.v1.restart",
            "io.containerd.internal.v1.tracing",
            "io.containerd.tracing.processor.v1.otlp",
            "io.containerd.snapshotter.v1.aufs",
            "io.containerd.snapshotter.v1.btrfs",
            "io.containerd.snapshotter.v1.devmapper",
            "io.containerd.snapshotter.v1.zfs",
        ];
        let disabled = disabled.map(|name| toml::Value::String(name.to_owned())).to_vec();
        let table = |rows: Vec<(&str, toml::Value)>| {
            toml::Value::Table(rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        let settings = table(vec![
            ("version", toml::Value::Integer(2)),
            ("root", text(&self.folders.root)),
            ("state", text(&self.folders.state)),
            // Lowering it needs CAP_SYS_RESOURCE, which a container host may not give us.
            ("oom_score", toml::Value::Integer(0)),
            ("disabled_plugins", toml::Value::Array(disabled)),
            ("grpc", table(vec![("address", text(&self.folders.socket()))])),
            ("debug", table(vec![("level", toml::Value::String("warn".to_owned()))])),
        ]);
        toml::to_string(&settings).map_err(|cause| self.fault(cause.to_string()))
    }

    fn open_log(&self) -> Result<File, Fault> {
        let path = self.folders.log_file();
        let large = fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX);
        let mut options = File::options();
        options.create(true).write(true);
        let options = if large { options.truncate(true) } else { options.append(true) };
        options.open(&path).map_err(Fault::file("open", &path))
    }

    fn fault(&self, problem: String) -> Fault {
        Fault::ContainerdStart { problem, log: self.folders.log_file() }
    }
}

/// A node never takes itself for what it supervises.
fn is_this_process(process: &ProcessHandle) -> bool {
    u32::try_from(process.pid) == Ok(std::process::id())
}

/// Moves the process to a cgroup and detaches it from our session: a signal to the node's terminal or process group does
/// not reach it. Its umask is the usual one, because containers see the folders it makes.
#[allow(unsafe_code)]
pub(crate) fn set_apart(command: &mut std::process::Command, cgroup: &Path) -> Result<(), Fault> {
    let list = cgroup.join("cgroup.procs");
    let mut list = File::options().write(true).open(&list).map_err(Fault::file("open", &list))?;
    let prepare = move || {
        list.write_all(b"0")?;
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        nix::unistd::setsid().map(drop).map_err(Into::into)
    };
    // SAFETY: between fork and exec only `write`, `umask` and `setsid` are called, which are async-signal-safe and allocate
    // nothing. The file is owned by the closure.
    unsafe {
        command.pre_exec(prepare);
    }
    Ok(())
}

async fn said_ready(socket: &UnixDatagram) -> std::io::Result<()> {
    let mut message = [0u8; 512];
    loop {
        let length = socket.recv(&mut message).await?;
        if message[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(());
        }
    }
}

/// Waits for the end of killed processes; answers the id of one that does not end.
pub(crate) async fn ended(processes: Vec<ProcessHandle>) -> Result<Option<i32>, Fault> {
    blocking("watcher of processes", move || {
        for process in processes {
            let ended = process.has_ended(ProcessHandle::KILL_LIMIT_MS);
            if !ended.map_err(Fault::system(format!("watch process {}", process.pid)))? {
                return Ok(Some(process.pid));
            }
        }
        Ok(None)
    })
    .await
}
