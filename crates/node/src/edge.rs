// SPDX-License-Identifier: Apache-2.0
//! The edge: the process that answers at the regional endpoints, in a session and a cgroup of its own, as containerd is, so
//! that it outlives the node. A node takes it up again by its cgroup, and replaces one of another build.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use berth_shim::ProcessHandle;
use futures_util::future::OptionFuture;
use nix::poll::PollTimeout;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cgroups::{self, Cgroups};
use crate::config::EdgeProgram;
use crate::containerd::supervise::{self, set_apart};
use crate::{Fault, NodeConfig};

/// Pauses before an edge that ended is started again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// The log is cut when it is larger than this at a start.
const LOG_BYTES_MAX: u64 = 8 << 20;

/// The edge of this host.
#[derive(Debug)]
pub(crate) struct Edge {
    program: EdgeProgram,
    log: PathBuf,
    instance: String,
    cgroups: Cgroups,
}

impl Edge {
    /// The edge that the settings name, if they name one.
    pub fn of(config: &NodeConfig, cgroups: &Cgroups) -> Option<Self> {
        Some(Self {
            program: config.edge.clone()?,
            log: config.node_dir().join("edge.log"),
            instance: config.instance.clone(),
            cgroups: cgroups.clone(),
        })
    }

    /// Keeps the edge running while there are endpoints, until `shutdown`; it lives on then.
    pub async fn keep(
        self,
        mut endpoints: watch::Receiver<Option<Ipv4Addr>>,
        shutdown: CancellationToken,
    ) -> Result<(), Fault> {
        let mut pause = PAUSES.0;
        loop {
            let are_there = endpoints.borrow_and_update().is_some();
            let kept = match are_there {
                true => self.ensure().await,
                false => Ok(None),
            };
            let mut ended = kept.and_then(|running| running.map(exit_of).transpose()).unwrap_or_else(|fault| {
                tracing::error!(%fault, "the regional endpoints are not answered; the edge will be started again");
                None
            });
            let since = Instant::now();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = endpoints.changed() => match changed {
                    Ok(()) if endpoints.borrow().is_none() => self.end().await.unwrap_or_else(|fault| {
                        tracing::error!(%fault, "an edge without endpoints stays");
                    }),
                    Ok(()) => {}
                    Err(_) => return Ok(()),
                },
                _ = OptionFuture::from(ended.as_mut()), if ended.is_some() => {
                    tracing::warn!(log = %self.log.display(), "the edge ended; it is started again");
                    pause = if since.elapsed() > PAUSES.1 { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
                    if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(PAUSES.1), if are_there && ended.is_none() => {}
            }
        }
    }

    /// The process that runs, or a new one.
    async fn ensure(&self) -> Result<Option<ProcessHandle>, Fault> {
        let cgroup = self.cgroups.make_mark(&cgroups::edge_cgroup(&self.instance))?;
        let mut running = cgroups::members(&cgroup).map_err(Fault::file("list", &cgroup))?;
        if let [process] = &running[..]
            && is_of(process, &self.program.program)
        {
            return Ok(running.pop());
        }
        if !running.is_empty() {
            tracing::info!("the edge of another build is replaced");
            self.end().await?;
        }
        self.start(&cgroup).map(Some)
    }

    fn start(&self, cgroup: &Path) -> Result<ProcessHandle, Fault> {
        let log = self.open_log()?;
        let mut command = std::process::Command::new(&self.program.program);
        // Nothing of the node's environment is meant for it but the level of its log.
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "BERTH_LOG"));
        command.args(&self.program.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(log));
        set_apart(&mut command, cgroup)?;
        let started = tokio::process::Command::from(command).spawn();
        let mut child = started.map_err(Fault::file("start", &self.program.program))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        let process =
            ProcessHandle::of(pid).ok_or_else(|| Fault::Setting(format!("the edge (process {pid}) ended")))?;
        tracing::info!(pid, "the edge started");
        // This process collects its exit status while it is the parent.
        tokio::spawn(async move { child.wait().await });
        Ok(process)
    }

    fn open_log(&self) -> Result<File, Fault> {
        let is_large = fs::metadata(&self.log).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX);
        let mut options = File::options();
        options.create(true).write(true);
        let options = if is_large { options.truncate(true) } else { options.append(true) };
        options.open(&self.log).map_err(Fault::file("open", &self.log))
    }

    /// Ends every edge of the instance.
    async fn end(&self) -> Result<(), Fault> {
        let cgroup = self.cgroups.mark_dir(&cgroups::edge_cgroup(&self.instance));
        let running = cgroups::members(&cgroup).map_err(Fault::file("list", &cgroup))?;
        for process in &running {
            process.kill().map_err(Fault::system(format!("end the edge ({})", process.pid)))?;
        }
        match supervise::ended(running).await? {
            Some(pid) => Err(Fault::Setting(format!("process {pid}, an edge, does not end"))),
            None => Ok(()),
        }
    }
}

/// Ready once the process has ended. A thread waits for it, which ends with the process or with this one.
fn exit_of(process: ProcessHandle) -> Result<oneshot::Receiver<()>, Fault> {
    let (tell, told) = oneshot::channel();
    let watch = move || {
        if let Err(error) = process.has_ended(PollTimeout::NONE) {
            tracing::error!(%error, "cannot watch the edge");
        }
        // The node may not need it any more.
        let _ = tell.send(());
    };
    let thread = std::thread::Builder::new().name("edge-watch".to_owned()).spawn(watch);
    thread.map(|_| told).map_err(Fault::system("start a thread".to_owned()))
}

/// True if the process runs this program file, not an earlier one that had its name.
fn is_of(process: &ProcessHandle, program: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    let its = file(Path::new(&format!("/proc/{}/exe", process.pid)));
    matches!((its, file(program)), (Ok(its), Ok(wanted)) if its == wanted)
}
