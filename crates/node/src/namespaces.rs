// SPDX-License-Identifier: Apache-2.0
//! Network namespaces of tasks, each held by a pause container. Some are prepared ahead, so that a launch is a matter
//! of address, identity and policy; the others are made when they are needed. Those for Fargate tasks are wired to the
//! bridge already, those for the EC2 launch type (half as many) are left to the plugins.
//!
//! Every namespace is in the journal before it is made, with its owner once it has one.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_types::{MacAddress, TaskId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::cgroups::{self, Cgroups};
use crate::container::{names, spec};
use crate::containerd::{CONTAINER_LABEL, Containerd, INSTANCE_LABEL, Io, NewContainer, TaskState};
use crate::fault::all_of;
use crate::journal::{self, Journal};
use crate::network::{NodeNetwork, Wiring};
use crate::{Fault, NodeConfig, Step};

/// Pause before a preparation that failed is tried again.
const RETRY_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

/// The network namespace of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldNamespace {
    /// File name under `<run>/netns/`.
    pub name: String,
    /// The container that holds it.
    pub pause_id: String,
    /// Address at the host's bridge: who the task is at the metadata endpoint.
    pub bridge_address: Option<Ipv4Addr>,
}

/// A namespace in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    pause_id: String,
    wiring: Wiring,
    bridge_address: Option<Ipv4Addr>,
    owner: Option<TaskId>,
    /// The pause program is confined (ADR 21); absent in records of nodes that did not do so.
    #[serde(default)]
    is_confined: bool,
}

impl Record {
    fn held(&self) -> HeldNamespace {
        HeldNamespace { name: self.name.clone(), pause_id: self.pause_id.clone(), bridge_address: self.bridge_address }
    }
}

/// Names in the journal, each with its pause container.
pub(crate) fn journaled(journal: &Journal) -> Result<Vec<(String, String)>, Fault> {
    let records = journal.all::<Record>(journal::NAMESPACES)?;
    Ok(records.into_iter().map(|(name, record)| (name, record.pause_id)).collect())
}

/// The namespaces of this host.
pub(crate) struct Namespaces {
    config: NodeConfig,
    containerd: Containerd,
    journal: Journal,
    cgroups: Cgroups,
    pause_root: PathBuf,
    state: Mutex<State>,
    /// Something was taken or has ended: prepare another.
    wanted: Notify,
}

#[derive(Default)]
struct State {
    /// All namespaces by name.
    records: BTreeMap<String, Record>,
    /// Names of those ready to be taken.
    ready: Vec<String>,
    /// Processes of pause containers by their ids, as they were when they were made or looked up.
    pids: HashMap<String, u32>,
}

impl State {
    /// The prepared namespaces of a kind.
    fn ready_of(&self, is_wired: bool) -> impl Iterator<Item = &String> {
        let kind = if is_wired { Wiring::Library } else { Wiring::Bare };
        self.ready.iter().filter(move |name| self.records.get(*name).is_some_and(|record| record.wiring == kind))
    }

    /// Gives a prepared namespace to a task.
    fn take_ready(&mut self, is_wired: bool, task: &TaskId) -> Option<Record> {
        let name = self.ready_of(is_wired).next()?.clone();
        self.ready.retain(|ready| *ready != name);
        let record = self.records.get_mut(&name)?;
        record.owner = Some(task.clone());
        Some(record.clone())
    }
}

impl Namespaces {
    pub fn new(
        config: NodeConfig,
        containerd: Containerd,
        journal: Journal,
        cgroups: Cgroups,
        pause_root: PathBuf,
    ) -> Self {
        let (state, wanted) = (Mutex::default(), Notify::new());
        Self { config, containerd, journal, cgroups, pause_root, state, wanted }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what an earlier node has made. Prepared ones that are whole are kept, the rest without owner is returned
    /// to be removed. Pause programs that run unconfined with their tasks get what a process can be given from outside.
    pub async fn adopt(&self) -> Result<Vec<String>, Fault> {
        let mut broken = Vec::new();
        self.cgroups.make_pause(&cgroups::instance_cgroup(&self.config.instance))?;
        for (name, record) in self.journal.all::<Record>(journal::NAMESPACES)? {
            let is_free = record.owner.is_none();
            if is_free {
                let is_wired = record.bridge_address.is_some() || record.wiring == Wiring::Bare;
                let is_whole = is_wired && record.is_confined && self.is_paused(&record).await?;
                match is_whole && self.config.netns_dir().join(&name).exists() {
                    true => self.state().ready.push(name.clone()),
                    false => broken.push(name.clone()),
                }
            }
            let unconfined = record.owner.clone().filter(|_| !record.is_confined);
            self.state().records.insert(name, record);
            if let Some(task) = unconfined
                && let Err(fault) = self.confine(&task).await
            {
                tracing::error!(%task, %fault, "the pause program of a task is outside of the task's cgroup");
            }
        }
        Ok(broken)
    }

    /// Namespaces on the host's bridge, each with its address there.
    pub fn connected(&self) -> Vec<(String, Ipv4Addr)> {
        let state = self.state();
        state.records.values().filter_map(|record| Some((record.name.clone(), record.bridge_address?))).collect()
    }

    /// Moves the pause program of a task, if it has one, inside the task's limits. Before any container of it runs.
    pub async fn confine(&self, task: &TaskId) -> Result<(), Fault> {
        let Some(record) = self.owned(task) else { return Ok(()) };
        let noted = self.state().pids.get(&record.pause_id).copied();
        let instance = cgroups::instance_cgroup(&self.config.instance);
        let of_task = cgroups::task_cgroup(&self.config.instance, task.as_str());
        let (from, to) = (cgroups::pause_cgroup(&instance), cgroups::pause_cgroup(&of_task));
        let (cgroups, within) = (self.cgroups.clone(), to.clone());
        let moving = blocking("pause program's mover", move || {
            cgroups.make_pause(&of_task)?;
            // The id of one that ended may be another process's by now, which is in no such cgroup.
            let is_ours = |pid: &u32| [&from, &within].iter().any(|cgroup| cgroups.processes(cgroup).contains(pid));
            let Some(pid) = noted.filter(is_ours) else { return Ok(false) };
            cgroups.admit(pid, &within).map(|()| true)
        });
        if moving.await? {
            return Ok(());
        }
        let TaskState::Running(pid) = self.containerd.task_state(&record.pause_id).await? else {
            return Err(Fault::Ended("pause container"));
        };
        self.note_pid(&record.pause_id, pid);
        let cgroups = self.cgroups.clone();
        blocking("pause program's mover", move || cgroups.admit(pid, &to)).await
    }

    /// Moves the pause program of a task out of the task's cgroup, which is to be removed before the program ends. For a
    /// task whose containers are over. Blocks.
    pub fn let_out(&self, task: &TaskId) -> Result<(), Fault> {
        let of_task = cgroups::task_cgroup(&self.config.instance, task.as_str());
        let instance = cgroups::instance_cgroup(&self.config.instance);
        self.cgroups.move_all(&cgroups::pause_cgroup(&of_task), &cgroups::pause_cgroup(&instance))
    }

    fn owned(&self, task: &TaskId) -> Option<Record> {
        self.state().records.values().find(|record| record.owner.as_ref() == Some(task)).cloned()
    }

    fn note_pid(&self, pause_id: &str, pid: u32) {
        self.state().pids.insert(pause_id.to_owned(), pid);
    }

    /// A namespace for a task: a prepared one if there is one of the kind.
    pub async fn take(&self, network: &NodeNetwork, task: &TaskId, is_wired: bool) -> Result<HeldNamespace, Fault> {
        let (owned, prepared) = {
            let mut state = self.state();
            let owned = state.records.values().find(|record| record.owner.as_ref() == Some(task)).cloned();
            let prepared = match owned {
                None => state.take_ready(is_wired, task),
                Some(_) => None,
            };
            (owned, prepared)
        };
        self.wanted.notify_one();
        let mut held = match (owned, prepared) {
            // Begun by a node that was killed.
            (Some(record), _) if self.is_paused(&record).await? => self.make(network, record, true).await?,
            // Made again under other names: a restarted containerd removes the remains of the old ones at an unknown
            // time.
            (Some(record), _) => {
                self.remove(network, &record.name).await?;
                self.make(network, self.fresh(is_wired, Some(task.clone())), false).await?
            }
            (None, Some(record)) => {
                self.note(&record).await?;
                record.held()
            }
            (None, None) => self.make(network, self.fresh(is_wired, Some(task.clone())), false).await?,
        };
        self.config.pass(Step::NamespaceTaken);
        held.bridge_address = self.state().records.get(&held.name).and_then(|record| record.bridge_address);
        Ok(held)
    }

    /// The plugins gave the namespace this address; the same plugins must take it back.
    pub async fn note_plugins(&self, name: &str, mac: MacAddress, address: Option<Ipv4Addr>) -> Result<(), Fault> {
        let Some(mut record) = self.state().records.get(name).cloned() else { return Ok(()) };
        record.wiring = Wiring::Plugins(mac, record.pause_id.clone());
        record.bridge_address = address;
        self.note(&record).await
    }

    /// Removes the namespace of a task.
    pub async fn give_back(&self, network: &NodeNetwork, task: &TaskId) -> Result<(), Fault> {
        match self.owned(task) {
            Some(record) => self.remove(network, &record.name).await,
            None => Ok(()),
        }
    }

    /// Removes a namespace and its pause container.
    async fn remove(&self, network: &NodeNetwork, name: &str) -> Result<(), Fault> {
        let Some(record) = self.state().records.get(name).cloned() else { return Ok(()) };
        let unpause = async {
            let removed = self.containerd.destroy_container(&record.pause_id).await;
            self.config.pass(Step::PauseRemoved);
            removed
        };
        let unmake = async {
            let removed = network.remove_namespace(name, Some(record.wiring.clone())).await;
            self.config.pass(Step::NamespaceRemoved);
            removed
        };
        let (paused, removed) = tokio::join!(unpause, unmake);
        all_of([paused, removed])?;
        self.journal.remove(journal::NAMESPACES, name).await?;
        self.config.pass(Step::NamespaceForgotten);
        let mut state = self.state();
        state.records.remove(name);
        state.pids.remove(&record.pause_id);
        state.ready.retain(|ready| ready != name);
        Ok(())
    }

    /// A pause container without a task ended: its namespace must not be taken.
    pub fn pause_ended(&self, pause_id: &str) {
        let mut state = self.state();
        let name = state.records.values().find(|record| record.pause_id == pause_id).map(|record| record.name.clone());
        if let Some(name) = name {
            state.ready.retain(|ready| *ready != name);
            drop(state);
            self.wanted.notify_one();
        }
    }

    fn fresh(&self, is_wired: bool, owner: Option<TaskId>) -> Record {
        let suffix = names::suffix();
        let name = format!("{}-{}", self.config.instance, &suffix[..12]);
        let wiring = if is_wired { Wiring::Library } else { Wiring::Bare };
        Record { name, pause_id: names::pause_id(), wiring, bridge_address: None, owner, is_confined: true }
    }

    async fn note(&self, record: &Record) -> Result<(), Fault> {
        self.journal.put(journal::NAMESPACES, &record.name, record).await?;
        self.state().records.insert(record.name.clone(), record.clone());
        Ok(())
    }

    /// Makes a namespace, or what is missing of one whose pause container runs.
    async fn make(&self, network: &NodeNetwork, mut record: Record, is_paused: bool) -> Result<HeldNamespace, Fault> {
        self.note(&record).await?;
        self.config.pass(Step::NamespaceNoted);
        network.make_namespace(&record.name).await?;
        self.config.pass(Step::NamespaceMade);
        let wire = async {
            match record.wiring {
                Wiring::Library => {
                    let wired = network.wire(&record.name).await.map(Some);
                    self.config.pass(Step::NamespaceWired);
                    wired
                }
                Wiring::Bare | Wiring::Plugins(..) => Ok(None),
            }
        };
        let pause = async { if is_paused { Ok(()) } else { self.pause(&record).await } };
        let (address, paused) = tokio::join!(wire, pause);
        paused?;
        if let Some(address) = address? {
            record.bridge_address = Some(address);
            self.note(&record).await?;
            self.config.pass(Step::NamespaceAddressNoted);
        }
        Ok(record.held())
    }

    /// True if the pause container runs.
    async fn is_paused(&self, record: &Record) -> Result<bool, Fault> {
        let TaskState::Running(pid) = self.containerd.task_state(&record.pause_id).await? else { return Ok(false) };
        self.note_pid(&record.pause_id, pid);
        Ok(true)
    }

    /// Makes the pause container and starts it.
    async fn pause(&self, record: &Record) -> Result<(), Fault> {
        let id = record.pause_id.as_str();
        let netns = self.config.netns_dir().join(&record.name);
        let spec = spec::pause(id, &self.pause_root, &netns)?;
        let labels = HashMap::from([
            (INSTANCE_LABEL.to_owned(), self.config.instance.clone()),
            (CONTAINER_LABEL.to_owned(), crate::pause::NAME.to_owned()),
        ]);
        let new = NewContainer { id, image: crate::pause::IMAGE, labels, spec: &spec, snapshot: None };
        self.containerd.create_container(new).await?;
        self.config.pass(Step::PauseMade);
        let pid = self.containerd.create_task(id, Vec::new(), Io::default()).await?;
        self.config.pass(Step::PauseTaskMade);
        self.cgroups.admit(pid, &cgroups::pause_cgroup(&cgroups::instance_cgroup(&self.config.instance)))?;
        self.note_pid(id, pid);
        self.containerd.start_task(id).await?;
        self.config.pass(Step::PauseStarted);
        Ok(())
    }
}

/// Keeps as many namespaces prepared as the settings say, and removes those that broke.
pub(crate) async fn keep_prepared(
    pool: Arc<Namespaces>,
    network: Arc<NodeNetwork>,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    loop {
        let (broken, missing) = {
            let state = pool.state();
            let free = state.records.values().filter(|record| record.owner.is_none());
            let broken: Vec<String> =
                free.map(|record| record.name.clone()).filter(|name| !state.ready.contains(name)).collect();
            let (wired, bare) = (pool.config.prepared_namespaces, pool.config.prepared_namespaces / 2);
            let is_missing = |is_wired, wanted| state.ready_of(is_wired).count() < wanted;
            let missing = if is_missing(true, wired) { Some(true) } else { is_missing(false, bare).then_some(false) };
            (broken, missing)
        };
        for name in broken {
            if let Err(fault) = pool.remove(&network, &name).await {
                tracing::error!(namespace = name, %fault, "could not remove a prepared namespace");
            }
        }
        let Some(is_wired) = missing else {
            tokio::select! {
                () = pool.wanted.notified() => continue,
                () = shutdown.cancelled() => return Ok(()),
            }
        };
        let record = pool.fresh(is_wired, None);
        let name = record.name.clone();
        // A node that ends in the middle finds the record and removes what there is.
        match pool.make(&network, record, false).await {
            Ok(_) => pool.state().ready.push(name),
            Err(fault) => {
                tracing::error!(%fault, "no namespace is prepared");
                tokio::select! {
                    () = tokio::time::sleep(RETRY_PAUSE) => {}
                    () = shutdown.cancelled() => return Ok(()),
                }
            }
        }
        if shutdown.is_cancelled() {
            return Ok(());
        }
    }
}
