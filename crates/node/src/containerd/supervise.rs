//! A containerd of our own: started in its own session so that it outlives the node, found again by its command line.
//! Nothing is noted of it that a node killed right after the start could have failed to note.
//!
//! Readiness is told by containerd itself (sd_notify), its end by its event stream; nothing is polled.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use berth_shim::ProcessHandle;
use tokio::net::UnixDatagram;

use super::Containerd;
use crate::blocking::blocking;
use crate::{Fault, NodeConfig};

/// Time for containerd to say that it is ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// The log of containerd is cut when it is larger than this at a start.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// Process id of the private containerd of the node with this run folder, if it runs.
pub fn private_containerd(run_dir: &Path) -> Option<i32> {
    // Where its images are does not matter for finding it.
    Private { root: PathBuf::new(), state: run_dir.join("containerd") }.running()
}

/// The places of a private containerd.
#[derive(Clone, Debug)]
pub(crate) struct Private {
    root: PathBuf,
    state: PathBuf,
}

impl Private {
    pub fn of(config: &NodeConfig) -> Self {
        Self { root: config.data_dir.join("containerd"), state: config.run_dir.join("containerd") }
    }

    /// Where it has what ends with the machine.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Where it has the files of the snapshot with this number.
    pub fn snapshot_dir(&self, number: u64) -> PathBuf {
        self.root.join("io.containerd.snapshotter.v1.overlayfs/snapshots").join(number.to_string())
    }

    fn socket(&self) -> PathBuf {
        self.state.join("containerd.sock")
    }

    fn config_file(&self) -> PathBuf {
        self.state.join("config.toml")
    }

    fn log_file(&self) -> PathBuf {
        self.root.join("containerd.log")
    }

    /// The version of containerd, when it answers: adopts the one that runs, or starts one.
    pub async fn ensure(&self) -> Result<String, Fault> {
        let containerd = Containerd::at(&self.socket());
        // Being connected proves nothing: the kernel takes connections for one that is stuck, or killed and not yet gone.
        let fault = match containerd.version().await {
            Ok(version) => return Ok(version),
            Err(fault) => fault,
        };
        if let Some(pid) = self.running() {
            tracing::warn!(pid, %fault, "containerd does not answer and is replaced");
        }
        self.end().await?;
        self.start().await?;
        containerd.version().await
    }

    async fn start(&self) -> Result<(), Fault> {
        for dir in [&self.root, &self.state] {
            fs::create_dir_all(dir).map_err(Fault::file("create", dir))?;
        }
        crate::identity::write_whole(&self.config_file(), self.settings()?.as_bytes())?;
        let notify = self.state.join("notify.sock");
        remove_if_there(&notify)?;
        let ready = UnixDatagram::bind(&notify).map_err(Fault::file("listen on", &notify))?;
        let log = self.open_log()?;
        let mut command = std::process::Command::new("containerd");
        command.arg("--config").arg(self.config_file()).env("NOTIFY_SOCKET", &notify);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(log));
        own_session(&mut command);
        let mut child = tokio::process::Command::from(command).spawn().map_err(|cause| {
            self.fault(match cause.kind() {
                std::io::ErrorKind::NotFound => {
                    "containerd is not installed; install the containerd package".to_owned()
                }
                _ => cause.to_string(),
            })
        })?;
        let pid = child.id().unwrap_or_default();
        tokio::select! {
            said = said_ready(&ready) => said.map_err(Fault::file("read", &notify))?,
            ended = child.wait() => {
                let how = ended.map_or_else(|cause| cause.to_string(), |status| status.to_string());
                return Err(self.fault(format!("it ended with {how}")));
            }
            () = tokio::time::sleep(READY_LIMIT) => {
                return Err(self.fault(format!("it was not ready after {} s", READY_LIMIT.as_secs())));
            }
        }
        remove_if_there(&notify)?;
        tracing::info!(pid, "containerd started");
        // Somebody has to collect its exit status while we are its parent.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }

    /// Ends our containerd, if it runs, and any other that was started with our configuration. Its tasks live on.
    pub async fn end(&self) -> Result<(), Fault> {
        while let Some(pid) = self.running() {
            self.end_one(pid).await?;
        }
        Ok(())
    }

    /// By SIGKILL, which it survives as well as we do: one that is told to end while it starts takes shims it was just
    /// asking for dead ones, and has their containers removed.
    async fn end_one(&self, pid: i32) -> Result<(), Fault> {
        let Some(process) = ProcessHandle::of(pid) else { return Ok(()) };
        process.kill().map_err(Fault::system(format!("end containerd ({pid})")))?;
        match ended(vec![process]).await? {
            None => Ok(()),
            Some(pid) => Err(self.fault(format!("process {pid} does not end"))),
        }
    }

    /// Kills the shims of this containerd and what runs under them: containers that were being made when the node ended
    /// are in no list. To be called when containerd itself is gone.
    pub async fn end_shims(&self) -> Result<(), Fault> {
        let socket = self.socket();
        let is_ours = |words: &[&[u8]]| {
            words.first().is_some_and(|program| program.ends_with(berth_shim::NAME.as_bytes()))
                && words.windows(2).any(|pair| pair == [b"-address".as_slice(), socket.as_os_str().as_encoded_bytes()])
        };
        let shims = processes().filter(|(_, line)| is_ours(&line.split(|byte| *byte == 0).collect::<Vec<_>>()));
        let mut ending = Vec::new();
        for (shim, _) in shims.collect::<Vec<_>>() {
            for pid in children(shim).into_iter().chain([shim]) {
                let Some(process) = ProcessHandle::of(pid) else { continue };
                process.kill().ok();
                ending.push(process);
            }
        }
        match ended(ending).await? {
            None => Ok(()),
            Some(pid) => Err(self.fault(format!("process {pid} of a container does not end"))),
        }
    }

    /// The process that was started with our configuration.
    pub fn running(&self) -> Option<i32> {
        let config = self.config_file();
        let is_ours = |line: &[u8]| match line.split(|byte| *byte == 0).collect::<Vec<_>>().as_slice() {
            [program, b"--config", given, ..] => {
                program.ends_with(b"containerd") && *given == config.as_os_str().as_encoded_bytes()
            }
            _ => false,
        };
        processes().find(|(_, line)| is_ours(line)).map(|(pid, _)| pid)
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
            ("root", text(&self.root)),
            ("state", text(&self.state)),
            // Lowering it needs CAP_SYS_RESOURCE, which a container host may not give us.
            ("oom_score", toml::Value::Integer(0)),
            ("disabled_plugins", toml::Value::Array(disabled)),
            ("grpc", table(vec![("address", text(&self.socket()))])),
            ("debug", table(vec![("level", toml::Value::String("warn".to_owned()))])),
        ]);
        toml::to_string(&settings).map_err(|cause| self.fault(cause.to_string()))
    }

    fn open_log(&self) -> Result<File, Fault> {
        let path = self.log_file();
        let large = fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX);
        let mut options = File::options();
        options.create(true).write(true);
        let options = if large { options.truncate(true) } else { options.append(true) };
        options.open(&path).map_err(Fault::file("open", &path))
    }

    fn fault(&self, problem: String) -> Fault {
        Fault::ContainerdStart { problem, log: self.log_file() }
    }
}

/// Detaches the process from our session: a signal to the node's terminal or process group does not reach it.
#[allow(unsafe_code)]
fn own_session(command: &mut std::process::Command) {
    // SAFETY: between fork and exec only `setsid` is called, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into));
    }
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

/// Ids and command lines of all processes.
fn processes() -> impl Iterator<Item = (i32, Vec<u8>)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, fs::read(entry.path().join("cmdline")).ok()?))
    })
}

fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Waits for the end of killed processes; answers the id of one that does not end.
async fn ended(processes: Vec<ProcessHandle>) -> Result<Option<i32>, Fault> {
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

pub(crate) fn remove_if_there(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Fault::file("remove", path)),
    }
}
