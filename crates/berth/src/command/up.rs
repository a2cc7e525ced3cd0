//! `berth up`: server and node, or the nodes of simulated hosts, as children of one supervisor.
//!
//! The server starts first; the nodes when the server is ready. The end of the supervisor ends its children, not the
//! tasks: `berth down` ends those. Not here: how a child is kept running (`supervised`), what a host is (`hosts`).

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
use crate::command::node;
use crate::command::supervised::{Supervised, append, last_lines};
use crate::hosts::{self, LocalHost};
use crate::place::{Place, Role};
use crate::{admin, needs_root, ready};

/// Set for the background process of `--detach`.
const DETACHED: &str = "BERTH_DETACHED";

/// Runs in the foreground, or starts the background process and waits until it is ready.
pub fn run(place: &Place, args: &UpArgs) -> Result<ExitCode> {
    needs_root("`berth up`")?;
    place.create()?;
    if std::env::var_os(DETACHED).is_none() {
        tell_of_others(place, args.hosts)?;
    }
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

    let mut server =
        Supervised::new(place, Role::Server, server_arguments(&args.server), child_log(place, Role::Server))?;
    let mut nodes = nodes(place, args)?;
    let is_asked_to_stop = tokio::select! {
        started = start_in_order(&mut server, &mut nodes, began) => { started?; false }
        () = &mut stop => true,
    };
    if is_asked_to_stop {
        end(&mut server, &mut nodes).await;
        return Ok(ExitCode::SUCCESS);
    }
    if std::env::var_os(DETACHED).is_none() {
        greet(place)?;
    }
    ready::say_ready()?;

    tokio::select! {
        () = server.keep() => (),
        _ = join_all(nodes.iter_mut().map(Supervised::keep)) => (),
        () = &mut stop => (),
    }
    eprintln!("stopping; tasks go on, `berth down` ends them");
    end(&mut server, &mut nodes).await;
    Ok(ExitCode::SUCCESS)
}

async fn end(server: &mut Supervised, nodes: &mut [Supervised]) {
    join_all(nodes.iter_mut().map(Supervised::stop)).await;
    server.stop().await;
}

/// The node of this host, or those of the simulated hosts, each with its namespace.
fn nodes(place: &Place, args: &UpArgs) -> Result<Vec<Supervised>> {
    let region = &args.server.region;
    if args.hosts == 1 {
        let arguments = [node_options(&args.node), vec!["--region".into(), region.clone()]].concat();
        return Ok(vec![Supervised::new(place, Role::Node, arguments, child_log(place, Role::Node))?]);
    }
    let share = node::said_or(&args.node, hosts::share_of(berth_node::measured_capacity(), args.hosts));
    let start = |number| {
        let host = LocalHost::simulated(place, number);
        host.place.create()?;
        host.make_namespace()?;
        let arguments = host_arguments(place, &host, number, args, share);
        // The lines of several nodes would be told apart by nobody.
        let log = Some(host.place.log_of(Role::Node));
        Ok(Supervised::new(&host.place, Role::Node, arguments, log)?.called(format!("node {number}")))
    };
    (1..=args.hosts).map(start).collect()
}

/// Hosts of an earlier start that this one does not ask for stay as they are: their tasks may matter to somebody.
fn tell_of_others(place: &Place, hosts: u32) -> Result<()> {
    let is_asked_for = |number: Option<u32>| number.map_or(hosts == 1, |number| hosts > 1 && number <= hosts);
    for host in hosts::up(place)?.iter().filter(|host| !is_asked_for(host.number)) {
        eprintln!(
            "{host} is left from an earlier `berth up` with another --hosts: its tasks run on and nobody manages them; \
             `berth down` removes it"
        );
    }
    Ok(())
}

/// Where a child writes its log: to our standard error unless we are in the background.
fn child_log(place: &Place, role: Role) -> Option<PathBuf> {
    std::env::var_os(DETACHED).map(|_| place.log_of(role))
}

/// The server is ready before the nodes start.
async fn start_in_order(server: &mut Supervised, nodes: &mut [Supervised], began: Instant) -> Result<()> {
    start(server, began).await?;
    try_join_all(nodes.iter_mut().map(|node| start(node, began))).await?;
    Ok(())
}

async fn start(child: &mut Supervised, began: Instant) -> Result<()> {
    child.start_first().await?;
    eprintln!("{} is ready after {} ms", child.name(), began.elapsed().as_millis());
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

fn arguments_of(place: &Place, args: &UpArgs) -> Vec<String> {
    let hosts = vec!["--hosts".into(), args.hosts.to_string()];
    [place.arguments(), vec!["up".into()], hosts, server_arguments(&args.server), node_options(&args.node)].concat()
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

/// What the node of a simulated host is told.
fn host_arguments(place: &Place, host: &LocalHost, number: u32, args: &UpArgs, share: Capacity) -> Vec<String> {
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
        ("--server-socket", place.socket().display().to_string()),
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
    option("--containerd", node.containerd.as_ref().map(|path| path.display().to_string()));
    option("--oci-runtime", node.oci_runtime.clone());
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

    const EVERYTHING: &str = "up --hosts 3 --listen 127.0.0.1:1 --region eu-west-1 --account 000000000001 --trust-any-key \
        --cluster web --mirror a=http://b --mirror c=http://d --image-pull-behavior once --image-cleanup-interval 11 \
        --image-minimum-cleanup-age 12 --num-images-delete-per-cycle 13 --containerd /s --oci-runtime runc \
        --cpu 14 --memory 15 --enis 16 --cni /c --prepared-namespaces 17 --block-imds";

    fn place() -> Place {
        Place { data: "/d".into(), run: "/r".into(), instance: "lab".into() }
    }

    #[test]
    fn the_background_process_is_told_everything() {
        let args = up(EVERYTHING);
        let Command::Up(told) = parse(&arguments_of(&place(), &args)) else { panic!("not `up`") };
        assert_eq!(format!("{told:?}"), format!("{args:?}"));
    }

    #[test]
    fn the_node_of_a_host_is_told_everything_and_where_it_is() {
        let args = up(EVERYTHING);
        let share = Capacity { cpu_units: 24, memory_mib: 25, enis: 26 };
        let host = LocalHost::simulated(&place(), 2);
        let words = [vec!["node".to_owned()], host_arguments(&place(), &host, 2, &args, share)].concat();
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
