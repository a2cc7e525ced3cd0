// SPDX-License-Identifier: Apache-2.0
//! Reports of the data folder's free space: the server places no task on a host with little free space.
//!
//! No event of the kernel says how much space a file system has, so it is looked up at an interval; the server is told
//! only when a percent changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_types::report::FreeSpace;
use nix::sys::statvfs::statvfs;
use tokio_util::sync::CancellationToken;

use crate::Fault;
use crate::blocking::blocking;
use crate::engine::NodeHost;

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// Reports to the server until shutdown.
pub(crate) async fn watch(host: Arc<NodeHost>, shutdown: CancellationToken) -> Result<(), Fault> {
    let wanted_percent = host.config.free_space_min_percent;
    let mut is_known = true;
    while !shutdown.is_cancelled() {
        let folder: PathBuf = host.config.data_dir.clone();
        match blocking("watcher of free space", move || free_percent(&folder)).await {
            Ok(free_percent) => host.reports.free_space(FreeSpace { free_percent, wanted_percent }),
            Err(fault) if is_known => {
                is_known = false;
                tracing::error!(%fault, "the free space is not known");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

/// How much of the file system of a folder is free, as `df` shows it.
pub(crate) fn free_percent(folder: &Path) -> Result<u8, Fault> {
    let found = statvfs(folder).map_err(|errno| Fault::file("look up the free space of", folder)(errno.into()))?;
    Ok(percent(found.blocks(), found.blocks_free(), found.blocks_available()))
}

/// Blocks that only root may take count neither as free nor as a part of the whole.
fn percent(blocks: u64, free: u64, available: u64) -> u8 {
    let usable = blocks - free + available;
    // Some file systems have no blocks at all, and no limit.
    (u128::from(available) * 100).checked_div(u128::from(usable)).map_or(100, |percent| percent as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_what_df_shows() {
        assert_eq!(percent(1000, 150, 100), 10);
        assert_eq!(percent(1000, 140, 90), 9);
        assert_eq!(percent(1000, 1000, 1000), 100);
        assert_eq!(percent(u64::MAX, u64::MAX / 2, u64::MAX / 2), 49);
        assert_eq!(percent(0, 0, 0), 100);
    }
}
