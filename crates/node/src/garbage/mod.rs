// SPDX-License-Identifier: Apache-2.0
//! Garbage: what is ours on the machine and no record claims, left by a node that was killed or lost its journal.
//!
//! Looked for when a node starts and has made nothing yet: whatever is there then and not in the journal is nobody's,
//! for everything is in the journal before it is made. `decide` says what goes (pure); here it is looked up and removed,
//! each thing with what and why in the log. A thing that stays is told and looked at again at the next start.
//! Not here: images (`images`), interfaces that the server forgot (`engine`), what journal and intent disagree about.

mod decide;

use std::path::Path;
use std::time::Instant;

use berth_fabric::cni::ipam::{Ipam, Lease};
use berth_fabric::kernel::Netlink;

use crate::blocking::blocking;
use crate::cgroups::{self, Cgroups};
use crate::container::mounts;
use crate::containerd::Containerd;
use crate::engine::record::TaskRecord;
use crate::engine::standalone_interfaces;
use crate::fault::absent_is_fine;
use crate::journal::{self, Journal};
use crate::network::NodeNetwork;
use crate::{Fault, NodeConfig, folders, modes, namespaces};
use decide::{Claims, Found, Garbage, HostLink, Own, garbage};

/// Removes what no record claims. Never fails: a node runs as well beside garbage.
pub(crate) async fn collect(
    config: &NodeConfig,
    journal: &Journal,
    containerd: &Containerd,
    network: &NodeNetwork,
    cgroups: &Cgroups,
) {
    let begun = Instant::now();
    let own = Own {
        instance: config.instance.clone(),
        tasks_dir: config.tasks_dir(),
        containerd_state: config.containerd.is_none().then(|| config.run_dir.join("containerd")),
    };
    let looked = async {
        let claims = claims(journal)?;
        Ok::<_, Fault>(garbage(&find(config, containerd, network, cgroups).await?, &claims, &own))
    };
    let lost = match looked.await {
        Ok(lost) => lost,
        Err(fault) => return tracing::error!(%fault, "could not look for objects that an earlier node left"),
    };
    for thing in lost {
        tracing::warn!(what = %thing, why = thing.reason(), "removing an unclaimed object");
        if let Err(fault) = remove(&thing, config, containerd, network, cgroups).await {
            tracing::error!(what = %thing, %fault, "it stays");
        }
    }
    if let Err(fault) = network.collect().await {
        tracing::error!(%fault, "could not remove unclaimed flows and pins");
    }
    let primaries = standalone_interfaces::journaled(journal)
        .map(|all| all.into_iter().filter(|(_, namespace)| namespace.is_none()).map(|(eni, _)| eni).collect());
    let unrouted = async { network.forget_lost_primaries(primaries?).await };
    if let Err(fault) = unrouted.await {
        tracing::error!(%fault, "could not remove routing rules of lost interfaces");
    }
    tracing::debug!(took_ms = begun.elapsed().as_millis(), "looked for garbage");
}

fn claims(journal: &Journal) -> Result<Claims, Fault> {
    let mut claims = Claims::default();
    for (_, task) in journal.all::<TaskRecord>(journal::TASKS)? {
        claims.containers.extend(task.containers.into_iter().map(|container| container.runtime_id));
        claims.enis.extend(task.intent.eni);
        if let Some(held) = task.namespace {
            claims.namespaces.insert(held.name);
            claims.pauses.insert(held.pause_id);
        }
        claims.tasks.insert(task.id);
    }
    for (name, pause_id) in namespaces::journaled(journal)? {
        claims.namespaces.insert(name);
        claims.pauses.insert(pause_id);
    }
    for (eni, namespace) in standalone_interfaces::journaled(journal)? {
        claims.enis.insert(eni);
        claims.namespaces.extend(namespace);
    }
    let places = modes::Journaled::read(journal)?;
    claims.bridge = places.bridge;
    claims.links.extend(places.links);
    claims.namespaces.extend(places.namespaces);
    Ok(claims)
}

async fn find(
    config: &NodeConfig,
    containerd: &Containerd,
    network: &NodeNetwork,
    cgroups: &Cgroups,
) -> Result<Found, Fault> {
    let (containers, snapshots, leases, enis) =
        tokio::join!(containerd.containers(), containerd.labelled_snapshots(), containerd.leases(), network.present());
    let (config, cgroups) = (config.clone(), cgroups.clone());
    let here = blocking("garbage collector", move || find_here(&config, &cgroups)).await?;
    Ok(Found { containers: containers?, snapshots: snapshots?, leases: leases?, enis: enis?, ..here })
}

fn find_here(config: &NodeConfig, cgroups: &Cgroups) -> Result<Found, Fault> {
    let instance = cgroups::instance_cgroup(&config.instance);
    Ok(Found {
        mounts: mounts::all()?,
        task_folders: names_in(&config.tasks_dir())?,
        task_cgroups: cgroups.below(&instance),
        links: host_links()?,
        namespaces: names_in(&config.netns_dir())?,
        addresses: addresses(config)?,
        ..Found::default()
    })
}

fn addresses(config: &NodeConfig) -> Result<Vec<Lease>, Fault> {
    let file = config.ipam_file();
    if !file.exists() {
        return Ok(Vec::new());
    }
    Ipam::at(&file).leases().map_err(Fault::network("read", file.display().to_string()))
}

fn host_links() -> Result<Vec<HostLink>, Fault> {
    let links = Netlink::open().and_then(|mut host| host.links()).map_err(Fault::network("list", "links"))?;
    let alias_of = |index: u32| links.iter().find(|link| link.index == index).and_then(|link| link.alias.clone());
    let seen = links.iter().map(|link| HostLink {
        name: link.name.clone(),
        is_bridge: link.kind.as_deref() == Some("bridge"),
        alias: link.alias.clone(),
        bridge_alias: link.bridge.and_then(alias_of),
    });
    Ok(seen.collect())
}

/// Names in a folder; none if it is not there.
fn names_in(dir: &Path) -> Result<Vec<String>, Fault> {
    match std::fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()
            .map_err(Fault::file("list", dir)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(Fault::file("list", dir)(cause)),
    }
}

async fn remove(
    thing: &Garbage,
    config: &NodeConfig,
    containerd: &Containerd,
    network: &NodeNetwork,
    cgroups: &Cgroups,
) -> Result<(), Fault> {
    match thing.clone() {
        Garbage::Container(id) => containerd.destroy_container(&id).await,
        Garbage::Mount(path) => blocking("garbage collector", move || mounts::remove(&path)).await,
        Garbage::TaskFolder(task) => {
            let dir = config.task_dir(&task);
            blocking("garbage collector", move || remove_folder(&dir)).await
        }
        Garbage::Cgroup(name) => {
            let cgroups = cgroups.clone();
            blocking("garbage collector", move || cgroups.remove(&name)).await
        }
        Garbage::Eni(id) => network.unplug(&id).await,
        Garbage::Link(name) => blocking("garbage collector", move || modes::remove_stray_link(&name)).await,
        Garbage::Bridge(name) => {
            let instance = config.instance.clone();
            blocking("garbage collector", move || modes::remove_stray_bridge(&name, &instance)).await
        }
        Garbage::Namespace(name) => network.remove_stray_namespace(&name).await,
        Garbage::Snapshot(name) => absent_is_fine(containerd.remove_snapshot(&name).await),
        Garbage::Lease(id) => containerd.end_lease(&id).await,
        Garbage::Address(lease) => {
            let file = config.ipam_file();
            blocking("garbage collector", move || {
                let freed = Ipam::at(&file).release_where(|held| *held == lease);
                let on = lease.address.to_string();
                freed.map(drop).map_err(Fault::network("free", on))
            })
            .await
        }
    }
}

/// Removes a folder, unless something is mounted in it still, which must not be emptied.
fn remove_folder(dir: &Path) -> Result<(), Fault> {
    match mounts::all()?.into_iter().find(|mount| mount.starts_with(dir)) {
        Some(mount) => Err(Fault::file("unmount", &mount)(std::io::ErrorKind::ResourceBusy.into())),
        None => folders::remove_folder(dir),
    }
}
