// SPDX-License-Identifier: Apache-2.0
//! What the parts of a node share: its settings and its access to the machine. It starts nothing and decides nothing.

use std::net::Ipv4Addr;
use std::sync::Arc;

use berth_types::{HostId, TaskId};
use tokio::sync::{Notify, watch};

use super::directory::Directory;
use super::record::TaskRecord;
use crate::cgroups::{self, Cgroups};
use crate::containerd::supervise::Private;
use crate::containerd::{Containerd, Io};
use crate::images::{Images, Registry};
use crate::journal::Journal;
use crate::modes::NetworkPlaces;
use crate::namespaces::Namespaces;
use crate::network::NodeNetwork;
use crate::outside::HostOutside;
use crate::reports::Reports;
use crate::samples::Samples;
use crate::world::HostWorld;
use crate::{Fault, NodeConfig, log_driver};

/// The shared parts of a node.
pub(crate) struct NodeHost {
    pub config: NodeConfig,
    pub containerd: Containerd,
    pub private: Option<Private>,
    pub images: Images,
    pub journal: Journal,
    pub namespaces: Arc<Namespaces>,
    pub network: Arc<NodeNetwork>,
    pub places: NetworkPlaces,
    pub world: HostWorld,
    /// None for a host that is its machine.
    pub outside: Option<HostOutside>,
    pub cgroups: Cgroups,
    pub reports: Reports,
    pub directory: Directory,
    /// Notified when a task has ended.
    pub task_ended: Notify,
    pub samples: Samples,
    /// The regional endpoint of every service, while there is one.
    pub endpoints: watch::Sender<Option<Ipv4Addr>>,
}

/// The parts that a node opens before the others can be made.
pub(crate) struct Parts {
    pub config: NodeConfig,
    pub containerd: Containerd,
    pub private: Option<Private>,
    pub journal: Journal,
    pub namespaces: Namespaces,
    pub network: NodeNetwork,
    pub places: NetworkPlaces,
    pub cgroups: Cgroups,
}

impl NodeHost {
    /// The parts of the host with this id.
    pub fn new(host: &HostId, parts: Parts) -> Self {
        let registry = Registry::new(parts.config.mirrors.clone(), parts.config.registries_on.clone());
        let images = Images::new(parts.containerd.clone(), registry, parts.config.images.clone());
        let world = HostWorld::new(&parts.config, parts.journal.clone());
        let outside = HostOutside::of(&parts.config, host.clone(), parts.journal.clone());
        Self {
            config: parts.config,
            containerd: parts.containerd,
            private: parts.private,
            images,
            journal: parts.journal,
            namespaces: Arc::new(parts.namespaces),
            network: Arc::new(parts.network),
            places: parts.places,
            world,
            outside,
            cgroups: parts.cgroups,
            reports: Reports::default(),
            directory: Directory::default(),
            task_ended: Notify::new(),
            endpoints: watch::Sender::new(None),
            samples: Samples::default(),
        }
    }

    /// Name of a container's cgroup.
    pub fn container_cgroup(&self, task: &TaskId, runtime_id: &str) -> String {
        format!("{}/{runtime_id}", cgroups::task_cgroup(&self.config.instance, task.as_str()))
    }

    /// Makes the cgroup of a task with the task's limits. Blocks.
    pub(super) fn make_task_cgroup(&self, record: &TaskRecord) -> Result<(), Fault> {
        let cgroup = cgroups::task_cgroup(&self.config.instance, record.id.as_str());
        self.cgroups.make(&cgroup, cgroups::limits(&record.intent, self.config.task_pids_limit))
    }

    /// Where a container's output goes.
    pub(super) fn io(&self, record: &TaskRecord, container: &str) -> Io {
        let wanted = record.wanted(container);
        let terminal = wanted.is_some_and(|wanted| wanted.pseudo_terminal);
        let log = wanted.map(|wanted| wanted.log.clone()).unwrap_or_default();
        let stem = log_driver::stem(&record.intent, container);
        let file = self.config.log_dir(record.id.as_str()).join(format!("{stem}.log"));
        let target = log_driver::target(&log, &file);
        Io { output: target.map(|target| target.uri()).unwrap_or_default(), terminal }
    }
}
