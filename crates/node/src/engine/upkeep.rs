// SPDX-License-Identifier: Apache-2.0
//! Work that a node repeats at intervals: the cleaning of images, the sweep of the flow table.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::host::NodeHost;
use crate::Fault;

/// Time between two sweeps of the flow table: a dead flow holds its row for at most this time.
const SWEEP_PAUSE: Duration = Duration::from_secs(15);

/// Removes unused images at the interval of the settings, until shutdown.
pub(crate) async fn collect_images(host: Arc<NodeHost>, shutdown: CancellationToken) -> Result<(), Fault> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(host.config.images.cleanup_interval) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        if let Err(fault) = host.images.collect(|| host.directory.image_names()).await {
            tracing::warn!(%fault, "images are not cleaned up");
        }
    }
}

/// Sweeps the flow table until shutdown, and reports how full it is.
pub(crate) async fn sweep_flows(host: Arc<NodeHost>, shutdown: CancellationToken) -> Result<(), Fault> {
    loop {
        match host.network.sweep().await {
            Ok(swept) => {
                host.reports.flow_table(swept.table);
                if swept.has_more {
                    continue;
                }
            }
            Err(fault) => tracing::warn!(%fault, "could not sweep dead flows; retrying at the next sweep"),
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_PAUSE) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}
