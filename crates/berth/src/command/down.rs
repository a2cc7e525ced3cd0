// SPDX-License-Identifier: Apache-2.0
//! `berth down`: ends the processes of an installation, then removes their objects in the kernel.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_fabric::kernel::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::args::{DownArgs, ImageLimitOptions, NodeOptions};
use crate::claim;
use crate::command::node;
use crate::hosts::{self, LocalHost};
use crate::installation::{Installation, Role};
use crate::told::told;

/// Maximum time for a process to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(70);

/// Stops and cleans up; continues after a failure, and fails at the end if anything is left.
pub fn run(installation: &Installation, args: &DownArgs) -> Result<ExitCode> {
    let mut hosts = hosts::local(installation)?;
    hosts.retain(|host| host.number.is_none() || host.has_remains());
    let mut ended = Vec::new();
    for (name, installation, role) in processes(installation, &hosts) {
        if let Some(pid) = installation.holder(role)? {
            end(&name, &installation, role, pid)?;
            ended.push(format!("{name} ({pid})"));
        }
    }
    take_down(&hosts)?;
    remove(&installation.run)?;
    if args.purge {
        remove(&installation.data)?;
    }
    let ended = if ended.is_empty() { "nothing ran".to_owned() } else { format!("ended {}", ended.join(", ")) };
    let data = if args.purge { "data removed" } else { "data kept (--purge removes it)" };
    println!("{}: {ended}; tasks, interfaces and namespaces removed; {data}", installation.instance);
    Ok(ExitCode::SUCCESS)
}

/// The roles that may run, in the order in which they are ended.
fn processes(installation: &Installation, hosts: &[LocalHost]) -> Vec<(String, Installation, Role)> {
    let own = Role::ALL.map(|role| (role.command().to_owned(), installation.clone(), role));
    let nodes = hosts
        .iter()
        .filter_map(|host| host.number.map(|number| (format!("node {number}"), host.installation.clone(), Role::Node)));
    let [supervisor, node, server] = own;
    [supervisor, node].into_iter().chain(nodes).chain([server]).collect()
}

/// Removes every host from the machine, all at the same time; a failure of one does not stop the others.
pub fn take_down(hosts: &[LocalHost]) -> Result<()> {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = hosts.iter().map(|host| (host, scope.spawn(|| take_host_down(host)))).collect();
        let outcomes = threads.into_iter().map(|(host, thread)| (host, thread.join()));
        let failures = outcomes.filter_map(|(host, outcome)| match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{host}: {}", told(&error))),
            Err(_) => Some(format!("{host}: the worker panicked")),
        });
        failures.collect()
    });
    if failed.is_empty() {
        return Ok(());
    }
    bail!("not everything could be removed; run this again: {}", failed.join("; "))
}

/// The bridges of a simulated host are in its namespace, so it is cleaned from inside; the namespace is removed last.
fn take_host_down(host: &LocalHost) -> Result<()> {
    // Objects with this name belong to the other installation.
    claim::check_name(&host.installation)?;
    let mut config = node::config(&host.installation, &plain_options(), "")?;
    config.outside = host.namespace().map(|_| Namespace::of_current_thread().map(Arc::new)).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clean = || runtime.block_on(berth_node::teardown(config));
    match host.namespace() {
        None => clean()?,
        Some(path) => {
            host.make_namespace()?;
            Namespace::open(&path)?.inside(clean)??;
            Namespace::delete(&path)?;
        }
    }
    claim::release(&host.installation)
}

/// Ends the containerd of a host whose tasks continue.
pub fn end_containerd(host: &LocalHost) -> Result<()> {
    let config = node::config(&host.installation, &plain_options(), "")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(berth_node::end_containerd(&config))?)
}

/// Settings of a running node for images and capacity have no effect on its removal.
fn plain_options() -> NodeOptions {
    NodeOptions {
        cluster: String::new(),
        mirror: Vec::new(),
        image_pull_behavior: "default".to_owned(),
        image_cleanup_interval: 30,
        image_minimum_cleanup_age: 60,
        num_images_delete_per_cycle: 5,
        image_limits: ImageLimitOptions { image_layers_max: 127, image_gib_max: 20, image_unpacked_gib_max: 50 },
        stopped_logs_max_age: 0,
        stopped_logs_max_size: 0,
        free_space_min: 0,
        containerd: std::env::var_os("BERTH_CONTAINERD").map(Into::into),
        oci_runtime: None,
        cpu: None,
        memory: None,
        enis: None,
        cni: None,
        prepared_namespaces: 0,
        task_pids_limit: "none".to_owned(),
        log_refused_calls: false,
        block_imds: false,
        no_endpoint_variable: false,
        uplink: None,
        instance_subnet: Vec::new(),
        instance_security_groups: Vec::new(),
        no_instance_interface: true,
    }
}

/// SIGTERM, then SIGKILL. The lock proves that the process is alive and ours, and its release that it has ended.
fn end(name: &str, installation: &Installation, role: Role, pid: i32) -> Result<()> {
    signal(pid, Signal::SIGTERM)?;
    let (tell, told) = mpsc::channel();
    let waiting = installation.clone();
    std::thread::spawn(move || tell.send(waiting.wait_until_free(role)));
    match told.recv_timeout(STOP_LIMIT) {
        Ok(free) => free,
        Err(_) => {
            eprintln!("{name} ({pid}) did not end within {} s and has been killed", STOP_LIMIT.as_secs());
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
