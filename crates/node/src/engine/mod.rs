// SPDX-License-Identifier: Apache-2.0
//! The task engine: one actor per task. The dispatcher gives each actor what concerns it.
//!
//! `plan` and `record` decide (pure), `launch` and `stop` act, `actor` keeps the record, the journal and the reports;
//! `host` is what all of them share.

mod actor;
mod directory;
mod event;
mod failure;
mod fill;
mod follow;
mod give_up;
pub(crate) mod health;
mod heartbeat;
mod host;
mod launch;
mod order;
mod plan;
mod probe;
mod reason;
pub(crate) mod record;
mod restart;
mod restart_policy;
mod routes;
mod signal;
pub(crate) mod standalone_interfaces;
mod stop;
mod task_network;
pub(crate) mod upkeep;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use berth_types::intent::HostIntent;
use berth_types::{EniId, TaskId};
use tokio::sync::mpsc;

use crate::{Fault, journal};
use actor::Actor;
use event::Event;
use record::TaskRecord;
use routes::Routes;
use standalone_interfaces::StandaloneInterfaces;

pub(crate) use host::{NodeHost, Parts};

/// The tasks and standalone interfaces of this host.
pub(crate) struct Engine {
    host: Arc<NodeHost>,
    routes: Arc<Routes>,
    tasks: Mutex<BTreeMap<TaskId, mpsc::Sender<Event>>>,
    standalone: Arc<StandaloneInterfaces>,
}

impl Engine {
    pub fn new(host: Arc<NodeHost>) -> Self {
        let standalone = Arc::new(StandaloneInterfaces::new(host.clone()));
        Self { host, routes: Arc::default(), tasks: Mutex::default(), standalone }
    }

    /// Takes up what an earlier node has begun.
    pub async fn adopt(self: &Arc<Self>) -> Result<(), Fault> {
        let records = self.host.journal.all::<TaskRecord>(journal::TASKS)?;
        let known = records.iter().map(|(_, record)| record.id.clone()).collect();
        if let Err(fault) = self.host.places.adopt(&known).await {
            tracing::error!(%fault, "could not restore the bridge of an earlier node");
        }
        for (_, record) in records {
            tracing::info!(task = %record.id, stage = ?record.stage, "task is taken up again");
            self.spawn(record, true);
        }
        self.standalone.adopt().await
    }

    /// Gives every task and standalone interface what a new intent says about it.
    pub async fn dispatch(self: &Arc<Self>, intent: &HostIntent) {
        for (id, task) in &intent.tasks {
            let eni = task.eni.as_ref().and_then(|eni| intent.enis.get(eni)).filter(|eni| eni.plug.task() == Some(id));
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
            let is_eni_wanted = intent.enis.values().any(|eni| eni.plug.task() == Some(&id));
            sender.send(Event::Unlisted { is_eni_wanted }).await.ok();
        }
        self.standalone.dispatch(intent);
    }

    /// Unplugs interfaces that this host has for no task and no other holder and the server does not want. Called once in a
    /// connection, with the first whole intent.
    pub async fn unplug_strangers(&self, intent: &HostIntent) {
        let plugged = match self.host.network.plugged().await {
            Ok(plugged) => plugged,
            Err(fault) => return tracing::error!(%fault, "could not look for interfaces left behind"),
        };
        let tasks = self.host.directory.all();
        let known: Vec<EniId> = tasks.iter().filter_map(|record| record.intent.eni.clone()).collect();
        let is_known = |eni: &EniId| intent.enis.contains_key(eni) || known.contains(eni) || self.standalone.holds(eni);
        for eni in plugged.into_iter().filter(|eni| !is_known(eni)) {
            tracing::warn!(%eni, "unplugging an unknown interface");
            if let Err(fault) = self.host.network.unplug(&eni).await {
                tracing::error!(%eni, %fault, "could not unplug the interface");
            }
        }
    }

    fn spawn(self: &Arc<Self>, record: TaskRecord, is_resumed: bool) {
        let (actor, sender) = Actor::new(self.host.clone(), self.routes.clone(), record, is_resumed);
        let id = actor.id().clone();
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), sender);
        let engine = self.clone();
        tokio::spawn(async move {
            actor.run().await;
            engine.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        });
    }

    fn sender(&self, id: &TaskId) -> Option<mpsc::Sender<Event>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn senders(&self) -> Vec<(TaskId, mpsc::Sender<Event>)> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().map(|(id, sender)| (id.clone(), sender.clone())).collect()
    }
}
