// SPDX-License-Identifier: Apache-2.0
//! The network of a task's containers: one interface for all, or a place for each.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use berth_types::intent::EniIntent;

use super::host::NodeHost;
use super::record::TaskRecord;
use crate::Fault;
use crate::container::files;
use crate::modes::{self, NetworkPlace};
use crate::namespaces::HeldNamespace;

/// The network of a task once it is made.
pub(super) enum TaskNetwork {
    /// Network mode awsvpc: one namespace, held by a pause container, with an interface of the VPC.
    Together(HeldNamespace, EniIntent),
    /// Any other: a place for each container, in order; and a pause container that holds what else they share.
    Apart(Vec<NetworkPlace>, Option<HeldNamespace>),
}

/// The parts that the specification of one container needs.
pub(super) struct ContainerNetwork {
    /// File of the network namespace.
    pub netns: PathBuf,
    /// Containers with the same share a shim.
    pub group: String,
    /// Host name.
    pub hostname: String,
    /// Folder with `hosts`, `hostname` and `resolv.conf`.
    pub files: PathBuf,
}

impl TaskNetwork {
    /// The namespace of the task's pause container, if it has one.
    pub fn held(&self) -> Option<&HeldNamespace> {
        match self {
            Self::Together(held, _) => Some(held),
            Self::Apart(_, held) => held.as_ref(),
        }
    }

    /// Address of one container on the bridge of network mode bridge.
    pub fn address(&self, index: usize) -> Option<Ipv4Addr> {
        match self {
            Self::Together(..) => None,
            Self::Apart(places, _) => places.get(index)?.address,
        }
    }

    /// The network of one container; `None` for one that is not in the task.
    pub fn of(&self, host: &NodeHost, record: &TaskRecord, index: usize) -> Option<ContainerNetwork> {
        let task_dir = host.config.task_dir(record.id.as_str());
        match self {
            Self::Together(held, eni) => Some(ContainerNetwork {
                netns: host.config.netns_dir().join(&held.name),
                group: held.pause_id.clone(),
                hostname: files::hostname(&record.intent, eni.address),
                files: files::network_dir(&task_dir),
            }),
            Self::Apart(places, held) => {
                let (place, container) = (places.get(index)?, record.containers.get(index)?);
                let asked = record.intent.containers.get(index)?.hostname.as_deref();
                Some(ContainerNetwork {
                    netns: host.places.namespace(place),
                    group: held.as_ref().map_or(&container.runtime_id, |held| &held.pause_id).clone(),
                    hostname: modes::hostname_in(place, asked, &container.runtime_id),
                    files: modes::files_dir(&task_dir, &container.runtime_id),
                })
            }
        }
    }

    /// Makes the volumes of the task and the files its containers see. Blocks.
    pub fn prepare(&self, host: &NodeHost, record: &TaskRecord) -> Result<(), Fault> {
        let task_dir = host.config.task_dir(record.id.as_str());
        let templates = host.config.storage_templates_dir();
        match self {
            Self::Together(_, eni) => files::prepare(&task_dir, &templates, &record.intent, Some(eni.address)),
            Self::Apart(places, _) => {
                files::prepare(&task_dir, &templates, &record.intent, None)?;
                modes::write_files(&task_dir, &record.intent, &record.runtime_ids(), places)
            }
        }
    }
}
