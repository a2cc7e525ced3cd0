//! The task engine: one actor per task, and what they share. The dispatcher gives each actor what concerns it.
//!
//! `plan` and `record` decide (pure), `launch` and `stop` act, `actor` keeps the record, the journal and the reports.

mod actor;
mod fill;
pub(crate) mod health;
mod launch;
mod order;
mod plan;
pub(crate) mod record;
mod restart;
pub(crate) mod seats;
mod standing;
mod stop;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use berth_types::intent::{HostIntent, Plug};
use berth_types::report::TaskStage;
use berth_types::{EniId, TaskId};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::container::cgroups::{self, Cgroups};
use crate::containerd::supervise::Private;
use crate::containerd::{Containerd, Ended, Io};
use crate::images::{Images, Registry};
use crate::journal::{self, Journal};
use crate::log_driver;
use crate::modes::Places;
use crate::namespaces::Namespaces;
use crate::network::Network;
use crate::reports::Reports;
use crate::{Fault, NodeConfig};
use actor::Actor;
pub(crate) use actor::Event;
use record::TaskRecord;

/// What the parts of a node share.
pub(crate) struct Host {
    pub config: NodeConfig,
    pub containerd: Containerd,
    pub private: Option<Private>,
    pub images: Images,
    pub journal: Journal,
    pub namespaces: Arc<Namespaces>,
    pub network: Arc<Network>,
    pub places: Places,
    pub cgroups: Cgroups,
    pub reports: Reports,
    pub directory: Directory,
    routes: Mutex<HashMap<String, mpsc::Sender<Event>>>,
    tasks: Mutex<BTreeMap<TaskId, mpsc::Sender<Event>>>,
    seats: seats::Seats,
}

/// The parts a host is made of.
pub(crate) struct Parts {
    pub config: NodeConfig,
    pub containerd: Containerd,
    pub private: Option<Private>,
    pub journal: Journal,
    pub namespaces: Namespaces,
    pub network: Network,
    pub places: Places,
    pub cgroups: Cgroups,
}

impl Host {
    pub fn new(parts: Parts) -> Self {
        let registry = Registry::new(parts.config.mirrors.clone(), parts.config.registries_on.clone());
        let images = Images::new(parts.containerd.clone(), registry, parts.config.images.clone());
        Self {
            config: parts.config,
            containerd: parts.containerd,
            private: parts.private,
            images,
            journal: parts.journal,
            namespaces: Arc::new(parts.namespaces),
            network: Arc::new(parts.network),
            places: parts.places,
            cgroups: parts.cgroups,
            reports: Reports::default(),
            directory: Directory::default(),
            routes: Mutex::default(),
            tasks: Mutex::default(),
            seats: seats::Seats::default(),
        }
    }

    /// Takes up what an earlier node has begun.
    pub async fn adopt(self: &Arc<Self>) -> Result<(), Fault> {
        let records = self.journal.all::<TaskRecord>(journal::TASKS)?;
        let known = records.iter().map(|(_, record)| record.id.clone()).collect();
        if let Err(fault) = self.places.adopt(&known).await {
            tracing::error!(%fault, "what an earlier node made for containers on the bridge is not whole");
        }
        for (_, record) in records {
            tracing::info!(task = %record.id, stage = ?record.stage, "task is taken up again");
            self.spawn(record, true);
        }
        self.adopt_seats().await
    }

    /// Gives every task and seat what a new intent says about it.
    pub async fn dispatch(self: &Arc<Self>, intent: &HostIntent) {
        for (id, task) in &intent.tasks {
            let eni = task.eni.as_ref().and_then(|eni| intent.enis.get(eni)).filter(|eni| match &eni.plug {
                Plug::InPlace(of) | Plug::HostFirst(of) => of == id,
                Plug::Seat(_) => false,
            });
            match self.sender(id) {
                Some(sender) => {
                    let event = Event::Wanted(Box::new(task.clone()), eni.cloned().map(Box::new));
                    sender.send(event).await.ok();
                }
                None => self.spawn(TaskRecord::accept(id.clone(), task.clone(), eni.cloned()), false),
            }
        }
        let unlisted: Vec<_> = self.senders().into_iter().filter(|(id, _)| !intent.tasks.contains_key(id)).collect();
        for (id, sender) in unlisted {
            let is_eni_wanted = intent.enis.values().any(|eni| match &eni.plug {
                Plug::InPlace(of) | Plug::HostFirst(of) => *of == id,
                Plug::Seat(_) => false,
            });
            sender.send(Event::Unlisted { is_eni_wanted }).await.ok();
        }
        self.dispatch_seats(intent);
    }

    /// Takes out interfaces nobody here knows of and the server does not want: looked for once in a connection, when
    /// the server has told all it wants.
    pub async fn unplug_strangers(&self, intent: &HostIntent) {
        let plugged = match self.network.plugged().await {
            Ok(plugged) => plugged,
            Err(fault) => return tracing::error!(%fault, "interfaces left behind are not looked for"),
        };
        let known: Vec<EniId> = self.directory.all().iter().filter_map(|record| record.intent.eni.clone()).collect();
        let is_known = |eni: &EniId| intent.enis.contains_key(eni) || known.contains(eni) || self.seats.holds(eni);
        for eni in plugged.into_iter().filter(|eni| !is_known(eni)) {
            tracing::warn!(%eni, "an interface nobody knows is taken out");
            if let Err(fault) = self.network.unplug(&eni).await {
                tracing::error!(%eni, %fault, "the interface stays");
            }
        }
    }

    fn spawn(self: &Arc<Self>, record: TaskRecord, is_resumed: bool) {
        let (actor, sender) = Actor::new(self.clone(), record, is_resumed);
        let id = actor.id().clone();
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), sender);
        let host = self.clone();
        tokio::spawn(async move {
            actor.run().await;
            host.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        });
    }

    fn sender(&self, id: &TaskId) -> Option<mpsc::Sender<Event>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn senders(&self) -> Vec<(TaskId, mpsc::Sender<Event>)> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().map(|(id, sender)| (id.clone(), sender.clone())).collect()
    }

    /// Events of this container go to this actor.
    fn route(&self, runtime_id: &str, to: &mpsc::Sender<Event>) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).insert(runtime_id.to_owned(), to.clone());
    }

    fn unroute(&self, runtime_id: &str) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).remove(runtime_id);
    }

    /// Name of a container's cgroup.
    pub fn container_cgroup(&self, task: &TaskId, runtime_id: &str) -> String {
        format!("{}/{runtime_id}", cgroups::task_cgroup(&self.config.instance, task.as_str()))
    }

    /// File a container's output is written to.
    pub fn log_file(&self, task: &TaskId, container: &str) -> PathBuf {
        self.config.log_dir(task.as_str()).join(format!("{container}.log"))
    }

    /// Where a container's output goes.
    fn io(&self, record: &TaskRecord, container: &str) -> Io {
        let wanted = record.wanted(container);
        let terminal = wanted.is_some_and(|wanted| wanted.pseudo_terminal);
        let log = wanted.map(|wanted| wanted.log.clone()).unwrap_or_default();
        let target = log_driver::target(&log, &self.log_file(&record.id, container));
        Io { output: target.map(|target| target.uri()).unwrap_or_default(), terminal }
    }

    /// Cleans up images from time to time.
    pub async fn collect_images(self: Arc<Self>, shutdown: CancellationToken) -> Result<(), Fault> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.config.images.cleanup_interval) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            if let Err(fault) = self.images.collect(|| self.directory.image_names()).await {
                tracing::warn!(%fault, "images are not cleaned up");
            }
        }
    }

    /// Hands out what containerd tells, for as long as the node lives. When containerd ends it is started again.
    pub async fn follow_runtime(
        self: Arc<Self>,
        subscribed: oneshot::Sender<()>,
        shutdown: CancellationToken,
    ) -> Result<(), Fault> {
        let mut subscribed = Some(subscribed);
        let mut pause = std::time::Duration::ZERO;
        while !shutdown.is_cancelled() {
            if let Some(private) = &self.private
                && let Err(fault) = private.ensure().await
            {
                tracing::error!(%fault, "containerd");
            }
            match self.containerd.events().await {
                Ok(mut events) => {
                    pause = std::time::Duration::ZERO;
                    if let Some(subscribed) = subscribed.take() {
                        subscribed.send(()).ok();
                    }
                    // What happened while nobody listened is looked up.
                    for (_, sender) in self.senders() {
                        sender.send(Event::LookAgain).await.ok();
                    }
                    loop {
                        tokio::select! {
                            event = events.next() => match event {
                                Some(event) => self.hand_out(event).await,
                                None => break,
                            },
                            () = shutdown.cancelled() => return Ok(()),
                        }
                    }
                    tracing::warn!("containerd closed its event stream");
                }
                Err(fault) => tracing::warn!(%fault, "containerd"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => {}
            }
            pause = (pause * 2).clamp(std::time::Duration::from_millis(100), std::time::Duration::from_secs(10));
        }
        Ok(())
    }

    async fn hand_out(&self, Ended { runtime_id, exit }: Ended) {
        let to = self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(&runtime_id).cloned();
        match to {
            Some(to) => drop(to.send(Event::Exited(runtime_id, exit)).await),
            None => self.namespaces.pause_ended(&runtime_id),
        }
    }
}

/// The tasks of this host as the metadata endpoint shows them.
#[derive(Default)]
pub(crate) struct Directory(Mutex<BTreeMap<TaskId, Arc<TaskRecord>>>);

impl Directory {
    fn put(&self, record: TaskRecord) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(record.id.clone(), Arc::new(record));
    }

    fn remove(&self, id: &TaskId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Names of the images of tasks that are not over.
    fn image_names(&self) -> BTreeSet<String> {
        let tasks = self.all();
        let going_on = tasks.iter().filter(|task| task.stage != TaskStage::Stopped);
        let written = going_on.flat_map(|task| task.intent.containers.iter().map(|container| &container.image));
        written.filter_map(|image| crate::images::parse(image).ok()).map(|name| name.whole()).collect()
    }

    /// All tasks.
    pub fn all(&self) -> Vec<Arc<TaskRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
