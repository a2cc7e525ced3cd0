// SPDX-License-Identifier: Apache-2.0
//! Decides which objects of the machine are the instance's and have no owner: `(found, claims, own) -> garbage`. Pure.
//!
//! Two proofs are needed for each thing. It is ours: it carries the name of this instance as a label, an alias or a
//! folder, and is named as we name such things; what is merely similar is left alone. And no record claims it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use berth_fabric::cni::ipam::Lease;
use berth_types::intent::Standalone;
use berth_types::{EniId, TaskId};

use crate::cgroups;
use crate::containerd::{Labelled, NAMESPACE};
use crate::modes::{self, LINK_PREFIX};
use crate::network::BRIDGE_IF;

/// Objects found on the machine, of the kinds that a node makes.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In containerd.
    pub containers: Vec<Labelled>,
    /// Mount points, in the order in which they were mounted.
    pub mounts: Vec<PathBuf>,
    /// Names in the folder of tasks.
    pub task_folders: Vec<String>,
    /// Names in the cgroup of the instance.
    pub task_cgroups: BTreeSet<String>,
    /// Interfaces in the namespace and in the maps of the data path.
    pub enis: BTreeSet<EniId>,
    /// Links of the host's namespace.
    pub links: Vec<HostLink>,
    /// Names in the folder of namespaces.
    pub namespaces: Vec<String>,
    /// In containerd.
    pub snapshots: Vec<Labelled>,
    /// In containerd.
    pub leases: Vec<Labelled>,
    /// In the lease file of the run folder.
    pub addresses: Vec<Lease>,
}

/// A link of the host's namespace.
#[derive(Debug, Default)]
pub(super) struct HostLink {
    pub name: String,
    pub is_bridge: bool,
    /// Its alias.
    pub alias: Option<String>,
    /// The alias of the bridge it is a port of.
    pub bridge_alias: Option<String>,
}

/// Objects that may have been made according to the journal.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub tasks: BTreeSet<TaskId>,
    /// Ids of tasks' containers.
    pub containers: BTreeSet<String>,
    /// Ids of pause containers.
    pub pauses: BTreeSet<String>,
    pub enis: BTreeSet<EniId>,
    /// File names of network namespaces.
    pub namespaces: BTreeSet<String>,
    pub bridge: Option<String>,
    /// Outer ends of pairs to the bridge.
    pub links: BTreeSet<String>,
}

/// The marks of objects of this instance.
#[derive(Debug)]
pub(super) struct Own {
    pub instance: String,
    /// Folder of tasks.
    pub tasks_dir: PathBuf,
    /// State of the instance's own containerd, if it has one.
    pub containerd_state: Option<PathBuf>,
}

/// Something to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Garbage {
    Container(String),
    Mount(PathBuf),
    TaskFolder(String),
    Cgroup(String),
    Eni(EniId),
    Link(String),
    Bridge(String),
    Namespace(String),
    Snapshot(String),
    Lease(String),
    Address(Lease),
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(id) => write!(f, "container {id}"),
            Self::Mount(path) => write!(f, "mount {}", path.display()),
            Self::TaskFolder(task) => write!(f, "folder of task {task}"),
            Self::Cgroup(name) => write!(f, "cgroup {name}"),
            Self::Eni(id) => write!(f, "interface {id}"),
            Self::Link(name) => write!(f, "link {name}"),
            Self::Bridge(name) => write!(f, "bridge {name}"),
            Self::Namespace(name) => write!(f, "network namespace {name}"),
            Self::Snapshot(name) => write!(f, "snapshot {name}"),
            Self::Lease(name) => write!(f, "containerd lease {name}"),
            Self::Address(lease) => write!(f, "lease of {} for {}", lease.address, lease.owner.container_id),
        }
    }
}

impl Garbage {
    /// Why it is.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Container(_) | Self::Snapshot(_) => "labelled as this instance's, and of no task in the journal",
            Self::Lease(_) => "labelled as this instance's, and nothing is being pulled",
            Self::Mount(_) | Self::TaskFolder(_) => "in this instance's folder, and of no task in the journal",
            Self::Cgroup(_) => "in this instance's cgroup, and of no task in the journal",
            Self::Eni(_) => "in this instance's data path, and of no task and no standalone interface in the journal",
            Self::Link(_) => "on this instance's bridge, and of no container in the journal",
            Self::Bridge(_) => "its alias names this instance, and the journal knows of no such bridge",
            Self::Namespace(_) => "in this instance's run folder, and not in the journal",
            Self::Address(_) => "in this instance's lease file, and of no namespace in the journal",
        }
    }
}

/// The objects to remove, in order: users of an object come before it.
pub(super) fn garbage(found: &Found, claims: &Claims, own: &Own) -> Vec<Garbage> {
    let containers = containers(found, claims, own);
    let gone: BTreeSet<&str> = containers.iter().map(String::as_str).collect();
    let mounts = mounts(found, claims, own, &gone);
    let folders = found.task_folders.iter().filter(|name| is_lost_task(name, claims)).cloned();
    let snapshots = found.snapshots.iter().filter(|it| own.labels(it) && !claims.containers.contains(&it.name));
    let leases = found.leases.iter().filter(|it| own.labels(it));
    let namespaces = found.namespaces.iter().filter(|name| own.names(name) && !claims.namespaces.contains(*name));
    let addresses = found.addresses.iter().filter(|lease| is_lost_address(lease, claims));
    (containers.iter().cloned().map(Garbage::Container))
        .chain(mounts.into_iter().map(Garbage::Mount))
        .chain(folders.map(Garbage::TaskFolder))
        .chain(cgroups(found, claims, own).map(Garbage::Cgroup))
        .chain(found.enis.difference(&claims.enis).cloned().map(Garbage::Eni))
        .chain(links(found, claims, own))
        .chain(namespaces.cloned().map(Garbage::Namespace))
        .chain(snapshots.map(|it| Garbage::Snapshot(it.name.clone())))
        .chain(leases.map(|it| Garbage::Lease(it.name.clone())))
        .chain(addresses.cloned().map(Garbage::Address))
        .collect()
}

impl Own {
    fn labels(&self, thing: &Labelled) -> bool {
        thing.instance.as_deref() == Some(self.instance.as_str())
    }

    /// True for names we give to namespaces.
    fn names(&self, namespace: &str) -> bool {
        [self.instance.as_str(), Standalone::NAMESPACE_PREFIX]
            .into_iter()
            .any(|prefix| namespace.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_suffix))
    }
}

/// Twelve hexadecimal digits.
fn is_suffix(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The pause containers last: they hold the shims the others use.
fn containers(found: &Found, claims: &Claims, own: &Own) -> Vec<String> {
    let is_claimed = |id: &String| claims.containers.contains(id) || claims.pauses.contains(id);
    let lost = found.containers.iter().filter(|it| own.labels(it) && !is_claimed(&it.name));
    let mut lost: Vec<&Labelled> = lost.collect();
    lost.sort_by_key(|it| it.is_pause);
    lost.into_iter().map(|it| it.name.clone()).collect()
}

fn is_lost_task(name: &str, claims: &Claims) -> bool {
    TaskId::parse(name).is_ok_and(|id| !claims.tasks.contains(&id))
}

/// Those of lost tasks, and those of containers of our own containerd that it does not know any more. Inner ones first.
fn mounts(found: &Found, claims: &Claims, own: &Own, gone: &BTreeSet<&str>) -> Vec<PathBuf> {
    let bundles = own.containerd_state.as_ref().map(|dir| dir.join("io.containerd.runtime.v2.task").join(NAMESPACE));
    let is_lost_container = |id: &str| {
        let is_claimed = claims.containers.contains(id) || claims.pauses.contains(id);
        let is_someones = found.containers.iter().any(|it| it.name == id) && !gone.contains(id);
        !is_claimed && !is_someones
    };
    let is_lost = |mount: &&PathBuf| {
        first_below(mount, &own.tasks_dir).is_some_and(|name| is_lost_task(name, claims))
            || bundles.as_ref().and_then(|dir| first_below(mount, dir)).is_some_and(is_lost_container)
    };
    found.mounts.iter().rev().filter(is_lost).cloned().collect()
}

/// The first name of `path` below `dir`.
fn first_below<'a>(path: &'a Path, dir: &Path) -> Option<&'a str> {
    path.strip_prefix(dir).ok()?.iter().next()?.to_str()
}

fn cgroups<'a>(found: &'a Found, claims: &'a Claims, own: &'a Own) -> impl Iterator<Item = String> + 'a {
    let lost = found.task_cgroups.iter().filter(|name| is_lost_task(name, claims));
    lost.map(|task| cgroups::task_cgroup(&own.instance, task))
}

/// Ports before their bridge.
fn links(found: &Found, claims: &Claims, own: &Own) -> Vec<Garbage> {
    let alias = modes::alias(&own.instance);
    let is_ours = |said: &Option<String>| said.as_ref() == Some(&alias);
    let is_named = |name: &str| name.strip_prefix(LINK_PREFIX).is_some_and(is_suffix);
    let ports = found
        .links
        .iter()
        .filter(|link| is_ours(&link.bridge_alias) && is_named(&link.name) && !claims.links.contains(&link.name));
    let bridges = found
        .links
        .iter()
        .filter(|link| link.is_bridge && is_ours(&link.alias) && claims.bridge.as_ref() != Some(&link.name));
    let ports = ports.map(|link| Garbage::Link(link.name.clone()));
    ports.chain(bridges.map(|link| Garbage::Bridge(link.name.clone()))).collect()
}

/// The library leases for the namespace, the plugins for the pause container.
fn is_lost_address(lease: &Lease, claims: &Claims) -> bool {
    let of = &lease.owner.container_id;
    lease.owner.if_name == BRIDGE_IF && !claims.namespaces.contains(of) && !claims.pauses.contains(of)
}

#[cfg(test)]
mod tests;
