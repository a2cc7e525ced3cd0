// SPDX-License-Identifier: Apache-2.0
//! Container records: what to run, not yet running.

use std::collections::HashMap;

use containerd_client::services::v1::container::Runtime;
use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::{
    Container, CreateContainerRequest, DeleteContainerRequest, ListContainersRequest, UpdateContainerRequest,
};
use oci_spec::runtime::Spec;

use super::client::{CALL_LIMIT, Containerd, call};
use super::labels::Labelled;
use super::snapshots::SNAPSHOTTER;
use crate::{Fault, SpecFault};

const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// A container to be made.
pub(crate) struct NewContainer<'a> {
    /// Unique name.
    pub id: &'a str,
    /// Name of its image, for people who list containers.
    pub image: &'a str,
    /// Found again by these.
    pub labels: HashMap<String, String>,
    /// Its specification.
    pub spec: &'a Spec,
    /// Key of its snapshot, if it has one.
    pub snapshot: Option<&'a str>,
}

impl Containerd {
    /// Makes a container record; one that exists is replaced.
    pub async fn create_container(&self, new: NewContainer<'_>) -> Result<(), Fault> {
        let spec = serde_json::to_vec(new.spec).map_err(SpecFault::from)?;
        let container = Container {
            id: new.id.to_owned(),
            labels: new.labels,
            image: new.image.to_owned(),
            runtime: Some(Runtime { name: self.shim.display().to_string(), options: None }),
            spec: Some(prost_types::Any { type_url: SPEC_TYPE.to_owned(), value: spec }),
            snapshotter: new.snapshot.map(|_| SNAPSHOTTER.to_owned()).unwrap_or_default(),
            snapshot_key: new.snapshot.unwrap_or_default().to_owned(),
            ..Container::default()
        };
        let mut client = ContainersClient::new(self.channel.clone());
        let request = self.request(CreateContainerRequest { container: Some(container.clone()) });
        match call("Containers.Create", new.id, CALL_LIMIT, client.create(request)).await {
            Err(fault) if fault.is_taken() => {
                let request = self.request(UpdateContainerRequest { container: Some(container), update_mask: None });
                call("Containers.Update", new.id, CALL_LIMIT, client.update(request)).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Sets labels of a container.
    pub async fn label_container(&self, id: &str, labels: HashMap<String, String>) -> Result<(), Fault> {
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let container = Container { id: id.to_owned(), labels, ..Container::default() };
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = self.request(UpdateContainerRequest { container: Some(container), update_mask });
        let mut client = ContainersClient::new(self.channel.clone());
        call("Containers.Update", id, CALL_LIMIT, client.update(request)).await.map(drop)
    }

    /// All containers, including those that Berth did not make.
    pub async fn containers(&self) -> Result<Vec<Labelled>, Fault> {
        let request = self.request(ListContainersRequest { filters: Vec::new() });
        let mut client = ContainersClient::new(self.channel.clone());
        let listed = call("Containers.List", "all", CALL_LIMIT, client.list(request)).await?;
        Ok(listed.containers.into_iter().map(|container| Labelled::of(container.id, &container.labels)).collect())
    }

    /// Removes a container record; its task must be gone.
    pub async fn delete_container(&self, id: &str) -> Result<(), Fault> {
        let request = self.request(DeleteContainerRequest { id: id.to_owned() });
        let mut client = ContainersClient::new(self.channel.clone());
        call("Containers.Delete", id, CALL_LIMIT, client.delete(request)).await.map(drop)
    }
}
