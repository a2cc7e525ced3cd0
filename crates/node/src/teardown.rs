// SPDX-License-Identifier: Apache-2.0
//! Taking an instance off the machine: its containers, namespaces, cgroups, mounts, leases and its containerd.
//! Images, logs and the identity stay in the data folder.

use std::path::Path;

use futures_util::future::join_all;

use crate::blocking::blocking;
use crate::cgroups::{self, Cgroups};
use crate::container::mounts;
use crate::containerd::Containerd;
use crate::containerd::supervise::Private;
use crate::fault::all_of;
use crate::{Fault, NodeConfig, folders, identity, modes, network, outside, world};

/// Ends every task container of the instance and removes all it has on the machine. The node must not run any more.
/// Continues after a failure and returns all of them at the end.
pub async fn teardown(config: NodeConfig) -> Result<(), Fault> {
    config.check()?;
    if !config.node_dir().exists() {
        return Ok(());
    }
    let cgroups = Cgroups::detect()?;
    let private = config.containerd.is_none().then(|| Private::of(&config, &cgroups));
    let containerd = Containerd::at(&config.containerd_socket());
    let emptied = empty(&containerd, private.as_ref(), &config.instance).await;
    // It listens in a namespace that goes.
    cgroups.end_programs(&cgroups::edge_cgroup(&config.instance))?;
    let ended = match &private {
        Some(private) => all_of([private.end().await, private.end_shims().await]),
        None => Ok(()),
    };
    let is_private = private.is_some();
    let cleaned = blocking("cleaner", move || clean(&config, &cgroups, is_private)).await;
    all_of([emptied, ended, cleaned])
}

/// Ends the containerd of a node that does not run any more. Tasks go on.
pub async fn end_containerd(config: &NodeConfig) -> Result<(), Fault> {
    Private::of(config, &Cgroups::detect()?).end().await
}

async fn empty(containerd: &Containerd, private: Option<&Private>, instance: &str) -> Result<(), Fault> {
    if let Some(private) = private {
        private.ensure().await?;
        // Whatever stays of a shim is in its cgroup afterwards.
        if let Err(fault) = private.gather(containerd).await {
            tracing::warn!(%fault, "shims of an earlier version may stay");
        }
    }
    let containers = containerd.containers().await?.into_iter().filter(|one| one.instance.as_deref() == Some(instance));
    // The pause containers last: they hold the shims the others use.
    let (pauses, others): (Vec<_>, Vec<_>) = containers.partition(|one| one.is_pause);
    let removed = join_all(others.iter().map(|one| containerd.destroy_container(&one.name))).await;
    let paused = join_all(pauses.iter().map(|one| containerd.destroy_container(&one.name))).await;
    all_of(removed.into_iter().chain(paused).chain([end_leases(containerd, private.is_some(), instance).await]))
}

/// Ends the leases of the instance; in a containerd of its own, those of `berth image load`, too.
async fn end_leases(containerd: &Containerd, is_private: bool, instance: &str) -> Result<(), Fault> {
    let leases = containerd.leases().await?;
    let ours = leases.iter().filter(|lease| is_private || lease.instance.as_deref() == Some(instance));
    all_of(join_all(ours.map(|lease| containerd.end_lease(&lease.name))).await)
}

fn clean(config: &NodeConfig, cgroups: &Cgroups, is_private: bool) -> Result<(), Fault> {
    let identity = identity::load_or_make(&config.identity_file());
    // Before the journal goes, which knows the bridge.
    let unbridged = modes::destroy(config);
    let networked = identity.and_then(|identity| network::destroy(config, identity.host));
    let left = outside::destroy(config);
    let unwalled = world::destroy(config);
    let uncaged = cgroups.remove_instance(&config.instance);
    let state = config.run_dir.join("containerd");
    let unmounted = match is_private {
        true => unmount_below(&state).and_then(|()| folders::remove_folder(&state)),
        false => Ok(()),
    };
    let forgotten = folders::remove_file(&config.journal_file());
    let tasks = config.tasks_dir();
    let emptied = unmount_below(&tasks).and_then(|()| folders::remove_folder(&tasks));
    let unnamed = folders::remove_folder(&config.netns_dir());
    let unpiped = folders::remove_folder(&config.exec_dir());
    all_of([unbridged, networked, left, unwalled, uncaged, unmounted, forgotten, emptied, unnamed, unpiped])
}

/// Mounts of containers whose shim died with them still mounted.
fn unmount_below(dir: &Path) -> Result<(), Fault> {
    let mounts = mounts::all()?;
    all_of(mounts.iter().rev().filter(|mount| mount.starts_with(dir)).map(|mount| mounts::remove(mount)))
}
