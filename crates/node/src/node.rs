// SPDX-License-Identifier: Apache-2.0
//! Starting a node and keeping its parts together.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::cgroups::Cgroups;
use crate::container::storage;
use crate::containerd::Containerd;
use crate::containerd::supervise::Private;
use crate::edge::Edge;
use crate::engine::{Engine, NodeHost, Parts, upkeep};
use crate::journal::Journal;
use crate::link::Introduction;
use crate::modes::NetworkPlaces;
use crate::namespaces::{self, Namespaces};
use crate::network::NodeNetwork;
use crate::{Fault, NodeConfig, endpoint, folders, free_space, garbage, identity, kept_logs, link, pause, shim};

/// Makes ready what storages are copied from. A host that cannot still runs tasks of the EC2 launch type.
async fn prepare_storage(config: &NodeConfig) {
    let templates = config.storage_templates_dir();
    let prepared = blocking("storage preparer", move || storage::prepare_templates(&templates)).await;
    if let Err(fault) = prepared {
        tracing::error!(%fault, "Fargate tasks have no storage and will not start; `berth doctor` looks for the cause");
    }
}

/// Removes what earlier nodes left in folders of this node, and makes the folders readable for it alone.
fn prepare_folders(config: &NodeConfig) -> Result<(), Fault> {
    // Pipes that a killed node left, and files to which earlier versions sent the output of health checks.
    for dir in [config.exec_dir(), config.node_dir().join("health")] {
        folders::remove_folder(&dir)?;
    }
    for dir in [config.node_dir(), config.netns_dir(), config.exec_dir()] {
        folders::private_folder(&dir)?;
    }
    // Files of an earlier version are readable for others.
    for file in [config.journal_file(), config.identity_file()] {
        folders::close(&file)?;
    }
    Ok(())
}

/// The containerd that makes this node's containers: its own, or the one that the settings name.
fn containerd_of(config: &NodeConfig, private: Option<&Private>) -> Containerd {
    let containerd = Containerd::at(&config.containerd_socket()).labelling(&config.instance);
    let containerd = containerd.dying_at(config.fault_points.clone()).keeping_with(config.shim_name());
    match private {
        Some(private) => containerd.with_folders(private.folders().clone()),
        None => containerd,
    }
}

/// Runs a node until `shutdown`. Tasks and containerd live on; the next node takes them up again.
pub async fn run(config: NodeConfig, shutdown: CancellationToken) -> Result<(), Fault> {
    let begun = Instant::now();
    config.check()?;
    prepare_folders(&config)?;
    let journal = Journal::open(&config.journal_file())?;
    let identity = identity::load_or_make(&config.identity_file())?;
    let cgroups = Cgroups::detect()?;
    let pause_root = pause::root_file_system(&config.node_dir())?;
    shim::install(&config)?;
    let private = config.containerd.is_none().then(|| Private::of(&config, &cgroups));
    let containerd = containerd_of(&config, private.as_ref());
    let runtime = async {
        match &private {
            Some(private) => private.ensure().await,
            None => containerd.version().await,
        }
    };
    let (runtime_version, network) = tokio::join!(runtime, NodeNetwork::open(&config, identity.host.clone()));
    let (runtime_version, network) = (runtime_version?, network?);
    if let Some(private) = private.clone() {
        tokio::spawn(gather(private, containerd.clone()));
    }
    let namespaces = Namespaces::new(config.clone(), containerd.clone(), journal.clone(), cgroups.clone(), pause_root);
    namespaces.adopt().await?;
    let places = NetworkPlaces::open(&config, journal.clone())?;
    // Before anything is made: an object that exists now and is in no journal has no owner.
    garbage::collect(&config, &journal, &containerd, &network, &cgroups).await;
    network.guard(namespaces.connected()).await?;
    prepare_storage(&config).await;
    let listener = endpoint::listen(&network).await;
    let capacity = config.capacity.unwrap_or_else(identity::measured_capacity);
    let instance = identity.host.as_str().to_owned();
    let who = Introduction { identity, capacity, runtime_version };
    let opened = Parts { config, containerd, private, journal, namespaces, network, places, cgroups };
    let host = Arc::new(NodeHost::new(&who.identity.host, opened));
    let engine = Arc::new(Engine::new(host.clone()));

    let mut parts: JoinSet<(&'static str, Result<(), Fault>)> = JoinSet::new();
    let (subscribed, is_subscribed) = oneshot::channel();
    let follow = engine.clone().follow_runtime(subscribed, shutdown.clone());
    parts.spawn(async move { ("event follower", follow.await) });
    // The end of a container must not be missed, so nothing starts before the events are listened to.
    is_subscribed.await.map_err(|_| Fault::Ended("event follower"))?;
    engine.adopt().await?;
    let (intents, wanted) = watch::channel(None);
    let (obeying, keeping) = (host.clone(), host.clone());
    let token = shutdown.clone();
    parts.spawn(async move { ("task dispatcher", link::obey(obeying, engine, wanted, token).await) });
    let token = shutdown.clone();
    parts.spawn(async move { ("link to the server", link::keep(keeping, who, intents, token).await) });
    let preparing = namespaces::keep_prepared(host.namespaces.clone(), host.network.clone(), shutdown.clone());
    parts.spawn(async move { ("namespace preparer", preparing.await) });
    let (serving, token) = (host.clone(), shutdown.clone());
    parts.spawn(async move { ("metadata endpoint", endpoint::serve(serving, listener, token).await) });
    let sampling = endpoint::stats::keep_sampling(host.clone(), shutdown.clone());
    parts.spawn(async move { ("sampler", sampling.await) });
    let introspecting = endpoint::introspection::serve(host.clone(), instance, shutdown.clone());
    parts.spawn(async move { ("introspection endpoint", introspecting.await) });
    let collecting = upkeep::collect_images(host.clone(), shutdown.clone());
    parts.spawn(async move { ("image cleaner", collecting.await) });
    let watching = free_space::watch(host.clone(), shutdown.clone());
    parts.spawn(async move { ("watcher of free space", watching.await) });
    let keeping = kept_logs::keep(host.clone(), shutdown.clone());
    parts.spawn(async move { ("log remover", keeping.await) });
    let sweeping = upkeep::sweep_flows(host.clone(), shutdown.clone());
    parts.spawn(async move { ("flow sweeper", sweeping.await) });
    if let Some(edge) = Edge::of(&host.config, &host.cgroups) {
        let keeping = edge.keep(host.endpoints.subscribe(), shutdown.clone());
        parts.spawn(async move { ("keeper of the edge", keeping.await) });
    }
    tracing::info!(instance = host.config.instance, took_ms = begun.elapsed().as_millis(), "node is ready");

    until_end(parts, shutdown).await
}

/// Runs the parts until `shutdown`, or until the first of them ends; then ends the others.
async fn until_end(
    mut parts: JoinSet<(&'static str, Result<(), Fault>)>,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = parts.join_next() => match ended {
            Some(Ok((_, Err(fault)))) => Err(fault),
            Some(Ok((part, Ok(())))) if !shutdown.is_cancelled() => Err(Fault::Ended(part)),
            Some(Ok((_, Ok(())))) | None => Ok(()),
            Some(Err(_)) => Err(Fault::Ended("worker")),
        },
    };
    shutdown.cancel();
    while parts.join_next().await.is_some() {}
    ended
}

/// Runs in the background: a shim that is stuck keeps containerd from answering.
async fn gather(private: Private, containerd: Containerd) {
    if let Err(fault) = private.gather(&containerd).await {
        tracing::warn!(%fault, "shims of an earlier version may be outside of their cgroup");
    }
}
