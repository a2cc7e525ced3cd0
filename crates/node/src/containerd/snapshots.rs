//! Snapshots: the file systems of images and containers, and the unpacking of layers into them.

use std::collections::HashMap;

use containerd_client::services::v1::ApplyRequest;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::snapshots::{
    CommitSnapshotRequest, ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest,
    StatSnapshotRequest,
};
use containerd_client::types::Mount;

use super::{CALL_LIMIT, Containerd, Descriptor, Labelled, WORK_LIMIT, call};
use crate::Fault;
use crate::blocking::blocking;
use crate::container::files;
use crate::container::names::INSTANCE_LABEL;

/// Keeps image layers apart and stacks them for a container.
pub(crate) const SNAPSHOTTER: &str = "overlayfs";

/// How a snapshot is mounted.
pub(crate) type Mounts = Vec<Mount>;

impl Containerd {
    /// True if an unpacked layer chain, or a container's snapshot, is there.
    pub async fn has_snapshot(&self, key: &str) -> Result<bool, Fault> {
        let request = self.request(StatSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() });
        match call("Snapshots.Stat", key, CALL_LIMIT, SnapshotsClient::new(self.channel.clone()).stat(request)).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_absent() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// A writable snapshot on top of `parent`; one that exists is as good. It stays until it is removed.
    pub async fn prepare_snapshot(&self, key: &str, parent: &str) -> Result<Mounts, Fault> {
        match self.try_prepare_snapshot(key, parent).await {
            Err(fault) if self.clear_stray(&fault).await? => self.try_prepare_snapshot(key, parent).await,
            other => other,
        }
    }

    /// Removes the folder that was in the way of a snapshot, if it was that: a containerd killed in the middle of
    /// making one leaves it, and gives its number again, in vain. False if it was something else.
    async fn clear_stray(&self, fault: &Fault) -> Result<bool, Fault> {
        let (Some(own), Some(number)) = (&self.own, fault.stray_snapshot()) else { return Ok(false) };
        let folder = own.snapshot_dir(number);
        tracing::warn!(folder = %folder.display(), "removing what a containerd that died has left");
        blocking("cleaner of snapshots", move || files::remove_dir(&folder)).await?;
        Ok(true)
    }

    async fn try_prepare_snapshot(&self, key: &str, parent: &str) -> Result<Mounts, Fault> {
        let root = ("containerd.io/gc.root".to_owned(), crate::clock::now().rfc3339());
        let request = self.request(PrepareSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: self.own_labels().chain([root]).collect(),
        });
        let mut client = SnapshotsClient::new(self.channel.clone());
        match call("Snapshots.Prepare", key, WORK_LIMIT, client.prepare(request)).await {
            Ok(answer) => Ok(answer.mounts),
            Err(fault) if fault.is_taken() => self.snapshot_mounts(key).await,
            Err(fault) => Err(fault),
        }
    }

    /// How a snapshot that is there is mounted.
    pub async fn snapshot_mounts(&self, key: &str) -> Result<Mounts, Fault> {
        let request = self.request(MountsRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() });
        let mut client = SnapshotsClient::new(self.channel.clone());
        call("Snapshots.Mounts", key, CALL_LIMIT, client.mounts(request)).await.map(|answer| answer.mounts)
    }

    /// The snapshots that carry the name of an instance.
    pub async fn labelled_snapshots(&self) -> Result<Vec<Labelled>, Fault> {
        let filters = vec![format!("labels.\"{INSTANCE_LABEL}\"")];
        let request = self.request(ListSnapshotsRequest { snapshotter: SNAPSHOTTER.to_owned(), filters });
        let mut client = SnapshotsClient::new(self.channel.clone());
        let mut pages = call("Snapshots.List", "all", CALL_LIMIT, client.list(request)).await?;
        let fault =
            |status| Fault::Containerd { call: "Snapshots.List", on: "all".to_owned(), status: Box::new(status) };
        let mut found = Vec::new();
        while let Some(page) = pages.message().await.map_err(fault)? {
            found.extend(page.info.into_iter().map(|info| Labelled::of(info.name, &info.labels)));
        }
        Ok(found)
    }

    /// Removes a container's snapshot.
    pub async fn remove_snapshot(&self, key: &str) -> Result<(), Fault> {
        let request = self.request(RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() });
        let mut client = SnapshotsClient::new(self.channel.clone());
        call("Snapshots.Remove", key, WORK_LIMIT, client.remove(request)).await.map(drop)
    }

    /// Unpacks `layer` on top of the chain `parent` and names the result `chain`.
    pub async fn unpack_layer(
        &self,
        layer: &Descriptor,
        diff_id: &str,
        parent: &str,
        chain: &str,
    ) -> Result<(), Fault> {
        let key = format!("extract-{:016x} {chain}", rand::random::<u64>());
        let mounts = self.prepare_snapshot(&key, parent).await?;
        let unpacked = self.apply_and_commit(layer, diff_id, mounts, &key, chain).await;
        if let Err(fault) = unpacked {
            let removed = crate::fault::absent_is_fine(self.remove_snapshot(&key).await);
            return if fault.is_taken() { removed } else { Err(fault) };
        }
        Ok(())
    }

    async fn apply_and_commit(
        &self,
        layer: &Descriptor,
        diff_id: &str,
        mounts: Mounts,
        key: &str,
        chain: &str,
    ) -> Result<(), Fault> {
        let request =
            self.request(ApplyRequest { diff: Some(layer.clone().into()), mounts, ..ApplyRequest::default() });
        let mut client = DiffClient::new(self.channel.clone());
        let applied = call("Diff.Apply", &layer.digest, WORK_LIMIT, client.apply(request)).await?;
        let got = applied.applied.map(|blob| blob.digest).unwrap_or_default();
        if got != diff_id {
            return Err(Fault::Image(format!("wrong diff id calculated on extraction {got:?} of {}", layer.digest)));
        }
        let request = self.request(CommitSnapshotRequest {
            snapshotter: SNAPSHOTTER.to_owned(),
            name: chain.to_owned(),
            key: key.to_owned(),
            labels: HashMap::new(),
        });
        let mut client = SnapshotsClient::new(self.channel.clone());
        call("Snapshots.Commit", chain, CALL_LIMIT, client.commit(request)).await.map(drop)
    }
}
