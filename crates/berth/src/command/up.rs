//! `berth up`: server and node as children of one supervisor.
//!
//! The server starts first; the node when the server is ready. A child that dies later is started again: at once if it
//! had been ready, else after a pause that grows. A first child that never became ready ends the whole start with its
//! exit status.
//! The end of the supervisor ends both children, not the tasks: `berth down` ends those.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixDatagram;
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::args::{NodeOptions, ServerOptions, UpArgs};
use crate::command::daemon::SUPERVISED;
use crate::place::{Place, Role};
use crate::{admin, needs_root, ready};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Time for a child to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Time for a child to become ready after its start.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Set for the background process of `--detach`.
const DETACHED: &str = "BERTH_DETACHED";

/// Runs in the foreground, or starts the background process and waits until it is ready.
pub fn run(place: &Place, args: &UpArgs) -> Result<ExitCode> {
    needs_root("`berth up`")?;
    place.create()?;
    if args.detach {
        return detach(place, args);
    }
    let _claim = place.claim(Role::Supervisor)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(supervise(place, args))
}

fn detach(place: &Place, args: &UpArgs) -> Result<ExitCode> {
    if let Some(pid) = place.holder(Role::Supervisor)? {
        bail!("`berth up` runs already in {} as process {pid}; `berth down` stops it", place.run.display());
    }
    let socket = place.run.join(format!("ready.{}", std::process::id()));
    let listener = StdDatagram::bind(&socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
    let log_path = place.logs().join("up.log");
    let log = append(&log_path)?;
    let mut child = std::process::Command::new(std::env::current_exe()?)
        .args(arguments_of(place, args))
        .env(ready::VARIABLE, &socket)
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot start the background process")?;
    // Two threads, one answer: either the supervisor says it is ready or it ends.
    let (tell, told) = std::sync::mpsc::channel();
    let tell_ready = tell.clone();
    std::thread::spawn(move || tell_ready.send(listener.recv(&mut [0; 64]).map(|_| None)));
    std::thread::spawn(move || tell.send(child.wait().map(Some)));
    let outcome = told.recv().context("nobody told how the start went");
    std::fs::remove_file(&socket).ok();
    match outcome? {
        Ok(None) => {
            greet(place)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Some(status)) => bail!("the start failed ({status}); the log ends with:\n{}", last_lines(&log_path, 12)),
        Err(error) => Err(error).context("cannot learn how the start went"),
    }
}

async fn supervise(place: &Place, args: &UpArgs) -> Result<ExitCode> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let began = Instant::now();
    let mut stop = std::pin::pin!(async {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
            () = closed_terminal(&mut hangup) => (),
        }
    });

    let mut server = Supervised::new(place, Role::Server, server_arguments(&args.server))?;
    let mut node = Supervised::new(place, Role::Node, node_arguments(&args.node, &args.server.region))?;
    let is_asked_to_stop = tokio::select! {
        started = start_in_order([&mut server, &mut node], began) => { started?; false }
        () = &mut stop => true,
    };
    if is_asked_to_stop {
        node.stop().await;
        server.stop().await;
        return Ok(ExitCode::SUCCESS);
    }
    if std::env::var_os(DETACHED).is_none() {
        greet(place)?;
    }
    ready::say_ready()?;

    tokio::select! {
        () = server.keep() => (),
        () = node.keep() => (),
        () = &mut stop => (),
    }
    eprintln!("stopping; tasks go on, `berth down` ends them");
    node.stop().await;
    server.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Each child is ready before the next one starts.
async fn start_in_order(children: [&mut Supervised<'_>; 2], began: Instant) -> Result<()> {
    for child in children {
        child.start_first().await?;
        eprintln!("{} is ready after {} ms", child.role.command(), began.elapsed().as_millis());
    }
    Ok(())
}

/// A terminal that goes away ends a supervisor in the foreground, never one in the background.
async fn closed_terminal(hangup: &mut SignalStream) {
    loop {
        hangup.recv().await;
        if std::env::var_os(DETACHED).is_none() {
            return;
        }
    }
}

/// A child that is kept running.
struct Supervised<'a> {
    place: &'a Place,
    role: Role,
    arguments: Vec<String>,
    running: Option<Child>,
    /// Our end of the child's standard input: closed with us, which tells the child to end. Waiting for a child closes
    /// a pipe that is left inside it, so it is kept apart.
    lifeline: Option<ChildStdin>,
    /// Where the child says that it is ready.
    ready_socket: PathBuf,
    ready: UnixDatagram,
}

impl<'a> Supervised<'a> {
    fn new(place: &'a Place, role: Role, arguments: Vec<String>) -> Result<Self> {
        let ready_socket = place.run.join(format!("ready.{}", role.command()));
        std::fs::remove_file(&ready_socket).ok();
        let ready = UnixDatagram::bind(&ready_socket)
            .with_context(|| format!("cannot listen at {}", ready_socket.display()))?;
        Ok(Self { place, role, arguments, running: None, lifeline: None, ready_socket, ready })
    }

    /// Starts the child and waits until it says it is ready.
    async fn start_first(&mut self) -> Result<()> {
        let name = self.role.command();
        let mut child = self.spawn()?;
        let mut word = [0; 64];
        let outcome = tokio::select! {
            said = self.ready.recv(&mut word) => said.map(drop).context("cannot hear the child"),
            status = child.wait() => Err(self.failed(status.ok())),
            () = tokio::time::sleep(READY_LIMIT) => {
                self.running = Some(child);
                self.stop().await;
                bail!("`berth {name}` was not ready after {} s; see its log lines above", READY_LIMIT.as_secs())
            }
        };
        self.running = Some(child);
        outcome
    }

    fn failed(&self, status: Option<ExitStatus>) -> anyhow::Error {
        let status = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
        let told = match log_file(self.place, self.role) {
            Some(path) => format!("its log ends with:\n{}", last_lines(&path, 12)),
            None => "its log lines above say why; `berth doctor` tells what this machine lacks".to_owned(),
        };
        anyhow::anyhow!("`berth {}` ended before it was ready ({status}); {told}", self.role.command())
    }

    /// Waits for the end of the child and starts it again, for ever.
    async fn keep(&mut self) {
        let mut pause = PAUSE_MIN;
        let mut was_ready = true;
        loop {
            if let Some(child) = &mut self.running {
                let status = child.wait().await;
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                eprintln!("{} ended ({status}); starting it again", self.role.command());
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
                self.spawn().inspect_err(|error| eprintln!("cannot start {}: {error:#}", self.role.command())).ok();
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
        if let Some(path) = log_file(self.place, self.role) {
            let log = append(&path)?;
            command.stdout(log.try_clone()?).stderr(log);
        }
        let mut child = command.spawn().with_context(|| format!("cannot start `berth {}`", self.role.command()))?;
        self.lifeline = child.stdin.take();
        Ok(child)
    }

    /// SIGTERM, then SIGKILL.
    async fn stop(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
            eprintln!("{} did not end within {} s and is killed", self.role.command(), STOP_LIMIT.as_secs());
            child.kill().await.ok();
        }
    }
}

fn log_file(place: &Place, role: Role) -> Option<PathBuf> {
    std::env::var_os(DETACHED).map(|_| place.logs().join(format!("{}.log", role.command())))
}

fn append(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("cannot write {}", path.display()))
}

fn last_lines(path: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    format!("  {}\n  ({})", last.join("\n  "), path.display())
}

fn arguments_of(place: &Place, args: &UpArgs) -> Vec<String> {
    [place.arguments(), vec!["up".into()], server_arguments(&args.server), node_options(&args.node)].concat()
}

fn server_arguments(server: &ServerOptions) -> Vec<String> {
    let trust = if server.trust_any_key { vec!["--trust-any-key".to_owned()] } else { Vec::new() };
    [
        ("--listen", server.listen.to_string()),
        ("--region", server.region.clone()),
        ("--account", server.account.clone()),
        ("--keep-stopped-tasks", server.keep_stopped_tasks.to_string()),
        ("--throttle", server.throttle.join(",")),
    ]
    .into_iter()
    .flat_map(|(option, value)| [option.to_owned(), value])
    .chain(trust)
    .collect()
}

fn node_arguments(node: &NodeOptions, region: &str) -> Vec<String> {
    [node_options(node), vec!["--region".into(), region.into()]].concat()
}

fn node_options(node: &NodeOptions) -> Vec<String> {
    let mut arguments = vec!["--cluster".to_owned(), node.cluster.clone()];
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            arguments.extend([name.to_owned(), value]);
        }
    };
    for mirror in &node.mirror {
        option("--mirror", Some(mirror.clone()));
    }
    option("--image-pull-behavior", Some(node.image_pull_behavior.clone()));
    option("--image-cleanup-interval", Some(node.image_cleanup_interval.to_string()));
    option("--image-minimum-cleanup-age", Some(node.image_minimum_cleanup_age.to_string()));
    option("--num-images-delete-per-cycle", Some(node.num_images_delete_per_cycle.to_string()));
    option("--containerd", node.containerd.as_ref().map(|path| path.display().to_string()));
    option("--cpu", node.cpu.map(|units| units.to_string()));
    option("--memory", node.memory.map(|mib| mib.to_string()));
    option("--enis", node.enis.map(|count| count.to_string()));
    option("--cni", node.cni.as_ref().map(|path| path.display().to_string()));
    option("--prepared-namespaces", Some(node.prepared_namespaces.to_string()));
    if node.block_imds {
        arguments.push("--block-imds".into());
    }
    arguments
}

fn greet(place: &Place) -> Result<()> {
    let status = admin::status(place)?;
    let options = place.arguments().join(" ");
    let berth = if place.run == Path::new("/run/berth") && place.data == Path::new("/var/lib/berth") {
        "berth".to_owned()
    } else {
        format!("berth {options}")
    };
    writeln!(
        std::io::stdout(),
        "Berth {} is ready at {} (region {}, account {}).\n\n  eval \"$({berth} env)\"     points the aws CLI, boto3 \
         and Terraform at it\n  {berth} status            shows what runs\n  {berth} down              stops and cleans \
         everything away",
        status.version,
        status.endpoint,
        status.region,
        status.account
    )?;
    Ok(())
}
