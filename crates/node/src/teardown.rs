//! Taking an instance off the machine: its containers, namespaces, cgroups, mounts, leases and its containerd.
//! Images, logs and the identity stay in the data folder.

use std::path::Path;

use futures_util::future::join_all;

use crate::blocking::blocking;
use crate::container::cgroups::Cgroups;
use crate::container::{files, mounts, names};
use crate::containerd::Containerd;
use crate::containerd::supervise::{Private, remove_if_there};
use crate::fault::all_of;
use crate::{Fault, NodeConfig, identity, modes, network};

/// Ends every task container of the instance and removes all it has on the machine. The node must not run any more.
/// Goes on after a failure and tells all of them at the end.
pub async fn teardown(config: NodeConfig) -> Result<(), Fault> {
    config.check()?;
    if !config.node_dir().exists() {
        return Ok(());
    }
    let private = config.containerd.is_none().then(|| Private::of(&config));
    let containerd = Containerd::at(&config.containerd_socket());
    let emptied = empty(&containerd, private.as_ref(), &config.instance).await;
    let ended = match &private {
        Some(private) => all_of([private.end().await, private.end_shims().await]),
        None => Ok(()),
    };
    let cleaned = blocking("cleaner", move || clean(&config, private.is_some())).await;
    all_of([emptied, ended, cleaned])
}

async fn empty(containerd: &Containerd, private: Option<&Private>, instance: &str) -> Result<(), Fault> {
    if let Some(private) = private {
        private.ensure().await?;
    }
    let containers = containerd.containers_labelled(names::INSTANCE_LABEL, instance).await?;
    // The pause containers last: they hold the shims the others use.
    let (pauses, others): (Vec<_>, Vec<_>) = containers.into_iter().partition(|id| names::is_pause(id));
    let removed = join_all(others.iter().map(|id| containerd.destroy_container(id))).await;
    let paused = join_all(pauses.iter().map(|id| containerd.destroy_container(id))).await;
    all_of(removed.into_iter().chain(paused).chain([end_leases(containerd, private.is_some(), instance).await]))
}

/// Ends the leases of the instance; in a containerd of its own, those of `berth image load`, too.
async fn end_leases(containerd: &Containerd, is_private: bool, instance: &str) -> Result<(), Fault> {
    let leases = containerd.leases().await?;
    let ours = leases.iter().filter(|lease| is_private || lease.instance.as_deref() == Some(instance));
    all_of(join_all(ours.map(|lease| containerd.end_lease(&lease.name))).await)
}

fn clean(config: &NodeConfig, is_private: bool) -> Result<(), Fault> {
    let identity = identity::load_or_make(&config.identity_file());
    // Before the journal goes, which knows the bridge.
    let unbridged = modes::destroy(config);
    let networked = identity.and_then(|identity| network::destroy(config, identity.host));
    let uncaged = Cgroups::detect().and_then(|cgroups| cgroups.remove_instance(&config.instance));
    let state = config.run_dir.join("containerd");
    let unmounted = match is_private {
        true => unmount_below(&state).and_then(|()| files::remove_dir(&state)),
        false => Ok(()),
    };
    let forgotten = remove_if_there(&config.journal_file());
    let tasks = config.tasks_dir();
    let emptied = unmount_below(&tasks).and_then(|()| files::remove_dir(&tasks));
    let unnamed = files::remove_dir(&config.netns_dir());
    all_of([unbridged, networked, uncaged, unmounted, forgotten, emptied, unnamed])
}

/// Mounts of containers whose shim died with them still mounted.
fn unmount_below(dir: &Path) -> Result<(), Fault> {
    let mounts = mounts::all()?;
    all_of(mounts.iter().rev().filter(|mount| mount.starts_with(dir)).map(|mount| mounts::remove(mount)))
}
