// SPDX-License-Identifier: Apache-2.0
//! Leases: the content of a pull is safe from garbage collection until something refers to it.

use berth_types::TimestampMs;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::{AddResourceRequest, CreateRequest, DeleteRequest, ListRequest, Resource};

use super::client::{CALL_LIMIT, Containerd, call};
use super::labels::Labelled;
use crate::Fault;
use crate::clock;

/// Lifetime of a lease that is not renewed.
const LEASE_SECONDS: i64 = 24 * 3600;

/// A connection whose new things are protected. Give it back with [`Lease::end`].
pub(crate) struct Lease {
    /// Make things through this.
    pub containerd: Containerd,
    id: String,
}

impl Containerd {
    /// Takes a lease.
    pub async fn lease(&self, purpose: &str) -> Result<Lease, Fault> {
        let id = format!("berth-{purpose}-{:016x}", rand::random::<u64>());
        let expires = TimestampMs(clock::now_ms() + LEASE_SECONDS * 1000).rfc3339();
        let expires = ("containerd.io/gc.expire".to_owned(), expires);
        let labels = self.own_labels().chain([expires]).collect();
        let request = self.request(CreateRequest { id: id.clone(), labels });
        call("Leases.Create", &id, CALL_LIMIT, LeasesClient::new(self.channel.clone()).create(request)).await?;
        Ok(Lease { containerd: self.under(&id)?, id })
    }

    /// The leases that were taken in this way, by anybody.
    pub async fn leases(&self) -> Result<Vec<Labelled>, Fault> {
        let mut client = LeasesClient::new(self.channel.clone());
        let request = self.request(ListRequest { filters: Vec::new() });
        let listed = call("Leases.List", "all", CALL_LIMIT, client.list(request)).await?;
        let ours = listed.leases.into_iter().filter(|lease| lease.id.starts_with("berth-"));
        Ok(ours.map(|lease| Labelled::of(lease.id, &lease.labels)).collect())
    }

    /// Ends a lease; an absent one counts as ended.
    pub async fn end_lease(&self, id: &str) -> Result<(), Fault> {
        let mut client = LeasesClient::new(self.channel.clone());
        let request = self.request(DeleteRequest { id: id.to_owned(), sync: false });
        crate::fault::absent_is_fine(call("Leases.Delete", id, CALL_LIMIT, client.delete(request)).await.map(drop))
    }
}

impl Lease {
    /// Protects a blob that was there before.
    pub async fn hold(&self, digest: &str) -> Result<(), Fault> {
        let resource = Resource { id: digest.to_owned(), r#type: "content".to_owned() };
        let request = self.containerd.request(AddResourceRequest { id: self.id.clone(), resource: Some(resource) });
        let mut client = LeasesClient::new(self.containerd.channel.clone());
        call("Leases.AddResource", digest, CALL_LIMIT, client.add_resource(request)).await.map(drop)
    }

    /// Ends the lease: from here only references protect.
    pub async fn end(self) -> Result<(), Fault> {
        let request = self.containerd.request(DeleteRequest { id: self.id.clone(), sync: false });
        let mut client = LeasesClient::new(self.containerd.channel.clone());
        call("Leases.Delete", &self.id, CALL_LIMIT, client.delete(request)).await.map(drop)
    }
}
