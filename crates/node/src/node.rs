//! Starting a node and keeping its parts together.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::container::cgroups::Cgroups;
use crate::containerd::Containerd;
use crate::containerd::supervise::Private;
use crate::engine::{Host, Parts};
use crate::journal::Journal;
use crate::link::Introduction;
use crate::modes::Places;
use crate::namespaces::{self, Namespaces};
use crate::network::Network;
use crate::{Fault, NodeConfig, endpoint, garbage, identity, link, pause, shim};

/// Runs a node until `shutdown`. Tasks and containerd live on; the next node takes them up again.
pub async fn run(config: NodeConfig, shutdown: CancellationToken) -> Result<(), Fault> {
    let begun = Instant::now();
    config.check()?;
    for dir in [config.node_dir(), config.netns_dir()] {
        std::fs::create_dir_all(&dir).map_err(Fault::file("create", &dir))?;
    }
    let journal = Journal::open(&config.journal_file())?;
    let identity = identity::load_or_make(&config.identity_file())?;
    let cgroups = Cgroups::detect()?;
    let pause_root = pause::root_file_system(&config.node_dir())?;
    shim::install(&config)?;
    let private = config.containerd.is_none().then(|| Private::of(&config));
    let containerd = Containerd::at(&config.containerd_socket()).labelling(&config.instance);
    let containerd = containerd.dying_at(config.fault_points.clone()).keeping_with(config.shim_name());
    let containerd = match &private {
        Some(private) => containerd.with_places(private.clone()),
        None => containerd,
    };
    let runtime = async {
        match &private {
            Some(private) => private.ensure().await,
            None => containerd.version().await,
        }
    };
    let (runtime_version, network) = tokio::join!(runtime, Network::open(&config, identity.host.clone()));
    let (runtime_version, network) = (runtime_version?, network?);
    let namespaces = Namespaces::new(config.clone(), containerd.clone(), journal.clone(), pause_root);
    namespaces.adopt().await?;
    let places = Places::open(&config, journal.clone())?;
    // Before anything is made: what is there now and in no journal is nobody's.
    garbage::collect(&config, &journal, &containerd, &network, &cgroups).await;
    let listener = endpoint::listen(&network).await?;
    let capacity = config.capacity.unwrap_or_else(identity::measured_capacity);
    let instance = identity.host.as_str().to_owned();
    let who = Introduction { identity, capacity, runtime_version };
    let host =
        Arc::new(Host::new(Parts { config, containerd, private, journal, namespaces, network, places, cgroups }));

    let mut parts: JoinSet<(&'static str, Result<(), Fault>)> = JoinSet::new();
    let (subscribed, is_subscribed) = oneshot::channel();
    let follow = host.clone().follow_runtime(subscribed, shutdown.clone());
    parts.spawn(async move { ("event follower", follow.await) });
    // The end of a container must not be missed, so nothing starts before the events are listened to.
    is_subscribed.await.map_err(|_| Fault::Ended("event follower"))?;
    host.adopt().await?;
    let (intents, wanted) = watch::channel(None);
    let (obeying, keeping) = (host.clone(), host.clone());
    let token = shutdown.clone();
    parts.spawn(async move { ("task dispatcher", link::obey(obeying, wanted, token).await) });
    let token = shutdown.clone();
    parts.spawn(async move { ("link to the server", link::keep(keeping, who, intents, token).await) });
    let preparing = namespaces::keep_prepared(host.namespaces.clone(), host.network.clone(), shutdown.clone());
    parts.spawn(async move { ("namespace preparer", preparing.await) });
    let (serving, token) = (host.clone(), shutdown.clone());
    parts.spawn(async move { ("metadata endpoint", endpoint::serve(serving, listener, token).await) });
    let introspecting = endpoint::introspection::serve(host.clone(), instance, shutdown.clone());
    parts.spawn(async move { ("introspection endpoint", introspecting.await) });
    let collecting = host.clone().collect_images(shutdown.clone());
    parts.spawn(async move { ("image cleaner", collecting.await) });
    tracing::info!(instance = host.config.instance, took_ms = begun.elapsed().as_millis(), "node is ready");

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
