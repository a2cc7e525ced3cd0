// SPDX-License-Identifier: Apache-2.0
//! The folders of a containerd that a node runs itself.

use std::path::PathBuf;

use crate::NodeConfig;

/// The folders of a containerd of our own.
#[derive(Clone, Debug)]
pub(crate) struct OwnFolders {
    /// Files that outlive a restart of the machine: images and snapshots.
    pub(super) root: PathBuf,
    /// Files that end with the machine: its socket and the bundles of containers.
    pub(super) state: PathBuf,
}

impl OwnFolders {
    pub(super) fn of(config: &NodeConfig) -> Self {
        Self { root: config.data_dir.join("containerd"), state: config.run_dir.join("containerd") }
    }

    /// The folder of the snapshot with this number.
    pub(super) fn snapshot(&self, number: u64) -> PathBuf {
        self.root.join("io.containerd.snapshotter.v1.overlayfs/snapshots").join(number.to_string())
    }

    /// The folder of the container `id` of a containerd namespace, with the files of its runtime.
    pub(super) fn bundle(&self, namespace: &str, id: &str) -> PathBuf {
        self.state.join("io.containerd.runtime.v2.task").join(namespace).join(id)
    }

    /// The socket it listens at.
    pub(super) fn socket(&self) -> PathBuf {
        self.state.join("containerd.sock")
    }

    /// Its settings.
    pub(super) fn config_file(&self) -> PathBuf {
        self.state.join("config.toml")
    }

    /// Its log.
    pub(super) fn log_file(&self) -> PathBuf {
        self.root.join("containerd.log")
    }
}
