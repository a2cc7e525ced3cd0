// SPDX-License-Identifier: Apache-2.0
//! Snapshots: the file systems of images and containers, and the unpacking of layers into them.

use std::collections::HashMap;
use std::time::Duration;

use containerd_client::services::v1::ApplyRequest;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::snapshots::{
    CommitSnapshotRequest, ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest,
    StatSnapshotRequest, UsageRequest,
};
use containerd_client::types::Mount;

use super::client::{CALL_LIMIT, Containerd, WORK_LIMIT, call};
use super::content::Descriptor;
use super::labels::{INSTANCE_LABEL, Labelled};
use crate::blocking::blocking;
use crate::{Fault, ImageFault, folders};

/// Keeps image layers apart and stacks them for a container.
pub(crate) const SNAPSHOTTER: &str = "overlayfs";

/// Bytes a file takes in addition to its content.
const INODE_BYTES: u64 = 512;
/// Time between two looks at how large a layer has become that is being unpacked.
const GROWTH_INTERVAL: Duration = Duration::from_secs(1);

/// The mounts of a snapshot.
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

    /// Makes a writable snapshot on top of `parent`, or returns the existing one. It stays until it is removed.
    pub async fn prepare_snapshot(&self, key: &str, parent: &str) -> Result<Mounts, Fault> {
        match self.try_prepare_snapshot(key, parent).await {
            Err(fault) if self.clear_stray(&fault).await? => self.try_prepare_snapshot(key, parent).await,
            other => other,
        }
    }

    /// Removes the folder that made a snapshot fail: a containerd killed during the making of a snapshot leaves its
    /// folder, and assigns its number again. False if the fault has another cause.
    async fn clear_stray(&self, fault: &Fault) -> Result<bool, Fault> {
        let (Some(own), Some(number)) = (&self.own, fault.stray_snapshot()) else { return Ok(false) };
        let folder = own.snapshot(number);
        tracing::warn!(folder = %folder.display(), "removing the remains of a dead containerd");
        blocking("cleaner of snapshots", move || folders::remove_folder(&folder)).await?;
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

    /// The mounts of an existing snapshot.
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

    /// Bytes of the files of a snapshot, without those below it. A file counts for its inode, too.
    pub async fn snapshot_bytes(&self, key: &str) -> Result<u64, Fault> {
        let request = self.request(UsageRequest { snapshotter: SNAPSHOTTER.to_owned(), key: key.to_owned() });
        let mut client = SnapshotsClient::new(self.channel.clone());
        let used = call("Snapshots.Usage", key, CALL_LIMIT, client.usage(request)).await?;
        let (bytes, files) = (u64::try_from(used.size).unwrap_or(0), u64::try_from(used.inodes).unwrap_or(0));
        Ok(bytes.saturating_add(files.saturating_mul(INODE_BYTES)))
    }

    /// Unpacks `layer` on top of the chain `parent` and names the result `chain`. A layer that has more than `limit` bytes
    /// is given up while it grows: then there is nothing.
    pub async fn unpack_layer(
        &self,
        layer: &Descriptor,
        diff_id: &str,
        parent: &str,
        chain: &str,
        limit: u64,
    ) -> Result<Option<()>, Fault> {
        let key = format!("extract-{:016x} {chain}", rand::random::<u64>());
        let mounts = self.prepare_snapshot(&key, parent).await?;
        let unpacked = tokio::select! {
            unpacked = self.apply_and_commit(layer, diff_id, mounts, &key, chain) => unpacked.map(Some),
            () = self.outgrown(&key, limit) => Ok(None),
        };
        match unpacked {
            Ok(Some(())) => Ok(Some(())),
            Ok(None) => crate::fault::absent_is_fine(self.remove_snapshot(&key).await).map(|()| None),
            Err(fault) => {
                let removed = crate::fault::absent_is_fine(self.remove_snapshot(&key).await);
                if fault.is_taken() { removed.map(Some) } else { Err(fault) }
            }
        }
    }

    /// Returns once a snapshot has more than `limit` bytes. containerd has no event for that.
    async fn outgrown(&self, key: &str, limit: u64) {
        loop {
            tokio::time::sleep(GROWTH_INTERVAL).await;
            // A failed measurement is repeated, and the caller measures at the end.
            if self.snapshot_bytes(key).await.is_ok_and(|bytes| bytes > limit) {
                return;
            }
        }
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
            return Err(ImageFault::DiffId { got, layer: layer.digest.clone() }.into());
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
