//! `berth node`: containers and packets of this host.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use berth_fabric::kernel::Namespace;
use berth_node::{ImageSettings, Mirror, NodeConfig, PullBehavior};
use berth_types::link::Capacity;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::args::{NodeArgs, NodeOptions};
use crate::command::daemon;
use crate::place::{Place, Role};
use crate::{needs_root, ready};

/// Names by which the node calls the plugins.
const PLUGINS: [&str; 4] = ["ecs-eni", "vpc-eni", "ecs-bridge", "ecs-ipam"];

/// Runs until it is told to end; tasks go on without it.
pub fn run(place: &Place, args: &NodeArgs) -> Result<ExitCode> {
    needs_root("`berth node`")?;
    daemon::start_log();
    place.create()?;
    let _claim = place.claim(Role::Node)?;
    let is_ready = Arc::new(Notify::new());
    let mut config = config(place, &args.node, &args.region)?;
    config.ready = Some(is_ready.clone());
    if let Some(socket) = &args.server_socket {
        config.server_socket = std::path::absolute(socket)?;
    }
    if args.node.cni.is_none() {
        link_plugins(&config.cni_dir)?;
    }
    config.availability_zone = args.availability_zone.clone();
    if args.netns.is_some() {
        config.registries_on = Some(start_outside()?);
    }
    let work = || {
        daemon::run(|cancel| async {
            tokio::spawn(async move {
                is_ready.notified().await;
                if let Err(error) = ready::say_ready() {
                    tracing::warn!(error = format!("{error:#}"), "could not say that the node is ready");
                }
            });
            berth_node::run(config, cancel).await.context("the node ended")
        })
    };
    match &args.netns {
        // Threads are born where the thread is that starts them, so all of the node is inside.
        Some(path) => Namespace::open(path)?.inside(work)??,
        None => work()?,
    }
    Ok(ExitCode::SUCCESS)
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
pub fn config(place: &Place, options: &NodeOptions, region: &str) -> Result<NodeConfig> {
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("{} is no path", path.display()));
    Ok(NodeConfig {
        data_dir: place.data.clone(),
        run_dir: place.run.clone(),
        instance: place.instance.clone(),
        cluster: options.cluster.clone(),
        server_socket: place.socket(),
        containerd: options.containerd.as_deref().map(absolute).transpose()?,
        mirrors: options.mirror.iter().map(|text| Mirror::parse(text)).collect::<Result<_, _>>()?,
        images: ImageSettings {
            pull: PullBehavior::parse(&options.image_pull_behavior)?,
            cleanup_interval: Duration::from_secs(options.image_cleanup_interval.max(1) * 60),
            minimum_age: Duration::from_secs(options.image_minimum_cleanup_age * 60),
            removed_at_once: options.num_images_delete_per_cycle,
        },
        cni_dir: options.cni.as_deref().map(absolute).transpose()?.unwrap_or_else(|| place.run.join("cni")),
        shim: find("berth-shim", "libexec/berth-shim")?,
        oci_runtime: options.oci_runtime.clone(),
        capacity: capacity(options),
        prepared_namespaces: options.prepared_namespaces,
        region: region.to_owned(),
        availability_zone: None,
        registries_on: None,
        block_imds: options.block_imds,
        ready: None,
        fault_points: Default::default(),
    })
}

/// The node measures what is not said.
fn capacity(options: &NodeOptions) -> Option<Capacity> {
    let is_said = options.cpu.is_some() || options.memory.is_some() || options.enis.is_some();
    is_said.then(|| said_or(options, berth_node::measured_capacity()))
}

/// What is said, and the rest as it is found.
pub fn said_or(options: &NodeOptions, found: Capacity) -> Capacity {
    Capacity {
        cpu_units: options.cpu.unwrap_or(found.cpu_units),
        memory_mib: options.memory.unwrap_or(found.memory_mib),
        enis: options.enis.unwrap_or(found.enis),
    }
}

/// Makes the plugins' names point to the `berth-cni` that came with this program.
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

/// A program that came with this one: beside it, or where the package has it.
fn find(name: &str, packaged: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find out which program this is")?;
    let packaged = own.parent().and_then(Path::parent).map(|prefix| prefix.join(packaged));
    match [Some(own.with_file_name(name)), packaged].into_iter().flatten().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("{name} is not beside {}; install it there", own.display()),
    }
}
