// SPDX-License-Identifier: Apache-2.0
//! `berth up`: server and node, or the nodes of simulated hosts, as children of one supervisor.
//!
//! The server starts first, the nodes when the server is ready. The end of the supervisor ends its children, not the
//! tasks: `berth down` ends those. Not here: supervision of a child (`supervised`), the definition of a host (`hosts`).

use std::io::Write;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use berth_types::link::Capacity;
use futures_util::future::{join_all, try_join_all};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::args::{NodeOptions, ServerOptions, UpArgs};
use crate::command::supervised::{Supervised, append, last_lines};
use crate::command::{down, node};
use crate::hosts::{self, LocalHost};
use crate::installation::{Installation, Role};
use crate::told::told;
use crate::{admin, claim, ready};

/// Set in the background process of `--detach`.
const DETACHED: &str = "BERTH_DETACHED";

/// Runs in the foreground, or starts the background process and waits until it is ready.
pub fn run(installation: &Installation, args: &UpArgs) -> Result<ExitCode> {
    berth_control::check_listen(args.server.listen, &args.server.transport(), args.server.admin_listen())?;
    refuse_second(installation, args)?;
    args.node.uplink().map_or(Ok(()), |uplink| node::check_uplink(&uplink))?;
    installation.create()?;
    if std::env::var_os(DETACHED).is_none() {
        tell_of_others(installation, args.hosts)?;
    }
    if args.detach {
        return detach(installation, args);
    }
    let _claim = installation.claim(Role::Supervisor)?;
    let before = hosts_of(installation, args).into_iter().map(Before::look).collect::<Vec<_>>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(supervise(installation, args)).map_err(|error| undone(&before, error))
}

/// Fails if this start conflicts with another installation.
fn refuse_second(installation: &Installation, args: &UpArgs) -> Result<()> {
    match args.hosts {
        1 => claim::check(installation),
        // Each has a namespace of its own.
        _ => hosts_of(installation, args).iter().try_for_each(|host| claim::check_name(&host.installation)),
    }
}

/// Fails if this machine uses addresses of the server's pool of public addresses for anything but hosts of this installation.
fn refuse_pool(installation: &Installation) -> Result<()> {
    let Some(pool) = admin::status(installation)?.public_pool else { return Ok(()) };
    match berth_fabric::world::clash(pool, &installation.instance)? {
        Some(found) => {
            bail!("the pool {pool} of public addresses overlaps {found}; {}", node::pool_cure())
        }
        None => Ok(()),
    }
}

/// The hosts of this start.
fn hosts_of(installation: &Installation, args: &UpArgs) -> Vec<LocalHost> {
    match args.hosts {
        1 => vec![LocalHost { number: None, installation: installation.clone() }],
        hosts => (1..=hosts).map(|number| LocalHost::simulated(installation, number)).collect(),
    }
}

/// State of a host before a start.
struct Before {
    host: LocalHost,
    was_up: bool,
    had_containerd: bool,
}

impl Before {
    fn look(host: LocalHost) -> Self {
        let (was_up, had_containerd) = (host.is_up(), has_containerd(&host));
        Self { host, was_up, had_containerd }
    }

    /// Removes the objects of a failed start: everything of a host that was not up; for a host that was up, whose tasks
    /// continue, only the containerd.
    fn undo(&self) -> Result<()> {
        let host = &self.host;
        match (self.was_up, self.had_containerd) {
            (false, false) if host.is_up() || has_containerd(host) || has_namespace(host) => {
                down::take_down(std::slice::from_ref(host))
            }
            (true, false) if has_containerd(host) => down::end_containerd(host),
            (_, _) => Ok(()),
        }
    }
}

fn has_containerd(host: &LocalHost) -> bool {
    berth_node::private_containerd(&host.installation.run).is_some()
}

fn has_namespace(host: &LocalHost) -> bool {
    host.namespace().is_some_and(|file| file.exists())
}

/// Removes the objects of a start and reports why it failed, with the remedy.
fn undone(before: &[Before], error: anyhow::Error) -> anyhow::Error {
    let failed: Vec<String> =
        before.iter().filter_map(|before| Some(format!("{}: {}", before.host, told(&before.undo().err()?)))).collect();
    let left = match (failed.is_empty(), before.iter().any(|before| before.was_up)) {
        (false, _) => {
            format!(
                "some objects of this start could not be removed ({}); `berth down` removes them",
                failed.join("; ")
            )
        }
        (true, true) => "the objects of this start are removed; tasks of an earlier one continue".to_owned(),
        (true, false) => "the objects of this start are removed".to_owned(),
    };
    anyhow::anyhow!(
        "{}\n{left}; correct the cause and run `berth up` again, `berth doctor` says what this machine lacks",
        told(&error)
    )
}

fn detach(installation: &Installation, args: &UpArgs) -> Result<ExitCode> {
    if let Some(pid) = installation.holder(Role::Supervisor)? {
        bail!("`berth up` already runs in {} as process {pid}; `berth down` stops it", installation.run.display());
    }
    let socket = installation.run.join(format!("ready.{}", std::process::id()));
    let listener = StdDatagram::bind(&socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
    let log_path = installation.logs().join("up.log");
    let log = append(&log_path)?;
    let mut child = std::process::Command::new(std::env::current_exe()?)
        .args(arguments_of(installation, args))
        .env(ready::VARIABLE, &socket)
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot start the background process")?;
    // Two threads send one answer: the supervisor is ready, or it has ended.
    let (tell, told) = std::sync::mpsc::channel();
    let tell_ready = tell.clone();
    std::thread::spawn(move || tell_ready.send(listener.recv(&mut [0; 64]).map(|_| None)));
    std::thread::spawn(move || tell.send(child.wait().map(Some)));
    let outcome = told.recv().context("no report about the start arrived");
    std::fs::remove_file(&socket).ok();
    match outcome? {
        Ok(None) => {
            greet(installation)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Some(status)) => bail!("the start failed ({status}); the log ends with:\n{}", last_lines(&log_path, 12)),
        Err(error) => Err(error).context("cannot determine the result of the start"),
    }
}

async fn supervise(installation: &Installation, args: &UpArgs) -> Result<ExitCode> {
    let mut server = Supervised::new(
        installation,
        Role::Server,
        server_arguments(&args.server),
        child_log(installation, Role::Server),
    )?;
    let mut nodes = nodes(installation, args)?;
    let kept = keep(installation, &mut server, &mut nodes).await;
    end(&mut server, &mut nodes).await;
    kept.map(|()| ExitCode::SUCCESS)
}

/// Starts everything and supervises it until this process is stopped; fails if the start fails.
async fn keep(installation: &Installation, server: &mut Supervised, nodes: &mut [Supervised]) -> Result<()> {
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

    tokio::select! {
        started = start_in_order(installation, server, nodes, began) => started?,
        () = &mut stop => return Ok(()),
    }
    if std::env::var_os(DETACHED).is_none() {
        greet(installation)?;
    }
    ready::say_ready()?;

    tokio::select! {
        () = server.keep() => (),
        _ = join_all(nodes.iter_mut().map(Supervised::keep)) => (),
        () = &mut stop => (),
    }
    eprintln!("stopping; tasks continue, `berth down` ends them");
    Ok(())
}

async fn end(server: &mut Supervised, nodes: &mut [Supervised]) {
    join_all(nodes.iter_mut().map(Supervised::stop)).await;
    server.stop().await;
}

/// The node of this host, or those of the simulated hosts, each with its namespace.
fn nodes(installation: &Installation, args: &UpArgs) -> Result<Vec<Supervised>> {
    let region = &args.server.region;
    if args.hosts == 1 {
        let arguments = [node_options(&args.node), vec!["--region".into(), region.clone()]].concat();
        return Ok(vec![Supervised::new(installation, Role::Node, arguments, child_log(installation, Role::Node))?]);
    }
    let share = node::said_or(&args.node, hosts::share_of(berth_node::measured_capacity(), args.hosts));
    let start = |number| {
        let host = LocalHost::simulated(installation, number);
        host.installation.create()?;
        host.make_namespace()?;
        let arguments = host_arguments(installation, &host, number, args, share);
        // The log lines of several nodes could not be distinguished.
        let log = Some(host.installation.log_of(Role::Node));
        Ok(Supervised::new(&host.installation, Role::Node, arguments, log)?.called(format!("node {number}")))
    };
    (1..=args.hosts).map(start).collect()
}

/// Hosts of an earlier start that are not part of this one stay as they are, because their tasks may be in use.
fn tell_of_others(installation: &Installation, hosts: u32) -> Result<()> {
    let is_asked_for = |number: Option<u32>| number.map_or(hosts == 1, |number| hosts > 1 && number <= hosts);
    for host in hosts::up(installation)?.iter().filter(|host| !is_asked_for(host.number)) {
        eprintln!(
            "{host} is left from an earlier `berth up` with another --hosts: its tasks continue without a node; \
             `berth down` removes it"
        );
    }
    Ok(())
}

/// Destination of a child's log: our standard error unless this process is in the background.
fn child_log(installation: &Installation, role: Role) -> Option<PathBuf> {
    std::env::var_os(DETACHED).map(|_| installation.log_of(role))
}

/// The server is ready before the nodes start.
async fn start_in_order(
    installation: &Installation,
    server: &mut Supervised,
    nodes: &mut [Supervised],
    began: Instant,
) -> Result<()> {
    start(server, began).await?;
    refuse_pool(installation)?;
    try_join_all(nodes.iter_mut().map(|node| start(node, began))).await?;
    Ok(())
}

async fn start(child: &mut Supervised, began: Instant) -> Result<()> {
    child.start_first().await?;
    eprintln!("{} is ready after {} ms", child.name(), began.elapsed().as_millis());
    Ok(())
}

/// Closing the terminal ends a supervisor in the foreground, never one in the background.
async fn closed_terminal(hangup: &mut SignalStream) {
    loop {
        hangup.recv().await;
        if std::env::var_os(DETACHED).is_none() {
            return;
        }
    }
}

fn arguments_of(installation: &Installation, args: &UpArgs) -> Vec<String> {
    let hosts = vec!["--hosts".into(), args.hosts.to_string()];
    [installation.arguments(), vec!["up".into()], hosts, server_arguments(&args.server), node_options(&args.node)]
        .concat()
}

fn server_arguments(server: &ServerOptions) -> Vec<String> {
    let switches = [
        ("--trust-any-key", server.trust_any_key),
        ("--ec2-task-public-ip", server.ec2_task_public_ip),
        ("--tls", server.tls),
        ("--insecure-listen", server.insecure_listen),
    ];
    let names = server.tls_name.iter().map(|name| ("--tls-name", name.clone()));
    let quotas = server.quota.iter().map(|(name, number)| ("--quota", format!("{name}={number}")));
    let pool = server.public_pool.map(|pool| ("--public-pool", pool.to_string()));
    [
        ("--listen", server.listen.to_string()),
        ("--admin-listen", server.admin_listen().to_string()),
        ("--region", server.region.clone()),
        ("--account", server.account.clone()),
        ("--keep-stopped-tasks", server.keep_stopped_tasks.to_string()),
        ("--throttle", server.throttle.join(",")),
    ]
    .into_iter()
    .chain(names)
    .chain(pool)
    .chain(quotas)
    .flat_map(|(option, value)| [option.to_owned(), value])
    .chain(switches.into_iter().filter(|(_, is_on)| *is_on).map(|(option, _)| option.to_owned()))
    .collect()
}

/// The options of a simulated host's node.
fn host_arguments(
    installation: &Installation,
    host: &LocalHost,
    number: u32,
    args: &UpArgs,
    share: Capacity,
) -> Vec<String> {
    let region = &args.server.region;
    let options = NodeOptions {
        cpu: Some(share.cpu_units),
        memory: Some(share.memory_mib),
        enis: Some(share.enis),
        ..args.node.clone()
    };
    let own = [
        ("--region", region.clone()),
        ("--availability-zone", hosts::zone_of(number, region)),
        ("--server-socket", installation.socket().display().to_string()),
        ("--netns", host.namespace().unwrap_or_default().display().to_string()),
    ];
    let own = own.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
    node_options(&options).into_iter().chain(own).collect()
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
    option("--image-layers-max", Some(node.image_limits.image_layers_max.to_string()));
    option("--image-gib-max", Some(node.image_limits.image_gib_max.to_string()));
    option("--image-unpacked-gib-max", Some(node.image_limits.image_unpacked_gib_max.to_string()));
    option("--stopped-logs-max-age", Some(node.stopped_logs_max_age.to_string()));
    option("--stopped-logs-max-size", Some(node.stopped_logs_max_size.to_string()));
    option("--free-space-min", Some(node.free_space_min.to_string()));
    option("--uplink", node.uplink.clone());
    option("--containerd", node.containerd.as_ref().map(|path| path.display().to_string()));
    option("--oci-runtime", node.oci_runtime.clone());
    option("--cpu", node.cpu.map(|units| units.to_string()));
    option("--memory", node.memory.map(|mib| mib.to_string()));
    option("--enis", node.enis.map(|count| count.to_string()));
    option("--cni", node.cni.as_ref().map(|path| path.display().to_string()));
    option("--prepared-namespaces", Some(node.prepared_namespaces.to_string()));
    option("--task-pids-limit", Some(node.task_pids_limit.clone()));
    let list = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
    option("--instance-subnet", list(&node.instance_subnet));
    option("--instance-security-groups", list(&node.instance_security_groups));
    let switches = [
        ("--block-imds", node.block_imds),
        ("--no-endpoint-variable", node.no_endpoint_variable),
        ("--log-refused-calls", node.log_refused_calls),
        ("--no-instance-interface", node.no_instance_interface),
    ];
    for (option, is_set) in switches {
        arguments.extend(is_set.then(|| option.to_owned()));
    }
    arguments
}

fn greet(installation: &Installation) -> Result<()> {
    let status = admin::status(installation)?;
    let options = installation.arguments().join(" ");
    let berth = if installation.run == Path::new("/run/berth") && installation.data == Path::new("/var/lib/berth") {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;
    use crate::args::{Berth, Command};

    fn parse(words: &[String]) -> Command {
        Berth::try_parse_from(std::iter::once("berth".to_owned()).chain(words.iter().cloned())).unwrap().command
    }

    fn up(words: &str) -> UpArgs {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        match parse(&words) {
            Command::Up(args) => args,
            other => panic!("{other:?}"),
        }
    }

    const EVERYTHING: &str = "up --hosts 3 --listen 127.0.0.1:1 --region eu-west-1 --account 000000000001 --ec2-task-public-ip --trust-any-key --tls \
        --tls-name a.example --tls-name 192.0.2.1 --admin-listen 127.0.0.1:2 \
        --cluster web --mirror a=http://b --mirror c=http://d --image-pull-behavior once --image-cleanup-interval 11 \
        --image-minimum-cleanup-age 12 --num-images-delete-per-cycle 13 \
        --image-layers-max 14 --image-gib-max 15 --image-unpacked-gib-max 16 --stopped-logs-max-age 18 \
        --stopped-logs-max-size 19 --free-space-min 20 --containerd /s --oci-runtime runc \
        --cpu 14 --memory 15 --enis 16 --cni /c --prepared-namespaces 17 --block-imds --no-endpoint-variable --uplink lan0";

    fn installation() -> Installation {
        Installation { data: "/d".into(), run: "/r".into(), instance: "lab".into() }
    }

    #[test]
    fn the_background_process_is_told_everything() {
        let args = up(EVERYTHING);
        let Command::Up(told) = parse(&arguments_of(&installation(), &args)) else { panic!("not `up`") };
        assert_eq!(format!("{told:?}"), format!("{args:?}"));
    }

    #[test]
    fn the_node_of_a_host_is_told_everything_and_where_it_is() {
        let args = up(EVERYTHING);
        let share = Capacity { cpu_units: 24, memory_mib: 25, enis: 26 };
        let host = LocalHost::simulated(&installation(), 2);
        let words = [vec!["node".to_owned()], host_arguments(&installation(), &host, 2, &args, share)].concat();
        let Command::Node(told) = parse(&words) else { panic!("not `node`") };
        let node = NodeOptions { cpu: Some(24), memory: Some(25), enis: Some(26), ..args.node };
        assert_eq!(format!("{:?}", told.node), format!("{node:?}"));
        assert_eq!((told.region.as_str(), told.availability_zone.as_deref()), ("eu-west-1", Some("eu-west-1b")));
        assert_eq!(told.server_socket, Some(PathBuf::from("/r/server.sock")));
        assert_eq!(told.netns, Some(PathBuf::from("/r/hosts/2/network")));
    }

    #[test]
    fn what_is_said_is_said_of_each_host() {
        let machine = Capacity { cpu_units: 2048, memory_mib: 4096, enis: 1000 };
        let said = |words: &str| node::said_or(&up(words).node, hosts::share_of(machine, 2));
        assert_eq!(said("up"), Capacity { cpu_units: 1024, memory_mib: 2048, enis: 500 });
        assert_eq!(said("up --memory 3000"), Capacity { cpu_units: 1024, memory_mib: 3000, enis: 500 });
    }
}
