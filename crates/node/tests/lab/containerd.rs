// SPDX-License-Identifier: Apache-2.0
//! What a machine's containerd holds, seen past the node.

use std::path::Path;

use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::snapshots::ListSnapshotsRequest;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::{ListContainersRequest, ListRequest};

/// A connection.
pub struct Containerd(pub tonic::transport::Channel);

impl Containerd {
    pub async fn of(run_dir: &Path) -> Self {
        Self(containerd_client::connect(&berth_node::containerd_socket(run_dir)).await.unwrap())
    }

    /// A request in Berth's namespace.
    pub fn request<T>(body: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(body);
        request.metadata_mut().insert("containerd-namespace", "berth".parse().unwrap());
        request
    }

    pub async fn containers(&self) -> Vec<String> {
        let request = Self::request(ListContainersRequest::default());
        let listed = ContainersClient::new(self.0.clone()).list(request).await.unwrap().into_inner();
        listed.containers.into_iter().map(|container| container.id).collect()
    }

    pub async fn snapshots(&self) -> Vec<String> {
        let request = Self::request(ListSnapshotsRequest { snapshotter: "overlayfs".to_owned(), ..Default::default() });
        let mut pages = SnapshotsClient::new(self.0.clone()).list(request).await.unwrap().into_inner();
        let mut names = Vec::new();
        while let Some(page) = pages.message().await.unwrap() {
            names.extend(page.info.into_iter().map(|info| info.name));
        }
        names
    }

    pub async fn leases(&self) -> Vec<String> {
        let listed = LeasesClient::new(self.0.clone()).list(Self::request(ListRequest::default())).await.unwrap();
        listed.into_inner().leases.into_iter().map(|lease| lease.id).collect()
    }
}
