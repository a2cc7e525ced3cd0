//! `berth down`: ends the processes of an installation, then removes what they made in the kernel.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_fabric::kernel::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::args::{DownArgs, NodeOptions};
use crate::command::node;
use crate::hosts::{self, LocalHost};
use crate::needs_root;
use crate::place::{Place, Role};

/// Time for a process to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(70);

/// Stops and cleans; goes on after a failure, and fails at the end if anything is left.
pub fn run(place: &Place, args: &DownArgs) -> Result<ExitCode> {
    needs_root("`berth down`")?;
    let mut hosts = hosts::local(place)?;
    hosts.retain(|host| host.number.is_none() || host.has_remains());
    let mut ended = Vec::new();
    for (name, place, role) in processes(place, &hosts) {
        if let Some(pid) = place.holder(role)? {
            end(&name, &place, role, pid)?;
            ended.push(format!("{name} ({pid})"));
        }
    }
    take_down(&hosts)?;
    remove(&place.run)?;
    if args.purge {
        remove(&place.data)?;
    }
    let ended = if ended.is_empty() { "nothing ran".to_owned() } else { format!("ended {}", ended.join(", ")) };
    let data = if args.purge { "data removed" } else { "data kept (--purge removes it)" };
    println!("{}: {ended}; tasks, interfaces and namespaces removed; {data}", place.instance);
    Ok(ExitCode::SUCCESS)
}

/// What may run, in the order in which it is ended.
fn processes(place: &Place, hosts: &[LocalHost]) -> Vec<(String, Place, Role)> {
    let own = Role::ALL.map(|role| (role.command().to_owned(), place.clone(), role));
    let nodes = hosts
        .iter()
        .filter_map(|host| host.number.map(|number| (format!("node {number}"), host.place.clone(), Role::Node)));
    let [supervisor, node, server] = own;
    [supervisor, node].into_iter().chain(nodes).chain([server]).collect()
}

/// Takes every host off the machine, all at the same time; one that fails does not keep the others.
fn take_down(hosts: &[LocalHost]) -> Result<()> {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = hosts.iter().map(|host| (host, scope.spawn(|| take_host_down(host)))).collect();
        let outcomes = threads.into_iter().map(|(host, thread)| (host, thread.join()));
        let failures = outcomes.filter_map(|(host, outcome)| match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{host}: {error:#}")),
            Err(_) => Some(format!("{host}: the worker panicked")),
        });
        failures.collect()
    });
    if failed.is_empty() {
        return Ok(());
    }
    bail!("not everything could be removed; run this again: {}", failed.join("; "))
}

/// Its bridges are in its namespace, so a simulated host is cleaned from inside; the namespace goes last.
fn take_host_down(host: &LocalHost) -> Result<()> {
    let config = node::config(&host.place, &plain_options(), "")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clean = || runtime.block_on(berth_node::teardown(config));
    match host.namespace() {
        None => Ok(clean()?),
        Some(path) => {
            host.make_namespace()?;
            Namespace::open(&path)?.inside(clean)??;
            Ok(Namespace::delete(&path)?)
        }
    }
}

/// What a running node was told about images and capacity does not matter for taking it down.
fn plain_options() -> NodeOptions {
    NodeOptions {
        cluster: String::new(),
        mirror: Vec::new(),
        image_pull_behavior: "default".to_owned(),
        image_cleanup_interval: 30,
        image_minimum_cleanup_age: 60,
        num_images_delete_per_cycle: 5,
        containerd: std::env::var_os("BERTH_CONTAINERD").map(Into::into),
        oci_runtime: None,
        cpu: None,
        memory: None,
        enis: None,
        cni: None,
        prepared_namespaces: 0,
        block_imds: false,
    }
}

/// SIGTERM, then SIGKILL. The lock tells that the id is alive and ours, and when it is gone.
fn end(name: &str, place: &Place, role: Role, pid: i32) -> Result<()> {
    signal(pid, Signal::SIGTERM)?;
    let (tell, told) = mpsc::channel();
    let waiting = place.clone();
    std::thread::spawn(move || tell.send(waiting.wait_until_free(role)));
    match told.recv_timeout(STOP_LIMIT) {
        Ok(free) => free,
        Err(_) => {
            eprintln!("{name} ({pid}) did not end within {} s and is killed", STOP_LIMIT.as_secs());
            signal(pid, Signal::SIGKILL)?;
            told.recv().context("cannot wait for its end")?
        }
    }
}

fn signal(pid: i32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("cannot end process {pid}")),
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", folder.display())),
    }
}
