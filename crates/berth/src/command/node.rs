// SPDX-License-Identifier: Apache-2.0
//! `berth node`: containers and packets of this host.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_fabric::kernel::{Namespace, Netlink};
use berth_node::{EdgeProgram, ImageSettings, LogSettings, Mirror, NodeConfig, Patience, PullBehavior, Uplink};
use berth_types::instance::InstanceInterface;
use berth_types::link::Capacity;
use berth_types::{SecurityGroupId, SubnetId};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::args::{NodeArgs, NodeOptions};
use crate::command::daemon;
use crate::installation::{Installation, Role};
use crate::{claim, ready};

/// Names by which the node calls the plugins.
const PLUGINS: [&str; 4] = ["ecs-eni", "vpc-eni", "ecs-bridge", "ecs-ipam"];

/// Runs until it is stopped; tasks continue without it.
pub fn run(installation: &Installation, args: &NodeArgs) -> Result<ExitCode> {
    daemon::start_log();
    daemon::be_spared();
    installation.create()?;
    let _claim = installation.claim(Role::Node)?;
    let is_ready = Arc::new(Notify::new());
    let mut config = config(installation, &args.node, &args.region)?;
    config.ready = Some(is_ready.clone());
    if let Some(socket) = &args.server_socket {
        config.server_socket = std::path::absolute(socket)?;
    }
    if let Some(edge) = &mut config.edge {
        let socket = config.server_socket.with_file_name(berth_types::edge::SOCKET);
        edge.arguments.extend(["--server-socket".to_owned(), socket.display().to_string()]);
    }
    if args.node.cni.is_none() {
        link_plugins(&config.cni_dir)?;
    }
    config.availability_zone = args.availability_zone.clone();
    if args.netns.is_some() {
        config.registries_on = Some(start_outside()?);
        config.outside = Some(Arc::new(Namespace::of_current_thread()?));
    }
    let work = || {
        let _claim = claim::Claim::take(installation)?;
        daemon::run(|cancel| async {
            tokio::spawn(async move {
                is_ready.notified().await;
                if let Err(error) = ready::say_ready() {
                    tracing::warn!(error = format!("{error:#}"), "could not report that the node is ready");
                }
            });
            berth_node::run(config, cancel).await.context("the node ended")
        })
    };
    match &args.netns {
        // A thread inherits the namespace of its creator, so the whole node is inside.
        Some(path) => Namespace::open(path)?.inside(work)??,
        None => work()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails if the device of an uplink is not here.
pub fn check_uplink(uplink: &Uplink) -> Result<()> {
    let Uplink::Device(name) = uplink else { return Ok(()) };
    match Netlink::open()?.link_by_name(name)? {
        Some(_) => Ok(()),
        None => bail!("--uplink names {name}, which is no device here; `ip link` lists the devices"),
    }
}

/// What to do about a pool of public addresses that is in use.
pub fn pool_cure() -> &'static str {
    "remove that, or choose another pool: `berth up --public-pool CIDR`"
}

/// A runtime that stays in the namespace this program was started in, with every thread it starts.
fn start_outside() -> Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().name("registries".to_owned());
    thread.spawn(move || runtime.block_on(std::future::pending::<()>())).context("cannot start a thread")?;
    Ok(handle)
}

/// The settings of this place's node.
pub fn config(installation: &Installation, options: &NodeOptions, region: &str) -> Result<NodeConfig> {
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("{} is not a path", path.display()));
    Ok(NodeConfig {
        data_dir: installation.data.clone(),
        run_dir: installation.run.clone(),
        instance: installation.instance.clone(),
        cluster: options.cluster.clone(),
        server_socket: installation.socket(),
        containerd: options.containerd.as_deref().map(absolute).transpose()?,
        mirrors: options.mirror.iter().map(|text| Mirror::parse(text)).collect::<Result<_, _>>()?,
        images: ImageSettings {
            pull: PullBehavior::parse(&options.image_pull_behavior)?,
            cleanup_interval: Duration::from_secs(options.image_cleanup_interval.max(1) * 60),
            minimum_age: Duration::from_secs(options.image_minimum_cleanup_age * 60),
            removed_at_once: options.num_images_delete_per_cycle,
            limits: options.image_limits.limits(),
        },
        logs: LogSettings {
            max_age: Duration::from_secs(u64::from(options.stopped_logs_max_age) * 60 * 60),
            total_bytes_max: u64::from(options.stopped_logs_max_size) << 20,
        },
        free_space_min_percent: options.free_space_min,
        cni_dir: options.cni.as_deref().map(absolute).transpose()?.unwrap_or_else(|| installation.run.join("cni")),
        shim: find("berth-shim", "libexec/berth-shim")?,
        oci_runtime: options.oci_runtime.clone(),
        capacity: capacity(options),
        prepared_namespaces: options.prepared_namespaces,
        task_pids_limit: berth_node::task_pids_limit(&options.task_pids_limit)?,
        logs_refused_calls: options.log_refused_calls,
        patience: Patience::default(),
        region: region.to_owned(),
        availability_zone: None,
        registries_on: None,
        outside: None,
        block_imds: options.block_imds,
        uplink: options.uplink(),
        instance_interface: instance_interface(options)?,
        edge: Some(edge(installation)?),
        no_endpoint_variable: options.no_endpoint_variable,
        ready: None,
        fault_points: Default::default(),
    })
}

/// The edge is this program, too. Its server is that of the node.
fn edge(installation: &Installation) -> Result<EdgeProgram> {
    let program = std::env::current_exe().context("cannot tell this program's file")?;
    let arguments = installation.arguments().into_iter().chain(["edge".to_owned()]);
    Ok(EdgeProgram { program, arguments: arguments.collect() })
}

/// The primary interface the host asks for.
fn instance_interface(options: &NodeOptions) -> Result<Option<InstanceInterface>> {
    if options.no_instance_interface {
        return Ok(None);
    }
    let subnets: Result<_, _> = options.instance_subnet.iter().map(|subnet| SubnetId::parse(subnet)).collect();
    let groups: Result<_, _> =
        options.instance_security_groups.iter().map(|group| SecurityGroupId::parse(group)).collect();
    Ok(Some(InstanceInterface {
        subnets: subnets.context("--instance-subnet")?,
        security_groups: groups.context("--instance-security-groups")?,
    }))
}

/// The node measures the values that are not given.
fn capacity(options: &NodeOptions) -> Option<Capacity> {
    let is_said = options.cpu.is_some() || options.memory.is_some() || options.enis.is_some();
    is_said.then(|| said_or(options, berth_node::measured_capacity()))
}

/// The given values, and measured ones for the rest.
pub fn said_or(options: &NodeOptions, found: Capacity) -> Capacity {
    Capacity {
        cpu_units: options.cpu.unwrap_or(found.cpu_units),
        memory_mib: options.memory.unwrap_or(found.memory_mib),
        enis: options.enis.unwrap_or(found.enis),
    }
}

/// Links the plugins' names to the `berth-cni` of this program.
fn link_plugins(folder: &Path) -> Result<()> {
    let plugin = find("berth-cni", "libexec/cni/berth-cni").context("name the plugins' folder with --cni instead")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for name in PLUGINS {
        let link = folder.join(name);
        if fs::read_link(&link).is_ok_and(|target| target == plugin) {
            continue;
        }
        let fresh = folder.join(format!(".{name}"));
        fs::remove_file(&fresh).ok();
        symlink(&plugin, &fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
        fs::rename(&fresh, &link).with_context(|| format!("cannot create {}", link.display()))?;
    }
    Ok(())
}

/// A program installed with this one: in the same folder, or at the path of the package.
fn find(name: &str, packaged: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot determine the path of this program")?;
    let packaged = own.parent().and_then(Path::parent).map(|prefix| prefix.join(packaged));
    match [Some(own.with_file_name(name)), packaged].into_iter().flatten().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("{name} is not in the folder of {}; install it there", own.display()),
    }
}
