// SPDX-License-Identifier: Apache-2.0
//! The last published snapshot, and waiting for a value in it.
//!
//! Reading takes no lock: the snapshot is replaced whole behind an atomic pointer. Waiting threads are woken by the
//! revision number and then read the snapshot; there is no hint about the change.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use berth_state::Snapshot;
use tokio::sync::watch;

/// Snapshots from the commit loop to all readers.
#[derive(Clone)]
pub(crate) struct Published {
    present: Arc<ArcSwap<Snapshot>>,
    revision: Arc<watch::Sender<u64>>,
}

impl Published {
    pub(crate) fn new(first: Snapshot) -> Self {
        let revision = Arc::new(watch::Sender::new(first.revision));
        Self { present: Arc::new(ArcSwap::from_pointee(first)), revision }
    }

    /// The present snapshot.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.present.load_full()
    }

    /// Replaces the snapshot and wakes all waiting threads.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let revision = snapshot.revision;
        self.present.store(Arc::new(snapshot));
        self.revision.send_replace(revision);
    }

    /// Changes whenever a snapshot is published. May skip revisions; never misses the last one.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Waits until `look` returns a value, for at most `limit`.
    pub(crate) async fn wait<T>(&self, limit: Duration, mut look: impl FnMut(&Snapshot) -> Option<T>) -> Option<T> {
        let mut revisions = self.revisions();
        let found = async {
            loop {
                revisions.borrow_and_update();
                if let Some(found) = look(&self.snapshot()) {
                    return Some(found);
                }
                if revisions.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(limit, found).await.ok().flatten()
    }
}
