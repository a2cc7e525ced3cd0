// SPDX-License-Identifier: Apache-2.0
//! Network modes bridge, host and none, as Docker has them: every container has a place of its own and there is no pause
//! container.
//!
//! `none`: a namespace with loopback only. `host`: the namespace of the node. `bridge`: a namespace with an address on a
//! bridge of the instance, which comes with the first such container and goes with the last; ports of the host lead to
//! it (nftables), and nothing else does. Addresses and ports are leased: what is given is in the journal before it is
//! made, is taken up by the next node, and is given back when the containers of the task are gone.
//! `choice`, `rules` and the texts of `files` decide (pure), `kernel` acts. Not here: network mode awsvpc (`namespaces`,
//! `network`).

mod choice;
mod files;
mod kernel;
pub(crate) mod links;
mod place;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use berth_types::intent::TaskIntent;
use berth_types::mode::NetworkMode;
use berth_types::{FaultPoints, TaskId};
use tokio::sync::Mutex;

use crate::blocking::blocking;
use crate::container::files::network_dir;
use crate::container::names;
use crate::fault::all_of;
use crate::journal::{self, Journal};
use crate::{Fault, NodeConfig, Step, nft, step, world};
use place::Bridge;

pub(crate) use place::{NetworkPlace, PlaceFault};

/// The objects of places that are in the journal.
#[derive(Debug, Default)]
pub(crate) struct Journaled {
    /// Name of the bridge.
    pub bridge: Option<String>,
    /// Outer ends of pairs to it.
    pub links: Vec<String>,
    /// File names of namespaces.
    pub namespaces: Vec<String>,
}

impl Journaled {
    /// Reads it.
    pub fn read(journal: &Journal) -> Result<Self, Fault> {
        let bridge = journal.all::<Bridge>(journal::BRIDGE)?.into_iter().next().map(|(_, bridge)| bridge.name);
        let mut read = Self { bridge, ..Self::default() };
        for (_, place) in journal.all::<NetworkPlace>(journal::PLACES)? {
            read.links.extend(place.link);
            read.namespaces.extend(place.namespace);
        }
        Ok(read)
    }
}

/// Removes a bridge of the instance that is in no journal, with the instance's table. Blocks.
pub(crate) fn remove_stray_bridge(name: &str, instance: &str) -> Result<(), Fault> {
    kernel::remove_link(name)?;
    nft::apply(&rules::removal(&rules::table(instance)))
}

/// Removes the outer end of a pair that is in no journal. Blocks.
pub(crate) fn remove_stray_link(name: &str) -> Result<(), Fault> {
    kernel::remove_link(name)
}

pub(crate) use kernel::alias;

/// First letters of the outer ends of pairs to the bridge; twelve digits follow.
pub(crate) const LINK_PREFIX: &str = "vb";

/// Key of the only record of its table.
const BRIDGE_KEY: &str = "bridge";

/// The places of this host's containers.
pub(crate) struct NetworkPlaces {
    netns_dir: PathBuf,
    /// Pins of what guards the ports of the bridge.
    guard: PathBuf,
    instance: String,
    table: String,
    journal: Journal,
    fault_points: FaultPoints<Step>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bridge: Option<Bridge>,
    places: BTreeMap<String, NetworkPlace>,
    /// Where the search for a free port of the host goes on.
    next_port: u16,
}

impl State {
    fn of_task<'a>(&'a self, task: &'a TaskId) -> impl Iterator<Item = &'a NetworkPlace> {
        self.places.values().filter(move |place| place.task == *task)
    }
}

impl NetworkPlaces {
    /// Takes up what an earlier node has given.
    pub fn open(config: &NodeConfig, journal: Journal) -> Result<Self, Fault> {
        let places = journal.all::<NetworkPlace>(journal::PLACES)?.into_iter().collect();
        let bridge = journal.all::<Bridge>(journal::BRIDGE)?.into_iter().next().map(|(_, bridge)| bridge);
        let state = Mutex::new(State { bridge, places, next_port: 0 });
        let (netns_dir, instance) = (config.netns_dir(), config.instance.clone());
        let (fault_points, guard) = (config.fault_points.clone(), berth_fabric::ports::directory(&instance));
        Ok(Self { netns_dir, guard, table: rules::table(&instance), instance, journal, fault_points, state })
    }

    /// Repairs the bridge of an earlier node, and gives back the places of unknown tasks.
    pub async fn adopt(&self, tasks: &BTreeSet<TaskId>) -> Result<(), Fault> {
        self.release(|place| !tasks.contains(&place.task)).await?;
        let state = self.state.lock().await;
        match state.bridge.clone() {
            Some(bridge) if state.places.values().any(|place| place.mode == NetworkMode::Bridge) => {
                let (instance, rules) = (self.instance.clone(), self.rules(&bridge, &state));
                let (places, guard): (Vec<_>, _) = (state.places.values().cloned().collect(), self.guard.clone());
                blocking("network worker", move || {
                    let guarded = places.iter().map(|place| kernel::guard_place(place, &guard)).collect::<Vec<_>>();
                    kernel::make_bridge(&bridge, &instance)?;
                    nft::apply(&rules)?;
                    all_of(guarded)
                })
                .await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Gives every container of a task its place and makes it. `runtime_ids` are the containers' ids in containerd, in
    /// order; the names on the host come from them. What was given before is made again.
    pub async fn take(
        &self,
        id: &TaskId,
        task: &TaskIntent,
        runtime_ids: &[String],
    ) -> Result<Vec<NetworkPlace>, PlaceFault> {
        let mode = task.network_mode;
        let mut state = self.state.lock().await;
        if state.of_task(id).count() < task.containers.len() {
            self.choose(&mut state, id, task, runtime_ids).await?;
        }
        let in_order = task
            .containers
            .iter()
            .filter_map(|container| state.of_task(id).find(|place| place.container == container.name).cloned());
        let places: Vec<NetworkPlace> = in_order.collect();
        let bridge = state.bridge.clone().filter(|_| mode == NetworkMode::Bridge);
        let rules = bridge.as_ref().map(|bridge| self.rules(bridge, &state));
        let (made, netns_dir, instance) = (places.clone(), self.netns_dir.clone(), self.instance.clone());
        let (points, guard) = (self.fault_points.clone(), self.guard.clone());
        blocking("network worker", move || {
            if mode == NetworkMode::Host {
                kernel::keep_host(&kernel::host_path(&netns_dir))?;
            }
            if let (Some(bridge), Some(rules)) = (&bridge, &rules) {
                // The walls come before what is behind them.
                nft::apply(rules)?;
                step::pass(&points, Step::RulesApplied);
                kernel::make_bridge(bridge, &instance)?;
                step::pass(&points, Step::BridgeMade);
            }
            made.iter().try_for_each(|place| {
                kernel::make_place(place, bridge.as_ref(), &netns_dir, &guard)?;
                step::pass(&points, Step::PlaceMade);
                Ok(())
            })
        })
        .await?;
        Ok(places)
    }

    /// Chooses places and writes them to the journal; nothing is made yet.
    async fn choose(
        &self,
        state: &mut State,
        id: &TaskId,
        task: &TaskIntent,
        runtime_ids: &[String],
    ) -> Result<(), PlaceFault> {
        let look = blocking("network worker", kernel::look).await?;
        if task.network_mode == NetworkMode::Bridge && state.bridge.is_none() {
            let bridge = choice::bridge(&look).ok_or(PlaceFault::NoRange)?;
            self.journal.put(journal::BRIDGE, BRIDGE_KEY, &bridge).await?;
            step::pass(&self.fault_points, Step::BridgeNoted);
            state.bridge = Some(bridge);
        }
        let names: Vec<choice::Names> = runtime_ids.iter().map(|runtime_id| self.names(runtime_id)).collect();
        let others: Vec<&NetworkPlace> = state.places.values().filter(|place| place.task != *id).collect();
        let mut next_port = state.next_port;
        let bridge = state.bridge.as_ref();
        let chosen = choice::places(id, task, &names, bridge, &others, &look, &mut next_port)?;
        state.next_port = next_port;
        for place in chosen {
            self.journal.put(journal::PLACES, &place.key(), &place).await?;
            step::pass(&self.fault_points, Step::PlaceNoted);
            state.places.insert(place.key(), place);
        }
        Ok(())
    }

    /// Gives back the places of a task whose containers are gone, if it has any.
    pub async fn give_back(&self, task: &TaskId) -> Result<(), Fault> {
        self.release(|place| place.task == *task).await
    }

    /// Removes places and the objects that only they needed. Absent objects count as removed.
    async fn release(&self, is_gone: impl Fn(&NetworkPlace) -> bool) -> Result<(), Fault> {
        let mut state = self.state.lock().await;
        let (gone, rest): (Vec<&NetworkPlace>, Vec<&NetworkPlace>) =
            state.places.values().partition(|place| is_gone(place));
        let gone: Vec<NetworkPlace> = gone.into_iter().cloned().collect();
        let is_left = |mode: NetworkMode| rest.iter().any(|place| place.mode == mode);
        let (is_bridge_left, is_host_left) = (is_left(NetworkMode::Bridge), is_left(NetworkMode::Host));
        let was = |mode: NetworkMode| gone.iter().any(|place| place.mode == mode);
        let (was_bridged, was_on_host) = (was(NetworkMode::Bridge), was(NetworkMode::Host));
        let bridge = state.bridge.clone().filter(|_| was_bridged || !is_bridge_left);
        let rules = bridge.as_ref().map(|bridge| rules::ruleset(&self.instance, bridge, rest.into_iter()));
        let (netns_dir, table, removed) = (self.netns_dir.clone(), self.table.clone(), gone.clone());
        let (points, guard) = (self.fault_points.clone(), self.guard.clone());
        let others = world::forwarding(&self.journal, &self.instance)?;
        blocking("network worker", move || {
            let mut done = Vec::new();
            if let (Some(rules), true) = (&rules, is_bridge_left) {
                done.push(nft::apply(rules));
            }
            for place in &removed {
                done.push(kernel::remove_place(place, &netns_dir, &guard));
                step::pass(&points, Step::PlaceRemoved);
            }
            if let (Some(bridge), false) = (&bridge, is_bridge_left) {
                done.push(kernel::remove_bridge(bridge, &rules::removal(&table), &others));
                step::pass(&points, Step::BridgeRemoved);
            }
            if was_on_host && !is_host_left {
                done.push(kernel::forget_host(&kernel::host_path(&netns_dir)));
            }
            all_of(done)
        })
        .await?;
        for place in gone {
            self.journal.remove(journal::PLACES, &place.key()).await?;
            step::pass(&self.fault_points, Step::PlaceForgotten);
            state.places.remove(&place.key());
        }
        if !is_bridge_left && state.bridge.is_some() {
            self.journal.remove(journal::BRIDGE, BRIDGE_KEY).await?;
            step::pass(&self.fault_points, Step::BridgeForgotten);
            state.bridge = None;
        }
        Ok(())
    }

    fn rules(&self, bridge: &Bridge, state: &State) -> serde_json::Value {
        rules::ruleset(&self.instance, bridge, state.places.values())
    }

    /// Names that come with a runtime id.
    fn names(&self, runtime_id: &str) -> choice::Names {
        let suffix = hostname(runtime_id);
        choice::Names { namespace: format!("{}-{suffix}", self.instance), link: format!("{LINK_PREFIX}{suffix}") }
    }

    /// The namespace file a container joins.
    pub fn namespace(&self, place: &NetworkPlace) -> PathBuf {
        match &place.namespace {
            Some(name) => self.netns_dir.join(name),
            None => kernel::host_path(&self.netns_dir),
        }
    }
}

/// Host name of a container: the one it asks for, else its short id, or that of the host where it has no network of its
/// own.
pub(crate) fn hostname_in(place: &NetworkPlace, asked: Option<&str>, runtime_id: &str) -> String {
    if let Some(asked) = asked {
        return asked.to_owned();
    }
    let of_host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    match place.mode {
        NetworkMode::Host => of_host().unwrap_or_else(|| hostname(runtime_id)),
        NetworkMode::Bridge | NetworkMode::None | NetworkMode::Awsvpc => hostname(runtime_id),
    }
}

/// Twelve digits, as many as Docker takes of an id.
fn hostname(runtime_id: &str) -> String {
    names::short(runtime_id).to_owned()
}

/// Folder with the files of one container of a task.
pub(crate) fn files_dir(task_dir: &Path, runtime_id: &str) -> PathBuf {
    network_dir(task_dir).join(hostname(runtime_id))
}

/// Writes the files of every container of a task, whose ids in containerd are `runtime_ids`, in order. Blocks.
pub(crate) fn write_files(
    task_dir: &Path,
    task: &TaskIntent,
    runtime_ids: &[String],
    places: &[NetworkPlace],
) -> Result<(), Fault> {
    let named = places.iter().zip(runtime_ids).zip(&task.containers);
    let all: Vec<(NetworkPlace, String)> = named
        .map(|((place, id), wanted)| (place.clone(), hostname_in(place, wanted.hostname.as_deref(), id)))
        .collect();
    for (at, (container, id)) in task.containers.iter().zip(runtime_ids).enumerate() {
        files::write(&files_dir(task_dir, id), container, &task.dns, at, &all)?;
    }
    Ok(())
}

/// Removes what is left of the bridge and the table of an instance. Namespaces are removed with their folder.
pub(crate) fn destroy(config: &NodeConfig) -> Result<(), Fault> {
    if !config.journal_file().exists() {
        return Ok(());
    }
    let journal = Journal::open(&config.journal_file())?;
    let removal = rules::removal(&rules::table(&config.instance));
    let bridges = journal.all::<Bridge>(journal::BRIDGE)?;
    all_of(bridges.iter().map(|(_, bridge)| kernel::remove_bridge(bridge, &removal, &[])))
}
