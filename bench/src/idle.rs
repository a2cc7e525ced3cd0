// SPDX-License-Identifier: Apache-2.0
//! The cost of an idle Berth: time until a server and a node are ready, and their memory then.
//!
//! Starts both in the ordinary way, with `NOTIFY_SOCKET`, at the places in the environment (`BERTH_DATA`, `BERTH_RUN`,
//! `BERTH_INSTANCE`). The first start of a node starts containerd too; the second one finds it.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::table;

const READY_LIMIT: Duration = Duration::from_secs(60);
/// Time until memory used only for the start is released.
const SETTLE: Duration = Duration::from_secs(3);

/// The programs to start.
#[derive(clap::Args)]
pub struct Options {
    /// The program.
    #[arg(long, default_value = "berth")]
    berth: PathBuf,
    /// Number of starts of each.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let folder = PathBuf::from(format!("/run/berth-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = measure(options, &folder.join("notify"));
    std::fs::remove_dir_all(&folder)?;
    outcome
}

fn measure(options: &Options, notify: &std::path::Path) -> Result<()> {
    let socket = UnixDatagram::bind(notify).context("bind the socket for readiness")?;
    socket.set_read_timeout(Some(READY_LIMIT))?;
    let start = |role: &str| Started::wait(options, role, notify, &socket);
    let (mut server_ms, mut first_ms, mut node_ms) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 1..options.rounds {
        server_ms.push(start("server")?.took_ms);
    }
    let server = start("server")?;
    server_ms.push(server.took_ms);
    first_ms.push(start("node")?.took_ms);
    for _ in 1..options.rounds {
        node_ms.push(start("node")?.took_ms);
    }
    let node = start("node")?;
    node_ms.push(node.took_ms);
    std::thread::sleep(SETTLE);
    let (server_mib, node_mib) = (server.memory_mib()?, node.memory_mib()?);
    let row = |name: &str, took_ms: &mut Vec<f64>, memory: Option<f64>| {
        let memory = memory.map_or_else(String::new, |mib| format!("{mib:.1}"));
        vec![name.to_owned(), format!("{:.0}", table::percentile(took_ms, 0.5)), memory]
    };
    let rows = [
        row("server", &mut server_ms, Some(server_mib)),
        row("node, containerd too", &mut first_ms, None),
        row("node, containerd there", &mut node_ms, Some(node_mib)),
    ];
    table::print(&["idle", "ready ms", "memory MiB"], &rows);
    println!("\ngoals: ready <= 300 ms, <= 30 MiB each");
    Ok(())
}

/// A server or a node; stopped when this is dropped.
struct Started {
    child: Child,
    took_ms: f64,
}

impl Started {
    fn wait(options: &Options, role: &str, notify: &std::path::Path, socket: &UnixDatagram) -> Result<Self> {
        let begin = Instant::now();
        let mut command = Command::new(&options.berth);
        let command = command.arg(role).env("NOTIFY_SOCKET", notify).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("start {} {role}", options.berth.display()))?;
        let mut started = Self { child, took_ms: 0.0 };
        let mut said = [0; 256];
        let length = socket.recv(&mut said).with_context(|| format!("the {role} did not say that it is ready"))?;
        ensure!(said[..length].starts_with(b"READY=1"), "the {role} said something else than that it is ready");
        started.took_ms = begin.elapsed().as_secs_f64() * 1e3;
        Ok(started)
    }

    /// Memory that only this process holds, and its share of shared memory.
    fn memory_mib(&self) -> Result<f64> {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let pss = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
        Ok(pss.context("no Pss in smaps_rollup")?.trim().parse::<f64>()? / 1024.0)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let ended = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        if let Err(fault) = ended.map_err(std::io::Error::from).and_then(|()| self.child.wait()) {
            eprintln!("a process of the benchmark could not be ended: {fault}");
        }
    }
}
