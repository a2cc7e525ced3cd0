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
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use berth_types::intent::ContainerIntent;
use berth_types::mode::{NetworkBinding, NetworkMode, Protocol};
use berth_types::{FaultPoints, TaskId};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::blocking::blocking;
use crate::container::names;
use crate::engine::record::{ContainerRecord, TaskRecord};
use crate::fault::all_of;
use crate::journal::{self, Journal};
use crate::{Fault, NodeConfig, Step, step};

/// Where a container stands in the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Its task.
    pub task: TaskId,
    /// Its name in the task definition.
    pub container: String,
    /// How it reaches the network.
    pub mode: NetworkMode,
    /// File name of its namespace under `<run>/netns/`; the host's when absent.
    pub namespace: Option<String>,
    /// Outer end of its pair to the bridge.
    pub link: Option<String>,
    /// Its address on the bridge.
    pub address: Option<Ipv4Addr>,
    /// Ports of the host that lead to it.
    pub bindings: Vec<NetworkBinding>,
}

impl Place {
    fn key(&self) -> String {
        format!("{}/{}", self.task, self.container)
    }
}

/// The bridge of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Bridge {
    /// Name of the link.
    name: String,
    /// Range of its containers; the first address is the host's.
    network: Ipv4Net,
    /// `net.ipv4.ip_forward` as it was before.
    ip_forward: String,
}

impl Bridge {
    fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network.network()) + 1)
    }
}

/// Why a task gets no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceFault {
    /// A port of the host is somebody else's; in Docker's words.
    #[error("Bind for 0.0.0.0:{port} failed: port is already allocated")]
    PortTaken { container: usize, port: u16, protocol: Protocol },
    /// The host's range for such ports is used up.
    #[error("the host has no {count} free {protocol} ports in a row for the container")]
    NoPort { container: usize, count: u16, protocol: Protocol },
    /// The bridge is full.
    #[error("all addresses of the bridge's range {0} are in use; stop some tasks")]
    NoAddress(Ipv4Net),
    /// No range is left for a bridge.
    #[error("the host has routes to all of 172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16; free one for the bridge")]
    NoRange,
    /// A step failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What the journal says of places.
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
        for (_, place) in journal.all::<Place>(journal::PLACES)? {
            read.links.extend(place.link);
            read.namespaces.extend(place.namespace);
        }
        Ok(read)
    }
}

/// Takes away a bridge of the instance that is in no journal, with the instance's table. Blocks.
pub(crate) fn remove_stray_bridge(name: &str, instance: &str) -> Result<(), Fault> {
    kernel::remove_link(name)?;
    kernel::apply(&rules::removal(&rules::table(instance)))
}

/// Takes away the outer end of a pair that is in no journal. Blocks.
pub(crate) fn remove_stray_link(name: &str) -> Result<(), Fault> {
    kernel::remove_link(name)
}

pub(crate) use kernel::alias;

/// First letters of the outer ends of pairs to the bridge; twelve digits follow.
pub(crate) const LINK_PREFIX: &str = "vb";

/// Key of the only record of its table.
const BRIDGE_KEY: &str = "bridge";

/// The places of this host's containers.
pub(crate) struct Places {
    netns_dir: PathBuf,
    instance: String,
    table: String,
    journal: Journal,
    fault_points: FaultPoints<Step>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bridge: Option<Bridge>,
    places: BTreeMap<String, Place>,
    /// Where the search for a free port of the host goes on.
    next_port: u16,
}

impl State {
    fn of_task<'a>(&'a self, task: &'a TaskId) -> impl Iterator<Item = &'a Place> {
        self.places.values().filter(move |place| place.task == *task)
    }
}

impl Places {
    /// Takes up what an earlier node has given.
    pub fn open(config: &NodeConfig, journal: Journal) -> Result<Self, Fault> {
        let places = journal.all::<Place>(journal::PLACES)?.into_iter().collect();
        let bridge = journal.all::<Bridge>(journal::BRIDGE)?.into_iter().next().map(|(_, bridge)| bridge);
        let state = Mutex::new(State { bridge, places, next_port: 0 });
        let (netns_dir, instance) = (config.netns_dir(), config.instance.clone());
        let fault_points = config.fault_points.clone();
        Ok(Self { netns_dir, table: rules::table(&instance), instance, journal, fault_points, state })
    }

    /// Mends the bridge an earlier node has made, and gives back the places of tasks nobody knows.
    pub async fn adopt(&self, tasks: &BTreeSet<TaskId>) -> Result<(), Fault> {
        self.release(|place| !tasks.contains(&place.task)).await?;
        let state = self.state.lock().await;
        match state.bridge.clone() {
            Some(bridge) if state.places.values().any(|place| place.mode == NetworkMode::Bridge) => {
                let (instance, rules) = (self.instance.clone(), self.rules(&bridge, &state));
                blocking("network worker", move || {
                    kernel::make_bridge(&bridge, &instance).and_then(|()| kernel::apply(&rules))
                })
                .await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Gives every container of a task its place and makes it. What was given before is made again.
    pub async fn take(&self, record: &TaskRecord) -> Result<Vec<Place>, PlaceFault> {
        let mode = record.intent.network_mode;
        let mut state = self.state.lock().await;
        if state.of_task(&record.id).count() < record.intent.containers.len() {
            self.choose(&mut state, record).await?;
        }
        let in_order =
            record.intent.containers.iter().filter_map(|container| {
                state.of_task(&record.id).find(|place| place.container == container.name).cloned()
            });
        let places: Vec<Place> = in_order.collect();
        let bridge = state.bridge.clone().filter(|_| mode == NetworkMode::Bridge);
        let rules = bridge.as_ref().map(|bridge| self.rules(bridge, &state));
        let (made, netns_dir, instance) = (places.clone(), self.netns_dir.clone(), self.instance.clone());
        let points = self.fault_points.clone();
        blocking("network worker", move || {
            if mode == NetworkMode::Host {
                kernel::keep_host(&kernel::host_path(&netns_dir))?;
            }
            if let (Some(bridge), Some(rules)) = (&bridge, &rules) {
                // The walls come before what is behind them.
                kernel::apply(rules)?;
                step::pass(&points, Step::RulesApplied);
                kernel::make_bridge(bridge, &instance)?;
                step::pass(&points, Step::BridgeMade);
            }
            made.iter().try_for_each(|place| {
                kernel::make_place(place, bridge.as_ref(), &netns_dir)?;
                step::pass(&points, Step::PlaceMade);
                Ok(())
            })
        })
        .await?;
        Ok(places)
    }

    /// Decides and notes; nothing is made yet.
    async fn choose(&self, state: &mut State, record: &TaskRecord) -> Result<(), PlaceFault> {
        let look = blocking("network worker", kernel::look).await?;
        if record.intent.network_mode == NetworkMode::Bridge && state.bridge.is_none() {
            let bridge = choice::bridge(&look).ok_or(PlaceFault::NoRange)?;
            self.journal.put(journal::BRIDGE, BRIDGE_KEY, &bridge).await?;
            step::pass(&self.fault_points, Step::BridgeNoted);
            state.bridge = Some(bridge);
        }
        let names: Vec<choice::Names> =
            record.containers.iter().map(|container| self.names(&container.runtime_id)).collect();
        let others: Vec<&Place> = state.places.values().filter(|place| place.task != record.id).collect();
        let mut next_port = state.next_port;
        let bridge = state.bridge.as_ref();
        let chosen = choice::places(&record.id, &record.intent, &names, bridge, &others, &look, &mut next_port)?;
        state.next_port = next_port;
        for place in chosen {
            self.journal.put(journal::PLACES, &place.key(), &place).await?;
            step::pass(&self.fault_points, Step::PlaceNoted);
            state.places.insert(place.key(), place);
        }
        Ok(())
    }

    /// Gives back the places of a task whose containers are gone. None is as good.
    pub async fn give_back(&self, task: &TaskId) -> Result<(), Fault> {
        self.release(|place| place.task == *task).await
    }

    /// Removes places, and what only they needed: what is not there is as good.
    async fn release(&self, is_gone: impl Fn(&Place) -> bool) -> Result<(), Fault> {
        let mut state = self.state.lock().await;
        let (gone, rest): (Vec<&Place>, Vec<&Place>) = state.places.values().partition(|place| is_gone(place));
        let gone: Vec<Place> = gone.into_iter().cloned().collect();
        let is_left = |mode: NetworkMode| rest.iter().any(|place| place.mode == mode);
        let (is_bridge_left, is_host_left) = (is_left(NetworkMode::Bridge), is_left(NetworkMode::Host));
        let was = |mode: NetworkMode| gone.iter().any(|place| place.mode == mode);
        let (was_bridged, was_on_host) = (was(NetworkMode::Bridge), was(NetworkMode::Host));
        let bridge = state.bridge.clone().filter(|_| was_bridged || !is_bridge_left);
        let rules = bridge.as_ref().map(|bridge| rules::ruleset(&self.table, bridge, rest.into_iter()));
        let (netns_dir, table, removed) = (self.netns_dir.clone(), self.table.clone(), gone.clone());
        let points = self.fault_points.clone();
        blocking("network worker", move || {
            let mut done = Vec::new();
            if let (Some(rules), true) = (&rules, is_bridge_left) {
                done.push(kernel::apply(rules));
            }
            for place in &removed {
                done.push(kernel::remove_place(place, &netns_dir));
                step::pass(&points, Step::PlaceRemoved);
            }
            if let (Some(bridge), false) = (&bridge, is_bridge_left) {
                done.push(kernel::remove_bridge(bridge, &rules::removal(&table)));
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
        rules::ruleset(&self.table, bridge, state.places.values())
    }

    /// Names that come with the random end of a runtime id.
    fn names(&self, runtime_id: &str) -> choice::Names {
        let suffix = hostname(runtime_id);
        choice::Names { namespace: format!("{}-{suffix}", self.instance), link: format!("{LINK_PREFIX}{suffix}") }
    }

    /// The namespace file a container joins.
    pub fn namespace(&self, place: &Place) -> PathBuf {
        match &place.namespace {
            Some(name) => self.netns_dir.join(name),
            None => kernel::host_path(&self.netns_dir),
        }
    }
}

/// Host name of a container: the one it asks for, else the end of its id, or that of the host where it has no network of
/// its own.
pub(crate) fn hostname_in(place: &Place, asked: Option<&str>, runtime_id: &str) -> String {
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
    let digits = names::suffix_of(runtime_id);
    digits[digits.len().saturating_sub(12)..].to_owned()
}

/// Folder with the files of one container of a task.
pub(crate) fn files_dir(task_dir: &Path, runtime_id: &str) -> PathBuf {
    task_dir.join("network").join(hostname(runtime_id))
}

/// Writes the files of every container of a task. Blocks.
pub(crate) fn write_files(task_dir: &Path, record: &TaskRecord, places: &[Place]) -> Result<(), Fault> {
    let named = places.iter().zip(&record.containers).zip(&record.intent.containers);
    let name = |((place, known), wanted): ((&Place, &ContainerRecord), &ContainerIntent)| {
        (place.clone(), hostname_in(place, wanted.hostname.as_deref(), &known.runtime_id))
    };
    let all: Vec<(Place, String)> = named.map(name).collect();
    for (at, (container, known)) in record.intent.containers.iter().zip(&record.containers).enumerate() {
        files::write(&files_dir(task_dir, &known.runtime_id), container, &record.intent.dns, at, &all)?;
    }
    Ok(())
}

/// Takes the bridge and the table of an instance away, whatever is left of them. Namespaces go with their folder.
pub(crate) fn destroy(config: &NodeConfig) -> Result<(), Fault> {
    if !config.journal_file().exists() {
        return Ok(());
    }
    let journal = Journal::open(&config.journal_file())?;
    let removal = rules::removal(&rules::table(&config.instance));
    let bridges = journal.all::<Bridge>(journal::BRIDGE)?;
    all_of(bridges.iter().map(|(_, bridge)| kernel::remove_bridge(bridge, &removal)))
}
